"""Whom a route asks: nodes rather than shards, other holders where one fails, and no more than its level takes."""

import numpy as np
import pytest

from littoral.vectors.routing.levels import ALL, Calibration
from littoral.vectors.routing.plan import Ask, Enough, Planner, Route
from routed import Shards, shards_of

COUNT, K = 6, 10


@pytest.fixture(scope="module")
def shards() -> Shards:
    """Six overlapping clusters in a row, one a shard."""
    rng = np.random.default_rng(7)
    owners = np.arange(1200) % COUNT
    centres = np.stack([np.arange(COUNT) * 2.0, *np.zeros((7, COUNT))], axis=1)
    return shards_of(centres[owners] + rng.normal(size=(1200, 8)), owners, "Euclid", COUNT)


def calibrated(level: float, **more: bool) -> Calibration:
    steps = ((0.0, 0.1), (0.5, 0.4), (0.8, 0.7))
    return Calibration(target=0.9, form="high", level=level, count=9, recall=0.9, below=0.0, steps=steps, **more)


def begun(shards: Shards, planner: Planner, query: np.ndarray, calibration: Calibration | None = None) -> Route:
    """Shard 0 is here."""
    route = planner.route(query, K, calibration=calibration)
    route.answered([0], *shards.search([0], query, K))
    return route


def asked_of(shards: Shards, route: Route, query: np.ndarray) -> tuple[list[tuple[str, ...]], Enough]:
    """Nodes by round."""
    rounds = []
    while isinstance(step := route.next(), Ask):
        rounds.append(tuple(step.nodes))
        for covered in step.nodes.values():
            route.answered(covered, *shards.search(list(covered), query, K))
    return rounds, step


def test_all_shards_of_a_node_are_asked_at_once_and_as_few_nodes_as_hold_them(shards: Shards) -> None:
    planner = Planner(shards.table, {1: ["a", "c"], 2: ["a", "d"], 3: ["b", "c"], 4: ["b"], 5: ["b", "d"]})
    step = begun(shards, planner, np.full(8, 5.0, np.float32)).next()
    assert isinstance(step, Ask)
    assert dict(step.nodes) == {"b": (3, 4, 5), "a": (1, 2)}


def test_the_nearest_come_first_and_nobody_more_than_the_level_takes(shards: Shards) -> None:
    planner = Planner(shards.table, {shard: [f"n{shard}"] for shard in range(1, COUNT)})
    query = np.array([4.0, *np.zeros(7)], np.float32)
    loose, enough = asked_of(shards, begun(shards, planner, query, calibrated(0.3)), query)
    assert loose == [("n2",)]
    assert not enough.certified
    assert enough.expected_recall in (0.1, 0.4, 0.7)
    strict, enough = asked_of(shards, begun(shards, planner, query, calibrated(0.999)), query)
    assert strict[0] == ("n2",)
    assert {node for nodes in strict for node in nodes} >= {"n1", "n2", "n3"}
    every, enough = asked_of(shards, begun(shards, planner, query), query)
    assert len(every) <= 2
    assert enough == Enough(True, 1.0, ())


def test_what_nobody_answered_for_is_asked_for_no_more_and_the_rest_is(shards: Shards) -> None:
    holders = {shard: ["a"] if shard < 3 else ["b"] for shard in range(1, COUNT)}
    planner, query = Planner(shards.table, holders), np.array([4.0, *np.zeros(7)], np.float32)
    route = begun(shards, planner, query)
    route.lost([1])
    step = route.next()
    assert isinstance(step, Ask)
    asked = {shard for part in step.nodes.values() for shard in part}
    assert (1 in asked, 2 in asked) == (False, True)
    route.answered(sorted(asked), *shards.search(sorted(asked), query, K))
    end = route.next()
    assert isinstance(end, Enough)
    assert not end.certified
    assert end.unreachable == (1,)


def test_of_two_that_hold_the_same_the_cheaper_is_asked(shards: Shards) -> None:
    holders = {shard: ["far", "near"] for shard in range(1, COUNT)}
    for costs, expected in (({"far": 3.0}, "near"), ({"near": 3.0}, "far")):
        step = begun(shards, Planner(shards.table, holders, costs=costs), np.ones(8, np.float32)).next()
        assert isinstance(step, Ask)
        assert list(step.nodes) == [expected]


def test_where_summaries_are_wrong_every_shard_is_asked(shards: Shards) -> None:
    planner = Planner(shards.table, {shard: [f"n{shard}"] for shard in range(1, COUNT)})
    query = np.array([-3.0, *np.zeros(7)], np.float32)
    known, _ = asked_of(shards, begun(shards, planner, query), query)
    assert len([node for nodes in known for node in nodes]) < COUNT - 1
    step = begun(shards, planner, query, calibrated(ALL, asks_every=True)).next()
    assert isinstance(step, Ask)
    assert len(step.nodes) == COUNT - 1


def test_a_filter_that_lets_little_through_looks_farther(shards: Shards) -> None:
    planner = Planner(shards.table, {shard: [f"n{shard}"] for shard in range(1, COUNT)})
    query = np.zeros(8, np.float32)
    found = []
    for selectivity in (1.0, 0.1):
        route = planner.route(query, K, selectivity=selectivity, calibration=calibrated(ALL))
        ids, scores = shards.search([0], query, 200)
        kept = [at for at in range(len(ids)) if at % round(1 / selectivity) == 0][:K]
        route.answered([0], [ids[at] for at in kept], [scores[at] for at in kept])
        step = route.next()
        assert isinstance(step, Ask)
        found.append(len(step.nodes))
    assert found[1] >= found[0]


def test_no_hits_at_all_are_no_reason_to_stop(shards: Shards) -> None:
    planner = Planner(shards.table, {shard: ["other"] for shard in range(1, COUNT)})
    route = planner.route(np.zeros(8, np.float32), K, calibration=calibrated(0.5))
    route.answered([0], [], [])
    step = route.next()
    assert isinstance(step, Ask)
    assert set(step.nodes) == {"other"}
    route.answered(range(1, COUNT), [], [])
    assert route.next() == Enough(True, 1.0, ())
