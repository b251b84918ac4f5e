"""Answers told to similar questions: how many are wrong, and whether a run keeps its bound; beside fixed thresholds.

Real questions with real embeddings, if the pairs are here (it says where it looks; bench/question_pairs.py), asked
often or seldom, and synthetic streams, also such that change at half-time. Each seed is another stream, none that a
constant was chosen by. Requests that an exact answer is told to count nowhere. A quarter of an hour on one core.
`python -m bench.semantic_errors --seeds 40 --jobs 2` prints the same with other numbers.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from bench.answer_streams import (
    Drift,
    Run,
    Stream,
    by_entry,
    by_threshold,
    by_watch,
    real_stream,
    synthetic_stream,
)
from bench.question_pairs import PAIRS, Questions, questions
from bench.rows import Row, median_ms, row
from littoral.answers.decision import Policy, Target
from littoral.answers.observations import OBSERVATIONS_MAX, Observations
from littoral.answers.watch import Watch
from littoral.vectors.routing.bounds import binomial_interval

__all__ = ["run"]

SEEDS, SEEDS_FROM = 60, 1000
"""Where none of so many runs breaks its bound, fewer than 5 % do, at 95 %."""

HELD_OUT, HELD_OUT_FROM = 4, 10_000
OFTEN, SELDOM = "real, asked often", "real, asked seldom"
SYNTHETIC = "synthetic"
COUNTS = {OFTEN: 5000, SELDOM: 6000, SYNTHETIC: 4000}
DRIFT_COUNT = 5000
ALONE = 0.02
DELTAS = (0.01, 0.02, 0.05)
TARGETS: tuple[Target, ...] = ("hit", "request")
FIXED = 0.92
THRESHOLDS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, FIXED, 0.94, 0.96, 0.98, 0.99, 0.995, 2.0)
BROKEN_MAX, RISK, BACK_MAX = 0.05, 0.05, 500
DECISIONS, DECISION_MS_MAX = 1000, 0.2
DRIFTS: dict[Drift, tuple[Policy, ...]] = {
    "region": (*(Policy(delta=delta) for delta in DELTAS), Policy(target="request", delta=0.02)),
    "part": (Policy(delta=0.02),),
    "shift": (Policy(delta=0.02),),
}
CHANGED: dict[Drift, str] = {
    "region": "a third of the answers changes",
    "part": "half the questions about a third of the answers",
    "shift": "embeddings move",
}


Tuned = dict[tuple[Target, float], float]


class Told(NamedTuple):
    """What is kept of a run. rest: share of wrong ones from BACK_MAX requests after half-time on; meanwhile: how many
    were wrong before. alarm: how many requests after half-time, -1 where none came. early: alarms before it.
    """

    hit_share: float
    per_hit: float
    per_request: float
    rest: float = 0.0
    meanwhile: int = 0
    alarm: int = -1
    early: int = 0

    def wrong(self, target: Target) -> float:
        return self.per_hit if target == "hit" else self.per_request


class Of(NamedTuple):
    """Of one stream: by policy, by entry's own rule, by threshold."""

    watched: dict[Policy, Told]
    alone: dict[Policy, Told]
    fixed: dict[float, Told]


def run(jobs: int | None = None, seeds: int = SEEDS) -> list[Row]:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # noqa: TID251 (of processes to come)
    worlds, fresh = _worlds(), range(SEEDS_FROM, SEEDS_FROM + seeds)
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        held_out = range(HELD_OUT_FROM, HELD_OUT_FROM + HELD_OUT)
        tuning = {world: pool.map(_fixed, [world] * HELD_OUT, held_out) for world in worlds}
        tuned = {world: _tuned(list(found)) for world, found in tuning.items()}
        found = {world: pool.map(_of, [world] * seeds, fresh, [tuned[world]] * seeds) for world in worlds}
        drifted = {drift: pool.map(_drifted, [drift] * seeds, fresh) for drift in DRIFTS}
        rows = [one for world in worlds for one in _rows(world, list(found[world]), tuned[world])]
        rows += [one for drift in DRIFTS for one in _drift_rows(drift, list(drifted[drift]))]
    return rows + _times()


