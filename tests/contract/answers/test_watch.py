"""What is told by all entries together keeps its bound, is audited, and ends where the world has changed."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from bench.answer_streams import by_watch, synthetic_stream

from littoral.answers.decision import Policy, Target
from littoral.answers.observations import Observations
from littoral.answers.watch import CHECKS, WARM_UP, Watch

RIGHT, WRONG = 0.95, 0.6


def judged(count: int) -> Observations:
    found = Observations()
    for at in range(count):
        found = found.added(WRONG if at % 3 == 0 else RIGHT, at % 3 > 0)
    return found


def taught(policy: Policy, requests: int = 1000) -> Watch:
    """By entries that are right where they are near; everything that is asked of the upstream is judged."""
    return Watch.of(policy, _taught(policy, requests))


@cache
def _taught(policy: Policy, requests: int) -> dict[str, Any]:
    watch, rng = Watch(policy), np.random.default_rng(4)
    for _ in range(requests):
        is_near = bool(rng.random() < 0.7)
        found = watch.decide(judged(6), RIGHT if is_near else WRONG, float(rng.random()))
        if not found.serve:
            watch.judged(found, is_near)
    return watch.told()


def test_an_entry_that_was_never_judged_is_not_told() -> None:
    watch = taught(Policy(delta=0.05))
    assert watch.decide(judged(6), RIGHT, 0.99).serve
    assert not watch.decide(Observations(), 1.0, 0.99).serve
    assert not watch.decide(None, 0.0, 0.99).serve
    assert not watch.decide(judged(6), WRONG, 0.99).serve


def test_nothing_is_told_before_enough_was_judged() -> None:
    watch = Watch(Policy(delta=0.02))
    for _ in range(WARM_UP + 200):
        found = watch.decide(judged(6), RIGHT, 0.5)
        assert not found.serve
        watch.judged(found, is_correct=True)


@pytest.mark.parametrize("target", ["hit", "request"])
def test_a_run_keeps_its_bound_and_tells_much(target: Target) -> None:
    run = by_watch(synthetic_stream(1, count=3000), Policy(target=target, delta=0.05), 1)
    assert run.hit_share > 0.3
    assert (run.per_hit if target == "hit" else run.per_request) <= 0.05
    assert run.alarms == []


def test_a_change_is_met_by_an_alarm_and_then_by_learning_anew() -> None:
    run = by_watch(synthetic_stream(1, count=4000, drift="region"), Policy(delta=0.05), 1)
    alarm = run.alarms[0]
    assert 2000 <= alarm <= 2500
    assert not run.told[(run.at > alarm) & (run.at < alarm + 100)].any()
    assert run.since(2500).per_hit <= 0.05
    assert run.since(alarm).hit_share > 0.1


def test_a_small_share_of_all_requests_is_asked_to_check() -> None:
    watch = taught(Policy(delta=0.05, explore_share=0.05), 4000)
    found = watch.statistics()
    assert found.requests == 4000
    assert found.told > 2000
    assert 0.04 < found.forced / (found.requests - 500) < 0.085
    assert found.audited == found.forced
    assert found.wrong == found.alarms == 0


def test_what_an_upstream_answered_first_is_none_of_what_is_told() -> None:
    watch = taught(Policy(delta=0.05))
    before = watch.told()
    late = watch.decide(judged(6), RIGHT, 0.0, is_late=True)
    assert late.could_serve
    assert not late.serve
    assert not late.is_forced
    watch.judged(late, is_correct=False)
    tally = before["tally"]
    assert watch.told() == before | {"tally": tally | {"requests": tally["requests"] + 1}}
    untold = watch.decide(judged(6), WRONG, 0.5, is_late=True)
    assert not untold.could_serve
    watch.judged(untold, is_correct=False)
    assert watch.statistics().judged == tally["judged"] + 1, "such are judged always, whoever is first"


def test_an_audit_that_is_wrong_starts_a_check_and_more_of_them_an_alarm() -> None:
    watch = taught(Policy(delta=0.05))
    drawn = watch.decide(judged(6), RIGHT, 0.0)
    assert drawn.is_forced
    watch.judged(drawn, is_correct=False)
    assert not watch.decide(judged(6), RIGHT, 0.99).serve
    for _ in range(CHECKS):
        watch.judged(watch.decide(judged(6), RIGHT, 0.99), is_correct=False)
    assert watch.state == "alarm"
    assert watch.statistics().alarms == 1
    assert not watch.decide(judged(6), RIGHT, 0.99).serve
    assert watch.interval() == (0, 0, 1)


def test_bad_feedback_starts_a_check_and_good_feedback_proves_nothing() -> None:
    watch = taught(Policy(delta=0.05))
    told = watch.decide(judged(6), RIGHT, 0.99)
    before = watch.statistics().judged
    watch.judged(told, is_correct=True)
    assert watch.decide(judged(6), RIGHT, 0.99).serve
    watch.judged(told, is_correct=False)
    assert watch.decide(judged(6), RIGHT, 0.99).is_forced
    assert watch.statistics().judged == before
    assert watch.state == "ok"


def test_who_floods_it_with_right_ones_teaches_nothing_and_is_still_watched() -> None:
    watch = taught(Policy(delta=0.05))
    before = watch.told()
    for _ in range(3000):
        found = watch.decide(judged(6), WRONG, 0.99)
        watch.judged(found, is_correct=True, is_of_many=True)
    after = watch.told()
    assert (after["order"], after["counts"]["judged"]) == (before["order"], before["counts"]["judged"])
    assert not watch.decide(judged(6), WRONG, 0.99).serve
    for _ in range(CHECKS):
        watch.judged(watch.decide(judged(6), RIGHT, 0.0), is_correct=False, is_of_many=True)
        if watch.state == "alarm":
            break
    assert watch.state == "alarm"


def test_a_check_that_finds_nothing_ends() -> None:
    watch = taught(Policy(delta=0.05))
    watch.judged(watch.decide(judged(6), RIGHT, 0.99), is_correct=False)
    for _ in range(CHECKS):
        watch.judged(watch.decide(judged(6), RIGHT, 0.99), is_correct=True)
    assert watch.decide(judged(6), RIGHT, 0.99).serve


def test_the_interval_holds_what_was_estimated() -> None:
    low, estimate, high = taught(Policy(delta=0.05)).interval()
    assert 0 <= low <= estimate <= high <= 0.05
    assert Watch(Policy()).interval() == (0, 0, 1)


def test_the_curve_says_from_where_on_an_entry_is_told() -> None:
    watch = taught(Policy(delta=0.05))
    curve = watch.curve(judged(6), [WRONG, 0.8, RIGHT])
    risks = [risk for risk, _, _ in curve]
    assert risks == sorted(risks, reverse=True)
    assert [is_told for _, _, is_told in curve][::2] == [False, True]
    assert watch.decide(judged(6), RIGHT, 0.99).threshold <= RIGHT


def test_a_watch_is_kept_over_a_restart() -> None:
    policy = Policy(delta=0.05)
    one = taught(policy)
    text = json.dumps(one.told())
    assert len(text) < 32_768
    other = Watch.of(policy, json.loads(text))
    assert other.statistics() == one.statistics()
    assert other.interval() == one.interval()
    lots = np.random.default_rng(1).random((300, 2))
    asked = [(RIGHT if near < 0.7 else WRONG, u) for near, u in lots.tolist()]
    decided = [[watch.decide(judged(6), s, u) for s, u in asked] for watch in (one, other)]
    ours, theirs = ([(d.serve, d.is_forced, d.threshold) for d in found] for found in decided)
    assert ours == theirs
    assert any(serve for serve, _, _ in ours)


def test_a_check_that_is_going_on_outlives_a_restart() -> None:
    policy = Policy(delta=0.05)
    watch = taught(policy)
    watch.judged(watch.decide(judged(6), RIGHT, 0.99), is_correct=False)
    again = Watch.of(policy, json.loads(json.dumps(watch.told())))
    assert [again.decide(judged(6), RIGHT, 0.99).is_forced for _ in range(CHECKS + 1)] == [True] * CHECKS + [False]


def test_an_alarm_outlives_a_restart() -> None:
    policy = Policy(delta=0.05)
    watch = taught(policy)
    for _ in range(CHECKS):
        watch.judged(watch.decide(judged(6), RIGHT, 0.0), is_correct=False)
    assert watch.state == "alarm"
    assert Watch.of(policy, watch.told()).state == "alarm"


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 0},
        {"counts": {}},
        {"order": None},
        {"audit": "much"},
        {"policy": {}},
        {"level": "high"},
        {"lost": None},
    ],
)
def test_what_is_of_another_kind_begins_anew(damage: dict[str, object]) -> None:
    policy = Policy(delta=0.05)
    found = Watch.of(policy, taught(policy).told() | damage)
    assert found.statistics() == Watch(policy).statistics()
    assert not found.decide(judged(6), RIGHT, 0.99).serve
