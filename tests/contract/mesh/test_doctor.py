"""What `doctor` says of two nodes that do not talk: each fault made for real, against a real Zenoh."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from littoral.clock import SYSTEM
from littoral.mesh import probe
from littoral.mesh.doctor import Finding, Status, examine_node, examine_peer
from littoral.mesh.identity.founding import new_root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.zenoh_transport import ZenohTransport
from mesh_site import DAY_S, MovedClock, found, joined, zenoh_options
from ports import free_port

Protocol = Literal["quic", "tls"]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time to shake hands."""
    monkeypatch.setattr(probe, "CONNECT_S", 60.0)


@pytest.fixture
def hears_objections(monkeypatch: pytest.MonkeyPatch) -> None:
    """For endpoints that object, which may take them a while."""
    monkeypatch.setattr(probe, "ALERT_S", 60.0)


@pytest.fixture
def clock() -> MovedClock:
    """The real time, because Zenoh's TLS judges by it."""
    return MovedClock(wall_s=SYSTEM.wall())


@pytest.fixture
def founder(tmp_path: Path, clock: MovedClock) -> Identity:
    return found(tmp_path, clock)


async def pair(
    tmp_path: Path, founder: Identity, clock: MovedClock, protocol: Protocol, host: str = "127.0.0.1"
) -> tuple[Identity, int]:
    """gw-2, joined, that says it is reached there."""
    port = free_port()
    node = await joined(tmp_path, founder, "gw-2", clock, endpoints=[f"{protocol}/{host}:{port}"])
    return node, port


@asynccontextmanager
async def up(node: Identity, port: int, protocol: Protocol) -> AsyncIterator[None]:
    transport = await ZenohTransport.open(zenoh_options(node, port, {"gw-1": None}, protocol))
    try:
        yield
    finally:
        await transport.close()


async def examined(identity: Identity, name: str = "gw-2", machine: MovedClock | None = None) -> Finding:
    """The one finding about its one endpoint."""
    (finding,) = await asyncio.to_thread(lambda: list(examine_peer(identity, name, machine or SYSTEM)))
    return finding


@pytest.mark.parametrize(
    ("protocol", "said"),
    [("tls", "`gw-2` answers, and takes this node's certificate"), ("quic", "answers in QUIC")],
)
async def test_two_that_can_talk(
    tmp_path: Path, founder: Identity, clock: MovedClock, protocol: Protocol, said: str
) -> None:
    node, port = await pair(tmp_path, founder, clock, protocol)
    async with up(node, port, protocol):
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.OK, "endpoint")
    assert said in finding.message


@pytest.mark.parametrize("protocol", ["tls", "quic"])
async def test_nothing_listens(tmp_path: Path, founder: Identity, clock: MovedClock, protocol: Protocol) -> None:
    await pair(tmp_path, founder, clock, protocol)
    finding = await examined(founder)
    assert (finding.status, finding.check, finding.message) == (Status.FAIL, "port", "nothing listens there")


@pytest.mark.parametrize(("listed", "spoken"), [("quic", "tls"), ("tls", "quic")])
async def test_one_speaks_tcp_and_the_other_udp(
    tmp_path: Path, founder: Identity, clock: MovedClock, listed: Protocol, spoken: Protocol
) -> None:
    node, port = await pair(tmp_path, founder, clock, listed)
    async with up(node, port, spoken):
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "protocol")
    assert f"`{spoken}/`" in finding.message


async def test_another_program_has_the_port(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    _, port = await pair(tmp_path, founder, clock, "tls")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "protocol")
    assert "does not speak the mesh's protocol" in finding.message


async def test_udp_without_an_answer(
    tmp_path: Path, founder: Identity, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "CONNECT_S", 0.3)
    _, port = await pair(tmp_path, founder, clock, "quic")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", port))
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "port")
    assert "without an answer" in finding.message


async def test_a_host_without_an_address(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    await pair(tmp_path, founder, clock, "tls", host="gw-2.invalid")
    finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "name")
    assert "no address" in finding.message


async def test_a_node_of_another_site(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    _, port = await pair(tmp_path, founder, clock, "tls")
    foreign = found(tmp_path / "o", clock, site="other", name="gw-2")
    async with up(foreign, port, "tls"):
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "ca")
    assert "was not issued by the site" in finding.message


