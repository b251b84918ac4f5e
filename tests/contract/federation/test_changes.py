"""Other layouts as people, or a node by itself, ask for them: planned by who writes the map, carried out by all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import ConflictError
from littoral.node.federation.moving.wishes import Asked, Back, Dissolve, Divide, Level, Plan, ToSpread, Wish
from littoral.vectors.queries import SearchParams
from moving import are_at, shards_on_disk, writer_of
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

SIZE, COUNT = 4, 900
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)

Nodes = dict[str, SpreadNode]


def rows(count: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


async def until_counted(nodes: Nodes) -> None:
    """Who writes the map has heard how many points each shard has."""
    federation = writer_of(nodes).federation

    def is_told() -> bool:
        spread = federation.map.spreads["points"]
        uses = federation.changes.uses("points", spread)
        return uses.keys() == spread.places.keys() and sum(use.points for use in uses.values()) >= COUNT

    await until_async(is_told)


async def done(nodes: Nodes, wish: Wish) -> Plan:
    """Asked of a node that does not write the map, and waited for; every point is there then, once."""
    plan = await nodes["b"].federation.changes.ask(Asked(wish, is_applied=True))
    assert plan.is_begun, plan.why
    before = writer_of(nodes).federation.map.spreads["points"].all_places
    places = {shard: before[shard] for shard in plan.kept} | plan.coming
    await until_async(lambda: are_at(nodes, "points", places))
    on_disk = sorted({part for parts in shards_on_disk(nodes).values() for part in parts})
    assert on_disk == sorted(f"points.{shard}" for shard in places)
    for node in nodes.values():
        assert await node["points"].count() == COUNT
        for query in rows(3, seed=5):
            hits = await node["points"].search(query, limit=10, params=EXACT)
            nearest = ((rows(COUNT) - query) ** 2).sum(axis=1).argsort()[:10].tolist()
            assert [hit.id for hit in hits] == nearest
    return plan


async def test_a_collection_without_a_sample_gets_cells_and_every_kind_of_change(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, strategy="metric", shards=3, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes:
        spread = writer_of(nodes).federation.map.spreads["points"]
        assert spread.strategy == "hash"
        await nodes["c"]["points"].upsert(range(COUNT), rows(COUNT))
        await until_counted(nodes)

        only_told = await nodes["c"].federation.changes.ask(Asked(Level("points")))
        assert (only_told.strategy, only_told.is_begun) == ("metric", False)
        assert only_told.why == f"{COUNT} points are there, cells can be fitted to them"
        assert (await done(nodes, Level("points"))).strategy == "metric"

        spread = writer_of(nodes).federation.map.spreads["points"]
        shard, (holder,) = next(iter(spread.places.items()))
        target = next(name for name in NAMES if name != holder)
        handing = nodes[holder].federation.moving
        await until_counted(nodes)
        own = writer_of(nodes).federation.changes.uses("points", spread)[shard].points
        before = handing.away_point_count
        divided = await done(nodes, Divide("points", shard, [target]))
        assert divided.going == [shard]
        assert divided.kept == sorted(spread.places.keys() - {shard})
        assert 0 < handing.away_point_count - before <= 0.62 * own

        half = next(shard for shard, nodes in divided.coming.items() if nodes == [target])
        dissolved = await done(nodes, Dissolve("points", half))
        assert dissolved.going == sorted(divided.coming)
        assert dissolved.kept == divided.kept

        doubled = await done(nodes, ToSpread("points", replicas=2))
        assert all(len(set(held)) == 2 for held in doubled.coming.values())


async def test_a_node_does_by_itself_what_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral.node.federation.moving.rebalancing.REBALANCE_S", 1.0)
    tables = {"points": spread_table(SIZE, strategy="hybrid", shards=2, replicas=1)}
    async with spread_nodes(tmp_path, NAMES[:2], tables, mesh_options={"rebalance": "auto"}) as nodes:
        await nodes["b"]["points"].upsert(range(COUNT), rows(COUNT))
        federation = writer_of(nodes).federation
        await until_async(lambda: federation.map.spreads["points"].strategy == "hybrid")
        await until_async(lambda: federation.map.spreads["points"].change is None)
        assert await nodes["b"]["points"].count() == COUNT


async def test_regions_are_made_and_given_up(tmp_path: Path) -> None:
    """From `hash` to `geographic` and back, and what is wrong with a wish is told by whoever is asked."""
    tables = {"points": spread_table(SIZE, shards=2, replicas=1, region="where")}
    regions = {"a": "eu", "b": "us"}
    async with spread_nodes(tmp_path, NAMES[:2], tables, regions=regions) as nodes:
        payloads = [{"where": "eu" if point % 3 else "us"} for point in range(COUNT)]
        await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT), payloads)
        plan = await done(nodes, ToSpread("points", strategy="geographic"))
        assert sorted(plan.coming.values()) == [["a"], ["b"]]
        (in_us,) = (shard for shard, held in plan.coming.items() if held == ["b"])
        part = nodes["b"].collections.part(f"points.{in_us}")
        assert part is not None
        assert (await part.info()).points_count == COUNT // 3
        with pytest.raises(ConflictError, match="not on its way"):
            await nodes["b"].federation.changes.ask(Asked(Back("points"), is_applied=True))
        assert (await done(nodes, ToSpread("points", strategy="hash"))).strategy == "hash"
