"""Each strategy gives the answers of one collection: no point twice, none too few, whatever becomes of its vector."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node.search_how import noting
from littoral.vectors import asks
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchParams, SearchQuery
from spread_nodes import SpreadNode, spread_nodes, spread_table

SIZE = 4
COUNT = 120
NAMES = ("a", "b", "c")
REGIONS = {"a": "eu", "b": "eu", "c": "us"}
EXACT = SearchParams(exact=True)
ODD = {"must": [{"key": "kind", "match": {"value": "odd"}}]}

Nodes = dict[str, SpreadNode]

SPREADS: dict[str, dict[str, Any]] = {
    "hash": {"strategy": "hash"},
    "metric": {"strategy": "metric", "copies": 1.6},
    "hybrid": {"strategy": "hybrid", "copies": 1.6},
    "geographic": {
        "strategy": "geographic",
        "region": "region",
    },
    "geographic, cells within": {
        "strategy": "geographic",
        "region": "region",
        "elsewhere": "us",
        "within": "metric",
        "copies": 1.6,
        "replicas": 1,
    },
}


def rows(count: int = COUNT, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


@pytest.fixture(params=SPREADS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    """Three nodes, one collection, filled through one of them."""
    options = {"shards": 4, "replicas": 2} | SPREADS[request.param]
    np.save(tmp_path / "sample.npy", rows())
    samples = {"points": tmp_path / "sample.npy"}
    tables = {"points": spread_table(SIZE, sample="sample.npy", **options)}
    async with spread_nodes(tmp_path, NAMES, tables, samples=samples, regions=REGIONS) as found:
        await fill(found["b"]["points"], range(COUNT), rows())
        yield found


async def fill(collection: Collection, ids: Sequence[int], vectors: Any) -> None:
    payloads = [{"kind": "even" if i % 2 == 0 else "odd", "region": "eu" if i % 3 else "us", "n": i} for i in ids]
    await collection.upsert(list(ids), vectors, payloads)


def nearest(query: Any, vectors: Any, ids: Any = None) -> list[int]:
    found = np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable").tolist()
    return [i for i in found if ids is None or i in ids]


async def all_ids(collection: Collection, **options: Any) -> list[Any]:
    seen: list[Any] = []
    offset: Any = None
    while True:
        records, offset = await collection.scroll(limit=7, offset=offset, **options)
        seen += [record.id for record in records]
        if offset is None:
            return seen


async def test_a_spread_collection_is_one_collection(nodes: Nodes) -> None:
    """One fill for all that only reads: real shard hosts are what takes time here."""
    for node in nodes.values():
        await reads_are_right(node["points"])


async def reads_are_right(collection: Collection) -> None:
    query, vectors = rows(1, seed=1)[0], rows()
    hits = await collection.search(query, limit=COUNT, params=EXACT)
    assert [hit.id for hit in hits] == nearest(query, vectors)
    assert hits[0].payload == {
        "kind": ["even", "odd"][hits[0].id % 2],
        "region": "eu" if hits[0].id % 3 else "us",
        "n": hits[0].id,
    }
    odd = [hit.id for hit in await collection.search(query, limit=9, offset=4, matching=ODD, params=EXACT)]
    assert odd == nearest(query, vectors, range(1, COUNT, 2))[4:13]
    assert await collection.count() == COUNT
    assert await collection.count(parse_filter(ODD)) == COUNT // 2
    assert (await collection.info()).points_count == COUNT
    assert await all_ids(collection) == list(range(COUNT))
    assert await all_ids(collection, matching=ODD) == list(range(1, COUNT, 2))
    records = await collection.retrieve([5, 999, 3, 5], with_vector=True)
    assert [record.id for record in records] == [5, 3]
    assert records[0].vector == vectors[5].tobytes()
    assert records[0].payload == {"kind": "odd", "region": "eu", "n": 5}
    example = SearchQuery(asks.Recommend([asks.Of(5)], [], "average_vector"), limit=4, params=EXACT)
    assert [hit.id for hit in (await collection.search_batch([example]))[0]] == nearest(vectors[5], vectors)[1:5]
    await collection.create_index("kind", "keyword")
    facets = await collection.facet("kind", exact=True)
    assert {one.value: one.count for one in facets} == {"even": COUNT // 2, "odd": COUNT // 2}
    asked = SearchQuery(packed(query, (SIZE,), "query"), limit=2, params=EXACT)
    for group in await collection.group(asked, "kind", size=5):
        wanted = [i for i in nearest(query, vectors) if ("even" if i % 2 == 0 else "odd") == group.id]
        assert [hit.id for hit in group.hits] == wanted[:5]


async def test_points_that_change_are_there_once_and_as_they_are_now(nodes: Nodes) -> None:
    later = rows(seed=8)
    await fill(nodes["c"]["points"], range(COUNT), later)
    collection = nodes["a"]["points"]
    assert await collection.count() == COUNT
    query = rows(1, seed=2)[0]
    assert [hit.id for hit in await collection.search(query, limit=COUNT, params=EXACT)] == nearest(query, later)
    await collection.delete([0, 1, 2])
    await collection.delete_matching(ODD)
    assert await all_ids(nodes["b"]["points"]) == list(range(4, COUNT, 2))
    assert await nodes["c"]["points"].count() == COUNT // 2 - 2
    assert [hit.id for hit in await collection.search(query, limit=COUNT, params=EXACT)] == nearest(
        query, later, range(4, COUNT, 2)
    )


async def test_payloads_change_wherever_a_point_lies(nodes: Nodes) -> None:
    collection, other = nodes["a"]["points"], nodes["c"]["points"]
    await collection.change_payload(PayloadChange("merge", ids=[4, 6], payload={"seen": True}))
    await collection.change_payload(PayloadChange("merge", filter=parse_filter(ODD), payload={"seen": True}))
    seen = parse_filter({"must": [{"key": "seen", "match": {"value": True}}]})
    assert await other.count(seen) == COUNT // 2 + 2
    assert await all_ids(other, matching=seen) == sorted([4, 6, *range(1, COUNT, 2)])
    with pytest.raises(NotFoundError, match="`999`"):
        await collection.change_payload(PayloadChange("merge", ids=[4, 999], payload={"seen": False}))
    decides = nodes["a"].federation.map.spreads["points"].strategy == "geographic"
    for change in (PayloadChange("clear", ids=[4]), PayloadChange("replace", ids=[6], payload={"region": "eu"})):
        if decides:
            with pytest.raises(NotOfferedError, match="`region` decides"):
                await collection.change_payload(change)
        else:
            await collection.change_payload(change)
    if not decides:
        assert [one.payload or {} for one in await other.retrieve([4, 6])] == [{}, {"region": "eu"}]
    assert await collection.count() == COUNT
    with pytest.raises(InputError, match="`littoral_copy` is reserved"):
        await collection.change_payload(PayloadChange("merge", ids=[4], payload={"littoral_copy": False}))


async def test_each_node_holds_its_part(nodes: Nodes) -> None:
    spread = nodes["a"].federation.map.spreads["points"]
    replicas = {len(held) for held in spread.places.values()}
    assert len(replicas) == 1
    for held in spread.places.values():
        assert len(set(held)) == len(held)
    counts = {name: len(spread.held_by(name)) for name in NAMES}
    assert max(counts.values()) - min(counts.values()) <= 1 or spread.strategy == "geographic"


async def test_a_point_that_moves_is_found_at_every_moment(nodes: Nodes) -> None:
    """One point goes to and fro between far ends while it is looked for; never is there none of it, or two.

    An answer that has not caught it at rest, however often it was looked for again, does not say to be certain.
    """
    ends = np.array([[9.0] * SIZE, [-9.0] * SIZE], "<f4")
    collection = nodes["a"]["points"]
    await fill(collection, [1000], ends[:1])
    looks = dict.fromkeys(nodes, 0)
    is_over = False

    async def move() -> None:
        turn = 0
        while turn < 30 or min(looks.values()) < 3:
            region = {"region": ("eu", "us")[turn % 2]}
            await nodes["b"]["points"].upsert([1000], ends[turn % 2 : turn % 2 + 1], [region])
            turn += 1
            await asyncio.sleep(max(0, turn - 30) * 0.01)

    async def look(name: str) -> None:
        while not is_over:
            with noting() as how:
                hits = await nodes[name]["points"].search(ends[looks[name] % 2], limit=COUNT + 1, params=EXACT)
            assert how.told is not None
            ids = [hit.id for hit in hits]
            assert len(ids) == len(set(ids))
            if how.told["certified"]:
                assert ids.count(1000) == 1
                assert len(ids) == COUNT + 1
                looks[name] += 1

    async with asyncio.TaskGroup() as looking:
        for name in nodes:
            looking.create_task(look(name))
        await move()
        is_over = True
    assert await collection.count() == COUNT + 1


async def test_of_two_writes_at_once_one_remains_in_whole(nodes: Nodes) -> None:
    """Two nodes write the same points to far ends at the same time."""
    ends = np.array([[9.0] * SIZE, [-9.0] * SIZE], "<f4")
    ids = list(range(2000, 2010))

    async def write(node: SpreadNode, turn: int) -> None:
        payloads = [{"region": ("eu", "us")[turn], "turn": turn} for _ in ids]
        await node["points"].upsert(ids, np.repeat(ends[turn : turn + 1], len(ids), axis=0), payloads)

    for _ in range(5):
        await asyncio.gather(write(nodes["a"], 0), write(nodes["c"], 1))
        assert await nodes["b"]["points"].count() == COUNT + len(ids)
        for record in await nodes["b"]["points"].retrieve(ids, with_vector=True):
            assert record.payload is not None
            assert record.vector == ends[record.payload["turn"]].tobytes()
