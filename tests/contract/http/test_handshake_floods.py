"""Floods of TLS handshakes that nobody ends: bounded in number, by address and in all, and others are let in."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guarded_app import Guarded, guarded
from littoral.web import Certificates, Limits
from littoral.web.handshakes import Handshakes
from mesh_certificates import Authority
from mesh_site import MovedClock
from raw_http import Reply, read_reply, request
from waiting import until_async

LIMITS = Limits(handshake_s=600.0, handshake_count_max=12, handshake_address_count_max=5, connection_count_max=64)
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""Of a handshake: its beginning."""


class Secured:
    def __init__(self, node: Guarded, context: ssl.SSLContext) -> None:
        self.node = node
        self.context = context

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        host, _, port = self.node.address.rpartition(":")
        return socket.create_connection((host, int(port)), 60, (source, 0))

    async def ask(self, source: str = "127.0.0.1") -> Reply:
        def run() -> Reply:
            with self.context.wrap_socket(self.connect(source), server_hostname="127.0.0.1") as connection:
                connection.sendall(request("GET", "/livez"))
                return read_reply(connection)

        return await asyncio.to_thread(run)

    async def dropped(self, reason: str, count: int) -> None:
        await until_async(lambda: self.node.dropped.get(reason, 0) >= count)


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority(tmp_path / "ca")
    made = authority.issue("node")
    certificates = Certificates(made.certificate, made.key, None, MovedClock())
    async with guarded(tmp_path, certificates=certificates, limits=LIMITS) as node:
        yield Secured(node, ssl.create_default_context(cafile=str(authority.ca)))


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["nothing", "a half hello"])
async def test_a_flood_from_one_address_costs_that_address(secured: Secured, sent: bytes) -> None:
    with contextlib.ExitStack() as held:
        flood = [held.enter_context(secured.connect()) for _ in range(20)]
        for one in flood:
            with contextlib.suppress(ConnectionError):
                one.sendall(sent)
        await secured.dropped("handshake_address", 15)
        assert (await secured.ask()).status == 200, "from the same address"
        assert (await secured.ask("127.0.0.9")).status == 200
        assert secured.node.dropped.get("handshake_all", 0) == 0
        assert await asyncio.to_thread(_ends, flood[0]), "the oldest is hung up on"


async def test_a_flood_from_many_addresses_is_bounded_in_all(secured: Secured) -> None:
    with contextlib.ExitStack() as held:
        for number in range(40):
            held.enter_context(secured.connect(f"127.0.1.{number + 1}"))
        await secured.dropped("handshake_all", 40 - LIMITS.handshake_count_max)
        assert (await secured.ask("127.0.0.9")).status == 200
        assert secured.node.dropped.get("handshake_address", 0) == 0


async def test_a_flood_that_goes_on_does_not_keep_others_out(secured: Secured) -> None:
    """While new ones come, as fast as they can. No reply: in TLS 1.3 a caller is done before the node is, which may
    have hung up on it by then, as on any handshake.
    """
    is_over = False

    def flood() -> None:
        with contextlib.ExitStack() as held:
            count = 0
            while not is_over:
                held.enter_context(secured.connect(f"127.0.2.{count % 200 + 1}")).sendall(HELLO)
                count += 1
                if count % 100 == 0:
                    held.pop_all().close()

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    await secured.dropped("handshake_all", 20)
    try:
        statuses = []
        while statuses.count(200) < 5:
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                statuses.append((await secured.ask("127.0.0.9")).status)
    finally:
        is_over = True
        await flooding
    assert set(statuses) - {0} == {200}


async def test_what_is_no_handshake_is_counted(secured: Secured) -> None:
    with secured.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        await secured.dropped("handshake_failed", 1)
    assert (await secured.ask()).status == 200


async def test_who_is_through_counts_no_more(secured: Secured) -> None:
    """Connections that are open are bounded apart from handshakes."""
    with contextlib.ExitStack() as held:
        for _ in range(3 * LIMITS.handshake_address_count_max):
            raw = secured.connect()
            held.enter_context(await asyncio.to_thread(secured.context.wrap_socket, raw, server_hostname="127.0.0.1"))
        assert (await secured.ask()).status == 200
    assert not any(secured.node.dropped.values())


def test_networks_of_ipv6_are_one_address_each() -> None:
    dropped: Counter[str] = Counter()
    handshakes = Handshakes(lambda: LIMITS, dropped)
    with contextlib.ExitStack() as held:
        for number in range(LIMITS.handshake_address_count_max + 2):
            caller, other = socket.socketpair()
            held.enter_context(caller)
            held.enter_context(other)
            handshakes.begin(caller, f"2001:db8::{number:x}")
    assert dropped == {"handshake_address": 2}


def _ends(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
