"""Questions that are asked seldom: how long it takes until a similar one may be told at all, and whether it is right.

Real questions with real embeddings (bench/question_pairs.py; it says where it looks for them), most of them asked once
or twice in a run. Each seed is another stream, none that a constant was chosen by. Fixed thresholds are beside it.
`python -m bench.semantic_seldom --seeds 20 --jobs 2` prints the same with other numbers.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from bench.answer_streams import Run, by_threshold, by_watch, real_stream
from bench.question_pairs import PAIRS, Questions, questions
from bench.rows import Row, row
from littoral.answers.decision import Policy
from littoral.vectors.routing.bounds import binomial_interval

__all__ = ["run"]

SEEDS, SEEDS_FROM = 60, 8000
"""Where none of so many runs breaks its bound, fewer than 5 % do, at 95 %."""

HEADS, ZIPF = 6000, 0.6
COUNT = 12_000
ENDS = (3000, 6000, 9000, COUNT)
DELTAS = (0.01, 0.02, 0.05)
THRESHOLDS = (0.92, 0.96, 0.99)
BROKEN_MAX, RISK = 0.05, 0.05


class Part(NamedTuple):
    """Of a run's beginning. told: of its last quarter; wrong: of all those told until then."""

    told: float
    wrong: float


Parts = dict[float, list[Part]]
"""By delta or threshold, one for each of `ENDS`."""


def run(jobs: int | None = None, seeds: int = SEEDS) -> list[Row]:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # noqa: TID251 (of processes to come)
    if _questions() is None:
        print(f"semantic_seldom: no real questions at {PAIRS}: nothing to measure", file=sys.stderr)
        return []
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_of, range(SEEDS_FROM, SEEDS_FROM + seeds)))
    ours, fixed = [of[0] for of in found], [of[1] for of in found]
    return [*_rows(ours), *_fixed_rows(fixed)]


@lru_cache(1)
def _questions() -> Questions | None:
    return questions()


def _of(seed: int) -> tuple[Parts, Parts]:
    pairs = _questions()
    assert pairs is not None, "the pairs are here"
    stream = real_stream(pairs, seed, count=COUNT, heads=HEADS, zipf=ZIPF)
    return (
        {delta: _parts(by_watch(stream, Policy(delta=delta), seed)) for delta in DELTAS},
        {threshold: _parts(by_threshold(stream, threshold)) for threshold in THRESHOLDS},
    )


def _parts(run: Run) -> list[Part]:
    found = []
    for end in ENDS:
        so_far, last = run.at < end, (run.at < end) & (run.at >= end - ENDS[0])
        wrong = run.wrong[so_far].sum() / max(1, run.told[so_far].sum())
        found.append(Part(float(run.told[last].mean()), float(wrong)))
    return found


def _rows(found: Sequence[Parts]) -> Iterator[Row]:
    for delta in DELTAS:
        label = f"{delta:g} per hit"
        for place, end in enumerate(ENDS):
            told = _mean(of[delta][place].told for of in found)
            yield row(f"{label}: told, requests {end - ENDS[0]} to {end}", told, "share")
        for place in (1, len(ENDS) - 1):
            wrong = [of[delta][place].wrong for of in found]
            above = sum(one > delta for one in wrong)
            what = f"{label}: of the first {ENDS[place]}"
            yield row(f"{what}: wrong, mean", _mean(wrong), "share", limit=delta)
            yield row(f"{what}: wrong, in the worst run", max(wrong), "share")
            yield row(f"{what}: runs above it", above / len(wrong), f"of {len(wrong)}", limit=BROKEN_MAX)
            at_most = binomial_interval(above, len(wrong), 2 * RISK)[1]
            yield row(f"{what}: runs above it, at most (95 %)", at_most, "share")


def _fixed_rows(found: Sequence[Parts]) -> Iterator[Row]:
    for threshold in THRESHOLDS:
        label = f"fixed at {threshold:g}"
        yield row(f"{label}: told, whole run", _mean(_mean(one.told for one in of[threshold]) for of in found), "share")
        yield row(f"{label}: wrong, of those told", _mean(of[threshold][-1].wrong for of in found), "share")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="streams")
    asked = parser.parse_args()
    for one in run(asked.jobs, asked.seeds):
        print(one)