def _worlds() -> list[str]:
    """Embeds the questions where that is yet to be done, once for all processes."""
    if questions() is None:
        print(f"semantic_errors: no real questions at {PAIRS}: synthetic streams alone", file=sys.stderr)
        return [SYNTHETIC]
    print(f"semantic_errors: real questions of {PAIRS}", file=sys.stderr)
    return [OFTEN, SYNTHETIC, SELDOM]


@lru_cache(1)
def _questions() -> Questions | None:
    return questions()


def _stream(world: str, seed: int) -> Stream:
    pairs = _questions()
    if world == SYNTHETIC or pairs is None:
        return synthetic_stream(seed, count=COUNTS[world])
    heads, zipf = (700, 0.8) if world == OFTEN else (6000, 0.6)
    return real_stream(pairs, seed, count=COUNTS[world], heads=heads, zipf=zipf)


def _of(world: str, seed: int, tuned: Tuned) -> Of:
    stream = _stream(world, seed)
    policies = [Policy(target=target, delta=delta) for target in TARGETS for delta in DELTAS]
    alone = [policy for policy in policies if policy.delta == ALONE and world == OFTEN]
    return Of(
        {policy: _told(by_watch(stream, policy, seed)) for policy in policies},
        {policy: _told(by_entry(stream, policy, seed)) for policy in alone},
        {threshold: _told(by_threshold(stream, threshold)) for threshold in {FIXED, *tuned.values()}},
    )


def _fixed(world: str, seed: int) -> dict[float, Told]:
    stream = _stream(world, seed)
    return {threshold: _told(by_threshold(stream, threshold)) for threshold in THRESHOLDS}


def _drifted(drift: Drift, seed: int) -> dict[Policy, Told]:
    stream, half = synthetic_stream(seed, count=DRIFT_COUNT, drift=drift), DRIFT_COUNT // 2
    found = {}
    for policy in DRIFTS[drift]:
        whole = by_watch(stream, policy, seed)
        later = whole.since(half)
        back = whole.since(half + BACK_MAX)
        found[policy] = _told(whole)._replace(
            rest=_told(back).wrong(policy.target),
            meanwhile=int(later.wrong.sum() - back.wrong.sum()),
            alarm=later.alarms[0] - half if later.alarms else -1,
            early=len(whole.alarms) - len(later.alarms),
        )
    return found


def _told(run: Run) -> Told:
    return Told(run.hit_share, run.per_hit, run.per_request)


def _rows(world: str, found: Sequence[Of], by_target: Tuned) -> Iterator[Row]:
    for policy in found[0].watched:
        target, delta = policy.target, policy.delta
        label = f"{world}, {delta:g} per {target}"
        ours = [of.watched[policy] for of in found]
        plain = [of.fixed[FIXED] for of in found]
        tuned = by_target[target, delta]
        by_tuned = [of.fixed[tuned] for of in found]
        name = "none" if tuned > 1 else f"{tuned:g}"
        yield row(
            f"{label}: wrong, mean",
            _mean(one.wrong(target) for one in ours),
            "share",
            limit=delta,
            peer=f"fixed at {FIXED}",
            peer_value=_mean(one.wrong(target) for one in plain),
        )
        yield row(f"{label}: wrong, in the worst run", max(one.wrong(target) for one in ours), "share")
        broken = sum(one.wrong(target) > delta for one in ours)
        yield row(f"{label}: runs above it", broken / len(ours), f"of {len(ours)}", limit=BROKEN_MAX)
        at_most = binomial_interval(broken, len(ours), 2 * RISK)[1]
        yield row(f"{label}: runs above it, at most (95 %)", at_most, "share", limit=BROKEN_MAX)
        yield row(f"{label}: runs above it, fixed at {name}", _mean(_above(by_tuned, target, delta)), "share")
        yield _hits(f"{label}: told", ours, f"fixed at {name}, tuned elsewhere", by_tuned)
        if policy in found[0].alone:
            alone = [of.alone[policy] for of in found]
            yield row(f"{label}: runs above it, by entry alone", _mean(_above(alone, target, delta)), "share")
            yield _hits(f"{label}: told, once more", ours, "by entry alone", alone)
    yield row(f"{world}: told by fixed {FIXED}", _mean(of.fixed[FIXED].hit_share for of in found), "share")


