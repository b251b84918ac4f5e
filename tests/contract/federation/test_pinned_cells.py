"""A pinned region in cells of its own: through every kind of change, no body and no file elsewhere tells of it."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from littoral.errors import ConflictError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.moving.wishes import Asked, Dissolve, Divide, Move, Plan, ToSpread, Wish
from littoral.node.federation.placing import strategy_of
from littoral.node.federation.residency import pinned_to
from littoral.node.search_how import noting
from littoral.vectors.partition.strategy import Geographic, Hybrid, Metric
from moving import until_arrived, writer_of
from pinned_points import (
    COUNT,
    EU,
    EXACT,
    MARK,
    MARKED,
    NAMES,
    REGIONS,
    ROWS,
    SIZE,
    ask_everything,
    nothing_left,
    payload,
    traces,
)
from recorded_wires import RecordedWires
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async, until_true

OPEN = 3.0
"""In the place of `MARK`, of all that is not pinned: so is any mean of such."""

Nodes = dict[str, SpreadNode]


def rows_of(count: int, seed: int, mark: Any) -> Any:
    found = np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")
    found[:, MARKED] = mark
    return found


FREE_ROWS = rows_of(COUNT, 9, OPEN)


@pytest.fixture
def wires() -> RecordedWires:
    return RecordedWires()


@pytest.fixture
async def nodes(tmp_path: Path, wires: RecordedWires) -> AsyncIterator[Nodes]:
    """As in `test_residency`, in cells that a file is the sample of."""
    file = tmp_path / "sample.npy"
    np.save(file, rows_of(600, 8, OPEN))
    options = {"regions": ["eu", "us"], "region": "region", "pinned": ["eu"], "shards": 4, "replicas": 1}
    table = spread_table(SIZE, strategy="geographic", within="metric", sample="sample.npy", copies=1.5, **options)
    samples = {"points": file}
    async with spread_nodes(
        tmp_path, NAMES, {"points": table}, wires=wires, regions=REGIONS, samples=samples, deadline_ms=30_000
    ) as found:
        await found["a"]["points"].upsert(list(range(COUNT)), ROWS[:COUNT], [payload(i) for i in range(COUNT)])
        free = list(range(COUNT, 2 * COUNT))
        await found["c"]["points"].upsert(free, FREE_ROWS, [payload(i) for i in free])
        yield found


def spread_of(nodes: Nodes) -> Spread:
    return writer_of(nodes).federation.map.spreads["points"]


def centres(spread: Spread) -> list[Any]:
    """Of all cells in the map, of both layouts: float32[n, size] each."""

    def within(part: Any) -> list[Any]:
        match part:
            case Geographic():
                return [one for region in part.regions.values() for one in within(region)]
            case Metric():
                return [part.cells.centres]
            case Hybrid():
                return [part.cells.centres, *(one for inner in part.parts for one in within(inner))]
        return []

    return [one for layout in spread.both for one in within(strategy_of(layout))]


def check_map(spread: Spread) -> None:
    """Pinned shards on nodes of their region, and no mean that anything pinned is part of."""
    for shard, region in pinned_to(spread).items():
        assert {REGIONS[node] for node in spread.all_places[shard]} == {region}
    for found in centres(spread):
        assert np.abs(found[:, MARKED] - OPEN).max() < 1e-3


async def check_whole(nodes: Nodes, vectors: dict[int, Any]) -> None:
    """What is pinned is whole within its region, what is not everywhere, and searches of both say that they are."""
    await until_async(lambda: not any(lag.entry_count for node in nodes.values() for lag in lags(node)))
    for name, node in nodes.items():
        seen = {point for point in vectors if name in EU or point >= COUNT}
        assert await node["points"].count() == len(seen)
        query = rows_of(1, 4, 0.5)[0]  # a query goes wherever hits may be
        with noting() as how:
            hits = await node["points"].search(query, limit=10, params=EXACT)
        nearest = sorted(seen, key=lambda point: float(((vectors[point] - query) ** 2).sum()))
        assert [hit.id for hit in hits] == nearest[:10]
        assert how.told is not None
        assert how.told["missing"] == []
        assert how.told.get("withheld") == (None if name in EU else ["eu"])


def lags(node: SpreadNode) -> Sequence[Any]:
    return list(node.federation.replicas.lags())


async def done(nodes: Nodes, asked_of: str, wish: Wish) -> Plan:
    plan = await nodes[asked_of].federation.changes.ask(Asked(wish, is_applied=True))
    change = spread_of(nodes).change
    assert change is not None
    check_map(spread_of(nodes))
    await until_arrived(nodes, "points", change.other)
    return plan


def wishes(nodes: Nodes, rng: Random) -> list[Callable[[], Wish]]:
    """Of every kind, for shards by lot of what is there by then."""

    def of(region: str) -> int:
        pinned = pinned_to(spread_of(nodes))
        return rng.choice([shard for shard in spread_of(nodes).shards if (shard in pinned) == (region == "eu")])

    def move() -> Wish:
        shard = of("eu")
        (source,) = spread_of(nodes).places[shard]
        return Move("points", shard, source, "b" if source == "a" else "a")

    changes: list[Callable[[], Wish]] = [
        lambda: Divide("points", of("eu")),
        lambda: Dissolve("points", of("eu")),
        lambda: ToSpread("points", shards=5),
        move,
    ]
    rng.shuffle(changes)
    return [*changes, lambda: ToSpread("points", replicas=2)]


async def test_what_is_pinned_stays_in_its_region_through_every_kind_of_change(
    nodes: Nodes, wires: RecordedWires, tmp_path: Path
) -> None:
    rng = Random(2)
    vectors = dict(enumerate([*ROWS[:COUNT], *FREE_ROWS]))
    for name in ("a", "c"):
        await until_async(lambda name=name: nodes[name].federation.summaries.of("points"))
        await ask_everything(nodes[name])
    await rewritten(nodes, vectors, range(2 * COUNT))
    for wish in wishes(nodes, rng):
        await done(nodes, rng.choice(NAMES), wish())
        await rewritten(nodes, vectors, rng.sample(range(2 * COUNT), 9))
        await check_whole(nodes, vectors)
        check_map(spread_of(nodes))
    assert traces(wires.between(EU, EU)) != [], "the recorder would see it"
    nothing_left(wires, tmp_path)


async def rewritten(nodes: Nodes, vectors: dict[int, Any], points: Sequence[int]) -> None:
    """Each anew, in a region that may see it."""
    for node, mark in (("a", MARK), ("d", OPEN)):
        ids = [point for point in points if (point < COUNT) == (node == "a")]
        rows = rows_of(len(ids), len(ids), mark)
        vectors.update(zip(ids, rows, strict=True))
        if ids:
            await nodes[node]["points"].upsert(ids, rows, [payload(point) for point in ids])


async def test_proofs_audits_and_refusals_are_of_the_regions_own_shards(
    nodes: Nodes, wires: RecordedWires, tmp_path: Path
) -> None:
    """Searches become certain as without regions, and audited ones tell nobody elsewhere of what is pinned."""
    queries = rows_of(8, 11, 0.5)
    for node in (nodes["b"], nodes["c"]):
        await until_true(lambda node=node: is_certain(node, queries[0]))
        await until_true(lambda node=node: is_audited(node, queries))
    shard = min(pinned_to(spread_of(nodes)))
    refused: list[tuple[Wish, str]] = [
        (Divide("points", shard, ["c"]), "pinned to region `eu`, node `c` is in `us`"),
        (ToSpread("points", strategy="metric"), "what is there does not leave them"),
        (ToSpread("points", strategy="hash"), "what is there does not leave them"),
    ]
    for wish, why in refused:
        with pytest.raises(ConflictError, match=why):
            await nodes["d"].federation.changes.ask(Asked(wish, is_applied=True))
    assert spread_of(nodes).change is None
    nothing_left(wires, tmp_path)


async def is_certain(node: SpreadNode, query: Any) -> bool:
    with noting() as how:
        hits = await node["points"].search(query, limit=3, params=EXACT)
    assert len(hits) == 3
    assert how.told is not None
    return how.told["certified"] is True and how.told["expected_recall"] == 1


async def is_audited(node: SpreadNode, queries: Any) -> bool:
    for query in queries:
        await node["points"].search(query, limit=3, params=EXACT)
    return node.federation.routing.audited_count > 0
