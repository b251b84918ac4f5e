"""A collection gets another layout while it is written, searched, counted: nothing is lost, doubled or brought back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from littoral.errors import PeerError, UnavailableError
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.layout import laid_out
from littoral.node.federation.moving import planning
from littoral.node.federation.moving.messages import HAND
from littoral.node.federation.placing import placing_of
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import CollectionConfig, VectorParams
from moving import begin, shards_on_disk, until_arrived, writer_of
from nodes_in_process import Wires
from spread_nodes import SpreadNode, are_alike, spread_nodes, spread_table
from waiting import until_async

SIZE = 4
COUNT = 300
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
REGIONS = dict.fromkeys(NAMES, "")

Nodes = dict[str, SpreadNode]


def rows(count: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


@pytest.fixture
def wires() -> Wires:
    return Wires()


class Writers:
    """Write, change and delete points at all nodes, and know what must be there."""

    def __init__(self, nodes: Nodes, seed: int) -> None:
        self.nodes = nodes
        self.random = Random(seed)
        self.vectors: dict[int, Any] = dict(enumerate(rows(COUNT)))
        self.unsure: set[int] = set()
        self.write_count = 0
        self.refused_count = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            node = self.nodes[self.random.choice(NAMES)]["points"]
            ids = [self.random.randrange(2 * COUNT) for _ in range(5)]
            ids = list(dict.fromkeys(ids))
            try:
                if self.random.random() < 0.3:
                    self.unsure.update(ids)
                    await node.delete(ids)
                    for point in ids:
                        self.vectors.pop(point, None)
                else:
                    fresh = rows(len(ids), self.random.randrange(1 << 30))
                    self.unsure.update(ids)
                    await node.upsert(ids, fresh)
                    self.vectors.update(zip(ids, fresh, strict=True))
                self.unsure.difference_update(ids)
                self.write_count += 1
            except UnavailableError as error:
                self.refused_count += 1
                print("not written:", error)
            await self.check(self.random.choice(NAMES))

    async def check(self, name: str) -> None:
        """What was acknowledged is read at every node, at once."""
        node = self.nodes[name]["points"]
        ids = [self.random.randrange(2 * COUNT) for _ in range(20)]
        found = {record.id: record.vector for record in await node.retrieve(list(dict.fromkeys(ids)), with_vector=True)}
        for point in set(ids) - self.unsure:
            wanted = self.vectors.get(point)
            assert found.get(point) == (None if wanted is None else wanted.tobytes()), point
        if not self.unsure:
            assert await node.count() == len(self.vectors)

    async def check_all(self) -> None:
        for node in self.nodes.values():
            records = []
            offset = None
            while True:
                page, offset = await node["points"].scroll(limit=500, offset=offset, with_vector=True)
                records += page
                if offset is None:
                    break
            found = {record.id: record.vector for record in records}
            assert len(found) == len(records)
            for point in found.keys() | self.vectors.keys():
                if point not in self.unsure:
                    wanted = self.vectors.get(point)
                    assert found.get(point) == (None if wanted is None else wanted.tobytes()), point
            query = rows(1, 5)[0]
            hits = await node["points"].search(query, limit=20, params=EXACT)
            nearest = sorted(self.vectors, key=lambda point: float(((self.vectors[point] - query) ** 2).sum()))
            if not self.unsure:
                assert [hit.id for hit in hits] == nearest[:20]


@contextlib.asynccontextmanager
async def written(nodes: Nodes, seed: int = 1) -> AsyncIterator[Writers]:
    """While it lasts, points are written and read; then they are all compared."""
    writers, stop = Writers(nodes, seed), asyncio.Event()
    await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT))
    task = asyncio.create_task(writers.run(stop))
    try:
        yield writers
    finally:
        stop.set()
        await task
    await writers.check_all()


async def go(nodes: Nodes, layout: Layout) -> None:
    begin(nodes, "points", layout)
    await until_arrived(nodes, "points", layout)
    on_disk = sorted({part for parts in shards_on_disk(nodes).values() for part in parts})
    assert on_disk == sorted(f"points.{shard}" for shard in layout.places)


def spread_of(nodes: Nodes) -> Spread:
    return writer_of(nodes).federation.map.spreads["points"]


def by_vector(nodes: Nodes, strategy: str, shards: int) -> Layout:
    """As a new collection would be laid out."""
    table = spread_table(SIZE, strategy=strategy, shards=shards, replicas=1, sample="")
    assert table.spread is not None
    return planning.fitted_anew(
        spread_of(nodes), laid_out("points", table.spread, table.config(), REGIONS, rows(600, seed=3))
    )


async def test_a_collection_goes_from_four_shards_to_six_and_to_three(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=4, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes, written(nodes) as writers:
        await go(nodes, planning.by_id(spread_of(nodes), 6, REGIONS, 1))
        await until_async(lambda: writers.write_count > 5)
        await go(nodes, planning.by_id(spread_of(nodes), 3, REGIONS, 2))


async def test_another_strategy_takes_over(tmp_path: Path) -> None:
    """By id, by vector with copies at borders, a shard divided, and by id again."""
    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes, written(nodes, seed=2):
        await go(nodes, by_vector(nodes, "metric", 3))
        shard = spread_of(nodes).shards[0]
        await go(nodes, planning.divided(spread_of(nodes), shard, rows(200, seed=4), None, seed=0))
        assert len(spread_of(nodes).places) == 4
        await go(nodes, planning.by_id(spread_of(nodes), 2, REGIONS, 1))


async def test_a_shard_goes_to_another_node_and_others_stay(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=3, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes, written(nodes, seed=3):
        before = spread_of(nodes)
        held = before.places[1]
        (free,) = set(NAMES) - set(held)
        await go(nodes, planning.moved(before, 1, held[0], free, REGIONS))
        after = spread_of(nodes)
        assert after.shards == [0, 2, 3]
        assert sorted(after.places[3]) == sorted([held[1], free])


async def test_what_is_deleted_before_its_holder_tells_of_writes_is_gone_at_the_flip(
    tmp_path: Path, wires: Wires
) -> None:
    """Another holder has handed these points over by then, and cannot say that they are gone."""
    tables = {"points": spread_table(SIZE, shards=3, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT))
        before = spread_of(nodes)
        first, second = before.places[1]
        (free,) = set(NAMES) - {first, second}
        may_copy, settle = asyncio.Event(), nodes[second].federation.moving.settle

        async def settles_late(spreads: Mapping[str, Spread], number: int) -> None:
            if (change := spreads["points"].change) is not None and change.step == "copying":
                await may_copy.wait()
            await settle(spreads, number)

        def hands_nothing(caller: str, _peer: str, service: str) -> None:
            if (caller, service) == (first, HAND):
                raise PeerError("it hands over nothing more")

        nodes[second].federation.moving.settle = settles_late  # type: ignore[method-assign]
        layout = planning.moved(before, 1, first, free, REGIONS)
        begin(nodes, "points", layout)
        moving = nodes[first].federation.moving
        await until_async(lambda: moving.settled == 3 and moving.owed["points"] == {1: 0})
        wires.on_request = hands_nothing
        gone = [point for point in range(COUNT) if placing_of(before, CONFIG).of_ids([point]) == [1]][:20]
        await nodes[second]["points"].delete(gone)
        may_copy.set()
        await until_async(lambda: all(3 in node.federation.map.spreads["points"].places for node in nodes.values()))
        for node in nodes.values():
            assert await node["points"].count() == COUNT - len(gone)
        wires.on_request = lambda *_: None
        await until_arrived(nodes, "points", layout)


async def test_a_change_is_taken_back(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes, written(nodes, seed=4):
        before = spread_of(nodes)
        begin(nodes, "points", planning.by_id(before, 3, REGIONS, 1))
        federation = writer_of(nodes).federation
        await until_async(lambda: (change := spread_of(nodes).change) is not None and change.step == "copying")
        federation.go_to("points", None)
        await until_arrived(nodes, "points", before.layout)
        assert spread_of(nodes).first_free == 5


async def test_what_a_node_took_alone_is_handed_over_when_it_is_back(tmp_path: Path, wires: Wires) -> None:
    """It was cut off before the change began, and goes by the old map for all of it."""
    tables = {"points": spread_table(SIZE, shards=4, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT))
        await until_async(lambda: are_alike(nodes))
        for other in ("a", "b"):
            wires.cut("c", other)
        alone: dict[int, Any] = {}
        for point in range(0, COUNT, 3):
            vector = rows(1, seed=point)
            with contextlib.suppress(UnavailableError):
                if point % 2:
                    await nodes["c"]["points"].delete([point])
                    alone[point] = None
                else:
                    await nodes["c"]["points"].upsert([point], vector)
                    alone[point] = vector[0]
        assert len(alone) > 10
        layout = planning.by_id(spread_of(nodes), 5, REGIONS, 2)
        begin(nodes, "points", layout)
        both = {name: nodes[name] for name in ("a", "b")}
        await until_arrived(both, "points", layout)
        later = [point for point in alone if point % 5 == 0]
        await nodes["b"]["points"].upsert(later, rows(len(later), seed=99))
        wires.heal()
        await until_arrived(nodes, "points", layout)
        wanted = dict(enumerate(rows(COUNT))) | alone | dict(zip(later, rows(len(later), seed=99), strict=True))
        await until_async(lambda: are_alike(nodes))
        for node in nodes.values():
            records = await node["points"].retrieve(range(COUNT), with_vector=True)
            found = {record.id: record.vector for record in records}
            assert found == {point: vector.tobytes() for point, vector in wanted.items() if vector is not None}
            assert await node["points"].count() == len(found)


async def test_what_a_node_deleted_alone_stays_deleted_though_its_new_replicas_are_empty(
    tmp_path: Path, wires: Wires
) -> None:
    """It holds shards of the new layout itself: what those do not know of yet, their other holders may have."""

    def holds_up(caller: str, peer: str, service: str) -> None:
        if "c" in (caller, peer) and service.startswith("replica-"):
            raise PeerError(f"peer `{peer}`: no way to it")

    tables = {"points": spread_table(SIZE, shards=4, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT))
        await until_async(lambda: are_alike(nodes))
        for other in ("a", "b"):
            wires.cut("c", other)
        gone: set[int] = set()
        for point in range(0, COUNT, 3):
            with contextlib.suppress(UnavailableError):
                await nodes["c"]["points"].delete([point])
                gone.add(point)
        assert len(gone) > 10
        layout = planning.by_id(spread_of(nodes), 5, REGIONS, 2)
        begin(nodes, "points", layout)
        await until_arrived({name: nodes[name] for name in ("a", "b")}, "points", layout)
        wires.on_request = holds_up
        wires.heal()
        await until_arrived(nodes, "points", layout)
        wires.on_request = lambda *_: None
        await until_async(lambda: are_alike(nodes))
        for node in nodes.values():
            records, _ = await node["points"].scroll(limit=2 * COUNT)
            assert {record.id for record in records} == set(range(COUNT)) - gone


async def test_a_target_that_goes_away_is_waited_for(tmp_path: Path, wires: Wires) -> None:
    tables = {"points": spread_table(SIZE, shards=2, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as nodes, written(nodes, seed=5) as writers:
        before = spread_of(nodes)
        (free,) = set(NAMES) - {node for held in before.places.values() for node in held}
        layout = planning.moved(before, 1, before.places[1][0], free, REGIONS)
        begin(nodes, "points", layout)
        await until_async(lambda: (change := spread_of(nodes).change) is not None and change.step == "copying")
        wires.frozen.add(free)
        await until_async(lambda: writers.refused_count > 0)
        wires.frozen.discard(free)
        await until_arrived(nodes, "points", layout)


async def test_nodes_that_start_again_in_the_middle_go_on_from_there(tmp_path: Path) -> None:
    """All of them end while points are copied, as after a power cut, and lose nothing."""
    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    slow = {"move_bytes_s": 4096}
    async with spread_nodes(tmp_path, NAMES, tables, mesh_options=slow) as nodes:
        await nodes["a"]["points"].upsert(range(COUNT), rows(COUNT))
        layout = planning.by_id(spread_of(nodes), 4, REGIONS, 1)
        begin(nodes, "points", layout)
        await until_async(lambda: any(node.federation.moving.owed for node in nodes.values()))
        await nodes["b"]["points"].delete([7])
        await nodes["c"]["points"].upsert([8], rows(1, seed=8))
    async with spread_nodes(tmp_path, NAMES, tables) as nodes:
        await until_arrived(nodes, "points", layout)
        for node in nodes.values():
            assert await node["points"].count() == COUNT - 1
            (record,) = await node["points"].retrieve([8], with_vector=True)
            assert record.vector == rows(1, seed=8).tobytes()
