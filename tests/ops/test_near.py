"""The certificate of near answers against a comparison with every point: what it proves is never wrong."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.vectors.near import NearList, direction, near_answer, near_list
from littoral.vectors.records import Distance

Floats32 = np.ndarray[Any, np.dtype[np.float32]]


def stored(points: Floats32, distance: Distance) -> Floats32:
    """As the store keeps them."""
    if distance != "Cosine":
        return points
    lengths = np.sqrt((points.astype(np.float32) ** 2).sum(axis=1, keepdims=True))
    return (points / lengths).astype(np.float32)


def in_float32(points: Floats32, query: Floats32, distance: Distance) -> Floats32:
    """Scores as a store computes them, each alone (the same numbers, the same score), the best the highest."""
    if distance == "Cosine":
        unit = (query / np.sqrt((query * query).sum(dtype=np.float32))).astype(np.float32)
        return (points * unit).sum(axis=1, dtype=np.float32)
    return -np.sqrt(((points - query) ** 2).sum(axis=1, dtype=np.float32))


def order(scores: Floats32) -> list[int]:
    """Best first, equal ones by id."""
    return sorted(range(len(scores)), key=lambda row: (-scores[row], row))


def exact_list(points: Floats32, query: Floats32, distance: Distance, count: int) -> tuple[NearList, list[int]]:
    ids = order(in_float32(points, query, distance))[:count]
    is_whole = len(ids) == len(points) < count
    return near_list(direction(query, distance), points[ids], distance, is_whole=is_whole), ids


def drawn(seed: int, kind: str, count: int, size: int) -> Floats32:
    rng = np.random.default_rng(seed)
    if kind == "grid":  # many equal distances
        return rng.integers(-2, 3, (count, size)).astype(np.float32) + np.float32(0.5)
    if kind == "copies":
        return rng.normal(size=(max(1, count // 4), size)).astype(np.float32)[
            rng.integers(0, max(1, count // 4), count)
        ]
    if kind == "shells":  # all as far from the middle as each other, up to rounding
        points = rng.normal(size=(count, size))
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    basis = rng.normal(size=(min(4, size), size))
    return (rng.normal(size=(count, len(basis))) @ basis + 0.05 * rng.normal(size=(count, size))).astype(np.float32)


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    kind=st.sampled_from(["normal", "grid", "copies", "shells"]),
    distance=st.sampled_from(["Cosine", "Euclid"]),
    count=st.integers(1, 300),
    size=st.sampled_from([2, 3, 8, 33, 128]),
    wanted=st.integers(1, 12),
    more=st.integers(0, 40),
    step=st.sampled_from([0.0, 1e-7, 1e-5, 1e-3, 1e-2, 0.1, 1.0]),
)
def test_what_is_proven_is_what_a_full_comparison_finds(
    seed: int, kind: str, distance: Distance, count: int, size: int, wanted: int, more: int, step: float
) -> None:
    points = stored(drawn(seed, kind, count, size), distance)
    rng = np.random.default_rng(seed + 1)
    before = (points[0] + 0.1 * rng.normal(size=size)).astype(np.float32)
    query = (before + step * rng.normal(size=size)).astype(np.float32)
    if not (np.any(before) and np.any(query)):
        return
    known, ids = exact_list(points, before, distance, wanted + more)
    found = near_answer(known, direction(query, distance), distance, wanted)
    if found is None:
        return
    scores = in_float32(points, query, distance)
    want = order(scores)[:wanted]
    assert [ids[row] for row in found.rows] == want
    told = np.array(found.scores) * (1 if distance == "Cosine" else -1)
    np.testing.assert_allclose(told, scores[want], rtol=1e-4, atol=1e-4)
    wide = direction(query, distance)
    lengths = np.linalg.norm(points.astype(np.float64), axis=1, keepdims=True) if distance == "Cosine" else 1.0
    true = np.linalg.norm(points / lengths - wide, axis=1)
    assert true[want].max(initial=0) <= np.delete(true, want).min(initial=np.inf) + 1e-6


@pytest.mark.parametrize("distance", ["Cosine", "Euclid"])
@pytest.mark.parametrize("step", [1e-4, 1e-3, 1e-2])
def test_most_near_queries_are_proven(distance: Distance, step: float) -> None:
    points = stored(drawn(3, "normal", 5000, 64), distance)
    rng = np.random.default_rng(4)
    proven = 0
    for _ in range(100):
        before = (points[rng.integers(5000)] + 0.05 * rng.normal(size=64)).astype(np.float32)
        known, ids = exact_list(points, before, distance, 40)
        query = (before + step * np.linalg.norm(before) * rng.normal(size=64) / 8).astype(np.float32)
        if (found := near_answer(known, direction(query, distance), distance, 10)) is not None:
            proven += 1
            assert [ids[row] for row in found.rows] == order(in_float32(points, query, distance))[:10]
    assert proven >= 80


def test_a_query_that_is_far_is_not_answered() -> None:
    points = stored(drawn(5, "normal", 1000, 16), "Euclid")
    known, _ = exact_list(points, points[0], "Euclid", 30)
    assert near_answer(known, direction(points[0] + 100, "Euclid"), "Euclid", 10) is None
    assert near_answer(known, direction(points[0], "Euclid"), "Euclid", 31) is None


def test_a_list_of_all_points_answers_whatever_is_asked() -> None:
    points = stored(drawn(6, "normal", 7, 16), "Euclid")
    known, ids = exact_list(points, points[0], "Euclid", 30)
    query = drawn(7, "normal", 1, 16)[0]
    found = near_answer(known, direction(query, "Euclid"), "Euclid", 10)
    assert found is not None
    assert [ids[row] for row in found.rows] == order(in_float32(points, query, "Euclid"))
    empty = near_list(direction(query, "Euclid"), points[:0], "Euclid", is_whole=True)
    assert near_answer(empty, direction(query, "Euclid"), "Euclid", 10) == ((), ())


@pytest.mark.parametrize("distance", ["Cosine", "Euclid"])
def test_a_threshold_leaves_out_what_is_beyond_and_nothing_is_said_where_rounding_decides(distance: Distance) -> None:
    points = stored(drawn(8, "normal", 400, 16), distance)
    known, _ = exact_list(points, points[0], distance, 40)
    query = direction(points[0], distance)
    whole = near_answer(known, query, distance, 10)
    assert whole is not None
    between = (whole.scores[4] + whole.scores[5]) / 2
    cut = near_answer(known, query, distance, 10, threshold=between)
    assert cut is not None
    assert cut.rows == whole.rows[:5]
    assert near_answer(known, query, distance, 10, threshold=whole.scores[4]) is None
