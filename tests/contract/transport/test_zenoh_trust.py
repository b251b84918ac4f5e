"""Attacks on a mesh over Zenoh, by who has no certificate, a wrong one, or one of somebody else's name."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from littoral.errors import NodeError, PeerError
from littoral.mesh.zenoh_log import MISNAMED, ZenohLog, refusal_in
from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_session import Answer, Request, ZenohSession
from littoral.mesh.zenoh_transport import ZenohTransport
from mesh_certificates import Authority
from mesh_rigs import ZenohRig, echo, meet, reached
from waiting import until_async

DEADLINE_S = 60.0
SHORT_S = 0.3


@pytest.fixture(params=["quic", "tls"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ZenohRig]:
    made = ZenohRig(tmp_path, request.param)
    yield made
    await made.close()


class Ears:
    """Of a session without a transport."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bytes]] = []
        self.asked: list[Request] = []
        self.here: set[str] = set()

    def on_request(self, request: Request) -> None:
        self.asked.append(request)
        request.reply(b"stolen")
        request.close()

    def on_message(self, sender: str, topic: str, body: bytes) -> None:
        self.heard.append((sender, topic, body))

    def on_liveness(self, name: str, is_here: bool) -> None:
        (self.here.add if is_here else self.here.discard)(name)

    def on_link(self, name: str) -> None:
        """It sees what it sees over whatever link."""


async def impostor(rig: ZenohRig, name: str, *, certificate_of: str) -> tuple[ZenohSession, Ears]:
    """Says to be one node, has the certificate of another."""
    shown = rig.options(certificate_of)
    ears = Ears()
    options = replace(rig.options(name), certificate=shown.certificate, key=shown.key, listen="127.0.0.1:0")
    return await asyncio.to_thread(ZenohSession, options, ears), ears


async def asked(
    session: ZenohSession, peer: str, service: str, body: bytes = b"", *, deadline_s: float = 1.0
) -> Answer:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()
    session.ask(
        peer,
        service,
        body,
        deadline_s=deadline_s,
        on_answer=lambda came: loop.call_soon_threadsafe(answer.set_result, came),
    )
    return await asyncio.wait_for(answer, DEADLINE_S)


