"""Nodes with identities: who belongs to the site and where shards lie is what the site has signed, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from littoral.clock import SYSTEM
from littoral.errors import ForbiddenError, TrustError
from littoral.mesh.identity.founding import Root, found_site, new_root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.rollover import begin_rollover
from littoral.mesh.roster import ROSTER
from littoral.mesh.shard_map import Spread, encode_map
from littoral.node.federation.signed_site import SHARD_MAP, SignedSite
from littoral.node.mesh_view import view
from littoral.node.search_how import noting
from littoral.vectors.queries import SearchParams
from mesh_site import joined
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

SIZE = 4
COUNT = 30
ROWS = np.random.default_rng(3).standard_normal((COUNT, SIZE)).astype("<f4")

Nodes = dict[str, SpreadNode]
Identities = dict[str, Identity]


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
def root() -> Root:
    return new_root("shop", SYSTEM)


@pytest.fixture
async def identities(tmp_path: Path, root: Root) -> Identities:
    """The writer is not the node whose name is first."""
    writer = found_site(tmp_path / "b", root, site="shop", name="b", clock=SYSTEM)
    found = {"b": writer}
    for name in ("a", "c"):
        found[name] = await joined(tmp_path, writer, name, SYSTEM, region="eu", is_issuer=name == "a")  # type: ignore[arg-type]
    signed = writer.documents.signed(ROSTER)
    assert signed is not None
    for identity in found.values():
        identity.documents.take(signed)
    return found


@pytest.fixture
async def nodes(tmp_path: Path, wires: Wires, identities: Identities) -> AsyncIterator[Nodes]:
    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    async with spread_nodes(tmp_path, ["a", "b", "c"], tables, wires=wires, identities=identities) as found:
        await found["a"]["points"].upsert(range(COUNT), ROWS)
        yield found


async def test_the_map_is_a_document_that_the_roster_s_writer_has_signed(nodes: Nodes, identities: Identities) -> None:
    assert {node.federation.writer for node in nodes.values()} == {"b"}
    documents = [identity.documents.current(SHARD_MAP) for identity in identities.values()]
    assert {document.writer for document in documents if document is not None} == {"b"}
    assert all(document is not None for document in documents)
    assert len({encode_map(node.federation.map) for node in nodes.values()}) == 1
    assert nodes["c"].federation.roster() == {"a": "eu", "b": "", "c": "eu"}
    assert await nodes["c"]["points"].count() == COUNT


async def test_a_map_that_the_site_has_not_signed_is_not_taken(nodes: Nodes, identities: Identities) -> None:
    keeper = nodes["c"].federation.keeper
    before = keeper.map
    with pytest.raises(TrustError):
        keeper.take(encode_map(before.with_spreads({"points": Spread("hash", {9: ["a"]})})))
    roster = identities["b"].documents.signed(ROSTER)
    assert roster is not None
    with pytest.raises(TrustError, match="kind `roster`"):
        keeper.take(roster)
    with pytest.raises(ForbiddenError, match="not an issuer"):
        keeper.write({"points": Spread("hash", {9: ["a"]})})
    assert keeper.map == before


async def test_a_map_goes_round_and_an_older_one_never_comes_back(nodes: Nodes, identities: Identities) -> None:
    writer, reader = nodes["b"].federation, nodes["a"].federation
    old = identities["b"].documents.signed(SHARD_MAP)
    assert old is not None
    writer.keeper.write({"points": writer.map.spreads["points"]})
    await until_async(lambda: reader.map.number == writer.map.number)
    number = reader.map.number
    reader.keeper.take(old)
    assert reader.map.number == number


async def test_a_node_that_was_revoked_is_asked_nothing_and_tells_nothing(nodes: Nodes, identities: Identities) -> None:
    """From the moment on when a node has the roster that says so."""
    Issuer(identities["b"]).write(lambda roster: roster.without("c", SYSTEM.wall()))
    signed = identities["b"].documents.signed(ROSTER)
    assert signed is not None
    identities["a"].documents.take(signed)
    for name in ("a", "b"):
        assert nodes[name].federation.roster().keys() == {"a", "b"}
        with noting() as how:
            hits = await nodes[name]["points"].search(ROWS[0], limit=COUNT, params=SearchParams(exact=True))
        assert how.told is not None
        assert how.told["missing"] == ["c"]
        assert len(hits) < COUNT
    with noting() as how:
        await nodes["c"]["points"].search(ROWS[0], params=SearchParams(exact=True))
    assert how.told is not None
    assert how.told["missing"] == ["a", "b"]
    identities["c"].documents.take(signed)
    with pytest.raises(ForbiddenError, match="`c` is no member"):
        await nodes["c"]["points"].search(ROWS[0])
    assert nodes["c"].federation.lacking() == []


async def test_another_issuer_writes_where_the_writer_is_lost(
    tmp_path: Path, wires: Wires, identities: Identities
) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1)}
    async with spread_nodes(tmp_path, ["a", "b", "c"], tables, wires=wires, identities=identities) as nodes:
        number = nodes["a"].federation.map.number
    Issuer(identities["a"]).take_over()
    taken_over = identities["a"].documents.signed(ROSTER)
    assert taken_over is not None
    identities["c"].documents.take(taken_over)
    async with spread_nodes(tmp_path, ["a", "c"], tables, wires=Wires(), identities=identities) as nodes:
        assert {node.federation.writer for node in nodes.values()} == {"a"}
        assert nodes["a"].federation.map.number == number
        nodes["a"].federation.keeper.write({"points": nodes["a"].federation.map.spreads["points"]})
        await until_async(lambda: nodes["c"].federation.map.number > number)
        document = identities["c"].documents.current(SHARD_MAP)
        assert document is not None
        assert document.writer == "a"


async def test_a_node_tells_of_a_change_of_the_authority(nodes: Nodes, identities: Identities, root: Root) -> None:
    """The map is signed anew, and stays what it is; the writer knows who is waited for."""
    before, writer = nodes["b"].federation.map, identities["b"]
    begin_rollover(writer, root, within_s=0)
    for name in ("a", "c"):
        identities[name].documents.take(writer.documents.signed(ROSTER) or b"")
        identities[name].follow()
    seen = {name: view(nodes[name].federation, now_s=SYSTEM.wall()).desired.rollover for name in nodes}
    waiting = {name: None if change is None else change.waiting for name, change in seen.items()}
    assert waiting == {"a": None, "b": ["a", "b", "c"], "c": None}
    assert writer.documents.signer(SHARD_MAP) == writer.trust.issuing
    signed = writer.documents.signed(SHARD_MAP) or b""
    renewed = SignedSite(identities["c"]).take(signed)
    assert renewed is not None
    assert (renewed.spreads, renewed.number > before.number) == (before.spreads, True)
