"""Bounds on means of numbers between 0 and 1 that hold for every count, without a shape being assumed.

Betting (Waudby-Smith and Ramdas, arXiv 2010.09686): capital that is staked against "the mean is at least m" grows
without end only where that is false; that it ever reaches 1/risk has a probability of at most `risk` where it is true.
Clopper and Pearson for counts; Bernstein for the mean of a run to come.
"""

import math

import numpy as np

from littoral.vectors.routing.beta import beta_share
from littoral.vectors.routing.distances import Floats

__all__ = ["binomial_interval", "is_mean_below", "mean_at_most", "run_slack"]

HALVINGS = 20
STAKE_MAX = 0.75


def is_mean_below(values: Floats, mean: float, risk: float) -> bool:
    """Whether the numbers' mean is shown to be below `mean`; wrongly with a probability of at most `risk`.

    values: float64[n] in 0 … 1, independent, of one mean, in the order in which they came.
    """
    if mean <= 0 or not len(values):
        return False
    if mean >= 1:
        return True
    counts = np.arange(1, len(values) + 1)
    # What a bet is sized by is known before its number: means and variances of the numbers before it.
    before = np.concatenate([[mean], (mean + np.cumsum(values)) / (1 + counts)])[:-1]
    squares = np.cumsum((values - before) ** 2)
    variances = np.concatenate([[mean * (1 - mean)], (mean * (1 - mean) + squares) / (1 + counts)])[:-1]
    stakes = np.sqrt(2 * math.log(1 / risk) / (len(values) * np.maximum(variances, 1e-12)))
    stakes = np.minimum(stakes, STAKE_MAX / (1 - mean))
    return bool(np.cumsum(np.log1p(-stakes * (values - mean))).max() >= math.log(1 / risk))


def mean_at_most(values: Floats, risk: float) -> float:
    """The numbers' mean is no more, except with a probability of at most `risk`."""
    low, high = float(values.mean()) if len(values) else 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_mean_below(values, middle, risk) else (middle, high)
    return high


def run_slack(count: int, variance: float, risk: float) -> float:
    """How far the mean of `count` independent numbers in 0 … 1 may lie above their expectation (Bernstein)."""
    weight = math.log(1 / risk)
    return (weight / 3 + math.sqrt(weight * weight / 9 + 2 * count * weight * variance)) / count


def binomial_interval(hits: int, count: int, risk: float = 0.05) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson for a share, at confidence 1 − risk."""
    low = 0.0 if hits == 0 else _quantile(hits, count - hits + 1, risk / 2)
    high = 1.0 if hits == count else _quantile(hits + 1, count - hits, 1 - risk / 2)
    return low, high


def _quantile(a: float, b: float, share: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_share(middle, a, b) < share else (low, middle)
    return (low + high) / 2
