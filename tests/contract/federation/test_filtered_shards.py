"""A filter rules out shards that have nothing for it: fewer nodes are asked, and no acknowledged write is missed."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest

from littoral.errors import PeerError
from littoral.node.federation.messages import READ
from littoral.node.federation.summaries import STALE
from littoral.node.search_how import noting
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Hash
from littoral.vectors.queries import PayloadChange, SearchParams
from littoral.vectors.records import PointBatch
from nodes_in_process import Wires
from simulated_spread import simulated_spread
from spread_nodes import SpreadNode, spread_table
from waiting import until_async

SIZE = 4
COUNT = 60
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
HOMES = Hash((0, 1, 2)).place(Points(list(range(2 * COUNT)))).home.tolist()
CALM_S = 60.0
"""Summaries are made anew for as long as something has changed since."""

QUERY = np.zeros(SIZE, "<f4")


class World(NamedTuple):
    """points: what is there, as tenants and vectors. asked: peers that were asked to read, by anybody."""

    nodes: dict[str, SpreadNode]
    wires: Wires
    points: dict[int, tuple[str, Any]]
    asked: list[str]

    def of(self, tenant: str) -> list[int]:
        """Its points, the nearest first."""
        own = [point for point, (name, _) in self.points.items() if name == tenant]
        return sorted(own, key=lambda point: float((self.points[point][1] ** 2).sum()))

    def holding(self, shard: int) -> SpreadNode:
        return self.nodes[self.nodes["a"].federation.map.spreads["points"].places[shard][0]]

    def shard_of(self, node: SpreadNode) -> int:
        """That lies there alone."""
        (shard,) = node.federation.map.spreads["points"].held_by(node.federation.name)
        return shard


Case = Callable[[World], Coroutine[Any, Any, None]]


def in_simulated_time(folder: Path, case: Case, *, replicas: int = 1) -> None:
    """Three shards on three nodes; tenant `t0` has points in shard 0 alone, and so on."""
    clock = SimulatedClock()

    async def run() -> None:
        wires = Wires()
        table = spread_table(SIZE, shards=3, replicas=replicas, holders=replicas, recall=1.0)
        async with simulated_spread(folder, NAMES, {"points": table}, wires, clock) as nodes:
            world = World(nodes, wires, {}, [])
            await nodes["a"]["points"].create_index("tenant", "keyword")
            rng = Random(1)
            await write(world, "a", range(COUNT), [f"t{HOMES[i]}" for i in range(COUNT)], rng)
            await until_async(lambda: all(is_summed_up(node) for node in nodes.values()))
            await asyncio.sleep(CALM_S)
            wires.on_request = lambda _, peer, service: world.asked.append(peer) if service == READ else None
            await case(world)

    run_simulated(run, clock)


def is_summed_up(node: SpreadNode) -> bool:
    """All that is there, of all others."""
    node.federation.summaries.use("points")
    found = node.federation.summaries.of("points")
    return (
        len(found) == 3
        and sum(one.count for one in found.values()) == COUNT
        and all("tenant" in one.payload and one.payload["tenant"].words for one in found.values())
    )


async def write(world: World, at: str, ids: Any, tenants: list[str], rng: Random) -> None:
    rows = np.random.default_rng(rng.randrange(1 << 30)).standard_normal((len(ids), SIZE)).astype("<f4")
    batch = PointBatch(list(ids), rows.tobytes(), [{"tenant": tenant} for tenant in tenants])
    await world.nodes[at]["points"].upsert_points(batch)
    world.points.update(zip(ids, zip(tenants, rows, strict=True), strict=True))


def only(tenant: str) -> dict[str, Any]:
    return {"must": [{"key": "tenant", "match": {"value": tenant}}]}


async def search(world: World, at: str, tenant: str, *, limit: int = 2 * COUNT) -> dict[str, Any]:
    with noting() as how:
        hits = await world.nodes[at]["points"].search(QUERY, limit=limit, params=EXACT, matching=only(tenant))
    assert how.told is not None
    return how.told | {"ids": [hit.id for hit in hits]}


def test_only_nodes_that_have_something_for_it_are_asked(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        for name, node in world.nodes.items():
            shard = world.shard_of(node)
            world.asked.clear()
            said = await search(world, name, f"t{shard}")
            assert said["ids"] == world.of(f"t{shard}")
            assert (said["asked"], said["certified"], said["filtered_out"], world.asked) == (1, True, 2, [])
            other = f"t{(shard + 1) % 3}"
            said = await search(world, name, other)
            assert said["ids"] == world.of(other)
            assert (said["asked"], said["certified"], said["filtered_out"]) == (2, True, 1)
            assert set(world.asked) == {world.holding((shard + 1) % 3).federation.name}
            said = await search(world, name, "nobody")
            assert (said["ids"], said["asked"], said["certified"]) == ([], 1, True)

    in_simulated_time(tmp_path, case)


def test_counts_and_pages_ask_no_more_than_that(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        points, tenant = world.nodes["a"]["points"], f"t{world.shard_of(world.nodes['a'])}"
        assert await points.count(only(tenant)) == len(world.of(tenant))
        page, following = await points.scroll(limit=COUNT, matching=only(tenant))
        assert ([record.id for record in page], following) == (sorted(world.of(tenant)), None)
        assert await points.count(only("nobody")) == 0
        assert world.asked == []
        assert await points.count() == COUNT
        assert sorted(world.asked) == ["b", "c"]

    in_simulated_time(tmp_path, case)


def test_a_search_without_a_shard_of_its_own_still_has_an_answer(tmp_path: Path) -> None:
    """Where every shard is ruled out, and none lies here."""
    clock = SimulatedClock()

    async def run() -> None:
        wires = Wires()
        async with simulated_spread(
            tmp_path, ("a", "b"), {"points": spread_table(SIZE, shards=1, replicas=1)}, wires, clock
        ) as nodes:
            (holder,) = nodes["a"].federation.map.spreads["points"].places[0]
            other = next(node for name, node in nodes.items() if name != holder)
            await other["points"].create_index("tenant", "keyword")
            await other["points"].upsert_points(PointBatch([1], QUERY.tobytes(), [{"tenant": "t"}]))
            await asyncio.sleep(5)
            other.federation.summaries.use("points")
            await until_async(lambda: bool(other.federation.summaries.proven("points")))
            assert await other["points"].count(only("nobody")) == 0
            assert await other["points"].search(QUERY, matching=only("nobody"), params=EXACT) == []
            assert await other["points"].count(only("t")) == 1

    run_simulated(run, clock)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("seed", range(2))
def test_no_acknowledged_write_is_missed(tmp_path: Path, seed: int, replicas: int) -> None:
    """Points, overwritten payloads, changed ones and deletions, each followed by searches and counts at every node."""

    async def case(world: World) -> None:
        rng = Random(seed)
        filtered = 0
        for _ in range(60):
            at, tenant = rng.choice(NAMES), f"t{rng.randrange(6)}"
            match rng.randrange(4):
                case 0 | 1:
                    ids = rng.sample(range(2 * COUNT), 3)
                    await write(world, at, ids, [tenant] * 3, rng)
                case 2 if world.points:
                    point = rng.choice(list(world.points))
                    change = PayloadChange("merge", ids=[point], payload={"tenant": tenant})
                    await world.nodes[at]["points"].change_payload(change)
                    world.points[point] = (tenant, world.points[point][1])
                case 3:
                    gone = rng.sample(sorted(world.points), 2)
                    await world.nodes[at]["points"].delete(gone)
                    for point in gone:
                        del world.points[point]
            for name in NAMES:
                said = await search(world, name, tenant)
                assert (said["ids"], said["missing"]) == (world.of(tenant), [])
                filtered += said.get("filtered_out", 0)
                assert await world.nodes[name]["points"].count(only(tenant)) == len(world.of(tenant))
            await asyncio.sleep(rng.random())
        assert filtered > 0

    in_simulated_time(tmp_path, case, replicas=replicas)


def test_where_others_cannot_be_told_a_write_waits_until_they_believe_nothing(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        node = world.nodes["a"]
        shard = (world.shard_of(node) + 1) % 3
        holder = world.holding(shard).federation.name

        def lose(caller: str, peer: str, service: str) -> None:
            if service == STALE:
                raise PeerError(f"peer `{peer}`: no way to it")

        world.wires.on_request = lose
        tenant, point = f"t{world.shard_of(node)}", next(i for i in range(COUNT, 2 * COUNT) if HOMES[i] == shard)
        assert (await search(world, "a", tenant))["filtered_out"] == 2
        await write(world, holder, [point], [tenant], Random(1))
        said = await search(world, "a", tenant)
        assert point in said["ids"]
        assert said["ids"] == world.of(tenant)

    in_simulated_time(tmp_path, case)