def _tuned(held_out: Sequence[dict[float, Told]]) -> Tuned:
    """The lowest threshold from which on the mean of other streams is within delta."""
    found = {}
    for target, delta in product(TARGETS, DELTAS):
        means = {one: _mean(of[one].wrong(target) for of in held_out) for one in THRESHOLDS}
        found[target, delta] = next(
            one for one in THRESHOLDS if all(means[other] <= delta for other in THRESHOLDS if other >= one)
        )
    return found


def _above(runs: Sequence[Told], target: Target, delta: float) -> Iterator[float]:
    return (float(one.wrong(target) > delta) for one in runs)


def _hits(key: str, ours: Sequence[Told], peer: str, others: Sequence[Told]) -> Row:
    theirs = _mean(one.hit_share for one in others)
    value = _mean(one.hit_share for one in ours)
    return (
        row(key, value, "share", peer=peer, peer_value=theirs) if theirs else row(f"{key} ({peer}: 0)", value, "share")
    )


def _drift_rows(drift: Drift, found: Sequence[dict[Policy, Told]]) -> Iterator[Row]:
    limit, broken_max = (BACK_MAX, BROKEN_MAX) if drift == "region" else (None, None)
    for policy in DRIFTS[drift]:
        label = f"{CHANGED[drift]}, {policy.delta:g} per {policy.target}"
        runs = [of[policy] for of in found]
        alarms = [one.alarm if one.alarm >= 0 else DRIFT_COUNT // 2 for one in runs]
        late = _mean(alarm > BACK_MAX for alarm in alarms)
        above = _mean(float(one.rest > policy.delta) for one in runs)
        yield row(f"{label}: above it {BACK_MAX} requests later", above, f"of {len(runs)}", limit=broken_max)
        yield row(f"{label}: wrong from then on, mean", _mean(one.rest for one in runs), "share")
        yield row(f"{label}: wrong until then, mean", _mean(one.meanwhile for one in runs), "answers")
        over = _mean(float(one.wrong(policy.target) > policy.delta) for one in runs)
        yield row(f"{label}: above it over the whole run", over, f"of {len(runs)}")
        yield row(f"{label}: until the alarm, 95th", _at(0.95, alarms), "requests", limit=limit)
        yield row(f"{label}: no alarm in {BACK_MAX}", late, f"of {len(runs)}", limit=broken_max)
        yield row(f"{label}: alarms before", sum(one.early for one in runs), f"in {len(runs)} runs")
        yield row(f"{label}: told, whole run", _mean(one.hit_share for one in runs), "share")


def _times() -> list[Row]:
    """Of one decision about an entry with as many pairs as are kept."""
    rng, watch, old = np.random.default_rng(3), Watch(Policy()), Observations()
    for similarity in rng.uniform(0.5, 1, OBSERVATIONS_MAX).tolist():
        old = old.added(similarity, similarity > 0.8)
    while not watch.statistics().told:
        watch.judged(watch.decide(old, 0.93, 0.5), is_correct=True)
    new = [old.added(similarity, True) for similarity in rng.uniform(0.8, 1, DECISIONS).tolist()]
    known = median_ms(lambda: watch.decide(old, 0.93, 0.5), repeats=DECISIONS)
    turns = iter(new)
    fresh = median_ms(lambda: watch.decide(next(turns), 0.93, 0.5), repeats=DECISIONS, warm_up=0)
    return [
        row("one decision, 64 pairs", known, "ms", limit=DECISION_MS_MAX),
        row("one decision, its pairs new, so that they are fitted", fresh, "ms"),
    ]


def _mean(values: Iterator[float] | Sequence[float]) -> float:
    return float(np.mean(list(values)))


def _at(share: float, values: Sequence[int]) -> float:
    return float(np.quantile(values, share, method="inverted_cdf"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="streams of each kind")
    asked = parser.parse_args()
    for one in run(asked.jobs, asked.seeds):
        print(one)
