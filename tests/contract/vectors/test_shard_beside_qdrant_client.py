"""The same points and questions for a shard and for Qdrant's own client in its in-memory mode."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from littoral.vectors.queries import SearchParams, parse_selector
from littoral.vectors.records import VectorParams

SIZE = 12
COUNT = 300
WORDS = ("north", "south", "east", "west")
EXACT = SearchParams(exact=True)


def rounded(value: Any) -> Any:
    """The store reads a payload's real numbers back to within one unit in the last place."""
    if isinstance(value, float):
        return float(f"{value:.14g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def payload_of(index: int, rng: random.Random) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "camera": rng.choice(WORDS),
        "second": index // 10,
        "score": rng.choice([0.5, 1.25, -3.0, 7]),
        "tags": rng.sample(WORDS, rng.randrange(4)),
        "night": rng.random() < 0.3,
        "at": f"2026-11-{rng.randrange(1, 28):02d}T12:00:00Z",
        "place": {"lon": 5 + rng.random(), "lat": 50 + rng.random()},
        "boxes": [{"label": rng.choice(WORDS), "area": rng.randrange(9)} for _ in range(rng.randrange(3))],
        "note": f"a {rng.choice(WORDS)} wind from the {rng.choice(WORDS)}",
    }
    if index % 7 == 0:
        payload["tags"] = None
    if index % 5 == 0:
        del payload["second"]
    return payload


