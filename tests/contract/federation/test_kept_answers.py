"""Answers told again: no older than the site file allows, and never without a write that this node knows of."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest

from littoral.node.caches import USE, Use
from littoral.node.federation.messages import READ
from littoral.node.search_how import noting
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors.queries import SearchParams
from nodes_in_process import Wires
from simulated_spread import simulated_spread
from spread_nodes import SpreadNode, spread_table

SIZE = 4
COUNT = 30
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
QUERY = np.zeros(SIZE, "<f4")
MAX_AGE_S = 10.0


class World(NamedTuple):
    nodes: dict[str, SpreadNode]
    wires: Wires
    asked: list[str]


Case = Callable[[World], Coroutine[Any, Any, None]]


def in_simulated_time(folder: Path, case: Case, *, max_age_s: float = MAX_AGE_S) -> None:
    clock = SimulatedClock()

    async def run() -> None:
        wires = Wires()
        table = spread_table(SIZE, shards=3, replicas=1, recall=1.0, max_age_s=max_age_s)
        async with simulated_spread(folder, NAMES, {"points": table}, wires, clock) as nodes:
            world = World(nodes, wires, [])
            await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT, 1))
            await asyncio.sleep(60)
            wires.on_request = lambda _, peer, service: world.asked.append(peer) if service == READ else None
            await case(world)

    run_simulated(run, clock)


def rows(count: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


async def search(node: SpreadNode, limit: int = 2 * COUNT) -> dict[str, Any]:
    with noting() as how:
        hits = await node["points"].search(QUERY, limit=limit, params=EXACT)
    assert how.told is not None
    return how.told | {"hits": {hit.id: hit.score for hit in hits}}


def test_the_same_search_asks_nobody_and_says_how_old_its_answer_is(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        first = await search(world.nodes["a"])
        assert (first["certified"], first.get("age_s"), sorted(world.asked)) == (True, None, ["b", "c"])
        await asyncio.sleep(2)
        world.asked.clear()
        again = await search(world.nodes["a"])
        assert (again["hits"], again["missing"], world.asked) == (first["hits"], [], [])
        assert (again["certified"], again["expected_recall"]) == (False, None)
        assert 2.0 <= again["age_s"] < MAX_AGE_S
        await asyncio.sleep(MAX_AGE_S)
        assert (await search(world.nodes["a"]))["certified"]

    in_simulated_time(tmp_path, case)


def test_without_a_word_in_the_site_file_nothing_is_told_again(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        for _ in range(2):
            world.asked.clear()
            assert (await search(world.nodes["a"]))["certified"]
            assert sorted(world.asked) == ["b", "c"]

    in_simulated_time(tmp_path, case, max_age_s=0.0)


@pytest.mark.parametrize("what", ["upsert", "delete"])
def test_a_write_through_this_node_is_seen_at_once(tmp_path: Path, what: str) -> None:
    async def case(world: World) -> None:
        for point in range(COUNT):
            points = world.nodes["a"]["points"]
            before = (await search(world.nodes["a"]))["hits"]
            if what == "upsert":
                await points.upsert([point], 0.5 * rows(1, point))
            else:
                await points.delete([point])
            after = (await search(world.nodes["a"]))["hits"]
            assert after.get(point) != before[point]

    in_simulated_time(tmp_path, case)


def test_a_write_to_a_shard_of_this_node_is_seen_at_once_whoever_made_it(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        here = world.nodes["a"]
        part = here.collections.part(here.collections.parts()[0])
        assert part is not None
        for record in (await part.scroll(limit=5))[0]:
            before = (await search(here))["hits"]
            assert record.id in before
            await world.nodes["b"]["points"].delete([record.id])
            assert record.id not in (await search(here))["hits"]

    in_simulated_time(tmp_path, case)


def test_who_wants_an_answer_of_now_gets_it(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        await search(world.nodes["a"])
        token = USE.set(Use(find=False))
        assert (await search(world.nodes["a"]))["certified"]
        USE.reset(token)
        assert "age_s" in await search(world.nodes["a"])

    in_simulated_time(tmp_path, case)


def test_an_answer_that_lacks_something_is_not_kept(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        world.wires.frozen.add("c")
        assert (await search(world.nodes["a"]))["missing"] == ["c"]
        world.wires.frozen.discard("c")
        await asyncio.sleep(5)
        assert (await search(world.nodes["a"]))["missing"] == []

    in_simulated_time(tmp_path, case)


@pytest.mark.parametrize("seed", range(4))
def test_no_write_is_hidden_for_longer_than_stated(tmp_path: Path, seed: int) -> None:
    """Each answer is that of a moment at most so long ago, and not before the last write through the same node."""

    async def case(world: World) -> None:
        rng, clock = Random(seed), asyncio.get_running_loop()
        states = [((await search(world.nodes["a"]))["hits"], clock.time())]
        last_of = dict.fromkeys(NAMES, 0)
        aged = 0
        for step in range(150):
            name = rng.choice(NAMES)
            if rng.random() < 0.3:
                point = rng.randrange(COUNT)
                await world.nodes[name]["points"].upsert([point], rows(1, 1000 * seed + step))
                token = USE.set(Use(find=False, keep=False))
                states.append(((await search(world.nodes[name]))["hits"], clock.time()))
                USE.reset(token)
                last_of[name] = len(states) - 1
            else:
                began = clock.time()
                said = await search(world.nodes[name])
                aged += "age_s" in said
                ended_s = [ended for _, ended in states[1:]] + [clock.time()]
                allowed = [
                    hits
                    for at, (hits, _) in enumerate(states)
                    if at >= last_of[name] and (ended_s[at] > began - MAX_AGE_S or at == len(states) - 1)
                ]
                assert said["hits"] in allowed
                assert said["certified"] == ("age_s" not in said)
                if said["certified"]:
                    assert said["hits"] == states[-1][0]
            await asyncio.sleep(rng.random() * 3)
        assert aged > 5

    in_simulated_time(tmp_path, case)
