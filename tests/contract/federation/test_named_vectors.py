"""Spread collections whose points have several vectors: answers by each are those of one collection."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import InputError, NotFoundError
from littoral.node.federation.asking import Asking, Gathered
from littoral.node.federation.homing import Homing, Lying
from littoral.node.federation.moving.wishes import Asked, Dissolve, Divide, ToSpread, Wish
from littoral.node.search_how import noting
from littoral.node.shown import collections as shown
from littoral.node.site_tables import VectorTable
from littoral.vectors import asks, frames
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, SearchParams, SearchQuery
from littoral.vectors.records import Hit, Multi, PointBatch, PointId, PointVectors, Record, Sparse
from spread_nodes import SpreadNode, has_arrived, named_table, spread_nodes
from waiting import until_async, until_true

COUNT = 120
SIZES = {"image": 4, "text": 6}
NAMES = ("a", "b", "c")
REGIONS = {"a": "eu", "b": "eu", "c": "us"}
EXACT = SearchParams(exact=True)
ODD = {"must": [{"key": "kind", "match": {"value": "odd"}}]}
LACKING = range(0, COUNT, 7)
"""Points without the vector that cells are of."""

VECTORS = {
    "image": VectorTable(size=4, distance="Euclid"),
    "text": VectorTable(size=6, distance="Cosine"),
    "patches": VectorTable(size=3, distance="Cosine", is_multi=True),
}
SPREADS: Mapping[str, Mapping[str, Any]] = {
    "hash": {"strategy": "hash", "shards": 3, "replicas": 2, "holders": 2},
    "metric": {"strategy": "metric", "copies": 1.6, "shards": 4},
    "geographic": {"strategy": "geographic", "region": "region", "within": "metric", "shards": 4},
}

Nodes = dict[str, SpreadNode]


def rows(name: str, seed: int = 7) -> Any:
    return np.random.default_rng(seed + SIZES[name]).standard_normal((COUNT, SIZES[name])).astype("<f4")


def vectors_of(point: int, seed: int = 7) -> dict[str, Any]:
    """Some have all kinds, some lack the vector that cells are of, one has none at all."""
    found: dict[str, Any] = {"text": rows("text", seed)[point].tobytes()}
    if point not in LACKING:
        found["image"] = rows("image", seed)[point].tobytes()
    if point % 3 == 0:
        patch = np.random.default_rng(point).standard_normal((2, 3)).astype("<f4")
        found["patches"] = Multi(2, patch.tobytes())
        found["words"] = Sparse(np.array([point % 5, 9], "<u4").tobytes(), np.array([1.0, point], "<f4").tobytes())
    return found


def payload_of(point: int) -> dict[str, Any]:
    return {"kind": "even" if point % 2 == 0 else "odd", "region": "eu" if point % 3 else "us", "n": point}


def batch(points: Sequence[int], seed: int = 7) -> PointBatch:
    return PointBatch(list(points), [vectors_of(i, seed) for i in points], [payload_of(i) for i in points])


@pytest.fixture(params=SPREADS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    """Three nodes, one collection, filled through one of them."""
    np.save(tmp_path / "sample.npy", rows("image"))
    options = {"replicas": 1, "sample": "sample.npy"} | dict(SPREADS[request.param])
    tables = {"points": named_table(VECTORS, ["words"], **options)}
    samples = {"points": tmp_path / "sample.npy"}
    async with spread_nodes(tmp_path, NAMES, tables, samples=samples, regions=REGIONS) as found:
        await found["b"]["points"].upsert_points(batch(range(COUNT)))
        yield found


def nearest(name: str, query: Any, ids: Any = None, seed: int = 7, own: Any = None) -> list[int]:
    there = set(range(COUNT)) - (set(LACKING) if name == "image" else set())
    own = (rows(name, seed) if own is None else own).astype(np.float64)
    if name == "text":
        scores = -(own @ query) / np.linalg.norm(own, axis=1) / np.linalg.norm(query)
    else:
        scores = ((own - query) ** 2).sum(axis=1)
    return [i for i in np.argsort(scores, kind="stable").tolist() if i in there and (ids is None or i in ids)]


def query_of(name: str, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(SIZES[name]).astype("<f4")


def asked(name: str, query: Any, **more: Any) -> SearchQuery:
    options: dict[str, Any] = {"limit": 10, "params": EXACT} | more
    return SearchQuery(asks.Nearest(packed(query, (SIZES[name],), "query")), using=name, **options)


def ids_of(points: Sequence[Any]) -> list[Any]:
    return [point.id for point in points]


async def test_every_vector_gives_the_answers_of_one_collection(nodes: Nodes) -> None:
    await summaries_tell_of_every_dense_vector(nodes)
    for node in nodes.values():
        await searches_are_right(node)
    await reads_are_right(nodes["c"])
    await sparse_vectors_and_multivectors_are_asked_of_all_shards(nodes["a"])
    await what_is_no_vector_of_the_collection_is_refused(nodes["a"])


async def searches_are_right(node: SpreadNode) -> None:
    collection = node["points"]
    queries = {name: query_of(name) for name in SIZES}
    found, how = await certain(node, [asked(name, query, limit=COUNT) for name, query in queries.items()])
    assert (how["missing"], how["expected_recall"]) == ([], 1.0)
    assert [ids_of(hits) for hits in found] == [nearest(name, query) for name, query in queries.items()]
    for name, query in queries.items():
        (hits,) = await collection.search_batch([asked(name, query, filter=parse_filter(ODD), limit=9, offset=4)])
        assert ids_of(hits) == nearest(name, query, range(1, COUNT, 2))[4:13]
        (all_hits,) = await collection.search_batch([asked(name, query, limit=12)])
        (above,) = await collection.search_batch([asked(name, query, score_threshold=all_hits[6].score)])
        assert set(ids_of(above)) >= set(ids_of(all_hits[:6]))
        assert len(above) <= 7


async def certain(node: SpreadNode, queries: list[SearchQuery]) -> tuple[list[list[Hit]], dict[str, Any]]:
    """Once replicas have promised each other to be complete."""
    told: list[dict[str, Any]] = []
    found: list[list[Hit]] = []

    async def is_certain() -> bool:
        with noting() as how:
            found[:] = await node["points"].search_batch(queries)
        told.append(dict(how.told or {}))
        return bool(told[-1]["certified"])

    await until_true(is_certain)
    return found, told[-1]


async def reads_are_right(node: SpreadNode) -> None:
    collection = node["points"]
    assert await collection.count() == COUNT
    records, _ = await collection.scroll(limit=COUNT, with_vector=["text"])
    assert ids_of(records) == list(range(COUNT))
    assert all(isinstance(one.vector, dict) and list(one.vector) == ["text"] for one in records)
    (whole, without) = await collection.retrieve([9, 7], with_vector=True)
    assert isinstance(whole.vector, dict)
    assert set(whole.vector) == {"image", "text", "patches", "words"}
    assert whole.vector["image"] == rows("image")[9].tobytes()
    assert set(without.vector or {}) == {"text"}
    example = SearchQuery(asks.Recommend([asks.Of(5)], [], "average_vector"), using="image", limit=4, params=EXACT)
    (hits,) = await collection.search_batch([example])
    assert ids_of(hits) == nearest("image", rows("image")[5])[1:5]
    grouped = asked("text", query_of("text"), limit=2)
    for group in await collection.group(grouped, "kind", size=5):
        wanted = [i for i in nearest("text", query_of("text")) if payload_of(i)["kind"] == group.id]
        assert ids_of(group.hits) == wanted[:5]
    mapped = await shown.map_of(collection, shown.Asked(COUNT, using="text"))
    assert sorted(point["id"] for point in mapped["points"]) == list(range(COUNT))


async def sparse_vectors_and_multivectors_are_asked_of_all_shards(node: SpreadNode) -> None:
    there = list(range(0, COUNT, 3))
    words = Sparse(np.array([9], "<u4").tobytes(), np.array([1.0], "<f4").tobytes())
    (hits,), how = await certain(node, [SearchQuery(asks.Nearest(words), using="words", limit=5, params=EXACT)])
    assert ids_of(hits) == there[::-1][:5]
    assert how["missing"] == []
    ask = asks.Nearest(Multi(1, np.ones(3, "<f4").tobytes()))
    (hits,), how = await certain(node, [SearchQuery(ask, using="patches", limit=COUNT, params=EXACT)])
    assert how["asked"] >= 2
    assert sorted(ids_of(hits)) == there
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


async def test_points_go_where_their_vector_of_cells_says_and_without_it_by_their_id(nodes: Nodes) -> None:
    """Another vector, none at all, and one again: each time the point is there once."""
    collection, other = nodes["a"]["points"], nodes["c"]["points"]
    await collection.upsert_points(batch(range(COUNT), seed=8))
    query = query_of("image", seed=2)
    (hits,) = await other.search_batch([asked("image", query, limit=COUNT)])
    assert ids_of(hits) == nearest("image", query, seed=8)
    text_only: list[PointVectors] = [{"text": rows("text")[i].tobytes()} for i in range(COUNT)]
    await other.upsert_points(PointBatch(list(range(COUNT)), text_only, [payload_of(i) for i in range(COUNT)]))
    assert await collection.count() == COUNT
    (hits,) = await collection.search_batch([asked("image", query)])
    assert hits == []
    held = [await part_count(node) for node in nodes.values()]
    assert all(sum(counts.values()) for counts in held)
    shards = {part for counts in held for part, count in counts.items() if count}
    assert len(shards) == len(nodes["a"].federation.map.spreads["points"].places)
    await collection.upsert_points(batch(range(COUNT)))
    (hits,) = await other.search_batch([asked("image", query, limit=COUNT)])
    assert ids_of(hits) == nearest("image", query)
    assert ids_of((await other.scroll(limit=COUNT))[0]) == list(range(COUNT))


async def part_count(node: SpreadNode) -> dict[str, int]:
    found = {}
    for part in node.collections.parts():
        collection = node.collections.part(part)
        assert collection is not None
        found[part] = await collection.count()
    return found


async def test_vectors_are_changed_and_deleted_by_their_names(nodes: Nodes) -> None:
    collection, other = nodes["b"]["points"], nodes["c"]["points"]
    later = rows("text", seed=9)
    await collection.update_vectors([4, 5], [{"text": later[i].tobytes()} for i in (4, 5)])
    changed: dict[Any, Any] = {one.id: one.vector for one in await other.retrieve([4, 5], with_vector=True)}
    for i in (4, 5):
        assert np.allclose(np.frombuffer(changed[i]["text"], "<f4"), unit(later[i]), atol=1e-6)
        assert changed[i]["image"] == rows("image")[i].tobytes()
    await collection.delete_vectors(["text", "words"], ids=[6, 9])
    await collection.delete_vectors(["patches"], matching=parse_filter(ODD))
    left: dict[Any, Record] = {one.id: one for one in await other.retrieve([6, 9, 12, 15], with_vector=True)}
    assert {i: sorted(one.vector or {}) for i, one in left.items()} == {  # type: ignore[arg-type]
        6: ["image", "patches"],
        9: ["image"],
        12: ["image", "patches", "text", "words"],
        15: ["image", "text", "words"],
    }
    await collection.change_payload(PayloadChange("merge", ids=[6], payload={"seen": True}))
    (seen,) = await other.retrieve([6], with_vector=["image"])
    assert (seen.payload or {})["seen"] is True
    image = [{"image": rows("image", seed=9)[i].tobytes()} for i in (4, 8)]
    await collection.update_vectors([4, 8], image)
    await collection.delete_vectors(["image"], ids=[5])
    await other.delete_vectors(["image"], matching=parse_filter({"must": [{"key": "n", "match": {"value": 11}}]}))
    found = {one.id: one.vector for one in await other.retrieve([4, 5, 8, 11], with_vector=["image"])}
    assert [found[4], found[8]] == image
    assert not found[5]
    assert not found[11]
    with pytest.raises(NotFoundError, match="900"):
        await collection.update_vectors([4, 900], image)
    with pytest.raises(NotFoundError, match="900"):
        await collection.delete_vectors(["image"], ids=[4, 900])
    assert await other.count() == COUNT


async def test_a_vector_is_changed_of_a_point_that_goes_to_another_shard_meanwhile(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment it is found and the write, somebody writes it whole, with another vector of cells."""
    read, look, later = Asking.read, Homing.lying, rows("text", seed=9)
    moves = iter(range(1, 4))

    async def moves_once() -> None:
        if (turn := next(moves, None)) is not None:
            whole: dict[str, Any] = vectors_of(4) | {"image": (-1) ** turn * 9 * np.ones(4, "<f4")}
            whole["image"] = whole["image"].tobytes()
            await nodes["c"]["points"].upsert_points(PointBatch([4], [whole], [payload_of(4) | {"turn": turn}]))

    async def then_it_moves(self: Asking, target: Any, request: Any, *args: Any, **more: Any) -> Gathered:
        gathered = await read(self, target, request, *args, **more)
        if isinstance(request, frames.Retrieve):
            await moves_once()
        return gathered

    async def looked_at_then_it_moves(self: Homing, *args: Any, **more: Any) -> dict[PointId, Lying]:
        found = await look(self, *args, **more)
        await moves_once()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Asking, "read", then_it_moves)
        patched.setattr(Homing, "lying", looked_at_then_it_moves)
        await nodes["b"]["points"].update_vectors([4], [{"text": later[4].tobytes()}])
    (found,) = await nodes["a"]["points"].retrieve([4], with_vector=["text"])
    assert isinstance(found.vector, dict)
    assert np.allclose(np.frombuffer(found.vector["text"], "<f4"), unit(later[4]), atol=1e-6)
    assert "turn" in (found.payload or {})
    assert await nodes["c"]["points"].count() == COUNT


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


