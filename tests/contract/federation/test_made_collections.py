"""Spread collections that requests make and delete: any node may be asked, who was away learns of it, none returns."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, NotFoundError, NotOfferedError, PeerError, TooLargeError
from littoral.mesh.identity.founding import found_site, new_root
from littoral.mesh.roster import ROSTER
from littoral.node.federation.moving.wishes import Asked, ToSpread
from littoral.node.federation.signed_site import SHARD_MAP
from littoral.vectors.aliases import AliasChange
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from made_site import CONFIG, COUNT, NAMES, ROWS, SIZE, Site, delete, make
from mesh_site import joined
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async, until_true


def left_on(node: SpreadNode, name: str) -> list[str]:
    """Shards and journals that lie there."""
    return [one for one in (*node.collections.parts(), *node.federation.replicas.kept()) if one.startswith(f"{name}.")]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    await found.start(*NAMES)
    yield found
    await found.stop(*list(found.nodes))


async def test_any_node_makes_it_and_any_node_deletes_it(site: Site) -> None:
    """The writer of the map is `a`."""
    await make(site.nodes["c"], shards=3)
    for node in site.nodes.values():
        assert node.collections.names() == ["notes"]
    await site.nodes["b"]["notes"].upsert(range(COUNT), ROWS, [{"n": i} for i in range(COUNT)])
    for node in site.nodes.values():
        (hits,) = [await node["notes"].search(ROWS[3], limit=1)]
        assert ([hit.id for hit in hits], await node["notes"].count()) == ([3], COUNT)
        assert not node.federation.lacking()
    with pytest.raises(ConflictError, match="`notes` exists already"):
        await make(site.nodes["b"])
    await site.nodes["c"].collections.change_aliases([AliasChange(alias="memos", collection="notes")])
    await delete(site.nodes["b"])
    for node in site.nodes.values():
        with pytest.raises(NotFoundError):
            node["notes"]
        await until_async(lambda node=node: not left_on(node, "notes"))
    assert site.nodes["c"].collections.alias_table.all() == {}
    await site.nodes["c"].collections.create("notes", CONFIG)
    assert await site.nodes["c"]["notes"].count() == 0


async def test_what_was_made_is_there_after_every_node_was_away(site: Site) -> None:
    await site.stop("b")
    await make(site.nodes["c"], config=CollectionConfig(named={"image": VectorParams(SIZE, "Cosine")}), recall=0.9)
    await site.nodes["c"]["notes"].upsert_points(PointBatch([1], [{"image": ROWS[1].tobytes()}]))
    await site.start("b")
    await until_async(lambda: "notes" in site.nodes["b"].collections)
    await until_async(lambda: not site.nodes["b"].federation.lacking())
    assert await site.nodes["b"]["notes"].count() == 1
    await site.stop(*NAMES)
    await site.start(*NAMES)
    for node in site.nodes.values():
        await until_async(lambda node=node: not node.federation.lacking())
        assert list(node["notes"].config.named) == ["image"]
        assert node.federation.target("notes").recall == 0.9
        assert await node["notes"].count() == 1


async def test_nothing_of_a_deleted_one_comes_back_with_a_node_that_was_away(site: Site) -> None:
    """It has points, a payload index and an alias of the one before when another of the same name is there."""
    first = site.nodes["a"]
    await make(first, replicas=3)
    await first["notes"].upsert(range(COUNT), ROWS)
    await first["notes"].create_index("old", "keyword")
    await until_true(lambda: has_all(site.nodes["c"]))
    await site.nodes["c"].collections.change_aliases([AliasChange(alias="memos", collection="notes")])
    before = first.federation.map.spreads["notes"]
    await site.stop("c")
    await delete(site.nodes["b"])
    await make(site.nodes["b"], replicas=3)
    after = first.federation.map.spreads["notes"]
    assert min(after.places) > max(before.places)
    assert after.epoch > before.epoch
    await first["notes"].upsert([5], ROWS[5:6])
    await site.start("c")
    for name in NAMES:
        node = site.nodes[name]
        await until_async(lambda node=node: node.federation.map.number == first.federation.map.number)
        await until_async(lambda node=node: not node.federation.lacking())
        await until_async(lambda node=node: not set(left_on(node, "notes")) & {f"notes.{one}" for one in before.places})
        assert await node["notes"].count() == 1
        assert (await node["notes"].info()).payload_schema == {}
    assert site.nodes["c"].collections.alias_table.all() == {}


async def has_all(node: SpreadNode) -> bool:
    counts = [await node.collections.part(part).count() for part in node.collections.parts()]  # type: ignore[union-attr]
    return sum(counts) == COUNT


async def test_a_name_that_a_node_has_for_itself_is_taken(site: Site) -> None:
    await site.nodes["c"].collections.create("notes", CONFIG)
    with pytest.raises(ConflictError, match="exists already on `c`"):
        await make(site.nodes["b"])
    await site.stop("c")
    await make(site.nodes["b"], shards=1)
    await site.start("c")
    federation = site.nodes["c"].federation
    await until_async(lambda: "notes" in federation.making.hidden)
    assert "notes" in federation.lacking()
    assert not federation.making.is_made("notes")
    await site.nodes["c"].collections.delete("notes")
    await until_async(lambda: federation.making.is_made("notes") and not federation.lacking())
    await delete(site.nodes["c"])
    assert "notes" not in site.nodes["a"].collections


async def test_without_the_node_that_writes_the_map_nothing_is_made(site: Site) -> None:
    await site.stop("a")
    with pytest.raises(PeerError):
        await make(site.nodes["b"])
    assert "notes" not in site.nodes["b"].collections
    await site.start("a")
    await make(site.nodes["b"])
    await site.stop("a")
    with pytest.raises(PeerError):
        await delete(site.nodes["b"])
    assert await site.nodes["b"]["notes"].count() == 0


async def test_what_a_site_file_has_is_not_made_or_deleted_by_requests(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=1, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes:
        with pytest.raises(NotOfferedError, match="by the site file"):
            await delete(nodes["b"], "points")
        with pytest.raises(ConflictError, match="exists already"):
            await make(nodes["b"], "points")
        await make(nodes["c"])
        await nodes["a"]["points"].upsert(range(COUNT), ROWS)
        await delete(nodes["c"])
        assert await nodes["b"]["points"].count() == COUNT


@pytest.mark.parametrize(
    ("spread", "said"),
    [
        ({"strategy": "geographic"}, "2 shards for 0 regions"),
        ({"strategy": "metric", "sample": "there.npy"}, "`sample` names a file"),
        ({"by": "image"}, "must be the name of a dense vector"),
        ({"replicas": 2, "holders": 3}, "at most `replicas`"),
        ({"region": "country"}, "is for the strategy `geographic`"),
    ],
)
async def test_what_no_site_can_do_is_refused_and_leaves_nothing(site: Site, spread: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        await make(site.nodes["b"], **spread)
    assert not site.nodes["a"].federation.map.spreads


async def test_names_and_definitions_have_bounds(site: Site) -> None:
    with pytest.raises(InputError, match="at most 64"):
        await make(site.nodes["b"], "n" * 65)
    with pytest.raises(InputError, match="collection name"):
        await make(site.nodes["b"], "a.0")
    long = CollectionConfig(VectorParams(SIZE, "Euclid"), metadata={"text": "x" * (1 << 16)})
    with pytest.raises(TooLargeError, match="definition"):
        await make(site.nodes["b"], config=long)


async def test_a_stranger_s_wish_is_not_heard(site: Site) -> None:
    stranger = site.wires.end("x")
    for service in ("collection-wish", "collection-free", "collection-known"):
        with pytest.raises(Exception, match="`x` is no member"):
            await stranger.request("a", service, b"1", deadline_s=5)
    with pytest.raises(InputError, match="wish of `b`"):
        await site.wires.ends["b"].request("a", "collection-wish", b"\xc1", deadline_s=5)
    assert not site.nodes["a"].federation.map.spreads


async def test_cells_come_once_there_are_points(site: Site) -> None:
    """By the strategy of the definition; until then points lie by their ids."""
    await make(site.nodes["b"], strategy="metric", shards=2, replicas=1)
    spread = site.nodes["c"].federation.map.spreads["notes"]
    assert spread.strategy == "hash"
    await site.nodes["c"]["notes"].upsert(range(COUNT), ROWS)
    wish = ToSpread("notes", strategy="metric", shards=2, replicas=1)
    assert (await site.nodes["c"].federation.changes.ask(Asked(wish, is_applied=True))).is_begun
    for node in site.nodes.values():
        await until_async(lambda node=node: node.federation.map.spreads["notes"].strategy == "metric")
        assert await node["notes"].count() == COUNT


async def test_on_a_signed_site_the_roster_s_writer_signs_it(tmp_path: Path) -> None:
    writer = found_site(tmp_path / "b", new_root("shop", SYSTEM), site="shop", name="b", clock=SYSTEM)
    identities = {"b": writer} | {name: await joined(tmp_path, writer, name, SYSTEM) for name in ("a", "c")}  # type: ignore[arg-type]
    signed = writer.documents.signed(ROSTER)
    assert signed is not None
    for identity in identities.values():
        identity.documents.take(signed)
    async with spread_nodes(tmp_path, NAMES, {}, identities=identities) as nodes:
        await make(nodes["a"])
        before = identities["c"].documents.current(SHARD_MAP)
        await delete(nodes["c"])
        after = identities["a"].documents.current(SHARD_MAP)
        assert before is not None
        assert after is not None
        assert (before.writer, after.writer, after.number) == ("b", "b", before.number + 1)
        for node in nodes.values():
            assert "notes" not in node.collections
