"""Who is heard over a transport that proves names: only whom the roster has, from the moment on when it says so."""

import random
from pathlib import Path

import msgspec
import pytest

from littoral.errors import ForbiddenError, InputError, PeerError, TrustError
from littoral.mesh.document_sync import DOCUMENTS, DocumentSync
from littoral.mesh.identity.admission import Admission, GuardedTransport
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.messages import RENEW
from littoral.mesh.identity.renewal import Renewal, asking, serve_renewals
from littoral.transport.fake import Network
from mesh_site import DAY_S, MovedClock, found, joined
from waiting import until_async

DEADLINE_S = 60.0
REFUSED = "littoral_mesh_refused_total"


class Node:
    """An identity on a network."""

    def __init__(self, identity: Identity, network: Network) -> None:
        self.identity = identity
        self.admission = Admission(identity)
        self.transport = GuardedTransport(network.join(identity.name), self.admission)
        self.taken: list[str] = []
        self.documents = DocumentSync(
            identity.documents, self.transport, lambda document: self.taken.append(f"{document.kind} {document.number}")
        )
        self.heard: list[tuple[str, bytes]] = []
        self.seen: list[tuple[str, bool]] = []

    async def start(self) -> "Node":
        async def hello(caller: str, body: bytes) -> bytes:
            return caller.encode() + body

        await self.transport.serve("hello", hello)
        await self.transport.subscribe("news", lambda sender, _topic, body: self.heard.append((sender, body)))
        self.transport.watch(lambda name, is_here: self.seen.append((name, is_here)))
        await serve_renewals(self.identity, self.transport)
        await self.documents.start()
        return self


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def network() -> Network:
    return Network()


@pytest.fixture
async def nodes(tmp_path: Path, clock: MovedClock, network: Network) -> dict[str, Node]:
    """gw-1 writes; all have the roster with all three; gw-9 has another site's."""
    founder = found(tmp_path, clock)
    identities = [
        founder,
        await joined(tmp_path, founder, "gw-2", clock),
        await joined(tmp_path, founder, "gw-3", clock),
    ]
    for identity in identities:
        identity.documents.take(founder.documents.signed("roster") or b"")
    stranger = found(tmp_path / "o", clock, site="other", name="gw-9")
    return {identity.name: await Node(identity, network).start() for identity in [*identities, stranger]}


async def test_nodes_of_the_roster_are_heard(nodes: dict[str, Node]) -> None:
    assert await nodes["gw-2"].transport.request("gw-3", "hello", b"!", deadline_s=DEADLINE_S) == b"gw-2!"
    assert nodes["gw-2"].transport.alive() == {"gw-1", "gw-2", "gw-3"}
    await nodes["gw-2"].transport.publish("news", b"one")
    await until_async(lambda: nodes["gw-3"].heard == [("gw-2", b"one")])
    await until_async(lambda: {name for name, _ in nodes["gw-3"].seen} == {"gw-1", "gw-2"})


async def test_a_stranger_is_refused_and_counted(nodes: dict[str, Node], network: Network) -> None:
    raw = network.end_of("gw-9")
    assert raw is not None
    with pytest.raises(ForbiddenError, match=r"`gw-9` is not in the roster"):
        await raw.request("gw-1", "hello", b"", deadline_s=DEADLINE_S)
    await raw.publish("news", b"false")
    refused = dict.fromkeys(("foreign", "retired", "expired", "unknown", "revoked", "wrong-name"), 0)
    await until_async(lambda: nodes["gw-2"].admission.refused == refused | {"unknown": 1})
    await until_async(lambda: nodes["gw-1"].admission.refused == refused | {"unknown": 2})
    assert nodes["gw-2"].heard == []
    told = {reading.labels: reading.value for reading in nodes["gw-2"].transport.readings() if reading.name == REFUSED}
    assert told["unknown",] == 1


