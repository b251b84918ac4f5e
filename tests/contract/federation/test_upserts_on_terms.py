"""Upserts with a mode or a filter, where a point's shard may change: as in one collection, also among other writers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from littoral.errors import NotOfferedError
from littoral.node.federation import homing
from littoral.node.federation.asking import Asking
from littoral.node.federation.homing import Homing
from littoral.node.federation.placing import placing_of
from littoral.vectors import asks, frames
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchParams, SearchQuery
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from spread_nodes import SpreadNode, are_alike, spread_nodes, spread_table
from waiting import until_async, until_true

SIZE, COUNT = 4, 40
NAMES = ("a", "b", "c")
SPREADS: Mapping[str, Mapping[str, Any]] = {
    "metric": {"strategy": "metric", "copies": 1.5, "shards": 4, "replicas": 1},
    "replicated": {"strategy": "metric", "copies": 1.5, "shards": 3, "replicas": 2, "holders": 2},
    "hybrid": {"strategy": "hybrid", "shards": 4, "replicas": 1},
}
ROWS = np.random.default_rng(4).standard_normal((200, SIZE)).astype("<f4")
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
EXACT = SearchParams(exact=True)

Nodes = dict[str, SpreadNode]


def batch(ids: list[int], rows: list[int], **payload: Any) -> PointBatch:
    return PointBatch(list(ids), ROWS[rows].tobytes(), [{"row": row} | payload for row in rows])


@pytest.fixture(params=SPREADS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    np.save(tmp_path / "sample.npy", ROWS)
    tables = {"points": spread_table(SIZE, sample="sample.npy", **SPREADS[request.param])}
    async with spread_nodes(tmp_path, NAMES, tables, samples={"points": tmp_path / "sample.npy"}) as found:
        yield found


async def contents(collection: Collection) -> dict[Any, Any]:
    records, _ = await collection.scroll(limit=1000, with_vector=True)
    return {record.id: (record.payload, record.vector) for record in records}


def elsewhere(node: SpreadNode, row: int) -> int:
    """A row that is at home in another shard than this one."""
    target = node.federation.target("points")
    homes = [one[0] for one in placing_of(target.spread, target.config).of_points(batch([*range(200)], [*range(200)]))]
    return next(other for other, home in enumerate(homes) if home != homes[row])


async def lie_once(nodes: Nodes, points: list[int]) -> None:
    """At home in one shard, which the vector says, copies only where it says too."""

    async def do() -> bool:
        target = nodes["a"].federation.target("points")
        found = await nodes["a"].federation.homing.lying(target, points, 10.0)
        return all(
            not one.is_busy
            and len(one.homes) == 1
            and homing.is_settled(one, homing.places_of(target, one.homes[0], one.states[one.homes[0]]))
            for one in found.values()
            if one.states
        )

    await until_true(do)
    await until_async(lambda: are_alike(nodes))


async def test_any_of_them_are_as_in_one_collection(nodes: Nodes) -> None:
    """Chosen at random, at any node, with points that move and ids that are named twice."""
    alone = await nodes["a"].collections.create("alone", CONFIG)
    rng, names = Random(3), list(NAMES)
    for step in range(40):
        ids = rng.choices(range(COUNT), k=rng.randrange(1, 9))
        rows = [rng.randrange(len(ROWS)) for _ in ids]
        mode = rng.choice(["upsert", "insert_only", "update_only"])
        over = rng.randrange(len(ROWS))
        condition = rng.choice([None, parse_filter({"must": [{"key": "row", "range": {"lt": over}}]})])
        for collection in (alone, nodes[rng.choice(names)]["points"]):
            await collection.upsert_points(batch(ids, rows, step=step), mode=mode, condition=condition)  # type: ignore[arg-type]
        if step % 8 == 7:
            gone = rng.sample(range(COUNT), 5)
            await alone.delete(gone)
            await nodes[rng.choice(names)]["points"].delete(gone)
        assert await contents(nodes[rng.choice(names)]["points"]) == await contents(alone)
    await lie_once(nodes, list(range(COUNT)))
    for row in range(20):
        query = SearchQuery(asks.Nearest(packed(ROWS[row], (SIZE,), "query")), limit=1, params=EXACT)
        ((here,),) = await nodes["b"]["points"].search_batch([query])
        ((there,),) = await alone.search_batch([query])
        assert here.score == pytest.approx(there.score)


async def test_of_many_who_insert_the_same_points_at_once_each_point_is_somebody_s_and_in_one_place(
    nodes: Nodes,
) -> None:
    ids = list(range(8))
    bring = [
        nodes[name]["points"].upsert_points(batch(ids, [8 * i + at for at in ids], of=i), mode="insert_only")
        for i, name in enumerate(NAMES * 3)
    ]
    await asyncio.gather(*bring)
    found = await contents(nodes["c"]["points"])
    assert sorted(found) == ids
    for point, (payload, vector) in found.items():
        assert payload["row"] == 8 * payload["of"] + point
        assert vector == ROWS[payload["row"]].tobytes()
    before = found
    await nodes["b"]["points"].upsert_points(batch(ids, [190] * 8), mode="insert_only")
    assert await contents(nodes["a"]["points"]) == before
    await lie_once(nodes, ids)


@pytest.mark.parametrize("nodes", ["metric", "hybrid"], indirect=True)
async def test_a_counter_that_many_move_by_comparing_loses_no_step(nodes: Nodes) -> None:
    """Each goes on only from what it saw; the point changes its shard with every step. With several replicas two that
    take writes alone keep the later (ADR 0032).
    """
    await nodes["a"]["points"].upsert_points(batch([1], [0], count=0))
    taken = list[int]()

    async def count(node: SpreadNode, own: int) -> None:
        for _ in range(4):
            while True:
                (record,) = await node["points"].retrieve([1])
                seen = (record.payload or {})["count"]
                condition = parse_filter({"must": [{"key": "count", "match": {"value": seen}}]})
                step = batch([1], [(7 * seen + own) % 200], count=seen + 1, by=f"{own}-{seen}")
                await node["points"].upsert_points(step, mode="update_only", condition=condition)
                (now,) = await node["points"].retrieve([1])
                assert (now.payload or {})["count"] >= seen
                if (now.payload or {}).get("by") == f"{own}-{seen}":
                    taken.append(seen)
                    break
                if (now.payload or {})["count"] > seen:
                    break

    await asyncio.gather(*(count(nodes[name], i) for i, name in enumerate(NAMES)))
    assert len(taken) == len(set(taken))
    (record,) = await nodes["b"]["points"].retrieve([1])
    assert (record.payload or {})["count"] >= max(taken) + 1
    await lie_once(nodes, [1])
    assert await nodes["a"]["points"].count() == 1


@pytest.mark.parametrize("message", range(12))
async def test_what_another_does_before_any_message_is_not_lost(
    nodes: Nodes, message: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other moves the point and notes something; the update comes before or after each of the two."""
    await nodes["a"]["points"].upsert_points(batch([1], [0]))
    away = elsewhere(nodes["a"], 0)
    other, done, asked, look = nodes["c"]["points"], 0, Asking.write, Homing.lying

    async def moves() -> None:
        nonlocal done
        done += 1
        if done == message + 1:
            with monkeypatch.context() as plain:
                plain.setattr(Asking, "write", asked)
                plain.setattr(Homing, "lying", look)
                await other.update_vectors([1], [ROWS[away].tobytes()])
                await other.change_payload(PayloadChange("merge", ids=[1], payload={"noted": True}))

    async def write(self: Asking, *args: Any, **more: Any) -> frames.Written:
        if self is nodes["b"].federation.asking:
            await moves()
        return await asked(self, *args, **more)

    async def lying(self: Homing, *args: Any, **more: Any) -> Any:
        if self is nodes["b"].federation.homing:
            await moves()
        return await look(self, *args, **more)

    monkeypatch.setattr(Asking, "write", write)
    monkeypatch.setattr(Homing, "lying", lying)
    await nodes["b"]["points"].upsert_points(batch([1], [77]), mode="update_only")
    (record,) = await nodes["a"]["points"].retrieve([1], with_vector=True)
    payload = record.payload or {}
    assert payload in ({"row": 77}, {"row": 77, "noted": True})
    assert record.vector in (ROWS[77].tobytes(), ROWS[away].tobytes())
    assert done > message or (payload, record.vector) == ({"row": 77}, ROWS[77].tobytes())
    await lie_once(nodes, [1])
    assert await nodes["c"]["points"].count() == 1


async def test_where_regions_are_pinned_they_are_refused(tmp_path: Path) -> None:
    regions = {"a": "north", "b": "south"}
    table = spread_table(SIZE, strategy="geographic", shards=2, replicas=1, region="where", pinned=["south"])
    async with spread_nodes(tmp_path, list(regions), {"points": table}, regions=regions) as nodes:
        with pytest.raises(NotOfferedError, match="regions are pinned"):
            await nodes["a"]["points"].upsert_points(batch([1], [0], where="south"), mode="insert_only")
        await nodes["a"]["points"].upsert_points(batch([1], [0], where="south"))
        assert await nodes["b"]["points"].count() == 1