def random_condition(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    word, number = rng.choice(WORDS), rng.randrange(30)
    corner = {"lon": 5.2, "lat": 50.8}, {"lon": 5.8, "lat": 50.2}
    ring = [{"lon": x, "lat": y} for x, y in ((5.1, 50.1), (5.9, 50.1), (5.9, 50.9), (5.1, 50.9), (5.1, 50.1))]
    kinds: list[dict[str, Any]] = [
        {"key": "camera", "match": {"value": word}},
        {"key": "second", "match": {"value": number}},
        {"key": "night", "match": {"value": rng.random() < 0.5}},
        {"key": "camera", "match": {"any": rng.sample(WORDS, 2)}},
        {"key": "second", "match": {"any": [number, number + 1]}},
        {"key": "camera", "match": {"except": [word]}},
        {"key": "tags", "match": {"value": word}},
        {"key": "note", "match": {"text": word}},
        {"key": "second", "range": {"gte": number, "lt": number + 8}},
        {"key": "score", "range": {"gt": 0.5}},
        {"key": "at", "range": {"gt": "2026-11-10T00:00:00Z", "lte": "2026-11-20T12:00:00Z"}},
        {"key": "tags", "values_count": {"gte": 2}},
        {"key": "boxes[].area", "range": {"gte": 5}},
        {"key": "place", "geo_radius": {"center": corner[0], "radius": 40_000.0}},
        {"key": "place", "geo_bounding_box": {"top_left": corner[0], "bottom_right": corner[1]}},
        {"key": "place", "geo_polygon": {"exterior": {"points": ring}, "interiors": []}},
        {"is_empty": {"key": rng.choice(["second", "tags", "nothing"])}},
        {"is_null": {"key": rng.choice(["tags", "second"])}},
        {"has_id": rng.sample(range(COUNT), 20)},
        {"nested": {"key": "boxes", "filter": {"must": [
            {"key": "label", "match": {"value": word}}, {"key": "area", "range": {"gte": 4}}]}}},
    ]  # fmt: skip
    if depth < 2:
        kinds += [random_filter(rng, depth + 1)] * 3
    return rng.choice(kinds)


def random_filter(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    clauses = rng.sample(["must", "should", "must_not", "min_should"], rng.choice([1, 1, 2]))
    made: dict[str, Any] = {name: [random_condition(rng, depth) for _ in range(rng.choice([1, 2]))] for name in clauses}
    if "min_should" in made:
        made["min_should"] = {"conditions": [*made["min_should"], random_condition(rng, depth)], "min_count": 2}
    return made


@pytest.fixture(params=["Cosine", "Dot", "Euclid", "Manhattan"])
def pair(request: pytest.FixtureRequest, make_shard: Callable[[VectorParams], Any]) -> tuple[Any, Any, np.ndarray]:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((COUNT, SIZE)).astype("<f4")
    payload_rng = random.Random(5)
    payloads = [payload_of(index, payload_rng) for index in range(COUNT)]
    shard = make_shard(VectorParams(SIZE, request.param))
    shard.upsert(list(range(COUNT)), vectors, payloads)
    peer = QdrantClient(":memory:")
    distance = models.Distance(request.param)
    peer.create_collection("same", vectors_config=models.VectorParams(size=SIZE, distance=distance))
    peer.upsert("same", [
        models.PointStruct(id=i, vector=vectors[i].tolist(), payload=payloads[i]) for i in range(COUNT)
    ])  # fmt: skip
    return shard, peer, rng.standard_normal((40, SIZE)).astype("<f4")


def assert_same_ranking(found: list[Any], wanted: list[Any]) -> None:
    """The two add numbers in different order, so that nearly equal scores may change places."""
    assert [h.score for h in found] == pytest.approx([p.score for p in wanted], rel=1e-5, abs=1e-5)
    theirs = {p.id: p.score for p in wanted}
    assert [h.score for h in found] == pytest.approx([theirs[h.id] for h in found], rel=1e-5, abs=1e-5)


def test_scores_order_pages_and_thresholds_agree(pair: tuple[Any, Any, np.ndarray]) -> None:
    shard, peer, queries = pair
    for query in queries:
        wanted = peer.query_points("same", query.tolist(), limit=25).points
        assert_same_ranking(shard.search(query, limit=25, params=EXACT), wanted)
        assert_same_ranking(shard.search(query, limit=5, offset=7, params=EXACT), wanted[7:12])
        gap, cut = max((abs(wanted[i].score - wanted[i + 1].score), i) for i in range(24))
        between = (wanted[cut].score + wanted[cut + 1].score) / 2
        assert gap > 1e-3
        assert_same_ranking(shard.search(query, limit=25, score_threshold=between), wanted[: cut + 1])


@pytest.mark.parametrize("pair", ["Dot"], indirect=True)
def test_filters_agree(pair: tuple[Any, Any, np.ndarray]) -> None:
    shard, peer, queries = pair
    rng = random.Random(11)
    sizes = set()
    for turn in range(100):
        matching = random_filter(rng)
        theirs = models.Filter.model_validate(matching)
        wanted = peer.query_points("same", queries[turn % 40].tolist(), query_filter=theirs, limit=COUNT).points
        found = shard.search(queries[turn % 40], matching=matching, limit=COUNT, with_payload=False)
        assert {h.id for h in found} == {p.id for p in wanted}, matching
        assert_same_ranking(found, wanted)
        assert shard.count(matching) == len(wanted), matching
        sizes.add(len(wanted))
    assert len(sizes) > 30, "the filters found much the same: a comparison of nothing"


SELECTORS: list[tuple[Any, Any]] = [
    (True, True),
    (False, False),
    (["camera", "place.lon"], ["camera", "place.lon"]),
    ({"include": ["boxes[].area"]}, models.PayloadSelectorInclude(include=["boxes[].area"])),
    ({"exclude": ["boxes", "place"]}, models.PayloadSelectorExclude(exclude=["boxes", "place"])),
]


def test_payload_and_vector_selection_agree(pair: tuple[Any, Any, np.ndarray]) -> None:
    shard, peer, queries = pair
    query = queries[0]
    for json, theirs in SELECTORS:
        wanted = peer.query_points("same", query.tolist(), with_payload=theirs, with_vectors=True, limit=20).points
        found = shard.search(query, with_payload=parse_selector(json), with_vector=True, limit=20, params=EXACT)
        assert [rounded(h.payload or None) for h in found] == [rounded(p.payload or None) for p in wanted]
        mine = np.stack([np.frombuffer(h.vector, "<f4") for h in found])
        np.testing.assert_allclose(mine, [p.vector for p in wanted], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pair", ["Dot"], indirect=True)
def test_scroll_and_delete_by_filter_agree(pair: tuple[Any, Any, np.ndarray]) -> None:
    shard, peer, _ = pair
    matching = {
        "must": [{"key": "second", "range": {"lt": 15}}],
        "must_not": [{"key": "night", "match": {"value": True}}],
    }
    theirs = models.Filter.model_validate(matching)
    wanted, offset = peer.scroll("same", scroll_filter=theirs, limit=10)
    found, following = shard.scroll(matching=matching, limit=10)
    assert [(r.id, rounded(r.payload)) for r in found] == [(r.id, rounded(r.payload)) for r in wanted]
    assert following == offset
    shard.delete_matching(matching)
    peer.delete("same", points_selector=models.FilterSelector(filter=theirs))
    assert shard.count() == peer.count("same").count
