"""Searches of every class are asked of few nodes once a level has been found, and keep their target."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.asked_recall import asking_recall
from littoral.node.search_how import noting
from littoral.vectors.queries import SearchParams
from littoral.vectors.routing.audit import SampleDraw
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

SIZE, COUNT, TENANTS, K = 8, 1200, 3, 5
NAMES = ("a", "b", "c")
EXACT = SearchParams(exact=True)
LEARNED = 90
CLASSES: dict[str, dict[str, Any]] = {
    "exact": {"params": EXACT},
    "graph": {},
    "tenant": {"params": EXACT, "matching": {"must": [{"key": "tenant", "match": {"value": "t1"}}]}},
    "threshold": {"params": EXACT, "score_threshold": 1.5},
}

Nodes = dict[str, SpreadNode]


def points() -> Any:
    """In twelve clusters, so that a search has a place."""
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((12, SIZE)) * 4
    return (centers[rng.integers(0, 12, COUNT)] + rng.standard_normal((COUNT, SIZE)) * 0.4).astype("<f4")


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    """Metric, a shard a node, a third of the points of each tenant."""
    np.save(tmp_path / "sample.npy", points())
    tables = {"points": spread_table(SIZE, shards=3, replicas=1, strategy="metric", sample="sample.npy")}
    samples = {"points": tmp_path / "sample.npy"}
    async with spread_nodes(tmp_path, NAMES, tables, samples=samples) as opened:
        collection = opened["a"]["points"]
        await collection.create_index("tenant", "keyword")
        payloads = [{"tenant": f"t{row % TENANTS}"} for row in range(COUNT)]
        await collection.upsert(range(COUNT), points(), payloads)
        await until_async(lambda: len(opened["a"].federation.summaries.proven("points")) == 3)
        yield opened


async def test_each_class_learns_a_level_of_its_own_and_keeps_the_target(nodes: Nodes) -> None:
    collection, routing = nodes["a"]["points"], nodes["a"].federation.routing
    queries = points()[np.random.default_rng(5).integers(0, COUNT, LEARNED + 30)] + 0.01
    for name, options in CLASSES.items():
        routing._often = SampleDraw(1.0, seed=0)
        with asking_recall(0.8):
            for query in queries[:LEARNED]:
                await collection.search(query, limit=K, **options)
                await until_async(lambda: not routing._rehearsing)  # of a full queue nothing is learned
            routing._often = routing._seldom = SampleDraw(0.0, seed=0)
            recalls, asked = [], []
            for query in queries[LEARNED:]:
                with noting() as how:
                    hits = await collection.search(query, limit=K, **options)
                truth = await whole(nodes, query, options)
                recalls.append(len({hit.id for hit in hits} & truth) / max(1, len(truth)))
                assert how.told is not None
                asked.append(how.told["asked"])
                assert not (how.told["certified"] and recalls[-1] < 1), name
        assert np.mean(recalls) >= 0.8, name
        assert np.mean(asked) < 2.8, name


async def whole(nodes: Nodes, query: Any, options: dict[str, Any]) -> set[Any]:
    with asking_recall(1.0):
        return {hit.id for hit in await nodes["b"]["points"].search(query, limit=K, **{**options, "params": EXACT})}


async def test_no_hit_is_of_another_tenant_whoever_is_asked_and_however(nodes: Nodes) -> None:
    mine = {"must": [{"key": "tenant", "match": {"value": "t2"}}]}
    query = points()[0]
    for node in nodes.values():
        collection = node["points"]
        for params in (EXACT, SearchParams()):
            hits = await collection.search(query, limit=50, matching=mine, params=params)
            assert len(hits) == 50
            assert {hit.payload["tenant"] for hit in hits if hit.payload} == {"t2"}
        records, _ = await collection.scroll(limit=100, matching=mine)
        assert {record.payload["tenant"] for record in records if record.payload} == {"t2"}
        assert await collection.count(matching=mine) == COUNT // TENANTS


async def test_a_request_for_certainty_goes_before_what_was_learned(nodes: Nodes) -> None:
    with asking_recall(1.0), asking_recall(0.5), noting() as how:
        await nodes["a"]["points"].search(points()[0], limit=K, params=EXACT)
    assert how.told is not None
    assert how.told["certified"]
    assert how.told["expected_recall"] == 1.0
