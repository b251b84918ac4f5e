"""A node whose address changes: under a link, behind a router that forgets, and from one life to the next."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mesh_certificates import Authority
from needs import need
from ports import free_ports
from udp_relay import UdpRelay
from waiting import until_async

pytestmark = pytest.mark.e2e

ROUNDS = 3
LEASE_MS = 20_000
ANSWER_S = 15.0
"""Less than the lease: the link was not made anew."""

Options = Callable[..., Any]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Of a node, from its name, its port, and what it knows of the other."""
    need(find_spec("zenoh") and find_spec("cryptography"), "the extra `mesh`")
    from littoral.mesh.zenoh_options import ZenohOptions

    authority = Authority(tmp_path)

    def of(name: str, port: int, peers: dict[str, str | None]) -> ZenohOptions:
        made = authority.issue(name)
        return ZenohOptions("shop", name, f"127.0.0.1:{port}", peers, made.ca, made.certificate, made.key)

    return of


async def met(*transports: Any) -> None:
    names = {one.name for one in transports}
    await until_async(lambda: all(names <= one.alive() for one in transports))


async def test_a_link_goes_on_when_the_port_of_its_client_changes(options: Options) -> None:
    from littoral.mesh.zenoh_transport import ZenohTransport

    port_far, port_near = free_ports(2)
    async with UdpRelay(port_far) as relay:
        of_far = replace(options("far", port_far, {"near": None}), lease_ms=LEASE_MS)
        of_near = replace(options("near", port_near, {"far": f"127.0.0.1:{relay.port}"}), lease_ms=LEASE_MS)
        async with await ZenohTransport.open(of_far) as there, await ZenohTransport.open(of_near) as here:
            went: list[str] = []
            for one in (there, here):
                await one.serve("echo", echo)
            await met(there, here)
            for one in (there, here):
                one.watch(lambda name, is_here: went.append(name) if not is_here else None)
            for turn in range(ROUNDS):
                await relay.rebind()
                body = b"%d" % turn
                async with asyncio.timeout(2 * ANSWER_S):
                    assert await here.request("far", "echo", body, deadline_s=ANSWER_S) == body
                    assert await there.request("near", "echo", body, deadline_s=ANSWER_S) == body
            assert went == []


async def test_a_node_that_moved_makes_the_links_itself(options: Options) -> None:
    """The others have its old address, and it has theirs."""
    from littoral.mesh.zenoh_transport import ZenohTransport

    port_far, port_near, port_moved = free_ports(3)
    of_near = options("near", port_near, {"far": f"127.0.0.1:{port_far}"})
    of_far = options("far", port_far, {"near": f"127.0.0.1:{port_near}"})
    async with await ZenohTransport.open(of_far) as there:
        await there.serve("echo", echo)
        async with await ZenohTransport.open(of_near) as here:
            await met(there, here)
        async with await ZenohTransport.open(replace(of_near, listen=f"127.0.0.1:{port_moved}")) as here:
            await here.serve("echo", echo)
            await met(there, here)
            assert await there.request("near", "echo", b"moved", deadline_s=10) == b"moved"


async def echo(_: str, body: bytes) -> bytes:
    return body


async def test_a_link_that_was_made_anew_at_one_end_only_is_found_and_mended(options: Options) -> None:
    """`far` gives `near` up, which does not hear of it, and links to it another way before `near` has noticed."""
    from littoral.mesh.zenoh_transport import ZenohTransport

    port_far, port_near = free_ports(2)
    async with UdpRelay(port_far) as there, UdpRelay(port_near) as back:
        back.mute = {"there", "back"}
        of_far = options("far", port_far, {"near": f"127.0.0.1:{back.port}"})
        of_near = options("near", port_near, {"far": f"127.0.0.1:{there.port}"})
        async with await ZenohTransport.open(of_far) as far, await ZenohTransport.open(of_near) as near:
            for one in (far, near):
                await one.serve("echo", echo)
            await met(far, near)
            went = asyncio.Event()
            far.watch(lambda _, is_here: None if is_here else went.set())
            there.mute = {"there"}
            asyncio.get_running_loop().call_later(0.75 * of_far.lease_ms / 1000, there.mute.add, "back")
            await went.wait()
            back.mute = set()
            await until_async(lambda: far.traffic.relinked + near.traffic.relinked > 0)
            await met(far, near)
            assert await far.request("near", "echo", b"x", deadline_s=ANSWER_S) == b"x"
            assert await near.request("far", "echo", b"x", deadline_s=ANSWER_S) == b"x"
