"""Answers told to similar questions while embeddings of real questions move at half-time: errors, and who sees it.

Real questions with real embeddings (bench/moved_questions.py), asked often; it needs the pairs, and says where it looks
for them. Each seed is another stream, none that a constant was chosen by. Fixed thresholds are tuned on other streams
that do not move. `python -m bench.semantic_moved --seeds 20 --jobs 2` prints the same with other numbers.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from bench.answer_streams import Run, Stream, by_threshold, by_watch
from bench.moved_questions import MOVES, Move, moved_stream, moving
from bench.question_pairs import PAIRS
from bench.rows import Row, row
from littoral.answers.decision import Policy
from littoral.vectors.routing.bounds import binomial_interval

__all__ = ["run"]

SEEDS, SEEDS_FROM = 60, 3000
"""Where none of so many runs breaks its bound, fewer than 5 % do, at 95 %."""

HELD_OUT, HELD_OUT_FROM = 4, 30_000
COUNT, BACK = 5000, 500
HALF = COUNT // 2
POLICIES = (Policy(delta=0.01), Policy(delta=0.02), Policy(delta=0.05), Policy(target="request", delta=0.02))
SEEN = POLICIES[1]
"""Whose runs tell how soon it is seen: by where questions lie, which is of no policy, or by an alarm."""

FIXED = 0.92
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, FIXED, 0.94, 0.96, 0.98, 0.99, 0.995, 2.0)
BROKEN_MAX, RISK = 0.05, 0.05
WHAT: dict[Move, str] = {
    "nothing": "nothing moves",
    "style": "another style",
    "typos": "typing errors",
    "short": "eight tokens alone",
    "int8": "the encoder in int8",
    "topics": "other topics",
}

Tuned = dict[Policy, float]


class Told(NamedTuple):
    """Shares of wrong ones as the policy counts them: of the whole run, of what comes from half-time on, and from so
    many requests later on. told: of requests from half-time on. seen: how many requests after it something was said to
    have changed; -1: never. early: how often before it. alarms: from half-time on.
    """

    whole: float
    later: float
    back: float
    told: float
    seen: int = -1
    early: int = 0
    alarms: int = 0


class Of(NamedTuple):
    """Of one stream."""

    watched: dict[Policy, Told]
    tuned: dict[Policy, Told]
    fixed: dict[Policy, Told]


def run(jobs: int | None = None, seeds: int = SEEDS) -> list[Row]:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # noqa: TID251 (of processes to come)
    if moving() is None:
        print(f"semantic_moved: no real questions at {PAIRS}: nothing to measure", file=sys.stderr)
        return []
    fresh = range(SEEDS_FROM, SEEDS_FROM + seeds)
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        tuned = _tuned(list(pool.map(_fixed, range(HELD_OUT_FROM, HELD_OUT_FROM + HELD_OUT))))
        found = {move: pool.map(_of, [move] * seeds, fresh, [tuned] * seeds) for move in MOVES}
        return [one for move in MOVES for one in _rows(move, list(found[move]), tuned)]


def _stream(move: Move, seed: int) -> Stream:
    world = moving()
    assert world is not None, "the pairs are here"
    return moved_stream(world, move, seed, count=COUNT)


def _fixed(seed: int) -> dict[float, Run]:
    stream = _stream("nothing", seed)
    return {threshold: by_threshold(stream, threshold) for threshold in THRESHOLDS}


def _tuned(held_out: Sequence[dict[float, Run]]) -> Tuned:
    """The lowest threshold whose mean over other streams is within delta."""
    return {
        policy: next(one for one in THRESHOLDS if _mean(_wrong(of[one], policy) for of in held_out) <= policy.delta)
        for policy in POLICIES
    }


def _of(move: Move, seed: int, tuned: Tuned) -> Of:
    stream = _stream(move, seed)
    thresholds = {one: by_threshold(stream, one) for one in {FIXED, *tuned.values()}}
    return Of(
        {policy: _told(by_watch(stream, policy, seed), policy) for policy in POLICIES},
        {policy: _told(thresholds[tuned[policy]], policy) for policy in POLICIES},
        {policy: _told(thresholds[FIXED], policy) for policy in POLICIES},
    )


def _told(run: Run, policy: Policy) -> Told:
    later, back = run.since(HALF), run.since(HALF + BACK)
    seen = sorted((*later.alarms, *later.moved))
    return Told(
        _wrong(run, policy),
        _wrong(later, policy),
        _wrong(back, policy),
        later.hit_share,
        seen[0] - HALF if seen else -1,
        len(run.alarms) + len(run.moved) - len(seen),
        len(later.alarms),
    )


def _wrong(run: Run, policy: Policy) -> float:
    return run.per_hit if policy.target == "hit" else run.per_request


def _rows(move: Move, found: Sequence[Of], tuned: Tuned) -> Iterator[Row]:
    for policy in POLICIES:
        label = f"{WHAT[move]}, {policy.delta:g} per {policy.target}"
        ours, theirs = ([of[n][policy] for of in found] for n in range(2))
        is_fixed = tuned[policy] <= 1
        peer = "no threshold was within it before" if not is_fixed else f"fixed at {tuned[policy]:g}, tuned before"
        above = sum(one.whole > policy.delta for one in ours)
        at_most = binomial_interval(above, len(ours), 2 * RISK)[1]
        back = _mean(one.back > policy.delta for one in ours)
        yield _beside(f"{label}: wrong from then on, mean", _means(ours, "later"), peer, _means(theirs, "later"))
        yield row(f"{label}: runs above it", above / len(ours), f"of {len(ours)}", limit=BROKEN_MAX)
        yield row(f"{label}: runs above it, at most (95 %)", at_most, "share")
        if is_fixed:
            yield row(f"{label}: runs above it, {peer}", _mean(one.whole > policy.delta for one in theirs), "share")
        yield row(f"{label}: above it {BACK} requests later", back, f"of {len(ours)}", limit=BROKEN_MAX)
        yield _beside(f"{label}: told from then on", _means(ours, "told"), peer, _means(theirs, "told"))
    yield from _seen_rows(move, [of.watched[SEEN] for of in found])
    fixed = [of.fixed[SEEN] for of in found]
    yield row(f"{WHAT[move]}: fixed at {FIXED}: wrong from then on, of those told", _means(fixed, "later"), "share")
    yield row(f"{WHAT[move]}: fixed at {FIXED}: told from then on", _means(fixed, "told"), "share")


def _seen_rows(move: Move, runs: Sequence[Told]) -> Iterator[Row]:
    label = f"{WHAT[move]}, {SEEN.delta:g} per {SEEN.target}"
    yield row(f"{label}: seen in {BACK}", _mean(0 <= one.seen <= BACK for one in runs), f"of {len(runs)}")
    yield row(f"{label}: seen at all", _mean(one.seen >= 0 for one in runs), f"of {len(runs)}")
    yield row(f"{label}: seen by an alarm", _mean(one.alarms > 0 for one in runs), f"of {len(runs)}")
    yield row(f"{label}: said to have changed before", sum(one.early for one in runs), f"in {len(runs)} runs")


def _beside(key: str, value: float, peer: str, theirs: float) -> Row:
    if not theirs:
        return row(f"{key} ({peer}: 0)", value, "share")
    return row(key, value, "share", peer=peer, peer_value=theirs)


def _means(runs: Sequence[Told], name: str) -> float:
    return _mean(getattr(one, name) for one in runs)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="streams of each kind")
    asked = parser.parse_args()
    for one in run(asked.jobs, asked.seeds):
        print(one)
