"""What is known of one entry's answer at a similarity, from the few pairs that were judged.

P(right | s) = 1 / (1 + exp(−γ (s − t))), with one wrong pair at 0 and a right one at 1 put in. Few pairs are mostly
separable, where a likelihood has no maximum: a ridge, or Firth's prior (Biometrika 80, 1993), gives it one.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from littoral.answers.observations import Observations

__all__ = ["Curve", "Prior", "fitted", "wilson_at_most", "wilson_below"]

Prior = Literal["ridge", "firth"]
Floats = NDArray[np.float64]

STEPS_MAX = 40
HALVINGS_MAX = 12
STEP_MAX = 5.0
GAIN_MIN = 1e-5
"""Of the likelihood's logarithm: what is less is no step."""

GRADIENT_MAX = 0.2
RIDGE = 0.01
ODDS_MAX, WEIGHT_MIN = 35.0, 1e-12
SCALE = 10.0
"""Similarities are taken times ten, about their spread: a ridge means the same for both numbers."""

SLOPE_MIN = 1e-6
KEPT = 4096


class Curve(NamedTuple):
    """threshold: where right and wrong are as likely, 0 … 1; slope: of the log odds, > 0; deviation: standard error of
    the threshold. has_settled: false where it is the curve of no knowledge, as no maximum was found.
    """

    threshold: float
    slope: float
    deviation: float
    has_settled: bool


UNKNOWN = Curve(1.0, SLOPE_MIN, 1.0, has_settled=False)


@lru_cache(KEPT)
def fitted(observations: Observations, prior: Prior) -> Curve:
    """At most STEPS_MAX Newton steps; kept for as long as the observations stay what they are."""
    similarities = np.concatenate([[0.0, 1.0], np.clip(observations.similarities, 0, 1)])
    are_correct = np.concatenate([[0.0, 1.0], observations.are_correct.astype(float)])
    found = _maximum(SCALE * similarities, are_correct, prior)
    return UNKNOWN if found is None else _curve(*found)


def wilson_at_most(wrong: float, count: float, z: float) -> float:
    """The one-sided upper bound of Wilson for a share, at the normal quantile z; 1 where nothing was counted."""
    if count == 0:
        return 1.0
    share, weight = wrong / count, z * z / count
    middle = share + weight / 2
    return min(1.0, (middle + z * math.sqrt(share * (1 - share) / count + weight / (4 * count))) / (1 + weight))


def wilson_below(observations: Observations, similarity: float, z: float) -> float:
    """Upper bound of P(wrong) at a similarity if it falls as similarities rise: that of all pairs between any lower
    similarity and this one, where it is least. No shape is assumed; wrong pairs never lower it.
    """
    are_below = observations.similarities <= similarity
    below, are_wrong = observations.similarities[are_below], ~observations.are_correct[are_below]
    if not len(below):
        return 1.0
    downwards = np.argsort(-below, kind="stable")
    ends = np.append(np.diff(below[downwards]) < 0, True)  # equal ones belong together
    counts = np.arange(1, len(below) + 1)[ends]
    shares, weights = np.cumsum(are_wrong[downwards])[ends] / counts, z * z / counts
    above = z * np.sqrt(shares * (1 - shares) / counts + weights / (4 * counts))
    return float(min(((shares + weights / 2 + above) / (1 + weights)).min(), 1.0))


class _Point(NamedTuple):
    """Of the penalised likelihood. gradient and information by constant and slope; information: 00, 01, 11."""

    value: float
    gradient: tuple[float, float]
    information: tuple[float, float, float]

    def step(self) -> tuple[float, float]:
        """Newton's."""
        (g0, g1), (i00, i01, i11) = self.gradient, self.information
        det = i00 * i11 - i01 * i01
        return (i11 * g0 - i01 * g1) / det, (i00 * g1 - i01 * g0) / det