async def test_a_node_cannot_speak_under_the_name_of_another(rig: ZenohRig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    seen: list[tuple[str, bytes]] = []

    async def note(caller: str, body: bytes) -> bytes:
        seen.append((caller, body))
        return b"known"

    await other.serve("note", note)
    messages: list[tuple[str, str, bytes]] = []
    await other.subscribe("news", lambda *message: messages.append(message))
    honest, ears = await impostor(rig, "gw-3", certificate_of="gw-3")
    with honest:
        await until_async(lambda: "gw-3" in other.alive() and "gw-2" in ears.here)
        assert await asked(honest, "gw-2", "note", b"mine", deadline_s=DEADLINE_S) == Answer(b"known", None)
    false, _ = await impostor(rig, "gw-1", certificate_of="gw-3")
    with false:
        await until_async(lambda: any(name == "gw-3" for name, _ in other.links()))
        assert await asked(false, "gw-2", "note", b"forged") == Answer(None, None)
        false.publish("news", b"forged")
        assert await one.request("gw-2", "note", b"real", deadline_s=DEADLINE_S) == b"known"
    assert seen == [("gw-3", b"mine"), ("gw-1", b"real")]
    assert messages == []


async def test_a_node_cannot_take_the_requests_or_the_place_of_another(rig: ZenohRig) -> None:
    one = await rig.join("gw-1")
    false, ears = await impostor(rig, "gw-2", certificate_of="gw-3")
    with false:
        await until_async(lambda: any(name == "gw-3" for name, _ in one.links()))
        with pytest.raises(PeerError, match="peer `gw-2`: no way to it"):
            await one.request("gw-2", "note", b"secret", deadline_s=SHORT_S)
        assert one.alive() == {"gw-1"}
    assert ears.asked == []


async def test_a_certificate_of_this_site_that_is_no_peers_opens_nothing(rig: ZenohRig) -> None:
    one = await rig.join("gw-1")
    await one.serve("echo", echo)
    left, ears = await impostor(rig, "gw-left", certificate_of="gw-left")
    with left:
        left.listen("news")
        await until_async(lambda: any(name == "gw-left" for name, _ in one.links()))
        assert await asked(left, "gw-1", "echo", b"x") == Answer(None, None)
        await one.publish("news", b"for peers")
        assert one.alive() == {"gw-1"}
    assert (ears.heard, ears.here) == ([], set())


async def test_who_is_admitted_later_is_let_in_and_who_is_left_out_is_not(rig: ZenohRig) -> None:
    all_peers = rig.options("gw-1").peers
    one = await rig.open(replace(rig.options("gw-1"), peers={"gw-2": all_peers["gw-2"]}))
    other, third = await rig.join("gw-2"), await rig.join("gw-3")
    for node in (one, other, third):
        await node.serve("echo", echo)
    await meet(one, other)
    heard: list[tuple[str, str, bytes]] = []
    await one.subscribe("news", lambda *message: heard.append(message))
    with pytest.raises(PeerError):
        await third.request("gw-1", "echo", b"", deadline_s=SHORT_S)
    await one.admit({"gw-3": all_peers["gw-3"]})
    assert "gw-2" not in one.alive()
    await meet(one, third)
    assert await reached(third, "gw-1", "echo", b"in") == b"in"
    assert await reached(one, "gw-3", "echo", b"out") == b"out"
    with pytest.raises(PeerError):
        await other.request("gw-1", "echo", b"", deadline_s=SHORT_S)

    async def published() -> None:
        while not heard:
            await third.publish("news", b"again")
            await asyncio.sleep(0.005)

    await asyncio.wait_for(published(), DEADLINE_S)


async def test_a_renewed_certificate_takes_the_place_of_the_old(rig: ZenohRig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await one.serve("echo", echo)
    await meet(one, other)
    renewed = rig.authority.issue("gw-1", days=60)
    await one.renew(renewed.certificate, renewed.key)
    await until_async(lambda: bool(one.links()))
    await meet(one, other)
    assert await reached(other, "gw-1", "echo", b"x") == b"x"


async def counted(node: ZenohTransport, peer: str, reason: str, least: int) -> int:
    """How often the peer has refused something for this reason, once that is so often."""
    count = 0
    for _ in range(3000):
        count = int(await node.request(peer, "refused", reason.encode(), deadline_s=DEADLINE_S))
        if count >= least:
            break
        await asyncio.sleep(0.02)
    assert count >= least
    return count


async def test_what_comes_under_the_name_of_another_is_counted_where_it_comes(rig: ZenohRig) -> None:
    await rig.spawn("gw-2")
    third = await rig.join("gw-4")
    await until_async(lambda: "gw-2" in third.alive())
    assert await counted(third, "gw-2", "name", 0) == 0
    false, _ = await impostor(rig, "gw-1", certificate_of="gw-3")
    with false:
        count = 0
        for _ in range(3):
            assert await asked(false, "gw-2", "echo", b"forged") == Answer(None, None)
            count = await counted(third, "gw-2", "name", count + 1)


async def test_a_certificate_from_before_a_revocation_only_renews(rig: ZenohRig) -> None:
    peers = rig.options("gw-1").peers
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    for service in ("echo", "identity-renew"):
        await one.serve(service, echo)
        await other.serve(service, echo)
    await meet(one, other)
    await one.admit(peers, {"gw-2": 1})
    await reached(other, "gw-1", "identity-renew")
    await reached(one, "gw-2", "identity-renew")
    for asker, peer in ((other, "gw-1"), (one, "gw-2")):
        with pytest.raises(PeerError):
            await asker.request(peer, "echo", b"x", deadline_s=SHORT_S)
    await until_async(lambda: one.alive() == {"gw-1"})
    for generation in (1, 2):
        renewed = rig.authority.issue("gw-2", common_name=f"gw-2.{generation}")
        await other.renew(renewed.certificate, renewed.key)
        await meet(one, other)
        assert await reached(other, "gw-1", "echo", b"x") == b"x"
        # Either end may have linked to the other.
        assert {name for name, _ in one.links()} == {"gw-2"}


def strangers(rig: ZenohRig, kind: str) -> ZenohOptions:
    """Who is to be refused, and says to be gw-2."""
    options = rig.options("gw-2")
    match kind:
        case "foreign":
            made = Authority(rig.folder / "foreign").issue("gw-2")
        case "expired":
            made = rig.authority.issue("gw-2", days=-1)
        case "not yet":
            made = rig.authority.issue("gw-2", days=90)
        case _:
            raise AssertionError(kind)
    return replace(options, certificate=made.certificate, key=made.key)


@pytest.mark.parametrize("kind", ["foreign", "expired", "not yet"])
async def test_a_certificate_that_does_not_hold_is_refused_and_counted(rig: ZenohRig, kind: str) -> None:
    await rig.spawn("gw-1")
    third = await rig.join("gw-3")
    await until_async(lambda: "gw-1" in third.alive())
    stranger = await rig.open(replace(strangers(rig, kind), listen="127.0.0.1:0"))

    await counted(third, "gw-1", "certificate", 1)
    assert stranger.alive() == {"gw-2"}
    with pytest.raises(PeerError):
        await stranger.request("gw-1", "echo", b"", deadline_s=SHORT_S)


async def test_a_place_whose_certificate_names_another_is_not_spoken_to(rig: ZenohRig) -> None:
    elsewhere = rig.authority.issue("gw-1", places=("127.0.0.9",))
    one = await rig.open(
        replace(rig.options("gw-1"), certificate=elsewhere.certificate, key=elsewhere.key, peers={"gw-2": None})
    )
    other = await rig.open(replace(rig.options("gw-2"), listen="127.0.0.1:0"))
    with pytest.raises(PeerError):
        await other.request("gw-1", "echo", b"", deadline_s=1.0)
    assert (one.links(), other.links()) == ([], [])


async def test_a_port_that_is_taken_is_told(rig: ZenohRig) -> None:
    await rig.join("gw-1")
    with pytest.raises(NodeError, match="mesh: `gw-2` cannot open `(quic|tls)` on `127"):
        await rig.open(replace(rig.options("gw-2"), listen=f"127.0.0.1:{rig.ports['gw-1']}"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'QUIC acceptor failed: TransportError(Error { reason: "peer sent no certificates" })',
            "peer sent no certificates",
        ),
        ("invalid peer certificate: BadSignature. Hint: x", "invalid peer certificate: BadSignature"),
        (
            "invalid peer certificate: certificate expired: verification",
            "invalid peer certificate: certificate expired",
        ),
        ("Gossip is disabled", None),
    ],
)
def test_refusals_are_read_from_the_log(text: str, reason: str | None) -> None:
    assert refusal_in(text) == reason


def test_what_is_no_line_of_zenohs_is_passed_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    monkeypatch.setattr(ZenohLog, "listeners", [refused.append])
    said = tmp_path / "said"
    said.write_text(
        "our own line\n"
        "\x1b[2m2026-11-22T03:38:13.259754Z\x1b[0m \x1b[33m WARN\x1b[0m acc-0 ThreadId(05) zenoh_link_tls::unicast: "
        "peer sent no certificates. Hint: increase the system open file limit.\n"
        "2026-11-22T03:38:13.2Z ERROR net-0 ThreadId(03) zenoh::net::runtime: it broke\n"
        "2026-11-22T09:33:15.8Z TRACE rx-3 ThreadId(05) zenoh::net::routing::interceptor: Msg intercepted!\n"
        "2026-11-22T09:33:39.0Z TRACE ThreadId(23) zenoh::net::routing::interceptor: Msg intercepted!\n"
    )
    with caplog.at_level("WARNING"), said.open() as lines, (tmp_path / "out").open("w") as out:
        ZenohLog(out).read(lines)
    assert (tmp_path / "out").read_text() == "our own line\n"
    assert refused == ["peer sent no certificates", MISNAMED]
    assert "zenoh::net::runtime: it broke" in caplog.text
