"""Joining a site: a token once, for one name, in time; a site proven by the token; bounds on what the network sends."""

import asyncio
import ssl
from pathlib import Path

import pytest

from littoral.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    PeerError,
    TrustError,
)
from littoral.mesh.identity.asking import join_site
from littoral.mesh.identity.door import REFUSED, read_frame, write_frame
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.messages import ASK_BYTES_MAX, AskJoin
from littoral.mesh.identity.tokens import parse_token
from littoral.mesh.roster import RosterNode
from littoral.mesh.trust.certificates import make_request
from littoral.mesh.trust.keys import new_node_key
from littoral.transport.told_errors import heard_error
from mesh_site import MovedClock, found, joined, opened, token_for


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def founder(tmp_path: Path, clock: MovedClock) -> Identity:
    return found(tmp_path, clock)


async def test_a_node_joins_with_a_token(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    token = token_for(founder, "gw-2", region="north", labels={"camera": "yes"})
    async with opened(founder) as door:
        node = await join_site(
            tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock, endpoints=["quic/10.0.0.2:7447"]
        )
    assert (node.name, node.trust.site) == ("gw-2", "farm")
    assert node.credential.certificate.expires_at_s - node.credential.certificate.issued_at_s == 30 * 86400
    roster = Issuer(founder).roster()
    assert roster.find("gw-2") == RosterNode(
        "gw-2", int(clock.wall()), ["quic/10.0.0.2:7447"], "north", {"camera": "yes"}
    )
    assert node.documents.signed("roster") == founder.documents.signed("roster")
    assert node.issuing_key() is None


async def test_an_issuer_gets_the_issuing_key_sealed_to_its_own(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    node = await joined(tmp_path, founder, "gw-2", clock, is_issuer=True)
    assert node.issuing_key() is not None
    assert Issuer(node).roster().issuers == ["gw-1", "gw-2"]


async def test_keys_are_for_their_owner_only(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    await joined(tmp_path, founder, "gw-2", clock, is_issuer=True)
    for name in ("gw-1", "gw-2"):
        folder = tmp_path / name / "mesh"
        assert folder.stat().st_mode & 0o077 == 0
        secret = [file for file in folder.rglob("*") if file.is_file() and b"PRIVATE" in file.read_bytes()]
        assert {file.name for file in secret} == {"node.pem", "issuing.key"}
        assert [file for file in secret if file.stat().st_mode & 0o077] == []


async def test_a_token_is_good_once(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    token = token_for(founder, "gw-2")
    async with opened(founder) as door:
        await join_site(tmp_path / "a", door.host, door.port, token, "gw-2", clock)
        with pytest.raises(ConflictError, match=r"the join token for `gw-2` was used"):
            await join_site(tmp_path / "b", door.host, door.port, token, "gw-2", clock)


async def test_an_answer_that_was_lost_is_asked_for_again_by_the_same_key(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    token, folder = token_for(founder, "gw-2"), tmp_path / "gw-2"
    async with opened(founder) as door:
        first = await join_site(folder, door.host, door.port, token, "gw-2", clock)
        (folder / "mesh" / "joining.key").write_bytes(_key_of(first))
        (folder / "mesh" / "node.pem").unlink()
        again = await join_site(folder, door.host, door.port, token, "gw-2", clock)
    assert again.credential.certificate.public_key == first.credential.certificate.public_key


def _key_of(identity: Identity) -> bytes:
    pem = identity.credential_file.read_bytes()
    return pem[: pem.find(b"-----BEGIN CERTIFICATE")]


async def test_an_expired_token_is_refused(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    token = token_for(founder, "gw-2", minutes=60)
    clock.move(3601)
    async with opened(founder) as door:
        with pytest.raises(ForbiddenError, match="has expired"):
            await join_site(tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock)


async def test_a_token_is_for_one_name(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    token = token_for(founder, "gw-2")
    async with opened(founder) as door:
        with pytest.raises(ForbiddenError, match=r"is for `gw-2`, not for `gw-3`"):
            await join_site(tmp_path / "gw-3", door.host, door.port, token, "gw-3", clock)
        await join_site(tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock)


async def test_a_guessed_secret_is_refused(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    token = token_for(founder, "gw-2")._replace(secret="0" * 32)
    async with opened(founder) as door:
        with pytest.raises(ForbiddenError, match="nobody here made this join token"):
            await join_site(tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock)


async def test_a_site_that_is_not_the_tokens_gets_no_secret(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    other = found(tmp_path / "other", clock, site="other")
    token = token_for(founder, "gw-2")
    async with opened(other) as door:
        with pytest.raises(TrustError, match="is of a site whose authority is"):
            await join_site(tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock)
    assert not (tmp_path / "gw-2" / "mesh" / "node.pem").exists()


async def test_another_node_of_the_site_cannot_stand_in_for_the_issuer(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    second = await joined(tmp_path, founder, "gw-2", clock, is_issuer=True)
    token = token_for(founder, "gw-3")
    async with opened(second) as door:
        with pytest.raises(TrustError, match=r"the door is of `gw-2`, the token is for that of `gw-1`"):
            await join_site(tmp_path / "gw-3", door.host, door.port, token, "gw-3", clock)


async def test_the_sites_under_one_root_do_not_trust_each_other(tmp_path: Path, clock: MovedClock) -> None:
    from littoral.mesh.identity.founding import new_root
    from littoral.mesh.trust.chain import Reason, Refusal

    root = new_root("fleet", clock)
    north = found(tmp_path / "n", clock, site="north", root=root)
    south = found(tmp_path / "s", clock, site="south", root=root)
    judged = north.trust.judge(south.credential.chain, clock.wall())
    assert isinstance(judged, Refusal)
    assert judged.reason is Reason.FOREIGN


@pytest.mark.parametrize(
    "endpoint",
    ["tcp/10.0.0.2:7447", "quic/0.0.0.0:7447", "quic/gw-1:7447", "quic/10.0.0.2:0", "quic/10.0.0.2", "x" * 200],
)
async def test_endpoints_that_nobody_reaches_or_that_are_anothers_are_refused(
    tmp_path: Path, founder: Identity, clock: MovedClock, endpoint: str
) -> None:
    token = token_for(founder, "gw-2")
    async with opened(founder) as door:
        with pytest.raises(InputError, match="endpoint"):
            await join_site(tmp_path / "gw-2", door.host, door.port, token, "gw-2", clock, endpoints=[endpoint])


async def test_a_name_that_is_taken_needs_a_token_that_says_so(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    await joined(tmp_path, founder, "gw-2", clock)
    with pytest.raises(ConflictError, match=r"`gw-2` is in the roster"):
        token_for(founder, "gw-2")


async def test_only_the_writer_takes_joins(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    second = await joined(tmp_path, founder, "gw-2", clock, is_issuer=True)
    with pytest.raises(ForbiddenError, match=r"node `gw-1` writes the roster of `farm`, not `gw-2`"):
        token_for(second, "gw-3")


def test_a_node_without_the_key_issues_nothing(founder: Identity) -> None:
    (founder.folder / "issuing.key").unlink()
    with pytest.raises(ForbiddenError, match="is not an issuer"):
        Issuer(founder)


async def test_a_folder_holds_one_identity(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    with pytest.raises(ConflictError, match="holds the identity of a node already"):
        found(tmp_path, clock)
    with pytest.raises(NotFoundError, match="root.pem"):
        Identity.open(tmp_path / "nobody", clock)


@pytest.mark.parametrize(
    "text", ["", "littoral1.gw-1.abc.def", "x" * 5000, "littoral2.gw-1." + "0" * 48 + "." + "0" * 64]
)
def test_what_is_no_token_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_token(text)
    assert not text or text not in str(refused.value)


def test_the_site_keeps_no_secret(tmp_path: Path, founder: Identity) -> None:
    token = token_for(founder, "gw-2")
    kept = b"".join(file.read_bytes() for file in (founder.folder / "tokens").iterdir())
    assert token.secret.encode() not in kept


async def test_no_door_at_the_address_is_the_networks_fault(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    async with opened(founder) as door:
        port = door.port
    with pytest.raises(PeerError, match=f"`127.0.0.1:{port}`"):
        await join_site(tmp_path / "gw-2", "127.0.0.1", port, token_for(founder, "gw-2"), "gw-2", clock)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _answer(port: int, frame: bytes) -> LittoralError:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_context())
    try:
        await write_frame(writer, frame)
        answer = await read_frame(reader, 1 << 20)
        assert answer.startswith(REFUSED)
        return heard_error("door", answer.removeprefix(REFUSED))
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("frame", [b"", b"{}", b"null", b'{"type":"join"}', b"[" * 60_000, b"\xff" * 100])
async def test_what_is_no_question_is_told_so(founder: Identity, frame: bytes) -> None:
    async with opened(founder) as door:
        assert isinstance(await _answer(door.port, frame), InputError)


async def test_a_frame_that_claims_too_much_ends_the_connection(founder: Identity) -> None:
    async with opened(founder) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=_context())
        writer.write((ASK_BYTES_MAX + 1).to_bytes(4))
        assert await reader.read(1) == b""
        writer.transport.abort()


async def test_requests_of_other_keys_names_and_sizes_are_refused(founder: Identity) -> None:
    token = token_for(founder, "gw-2")
    issuer = Issuer(founder)
    request = make_request("gw-2", new_node_key())
    with pytest.raises(TrustError, match="not a certificate request"):
        issuer.join(AskJoin(token.id, token.secret, b"\x30\x82" + bytes(100)))
    with pytest.raises(TrustError, match="at most 4096"):
        issuer.join(AskJoin(token.id, token.secret, request + bytes(4096)))
    changed = bytearray(request)
    changed[-1] ^= 1
    with pytest.raises(TrustError, match="certificate request"):
        issuer.join(AskJoin(token.id, token.secret, bytes(changed)))
    with pytest.raises(TrustError, match="is not a node's name"):
        issuer.join(AskJoin(token.id, token.secret, make_request("GW 2", new_node_key())))
