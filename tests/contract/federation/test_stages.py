"""Queries over what other queries have found: on several nodes as in one collection with the same points."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import InputError, TooLargeError
from littoral.node.mesh_tables import SpreadTable
from littoral.node.search_how import noting
from littoral.node.site_tables import VectorTable
from littoral.vectors import asks
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.indexes import parse_schema
from littoral.vectors.queries import Prefetch, SearchParams, SearchQuery
from littoral.vectors.records import CollectionConfig, Hit, Multi, PointBatch, Sparse, VectorParams
from littoral.vectors.tuning import SparseParams
from nodes_in_process import Wires
from spread_nodes import SpreadNode, named_table, spread_nodes
from waiting import until_true

COUNT = 150
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
VECTORS = {
    "image": VectorTable(size=4, distance="Euclid"),
    "text": VectorTable(size=6, distance="Cosine"),
    "streets": VectorTable(size=3, distance="Manhattan"),
    "patches": VectorTable(size=3, distance="Cosine", is_multi=True),
}
SIZES = {"image": 4, "text": 6, "streets": 3}
SPREADS: Mapping[str, Mapping[str, Any]] = {
    "hash": {"strategy": "hash", "shards": 3, "replicas": 2, "holders": 2},
    "metric": {"strategy": "metric", "copies": 1.6, "shards": 4, "sample": "sample.npy"},
}
ODD = parse_filter({"must": [{"key": "kind", "match": {"value": "odd"}}]})
FEW = parse_filter({"must": [{"key": "n", "range": {"lt": 40}}]})


def rows(name: str) -> Any:
    return np.random.default_rng(SIZES[name]).standard_normal((COUNT, SIZES[name])).astype("<f4")


def vectors_of(point: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: rows(name)[point].tobytes() for name in SIZES}
    patch = np.random.default_rng(point).standard_normal((2, 3)).astype("<f4")
    found["patches"] = Multi(2, patch.tobytes())
    found["words"] = Sparse(np.array([point % 5, 9], "<u4").tobytes(), np.array([1.0, point / 9.7], "<f4").tobytes())
    return found


def batch() -> PointBatch:
    payloads: list[Any] = [{"kind": "odd" if i % 2 else "even", "n": i, "price": i % 11 / 4} for i in range(COUNT)]
    return PointBatch(list(range(COUNT)), [vectors_of(i) for i in range(COUNT)], payloads)


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture(params=SPREADS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path, wires: Wires) -> AsyncIterator[dict[str, SpreadNode]]:
    """Three nodes with one collection; node `c` has the same points in a collection of its own, too."""
    np.save(tmp_path / "sample.npy", rows("image"))
    tables = {"points": named_table(VECTORS, ["words"], **{"replicas": 1, **SPREADS[request.param]})}
    samples = {"points": tmp_path / "sample.npy"}
    async with spread_nodes(tmp_path, NAMES, tables, samples=samples, wires=wires) as found:
        alone = await found["c"].collections.create("alone", found["c"]["points"].config)
        for collection in (found["b"]["points"], alone):
            await collection.upsert_points(batch())
            await collection.create_index("n", "integer")
        yield found


def near(name: str, seed: int = 1) -> asks.Nearest:
    return asks.Nearest(np.random.default_rng(seed).standard_normal(SIZES[name]).astype("<f4").tobytes())


def words(*indices: int) -> asks.Nearest:
    return asks.Nearest(Sparse(np.array(indices, "<u4").tobytes(), np.ones(len(indices), "<f4").tobytes()))


def of(ask: asks.Ask | None, using: str = "", limit: int = 25, **options: Any) -> Prefetch:
    return Prefetch(ask=ask, using=using, limit=limit, params=EXACT, **options)


TWO = [of(near("image"), "image"), of(near("text"), "text")]
SUM: Any = {"sum": ["$score", {"mult": [0.5, "$score[1]"]}, {"div": {"left": "price", "right": 2.0}}]}
BOOST: Any = {"sum": ["$score[0]", {"mult": [3.0, {"key": "kind", "match": {"value": "odd"}}]}, {"abs": "price"}]}


def asked(ask: asks.Ask, *prefetch: Prefetch, **options: Any) -> SearchQuery:
    return SearchQuery(ask, params=EXACT, prefetch=list(prefetch), **options)


QUERIES: Mapping[str, Callable[[], SearchQuery]] = {
    "ranks": lambda: asked(asks.Fusion("rrf"), *TWO),
    "ranks of three, weighted": lambda: asked(
        asks.Fusion("rrf", 7, [3.0, 1.0, 0.5]), *TWO, of(words(2, 9), "words", 30), limit=12, offset=5
    ),
    "distributions": lambda: asked(asks.Fusion("dbsf"), *TWO, limit=20),
    "a threshold": lambda: asked(asks.Fusion("rrf"), *TWO, score_threshold=0.2, limit=30),
    "filters without and within": lambda: asked(
        asks.Fusion("rrf"), of(near("image"), "image", filter=FEW), of(near("text"), "text"), filter=ODD, limit=30
    ),
    "compared again": lambda: asked(near("text"), *TWO, using="text"),
    "compared again by distance": lambda: asked(near("image"), of(near("text"), "text", 60), using="image", limit=8),
    "examples": lambda: asked(
        asks.Recommend([asks.Of(3), asks.Of(8)], [asks.Of(5)], "best_score"), *TWO, using="text", with_payload=True
    ),
    "examples within": lambda: asked(
        asks.Fusion("rrf"), of(asks.Recommend([asks.Of(4)], [], "average_vector"), "image"), of(near("text"), "text")
    ),
    "fusions of fusions": lambda: asked(
        asks.Fusion("dbsf"), of(asks.Fusion("rrf"), prefetch=TWO, limit=20), of(words(1, 9), "words"), limit=15
    ),
    "several patches": lambda: asked(
        asks.Nearest(Multi(2, np.arange(6, dtype="<f4").tobytes())), *TWO, using="patches", with_vector=["text"]
    ),
    "in order": lambda: asked(asks.OrderBy("n", "desc"), *TWO),
    "a formula": lambda: asked(asks.Formula(SUM, {"$score[1]": 0.25}), *TWO, limit=30),
    "a formula of conditions": lambda: asked(asks.Formula(BOOST), of(asks.Fusion("rrf"), prefetch=TWO), limit=12),
    "unlike each other": lambda: asked(asks.Mmr(near("text").target, 0.6, 40), using="text", limit=12),
    "unlike each other by distance": lambda: asked(asks.Mmr(near("image").target, 0.4, 30), using="image", limit=9),
    "unlike each other by streets": lambda: asked(asks.Mmr(near("streets").target, 0.5), using="streets", limit=7),
    "unlike each other of some": lambda: asked(asks.Mmr(near("text").target, 0.9, 20), *TWO, using="text", limit=6),
    "unlike patches": lambda: asked(
        asks.Mmr(Multi(2, np.arange(6, dtype="<f4").tobytes()), 0.7, 20), using="patches", limit=6
    ),
    "nothing passes": lambda: asked(asks.Fusion("rrf"), *TWO, filter=parse_filter({"must": [{"has_id": [9999]}]})),
    "nothing to compare": lambda: asked(
        near("text"), of(near("image"), "image", filter=parse_filter({"must": [{"has_id": [9999]}]})), using="text"
    ),
}


def told(hits: Sequence[Hit], query: SearchQuery) -> list[Any]:
    """Hits whose scores differ by rounding alone are in any order."""
    found = [(round(hit.score, 3), hit.id, hit.payload, hit.vector) for hit in hits]
    return found if isinstance(query.ask, asks.Mmr | asks.OrderBy) else sorted(found, key=lambda one: (-one[0], one[1]))


async def test_every_stage_is_over_all_nodes(nodes: dict[str, SpreadNode]) -> None:
    alone = nodes["c"].collections.get("alone")
    for name, query in QUERIES.items():
        (expected,) = await alone.search_batch([query()])
        for node in nodes.values():
            assert told(await certain(node, query), query()) == told(expected, query()), name
        assert expected or name.startswith("nothing")


async def certain(node: SpreadNode, query: Callable[[], SearchQuery]) -> list[Hit]:
    """Once replicas have promised each other to be complete."""
    found: list[Hit] = []

    async def is_certain() -> bool:
        with noting() as how:
            (found[:],) = await node["points"].search_batch([query()])
        assert how.told is not None
        assert how.told["missing"] == []
        return bool(how.told["certified"])

    await until_true(is_certain)
    return found


async def test_several_at_once_and_groups(nodes: dict[str, SpreadNode]) -> None:
    alone, spread = nodes["c"].collections.get("alone"), nodes["a"]["points"]
    queries = [asked(asks.Fusion("rrf"), *TWO, limit=3), SearchQuery(near("text"), using="text", params=EXACT)]
    found, expected = await spread.search_batch(queries), await alone.search_batch(queries)
    assert [told(hits, queries[0]) for hits in found] == [told(hits, queries[0]) for hits in expected]
    for query in (asked(asks.Fusion("rrf"), *TWO, limit=2), asked(near("text"), *TWO, limit=2, using="text")):
        groups = await spread.group(query, "kind", size=4)
        same = await alone.group(query, "kind", size=4)
        assert {one.id: told(one.hits, query) for one in groups} == {one.id: told(one.hits, query) for one in same}


async def test_samples_are_as_likely_wherever_points_lie(nodes: dict[str, SpreadNode]) -> None:
    """In cells with copies, a point may lie twice."""
    spread, drawn = nodes["b"]["points"], Counter[object]()
    rounds, size = 40, 30
    for _ in range(rounds):
        (hits,) = await spread.search_batch([asked(asks.Sample(), limit=size, filter=FEW)])
        assert len({hit.id for hit in hits}) == len(hits) == size
        drawn.update(hit.id for hit in hits)
    assert set(drawn) == set(range(40))
    expected = rounds * size / 40
    assert sum((drawn[i] - expected) ** 2 / (expected * (1 - size / 40)) for i in range(40)) < 100
    (hits,) = await spread.search_batch([asked(asks.Sample(), *TWO, limit=5)])
    (whole,) = await spread.search_batch([asked(asks.Fusion("rrf"), *TWO, limit=50)])
    assert len(hits) == 5
    assert {hit.id for hit in hits} <= {hit.id for hit in whole}


async def test_pairs_among_points_at_random(nodes: dict[str, SpreadNode]) -> None:
    pairs = await nodes["a"]["points"].pairs(sample=COUNT, limit=3, using="text")
    same = await pairs_alone(nodes["c"].collections.get("alone"))
    assert {(pair.a, pair.b): pair.score for pair in pairs} == pytest.approx(same, abs=1e-5)


async def pairs_alone(collection: Collection) -> dict[tuple[object, object], float]:
    return {(pair.a, pair.b): pair.score for pair in await collection.pairs(sample=COUNT, limit=3, using="text")}


async def test_what_does_not_fit_is_refused(nodes: dict[str, SpreadNode]) -> None:
    spread = nodes["a"]["points"]
    wrong: list[tuple[SearchQuery, type[Exception], str]] = [
        (asked(asks.Fusion("rrf")), InputError, "needs a `prefetch`"),
        (asked(asks.Formula("$score")), InputError, "needs a `prefetch`"),
        (asked(asks.Fusion("rrf", 2, [1.0]), *TWO), InputError, "1 weights for 2 prefetches"),
        (asked(asks.Fusion("rrf", 0), *TWO), InputError, "`k` of at least 1"),
        (asked(asks.Mmr(near("text").target, 1.5), using="text"), InputError, "`diversity` is 1.5"),
        (asked(asks.Mmr(near("text").target), using="words"), InputError, "needs a dense vector"),
        (asked(asks.Mmr(near("text").target), using="image"), InputError, "query"),
        (asked(asks.Mmr(near("text").target, 0.5, 16_385), using="text"), InputError, "`candidates_limit`"),
        (asked(asks.Formula({"div": {"left": 1.0, "right": "none"}}), *TWO), InputError, "formula"),
        (asked(asks.Formula("$score", {"$score": "high"}), *TWO), InputError, "`$score` must be a number"),
        (asked(near("text"), of(near("image"), "text"), using="text"), InputError, "query"),
        (asked(asks.Formula("$score"), of(None, limit=16_385)), TooLargeError, "limit"),
    ]
    for query, kind, why in wrong:
        with pytest.raises(kind) as refused:
            await spread.search_batch([query])
        assert why in str(refused.value), query


async def test_a_node_that_is_gone_is_missing_in_every_stage(nodes: dict[str, SpreadNode], wires: Wires) -> None:
    wires.kill("b")
    for query in (
        asked(asks.Fusion("rrf"), *TWO),
        asked(asks.Mmr(near("text").target), using="text"),
        asked(asks.Sample()),
    ):
        with noting() as how:
            (hits,) = await nodes["a"]["points"].search_batch([query])
        assert len(hits) == 10
        assert how.told is not None
        is_held_twice = len(nodes["a"].federation.map.spreads["points"].places[0]) > 1
        assert (how.told["missing"] == []) is is_held_twice
        assert is_held_twice or not how.told["certified"]


async def test_how_rare_a_word_is_each_shard_says_of_its_own_points(tmp_path: Path) -> None:
    """As in Qdrant's cluster: so nothing is certain."""
    config = CollectionConfig(named={"text": VectorParams(6, "Cosine")}, sparse={"words": SparseParams(modifier="idf")})
    async with spread_nodes(tmp_path, NAMES[:2], {}) as found:
        node = found["a"]
        await node.federation.making.create(
            "points",
            config,
            SpreadTable(shards=2, replicas=1),
            ready=lambda left_s: node["points"].count(deadline_s=left_s),
            deadline_s=60.0,
        )
        points = [{name: vectors_of(i)[name] for name in ("text", "words")} for i in range(40)]
        await found["a"]["points"].upsert_points(PointBatch(list(range(40)), points, [{"note": "north"}] * 40))
        await found["a"]["points"].create_index("note", parse_schema({"type": "text", "scoring": True}))
        rare, text = words(3), asks.TextMatch("north")
        for query in (
            asked(rare, using="words"),
            asked(text, using="note"),
            asked(asks.Fusion("rrf"), of(rare, "words")),
        ):
            with noting() as how:
                (hits,) = await found["b"]["points"].search_batch([query])
            assert len(hits) == (8 if query.ask is not text else 10)
            assert how.told is not None
            assert (how.told["certified"], how.told["expected_recall"], how.told["missing"]) == (False, None, [])
