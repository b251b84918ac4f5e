"""Questions that come from elsewhere than before, seen by their vectors alone."""

import json
from typing import Any

import numpy as np
import pytest
from bench.answer_streams import by_watch, synthetic_stream

from littoral.answers.decision import Policy
from littoral.answers.moved import FIRST, Moved
from littoral.answers.watch import Watch

SIZE = 384


def questions(seed: int, count: int, *, shift: float = 0.0) -> Any:
    """About the same places for each seed of a thousand."""
    centres = np.random.default_rng(seed // 1000).normal(size=(40, SIZE))
    rng = np.random.default_rng(seed)
    found = centres[rng.integers(0, len(centres), count)] + 0.5 * rng.normal(size=(count, SIZE)) + shift
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_questions_from_the_same_places_have_not_moved(seed: int) -> None:
    moved = Moved()
    assert not any(moved.question(one) for one in questions(seed, 2000))


@pytest.mark.parametrize("seed", range(5))
def test_questions_from_elsewhere_are_seen_soon_and_then_are_the_first(seed: int) -> None:
    moved = Moved()
    assert not any(moved.question(one) for one in questions(seed, 1000))
    later = [moved.question(one) for one in questions(seed + 500, 1000, shift=0.7)]
    assert later.index(True) < 100
    assert sum(later) == 1


def test_they_are_remembered_over_a_restart() -> None:
    one = Moved()
    for vector in questions(1, FIRST + 300):
        one.question(vector)
    other = Moved.of(json.loads(json.dumps(one.told())))
    assert len(json.dumps(one.told())) < 16_384
    found = next(at for at, vector in enumerate(questions(501, 300, shift=0.7)) if other.question(vector))
    assert found < 100
    for damaged in ({"rows": "", "bets": [1.0] * 4}, {"rows": "AAAA" * 32, "bets": [1.0] * 4}):
        with pytest.raises(ValueError, match="other questions"):
            Moved.of(damaged)


def test_what_was_counted_of_other_questions_weighs_little() -> None:
    """Where embeddings move, less is told until enough was judged there; nothing had to be wrong for it."""
    stream = synthetic_stream(2003, count=4000, drift="shift")
    run, half = by_watch(stream, Policy(), 2003), 2000
    before, after = run.at < half, (run.at >= half + 50) & (run.at < half + 250)
    assert run.told[after].mean() < run.told[before & (run.at > half - 200)].mean() / 2
    watch = Watch(Policy())
    for vector in questions(7, 400):
        watch.asked(vector)
    assert watch.statistics().moved == 0
    for vector in questions(507, 100, shift=0.7):
        watch.asked(vector)
    assert Watch.of(Policy(), watch.told()).statistics().moved == watch.statistics().moved == 1