async def what_is_no_vector_of_the_collection_is_refused(node: SpreadNode) -> None:
    collection = node["points"]
    with pytest.raises(InputError, match="`smell`"):
        await collection.search_batch([SearchQuery(asks.Nearest(bytes(16)), using="smell")])
    with pytest.raises(InputError, match="vector"):
        await collection.search_batch([SearchQuery(bytes(16))])
    with pytest.raises(InputError, match=r"4|size"):
        await collection.search_batch([SearchQuery(asks.Nearest(bytes(12)), using="image", params=EXACT)])
    for by in ("smell", "patches", "words"):
        with pytest.raises(InputError, match=f"`{by}`"):
            await node.federation.changes.ask(Asked(ToSpread("points", strategy="metric", by=by)))
    with pytest.raises(InputError, match="point `200`"):
        await collection.upsert_points(PointBatch([200], [{"image": bytes(12)}]))
    assert await collection.count() == COUNT


async def summaries_tell_of_every_dense_vector(nodes: Nodes) -> None:
    """So a search by any of them can be certified without asking everybody."""
    summaries = nodes["a"].federation.summaries
    shards = set(nodes["a"].federation.map.spreads["points"].places)
    await until_async(lambda: sum(one.count for one in summaries.of("points", "text").values()) >= COUNT)
    told = summaries.of("points", "text")
    assert set(told) == shards
    assert summaries.of("points", "patches") == {}
    image = summaries.of("points", "image")
    assert {(one.size, one.distance) for one in image.values()} == {(4, "Euclid")}
    assert {(one.size, one.distance) for one in told.values()} == {(6, "Cosine")}


