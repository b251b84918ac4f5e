"""While one replica of a shard can answer in time, nothing is missing: whatever happens to the other, at any moment."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from littoral.errors import ForbiddenError, NotFoundError, PeerError, UnavailableError
from littoral.node.federation.messages import READ, PartTold, Told, decode_told, encode
from littoral.node.search_how import noting
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors import asks, frames
from littoral.vectors.collection import Collection
from littoral.vectors.packing import packed
from littoral.vectors.queries import SearchParams, SearchQuery
from littoral.vectors.records import PointBatch
from nodes_in_process import Wires
from simulated_spread import part_of, simulated_spread
from spread_nodes import SpreadNode, spread_table

SIZE = 4
COUNT = 60
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
DEADLINE_S = 1.0
SPARE_S = 0.1
"""For shards of this node, and the way of messages."""

ROWS = np.random.default_rng(7).standard_normal((COUNT, SIZE)).astype("<f4")
QUERY = np.random.default_rng(5).standard_normal(SIZE).astype("<f4")
NEAREST = np.argsort(((ROWS - QUERY) ** 2).sum(axis=1), kind="stable").tolist()


class World(NamedTuple):
    """shard: that node `a` does not hold. first: of its holders, the one that `a` asks; second: the other one."""

    nodes: dict[str, SpreadNode]
    wires: Wires
    shard: int
    first: str = ""
    second: str = ""

    @property
    def points(self) -> Collection:
        return self.nodes["a"]["points"]


Case = Callable[[World], Coroutine[Any, Any, None]]


def in_simulated_time(folder: Path, case: Case, *, replicas: int = 2, holders: int = 0) -> None:
    """Three shards on three nodes."""
    clock = SimulatedClock()

    async def run() -> None:
        wires = Wires()
        table = spread_table(SIZE, shards=3, replicas=replicas, holders=holders or replicas)
        async with simulated_spread(folder, NAMES, {"points": table}, wires, clock) as nodes:
            payloads = [{"kind": "even" if i % 2 == 0 else "odd", "n": i} for i in range(COUNT)]
            batch = PointBatch(list(range(COUNT)), ROWS.tobytes(), payloads)
            await nodes["a"]["points"].upsert_points(batch)
            await asyncio.sleep(3)
            places = nodes["a"].federation.map.spreads["points"].places
            (shard, *_) = [shard for shard, held in places.items() if "a" not in held]
            world = World(nodes, wires, shard)
            if replicas > 1:
                world = await with_habits(world)
            await case(world)

    run_simulated(run, clock)


async def with_habits(world: World) -> World:
    """Once it is known whom `a` asks."""
    asked: list[str] = []
    on_read(world, asked.append)
    for _ in range(4):
        await check_search(world.points)
    world.wires.on_request = lambda *_: None
    assert len(set(asked[-2:])) == 1
    return world._replace(first=asked[-1], second="c" if asked[-1] == "b" else "b")


async def search(points: Collection, *, limit: int = COUNT) -> dict[str, Any]:
    """All there is, and what is told of it."""
    with noting() as how:
        hits = await points.search(QUERY, limit=limit, params=EXACT)
    assert how.told is not None
    return how.told | {"ids": [hit.id for hit in hits]}


async def check_search(points: Collection) -> None:
    said = await search(points)
    assert (said["ids"], said["missing"]) == (NEAREST, [])


async def check_count(points: Collection) -> None:
    assert await points.count() == COUNT


async def check_pages(points: Collection) -> None:
    page, following = await points.scroll(limit=7, offset=5)
    assert ([record.id for record in page], following) == (list(range(5, 12)), 12)


async def check_facet(points: Collection) -> None:
    assert {one.value: one.count for one in await points.facet("kind", exact=True)} == {"even": 30, "odd": 30}


async def check_points(points: Collection) -> None:
    assert [record.id for record in await points.retrieve(range(COUNT))] == list(range(COUNT))


async def check_groups(points: Collection) -> None:
    asked = SearchQuery(packed(QUERY, (SIZE,), "query"), limit=2, params=EXACT)
    with noting() as how:
        groups = await points.group(asked, "kind", size=COUNT)
    assert how.told is not None
    assert how.told["missing"] == []
    for group in groups:
        assert [hit.id for hit in group.hits] == [i for i in NEAREST if ("even" if i % 2 == 0 else "odd") == group.id]


async def check_example(points: Collection) -> None:
    query = SearchQuery(asks.Nearest(asks.Of(5)), limit=4, params=EXACT)
    with noting() as how:
        (hits,) = await points.search_batch([query])
    near = np.argsort(((ROWS - ROWS[5]) ** 2).sum(axis=1), kind="stable").tolist()
    assert [hit.id for hit in hits] == near[1:5]
    assert how.told is not None
    assert how.told["missing"] == []


CHECKS = (check_search, check_count, check_pages, check_facet, check_points, check_groups, check_example)
Check = Callable[[Collection], Awaitable[None]]


def on_read(world: World, act: Callable[[str], object]) -> None:
    """Whenever `a` asks a peer; told which."""

    def asked(caller: str, peer: str, service: str) -> None:
        if (caller, service) == ("a", READ):
            act(peer)

    world.wires.on_request = asked


def fails(world: World, error: Exception) -> None:
    """Always."""

    def act(peer: str) -> None:
        if peer == world.first:
            raise error

    on_read(world, act)


def dies(world: World) -> None:
    """At the moment when it is asked."""

    def act(peer: str) -> None:
        if peer == world.first not in world.wires.dead:
            world.wires.kill(peer)

    on_read(world, act)


def goes_after_its_first_answer(world: World) -> None:
    asked: list[str] = []

    def act(peer: str) -> None:
        asked.append(peer)
        if asked.count(world.first) == 2:
            world.wires.kill(world.first)

    on_read(world, act)


def rewritten(world: World, change: Callable[[Told], Told | bytes]) -> None:
    """What it answers."""

    def answered(peer: str, service: str, body: bytes) -> bytes:
        if (peer, service) != (world.first, READ):
            return body
        told = change(decode_told(body, peer))
        return told if isinstance(told, bytes) else encode(told)

    world.wires.on_answer = answered


def without_its_shards(told: Told) -> Told:
    failure = frames.failure(0, UnavailableError("shard `points` is not on this node"))
    parts = [PartTold([], [(shard, failure) for shards, _ in part.answers for shard in shards]) for part in told.parts]
    return msgspec.structs.replace(told, parts=parts)


def of_another_kind(told: Told) -> Told:
    parts = [
        msgspec.structs.replace(part, answers=[(shards, frames.Written(call=0, epoch=1)) for shards, _ in part.answers])
        for part in told.parts
    ]
    return msgspec.structs.replace(told, parts=parts)


FAULTS: dict[str, Callable[[World], None]] = {
    "fails": lambda world: fails(world, UnavailableError("starting")),
    "has it not": lambda world: fails(world, NotFoundError("collection `points` is not spread here")),
    "denies": lambda world: fails(world, ForbiddenError("node `a` is no member of this site")),
    "no way": lambda world: fails(world, PeerError("no way to it")),
    "silent": lambda world: world.wires.frozen.add(world.first),
    "dead": lambda world: world.wires.kill(world.first),
    "dies": dies,
    "goes between two rounds": goes_after_its_first_answer,
    "answers without its shards": lambda world: rewritten(world, without_its_shards),
    "answers something else": lambda world: rewritten(world, of_another_kind),
    "answers junk": lambda world: rewritten(world, lambda _: b"\xc1junk"),
    "its host restarts": lambda world: part_of(world.nodes[world.first], world.shard).stall(f"points.{world.shard}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_another_replica_answers(tmp_path: Path, fault: str) -> None:
    """Whatever is asked: a search, a count, a page, a facet, points by id, groups, a search by an example."""

    async def case(world: World) -> None:
        FAULTS[fault](world)
        for check in CHECKS:
            began = asyncio.get_running_loop().time()
            await check(world.points)
            assert asyncio.get_running_loop().time() - began < DEADLINE_S

    in_simulated_time(tmp_path, case)


@pytest.mark.parametrize("check", CHECKS)
def test_another_replica_answers_while_a_host_of_this_node_restarts(tmp_path: Path, check: Check) -> None:
    async def case(world: World) -> None:
        for shard in world.nodes["a"].federation.map.spreads["points"].held_by("a"):
            part_of(world.nodes["a"], shard).stall(f"points.{shard}")
        await check(world.points)

    in_simulated_time(tmp_path, case)


def test_a_shard_of_this_node_alone_is_waited_for_while_its_host_restarts(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        (shard,) = world.nodes["a"].federation.map.spreads["points"].held_by("a")
        own = part_of(world.nodes["a"], shard)
        own.stall(f"points.{shard}")
        asyncio.get_running_loop().call_later(3 * DEADLINE_S, own.go_on, f"points.{shard}")
        await check_search(world.points)

    in_simulated_time(tmp_path, case, replicas=1)


def test_a_peer_that_was_always_slow_and_falls_silent_leaves_time_for_another(tmp_path: Path) -> None:
    """By its habit it would be waited for until no time is left."""

    async def case(world: World) -> None:
        world.wires.slow_s |= dict.fromkeys("bc", 0.3)
        for _ in range(20):
            await check_search(world.points)
            await asyncio.sleep(3)
        assert world.nodes["a"].federation.asking.links.hedge_s(world.first) > 0.8
        world.wires.frozen.add(world.first)
        await check_search(world.points)

    in_simulated_time(tmp_path, case)


def test_who_was_silent_is_asked_last_until_it_answers_again(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        asked: list[str] = []
        world.wires.frozen.add(world.first)
        await check_search(world.points)
        on_read(world, asked.append)
        await check_search(world.points)
        assert asked == [world.second]
        world.wires.frozen.discard(world.first)
        world.wires.frozen.add(world.second)
        await asyncio.sleep(5)
        asked.clear()
        await check_search(world.points)
        assert world.first in asked
        assert not world.nodes["a"].federation.asking.links.is_silent(world.first)

    in_simulated_time(tmp_path, case)


def test_a_way_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    """As where links are made anew: both holders, at the same moment."""

    async def case(world: World) -> None:
        left = ["b", "c"]

        def act(peer: str) -> None:
            if peer in left:
                left.remove(peer)
                raise PeerError(f"peer `{peer}`: the link was made anew before it answered")

        for check in CHECKS:
            left[:] = ["b", "c"]
            on_read(world, act)
            await check(world.points)

    in_simulated_time(tmp_path, case)


def test_one_shard_that_hangs_holds_up_no_other_of_its_node(tmp_path: Path) -> None:
    """What the other shards of that node have answered is in the answer, and in time."""
    clock = SimulatedClock()

    async def run() -> None:
        wires = Wires()
        table = spread_table(SIZE, shards=4, replicas=1)
        async with simulated_spread(tmp_path, ("a", "b"), {"points": table}, wires, clock) as nodes:
            await nodes["a"]["points"].upsert_points(PointBatch(list(range(COUNT)), ROWS.tobytes()))
            await asyncio.sleep(3)
            hangs, answers = nodes["a"].federation.map.spreads["points"].held_by("b")
            lost = set(await ids_of(nodes["b"], hangs))
            assert await ids_of(nodes["b"], answers)
            part_of(nodes["b"], hangs).stall(f"points.{hangs}")
            began = clock.monotonic()
            said = await search(nodes["a"]["points"])
            assert clock.monotonic() - began < DEADLINE_S + SPARE_S
            assert (said["ids"], said["missing"]) == ([i for i in NEAREST if i not in lost], ["b"])

    run_simulated(run, clock)


async def ids_of(node: SpreadNode, shard: int) -> list[Any]:
    part = node.collections.part(f"points.{shard}")
    assert part is not None
    return [record.id for record in (await part.scroll(limit=COUNT))[0]]


def test_a_node_that_comes_back_during_a_search_is_asked(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        world.wires.kill("c")
        world.wires.slow_s["b"] = 0.2
        on_read(world, lambda _: asyncio.get_running_loop().call_later(0.1, world.wires.revive, "c"))
        await check_search(world.points)

    in_simulated_time(tmp_path, case, replicas=1)


def test_what_nobody_answers_for_in_time_is_missing_within_one_deadline(tmp_path: Path) -> None:
    """Whoever is asked after whom, in whatever rounds."""

    async def case(world: World) -> None:
        lost = set(await ids_of(world.nodes["b"], world.shard))
        world.wires.frozen |= {"b", "c"}
        loop = asyncio.get_running_loop()
        began = loop.time()
        said = await search(world.points)
        assert loop.time() - began < DEADLINE_S + SPARE_S
        assert said["missing"] == ["b", "c"]
        assert said["ids"] == [i for i in NEAREST if i not in lost]
        assert (said["certified"], said["expected_recall"]) == (False, None)
        for check in (check_count, check_pages, check_facet, check_points):
            began = loop.time()
            with pytest.raises(UnavailableError, match="nodes `b`, `c` hold"):
                await check(world.points)
            assert loop.time() - began < DEADLINE_S + SPARE_S

    in_simulated_time(tmp_path, case)


def test_what_a_group_search_has_found_stays_where_its_second_round_fails(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        asked: list[str] = []

        def act(peer: str) -> None:
            asked.append(peer)
            if len(asked) > 1:
                world.wires.frozen |= {"b", "c"}

        on_read(world, act)
        query = SearchQuery(packed(QUERY, (SIZE,), "query"), limit=2, params=EXACT)
        with noting() as how:
            groups = await world.points.group(query, "kind", size=COUNT)
        assert how.told is not None
        assert how.told["missing"] == ["b", "c"]
        assert sorted(hit.id for group in groups for hit in group.hits) == list(range(COUNT))

    in_simulated_time(tmp_path, case)


class Lag:
    """Nodes whose replicas say they lack writes, and do."""

    def __init__(self, world: World, *who: str) -> None:
        self.who = who
        self.asked: list[str] = []
        world.wires.on_answer = self._answered
        on_read(world, self.asked.append)

    def _answered(self, peer: str, service: str, body: bytes) -> bytes:
        if service != READ or peer not in self.who:
            return body
        told = decode_told(body, peer)
        parts = []
        for part in told.parts:
            for _, answer in part.answers:
                if isinstance(answer, frames.Found):
                    answer.hits = [hits[1:] for hits in answer.hits]
            parts.append(
                msgspec.structs.replace(part, behind=[shard for shards, _ in part.answers for shard in shards])
            )
        return encode(msgspec.structs.replace(told, parts=parts))


def test_a_replica_that_lacks_writes_is_not_the_last_one_that_is_asked(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        lag = Lag(world, world.first)
        said = await search(world.points)
        assert (said["ids"], said["missing"]) == (NEAREST, [])
        assert (said["certified"], said["expected_recall"]) == (True, 1.0)
        assert lag.asked == [world.first, world.second]

    in_simulated_time(tmp_path, case)


def test_where_all_replicas_lack_writes_one_answers_and_the_others_rest_for_a_while(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        lag = Lag(world, "b", "c")
        said = await search(world.points)
        assert (len(said["ids"]), said["missing"]) == (COUNT - 1, [])
        assert (said["certified"], said["expected_recall"]) == (False, None)
        assert lag.asked == [world.first, world.second]
        said = await search(world.points)
        assert (len(said["ids"]), said["certified"]) == (COUNT - 1, False)
        assert len(lag.asked) == 3

    in_simulated_time(tmp_path, case)


def test_a_replica_that_lacks_writes_is_enough_where_the_other_is_silent(tmp_path: Path) -> None:
    async def case(world: World) -> None:
        Lag(world, world.first)
        world.wires.frozen.add(world.second)
        began = asyncio.get_running_loop().time()
        said = await search(world.points)
        assert asyncio.get_running_loop().time() - began < DEADLINE_S
        assert (len(said["ids"]), said["missing"], said["certified"]) == (COUNT - 1, [], False)

    in_simulated_time(tmp_path, case)