async def test_nobody_outside_the_roster_is_asked(nodes: dict[str, Node]) -> None:
    transport = nodes["gw-2"].transport
    with pytest.raises(PeerError, match=r"`gw-9` is not in the roster"):
        await transport.request("gw-9", "hello", b"", deadline_s=DEADLINE_S)
    replies = {
        reply.peer: reply async for reply in transport.fan_out(["gw-9", "gw-3"], "hello", b"", deadline_s=DEADLINE_S)
    }
    assert replies["gw-3"].body == b"gw-2"
    assert isinstance(replies["gw-9"].error, PeerError)


async def test_a_revoked_node_is_refused_as_soon_as_the_roster_is_there(
    nodes: dict[str, Node], clock: MovedClock
) -> None:
    Issuer(nodes["gw-1"].identity).write(lambda roster: roster.without("gw-3", clock.wall()))
    await nodes["gw-3"].transport.request("gw-2", "hello", b"", deadline_s=DEADLINE_S)
    await nodes["gw-1"].documents.announce()
    await until_async(lambda: nodes["gw-2"].documents.is_behind)
    assert await nodes["gw-2"].documents.pull_heard() == 1
    assert nodes["gw-2"].taken == ["roster 4"]
    with pytest.raises(ForbiddenError, match=r"`gw-3` was revoked"):
        await nodes["gw-3"].transport.request("gw-2", "hello", b"", deadline_s=DEADLINE_S)
    assert nodes["gw-2"].admission.refused["revoked"] == 1
    assert "gw-3" not in nodes["gw-2"].transport.alive()


async def test_a_certificate_is_renewed_over_the_mesh(nodes: dict[str, Node], clock: MovedClock) -> None:
    node = nodes["gw-2"]
    before = node.identity.credential.certificate
    renewal = Renewal(node.identity, asking(node.transport), random.Random(0))
    assert not await renewal.tick()
    clock.move(23 * DAY_S)
    assert await renewal.tick()
    after = node.identity.credential.certificate
    assert (after.name, after.expires_at_s - before.expires_at_s) == ("gw-2", 23 * DAY_S)
    assert after.public_key != before.public_key


async def test_a_node_that_is_no_issuer_says_so(nodes: dict[str, Node]) -> None:
    with pytest.raises(InputError):
        await nodes["gw-3"].transport.request("gw-1", RENEW, b"{}", deadline_s=DEADLINE_S)
    from littoral.mesh.identity.messages import prove

    proof = msgspec.json.encode(prove(nodes["gw-3"].identity.credential, RENEW, b""))
    with pytest.raises(ForbiddenError, match="is not an issuer"):
        await nodes["gw-3"].transport.request("gw-2", RENEW, proof, deadline_s=DEADLINE_S)
    stolen = msgspec.json.encode(prove(nodes["gw-2"].identity.credential, RENEW, b""))
    with pytest.raises(TrustError, match=r"`gw-3` shows the certificate of `gw-2`"):
        await nodes["gw-3"].transport.request("gw-1", RENEW, stolen, deadline_s=DEADLINE_S)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"roster":"x"}', b"{" * 5000])
async def test_announcements_that_are_none_change_nothing(nodes: dict[str, Node], body: bytes) -> None:
    await nodes["gw-3"].transport.publish("documents", body)
    await until_async(lambda: bool(nodes["gw-2"].documents.failure))
    assert await nodes["gw-2"].documents.pull_heard() == 0


async def test_a_forged_document_from_a_peer_is_not_taken(nodes: dict[str, Node]) -> None:
    """A node of the site answers with another site's roster."""
    forged = nodes["gw-9"].identity.documents.signed("roster")
    store, elsewhere = nodes["gw-2"].identity.documents, Network()

    async def lie(_caller: str, _body: bytes) -> bytes:
        return msgspec.json.encode([forged])

    await elsewhere.join("gw-3").serve(DOCUMENTS, lie)
    before, mine = store.signed("roster"), elsewhere.join("gw-2")
    await until_async(lambda: "gw-3" in mine.alive())
    with pytest.raises(TrustError, match="was not issued by the site's root"):
        await DocumentSync(store, mine, lambda _: None).pull("gw-3")
    assert store.signed("roster") == before