@pytest.mark.usefixtures("hears_objections")
async def test_it_says_itself_that_this_node_is_foreign(tmp_path: Path, clock: MovedClock) -> None:
    """This node's own certificate is another site's under the same root, while what it believes is right."""
    root = new_root("fleet", clock)
    founder = found(tmp_path, clock, root=root)
    node, port = await pair(tmp_path, founder, clock, "tls")
    foreign = found(tmp_path / "o", clock, site="other", name="gw-1", root=root)
    founder.credential_file.write_bytes(foreign.credential_file.read_bytes())
    async with up(node, port, "tls"):
        finding = await examined(founder)
    assert (finding.status, finding.check) == (Status.FAIL, "ca")
    assert "it says that this node is of another site" in finding.message


async def test_another_node_answers(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    _, port = await pair(tmp_path, founder, clock, "tls")
    third = await joined(tmp_path, founder, "gw-3", clock)
    async with up(third, port, "tls"):
        finding = await examined(founder)
    assert (finding.check, finding.message) == ("name", "`gw-3` answers there, not `gw-2`")


async def test_a_certificate_for_other_addresses(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    node, port = await pair(tmp_path, founder, clock, "tls")
    moved = msgspec.structs.replace(Issuer(founder).roster().nodes[1], endpoints=[f"tls/127.0.0.2:{port}"])
    Issuer(founder).write(lambda roster: roster.with_node(moved))
    options = dataclasses.replace(zenoh_options(node, port, {"gw-1": None}, "tls"), listen=f"127.0.0.2:{port}")
    transport = await ZenohTransport.open(options)
    try:
        finding = await examined(founder)
    finally:
        await transport.close()
    assert finding.message == "the certificate of `gw-2` is for gw-2, 127.0.0.1, not for `127.0.0.2`"


async def test_a_revoked_node(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    node, port = await pair(tmp_path, founder, clock, "tls")
    serial = node.credential.certificate.serial
    Issuer(founder).write(lambda roster: roster.without_serial(serial))
    async with up(node, port, "tls"):
        finding = await examined(founder)
    assert finding.check == "revoked"
    Issuer(founder).write(lambda roster: roster.without("gw-2", clock.wall()))
    assert (await examined(founder)).message == "node `gw-2` was revoked"


@pytest.fixture
def past() -> Callable[[float], MovedClock]:
    return lambda days: MovedClock(wall_s=SYSTEM.wall() - days * DAY_S)


async def test_its_certificate_has_ended(tmp_path: Path, past: Callable[[float], MovedClock]) -> None:
    clock = past(40)
    founder = found(tmp_path, clock)
    node, port = await pair(tmp_path, founder, clock, "tls")
    clock.move(40 * DAY_S)
    async with up(node, port, "tls"):
        finding = await examined(founder)
    assert (finding.check, finding.message) == ("expired", "the certificate of `gw-2` ended 10.0 days ago")


@pytest.mark.usefixtures("hears_objections")
async def test_it_says_itself_that_this_nodes_certificate_has_ended(
    tmp_path: Path, past: Callable[[float], MovedClock]
) -> None:
    """This node's clock is 20 days behind: it finds no fault, and Zenoh there does."""
    clock = past(35)
    founder = found(tmp_path, clock)
    clock.move(15 * DAY_S)
    node, port = await pair(tmp_path, founder, clock, "tls")
    async with up(node, port, "tls"):
        finding = await examined(founder, machine=clock)
    assert (finding.status, finding.check) == (Status.FAIL, "expired")
    assert "it says that this node's certificate has ended" in finding.message


async def test_what_is_wrong_with_the_node_itself(tmp_path: Path, clock: MovedClock) -> None:
    founder = found(tmp_path, clock)

    def of(check: str) -> Finding:
        return next(f for f in examine_node(founder, clock) if f.check == check)

    assert {finding.status for finding in examine_node(founder, clock)} == {Status.OK}
    clock.move(23 * DAY_S)
    assert (of("certificate").status, of("certificate").message) == (
        Status.WARN,
        "7.0 days left, and its renewal is overdue",
    )
    clock.move(8 * DAY_S)
    assert of("certificate").message == "this node's certificate ended 1.0 days ago"
    clock.wall_s = 0.0
    assert of("clock").status is Status.WARN
    assert "days behind the site's time: TLS takes ended certificates" in of("clock").message
    (founder.folder / "documents" / "roster.json").unlink()
    lost = Identity.open(tmp_path / "gw-1", clock)
    assert [f.message for f in examine_node(lost, clock) if f.check == "roster"] == ["this node has no roster"]


async def test_a_machine_whose_clock_is_far_ahead(tmp_path: Path, clock: MovedClock) -> None:
    founder = found(tmp_path, clock)
    clock.wall_s += 50 * 365 * DAY_S
    (finding,) = [f for f in examine_node(founder, clock) if f.check == "clock"]
    assert finding.status is Status.FAIL
    assert "by this machine's clock the certificate ended" in finding.message
