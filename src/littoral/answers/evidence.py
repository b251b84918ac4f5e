"""What a decision goes by, as a few numbers that mean the same for every entry.

Each has a direction: more of it makes a wrong answer more likely, or less. A model that keeps to the directions never
trusts an entry more because it was wrong once more.
"""

import math
from collections.abc import Sequence

import numpy as np

from littoral.answers.observations import Observations

__all__ = ["DIRECTIONS", "START", "evidence_of", "similarity_at"]

DIRECTIONS = np.array([0, -1, -1, -1, -1, 1, 1, -1, 1, 1], np.float64)
"""Of the risk with each number: 1 rises, -1 falls, 0 either (the constant)."""

START = np.array([1.0, -2.0, -0.5, -0.5, -0.2, 1.0, 0.3, -0.5, 1.0, 0.3], np.float64)
"""Log odds of a wrong answer for each, before anything was learned."""

SAME = 1e-5
"""Similarities this near are of the same question asked again."""

NEAREST = 1e-3
ODDS_MAX = 5.0
HALVINGS = 14


def evidence_of(observations: Observations, similarity: float, risk: float) -> tuple[float, ...]:
    """risk: upper bound of P(wrong) by the entry's own curve, 0.5 where it has too few pairs for one."""
    similarities, are_correct = observations.similarities, observations.are_correct
    are_lower = similarities <= similarity + SAME
    are_same = np.abs(similarities - similarity) <= SAME
    right, wrong = are_correct, ~are_correct
    return (
        1.0,
        *_of_similarity(similarity),
        math.log1p(np.count_nonzero(right & are_lower)),
        math.log1p(np.count_nonzero(right & ~are_lower)),
        math.log1p(np.count_nonzero(wrong & ~(similarities < similarity - SAME))),
        math.log1p(np.count_nonzero(wrong & (similarities < similarity - SAME))),
        math.log1p(np.count_nonzero(right & are_same)),
        math.log1p(np.count_nonzero(wrong & are_same)),
        _odds(risk),
    )


def similarity_at(coefficients: Sequence[float], evidence: Sequence[float], risk: float) -> float:
    """Where the risk is no more than this, if nothing but the similarity were another; 2 where it is nowhere."""
    _, linear, near, *_ = coefficients
    a, b = evidence[1:3]
    rest = sum(x * y for x, y in zip(coefficients, evidence, strict=True)) - linear * a - near * b
    wanted = math.log(risk / (1 - risk)) - rest

    def is_reached(similarity: float) -> bool:
        of_linear, of_near = _of_similarity(similarity)
        return linear * of_linear + near * of_near <= wanted

    if not is_reached(1.0):
        return 2.0
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_reached(middle) else (middle, high)
    return high


def _of_similarity(similarity: float) -> tuple[float, float]:
    """Both fall into 0 … 3 or so for similarities that matter; the second tells apart those near 1."""
    return (similarity - 0.85) * 10, -math.log(max(1 - similarity, NEAREST)) - 2.0


def _odds(risk: float) -> float:
    held = min(max(risk, 1e-9), 1 - 1e-9)
    return min(max(math.log(held / (1 - held)), -ODDS_MAX), ODDS_MAX)