def _maximum(similarities: Floats, right: Floats, prior: Prior) -> tuple[float, float, _Point] | None:
    """By Newton's method with halved steps, so that the penalised likelihood never falls."""
    at, of = (0.0, 0.0), partial(_POINTS[prior], similarities, right)
    here = of(at)
    for _ in range(STEPS_MAX):
        step = here.step()
        if step[0] * here.gradient[0] + step[1] * here.gradient[1] < GAIN_MIN:
            break
        scale = min(1.0, STEP_MAX / max(abs(step[0]), abs(step[1]), 1e-12))
        for _ in range(HALVINGS_MAX):
            next_at = at[0] + scale * step[0], at[1] + scale * step[1]
            there = of(next_at)
            if there.value >= here.value:
                break
            scale /= 2
        else:
            break
        at, here = next_at, there
    has_settled = all(map(math.isfinite, at)) and max(map(abs, here.gradient)) <= GRADIENT_MAX
    return (*at, here) if has_settled else None


class _Plain(NamedTuple):
    """The likelihood alone. p: of a right answer, weights: p (1 − p), both of each pair."""

    point: _Point
    p: Floats
    weights: Floats


def _plain(x: Floats, right: Floats, at: tuple[float, float]) -> _Plain:
    odds = at[0] + at[1] * x
    p = 1 / (1 + np.exp(-np.clip(odds, -ODDS_MAX, ODDS_MAX)))
    weights = np.maximum(p * (1 - p), WEIGHT_MIN)
    left, weighted = right - p, weights * x
    value = float(right @ odds - np.logaddexp(0, odds).sum())
    information = float(weights.sum()), float(weighted.sum()), float(weighted @ x)
    return _Plain(_Point(value, (float(left.sum()), float(left @ x)), information), p, weights)


def _with_ridge(plain: _Point, at: tuple[float, float], ridge: float) -> _Point:
    (b0, b1), (g0, g1), (i00, i01, i11) = at, plain.gradient, plain.information
    value = plain.value - ridge / 2 * (b0 * b0 + b1 * b1)
    return _Point(value, (g0 - ridge * b0, g1 - ridge * b1), (i00 + ridge, i01, i11 + ridge))


def _ridge(x: Floats, right: Floats, at: tuple[float, float]) -> _Point:
    return _with_ridge(_plain(x, right, at).point, at, RIDGE)


def _firth(x: Floats, right: Floats, at: tuple[float, float]) -> _Point:
    """Half the log determinant of the information is added, its gradient by the diagonal of the hat matrix. A
    thousandth of the ridge keeps the matrix regular.
    """
    plain = _plain(x, right, at)
    value, (g0, g1), (i00, i01, i11) = _with_ridge(plain.point, at, RIDGE / 1000)
    det = i00 * i11 - i01 * i01
    pull = plain.weights * (i11 - 2 * i01 * x + i00 * x * x) / det * (0.5 - plain.p)
    return _Point(
        value + math.log(max(det, 1e-300)) / 2, (g0 + float(pull.sum()), g1 + float(pull @ x)), (i00, i01, i11)
    )


_POINTS: dict[Prior, Callable[[Floats, Floats, tuple[float, float]], _Point]] = {"ridge": _ridge, "firth": _firth}


def _curve(constant: float, slope: float, there: _Point) -> Curve:
    """The threshold is −b0 / b1; its variance by the delta method."""
    if slope * SCALE < SLOPE_MIN:
        return UNKNOWN
    i00, i01, i11 = there.information
    by0, by1 = -1 / slope, constant / (slope * slope)
    variance = (by0 * by0 * i11 - 2 * by0 * by1 * i01 + by1 * by1 * i00) / (i00 * i11 - i01 * i01)
    threshold, deviation = -constant / slope / SCALE, math.sqrt(max(variance, 0.0)) / SCALE
    return Curve(min(max(threshold, 0.0), 1.0), slope * SCALE, deviation, has_settled=True)