async def test_cells_of_one_vector_become_cells_of_another_while_it_is_written(tmp_path: Path) -> None:
    """By id, by `image`, one shard divided, by `text`, dissolved, and by id again."""
    tables = {"points": named_table(VECTORS, ["words"], strategy="hash", shards=2, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables) as nodes:
        collection = nodes["c"]["points"]
        await collection.upsert_points(batch(range(COUNT)))
        wishes: list[tuple[Callable[[], Wish], str]] = [
            (lambda: ToSpread("points", strategy="metric", shards=3, by="image"), "image"),
            (lambda: Divide("points", shards_of(nodes)[0]), "image"),
            (lambda: ToSpread("points", strategy="metric", by="text"), "text"),
            (lambda: Dissolve("points", shards_of(nodes)[1]), "text"),
            (lambda: ToSpread("points", strategy="hash", shards=2), "text"),
        ]
        for turn, (wish, vector) in enumerate(wishes):
            later = dict.fromkeys(range(turn, COUNT, 11), turn + 20)
            plan = await nodes["b"].federation.changes.ask(Asked(wish(), is_applied=True))
            assert plan.is_begun
            for point, seed in later.items():
                await collection.upsert_points(batch([point], seed=seed))
            await until_async(lambda plan=plan: has_arrived(nodes, plan))
            assert nodes["a"].federation.map.spreads["points"].vector == vector
            for node in nodes.values():
                assert await node["points"].count() == COUNT
                await nearest_are_right(node, later)
            await collection.upsert_points(batch(range(COUNT)))


def shards_of(nodes: Nodes) -> list[int]:
    return nodes["a"].federation.map.spreads["points"].shards


async def nearest_are_right(node: SpreadNode, later: Mapping[int, int]) -> None:
    """later: seeds of points that were written again."""
    for name in SIZES:
        own = rows(name)
        for point, seed in later.items():
            own[point] = rows(name, seed)[point]
        query = query_of(name, seed=3)
        (hits,) = await node["points"].search_batch([asked(name, query, limit=COUNT)])
        assert ids_of(hits) == nearest(name, query, own=own)
