"""What is certified is true: the hits are the top k of all points, whatever the data, the distance and the shards."""

from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from littoral.errors import PeerError
from littoral.vectors.records import Distance
from littoral.vectors.routing.plan import Ask, Enough, Planner
from littoral.vectors.routing.summary import BYTES_MAX, balls_of, summarize, widened
from littoral.vectors.routing.table import SummaryTable
from routed import Shards, scores_of, shards_of, stored

DISTANCES = get_args(Distance)
SHARDS = 4
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def numbers(width: int = 32) -> Any:
    return st.one_of(
        st.floats(-1, 1, width=width), st.floats(-1e3, 1e3, width=width), st.sampled_from([0.0, 1.0, 1e-6, 0.1])
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Shards, Any, int]:
    """Clustered, scattered and equal points; queries anywhere, also upon a point."""
    distance, size = draw(st.sampled_from(DISTANCES)), draw(st.integers(1, 6))
    count, k = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    centres = draw(arrays(np.float32, (SHARDS, size), elements=numbers()))
    spread = draw(st.sampled_from([0.0, 1e-7, 1e-3, 0.1, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    owners = rng.integers(0, SHARDS, count)
    points = centres[owners] + rng.normal(size=(count, size)) * spread
    shards = shards_of(points, owners, distance, SHARDS)
    place = draw(st.sampled_from(["point", "centre", "anywhere"]))
    query = {"point": points[0], "centre": centres[0], "anywhere": rng.normal(size=size)}[place]
    return shards, stored(query[None], distance)[0], k


def is_same_answer(got: tuple[list[int], list[float]], true: tuple[list[int], list[float]]) -> bool:
    return got[1] == true[1] and set(got[0]) == set(true[0])


@FEW
@given(cases())
def test_a_certified_answer_is_the_true_one(case: tuple[Shards, Any, int]) -> None:
    shards, query, k = case
    true = shards.search(list(shards.rows), query, k)
    planner = Planner(shards.table, {shard: [f"n-{shard}"] for shard in range(1, SHARDS)})
    route, asked = planner.route(query, k), [0]
    route.answered([0], *shards.search([0], query, k))
    while isinstance(step := route.next(), Ask):
        (shard,) = next(iter(step.nodes.values()))
        asked.append(shard)
        route.answered([shard], *shards.search([shard], query, k))
    assert step.certified
    assert is_same_answer(shards.search(asked, query, k), true)


@FEW
@given(cases(), st.integers(0, 5))
def test_a_threshold_certifies_too(case: tuple[Shards, Any, int], at: int) -> None:
    shards, query, k = case
    every = shards.search(list(shards.rows), query, 40)
    threshold = every[1][min(at, len(every[1]) - 1)]
    is_low_first = shards.distance in ("Euclid", "Manhattan")

    def kept(wanted: list[int]) -> tuple[list[int], list[float]]:
        ids, scores = shards.search(wanted, query, k)
        count = sum(score < threshold if is_low_first else score > threshold for score in scores)
        return ids[:count], scores[:count]

    route = Planner(shards.table, {}).route(query, k, threshold=threshold)
    route.answered([0], *kept([0]))
    step = route.next()
    assert isinstance(step, Enough)
    if step.certified:
        assert is_same_answer(kept([0]), kept(list(shards.rows)))


@FEW
@given(cases(), st.integers(1, 20), st.integers(0, 99))
def test_a_widened_summary_stays_true(case: tuple[Shards, Any, int], more: int, seed: int) -> None:
    shards, query, _ = case
    rng = np.random.default_rng(seed)
    new = stored(rng.normal(size=(more, len(query))) * rng.choice([0.01, 1, 100]), shards.distance)
    summary = shards.summaries[1]
    for at, part in enumerate(np.array_split(new, 3)):
        summary = widened(summary, part, epoch=2 + at)
    points = np.concatenate([shards.points[shards.rows[1]], new])
    assert summary.count == len(points)
    table = SummaryTable([1], {1: summary}, shards.distance, len(query))
    route = Planner(table, {}).route(query, 1)
    best = scores_of(points, query, shards.distance)
    is_low_first = shards.distance in ("Euclid", "Manhattan")
    nearest = best.min() if is_low_first else best.max()
    route.answered([], [0], [float(nearest)])
    step = route.next()
    assert isinstance(step, Enough)
    assert not step.certified


def test_far_shards_are_ruled_out_at_once() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(SHARDS, 32)) * 10
    owners = np.arange(800) % SHARDS
    shards = shards_of(centres[owners] + rng.normal(size=(800, 32)) * 0.3, owners, "Euclid", SHARDS)
    query = shards.points[0]
    route = Planner(shards.table, {shard: ["other"] for shard in (1, 2, 3)}).route(query, 10)
    route.answered([0], *shards.search([0], query, 10))
    assert route.next() == Enough(True, 1.0, ())


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_shard_without_a_summary_is_asked_and_one_without_points_is_not(distance: Distance) -> None:
    rng = np.random.default_rng(1)
    shards = shards_of(rng.normal(size=(40, 4)), np.zeros(40, int), distance, 2)
    table = SummaryTable([0, 1, 2], shards.summaries, distance, 4)
    route = Planner(
        table,
        {1: ["b"], 2: ["c"]},
    ).route(shards.points[0], 5)
    route.answered([0], *shards.search([0], shards.points[0], 5))
    step = route.next()
    assert isinstance(step, Ask)
    assert (step.nodes, step.expected_recall) == ({"c": (2,)}, 0.0)
    route.lost([2])
    assert route.next() == Enough(False, 0.0, (2,))


@pytest.mark.parametrize("size", [2, 384, 1280, 8192, 65_536])
def test_a_summary_is_bounded(size: int) -> None:
    rng = np.random.default_rng(1)
    summary = summarize(rng.normal(size=(200, size)), "Euclid", shard=7, epoch=1, size=size)
    for epoch in range(2, 5):
        summary = widened(summary, rng.normal(size=(50, size)) * epoch * 3, epoch=epoch)
    assert summary.bytes <= max(BYTES_MAX, 4 * size + 200)
    assert summary.count == 350
    assert len(msgspec.msgpack.encode(summary)) <= summary.bytes


def test_the_same_points_give_the_same_summary() -> None:
    points = np.random.default_rng(1).normal(size=(5000, 16))
    first, second = (summarize(points, "Cosine", shard=7, epoch=1, size=16, seed=4) for _ in range(2))
    assert first == second


def test_a_summary_that_does_not_fit_is_refused() -> None:
    summary = summarize(np.ones((3, 4)), "Euclid", shard=7, epoch=1, size=4)
    with pytest.raises(PeerError, match="of 4, the collection has `Cosine` of 4"):
        SummaryTable([7], {7: summary}, "Cosine", 4)
    for broken in (
        msgspec.structs.replace(summary, radii=b"123"),
        msgspec.structs.replace(summary, centroids=summary.centroids[:-1]),
        msgspec.structs.replace(summary, radii=np.full(len(summary.radii) // 4, np.nan, "<f4").tobytes()),
    ):
        with pytest.raises(PeerError, match=r"summary of shard `7`|rows of"):
            balls_of(broken)
