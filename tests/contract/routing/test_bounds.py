"""Bounds hold as often as they say, and special functions have their known values."""

import math

import numpy as np
import pytest

from littoral.vectors.routing.beta import beta_share
from littoral.vectors.routing.bounds import binomial_interval, is_mean_below, mean_at_most, run_slack

RUNS = 200


@pytest.mark.parametrize(
    ("x", "a", "b", "known"),
    [
        (0.5, 2, 3, 0.6875),
        (0.3, 0.5, 0.5, 2 / math.pi * math.asin(math.sqrt(0.3))),
        (0.2, 1, 7, 1 - 0.8**7),
        (0.9, 4.5, 1, 0.9**4.5),
        (0.0, 2, 2, 0.0),
        (1.0, 2, 2, 1.0),
    ],
)
def test_the_incomplete_beta_function_has_its_known_values(x: float, a: float, b: float, known: float) -> None:
    assert beta_share(x, a, b) == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize(("count", "share"), [(5, 0.1), (50, 0.5), (1000, 0.02), (1000, 0.7)])
def test_it_sums_the_binomial_distribution(count: int, share: float) -> None:
    terms = [math.comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)]
    for hits in {1, count // 3 + 1, int(count * share) + 1, count}:
        assert beta_share(share, hits, count - hits + 1) == pytest.approx(math.fsum(terms[hits:]), abs=1e-11)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(5, 100, 0.016432, 0.112835), (0, 100, 0.0, 0.036217), (100, 100, 0.963783, 1.0), (1, 2, 0.012579, 0.987421)],
)
def test_the_exact_interval_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    assert binomial_interval(hits, count) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("kind", ["rare", "small", "wide"])
def test_a_mean_exceeds_its_bound_no_more_often_than_said(kind: str) -> None:
    rng, risk = np.random.default_rng(3), 0.1
    draw = {
        "rare": lambda: (rng.random(400) < 0.03).astype(float),
        "small": lambda: rng.integers(0, 3, 400) / 10.0,
        "wide": lambda: rng.beta(0.3, 0.9, 400),
    }[kind]
    mean = {"rare": 0.03, "small": 0.1, "wide": 0.25}[kind]
    bounds = [mean_at_most(draw(), risk) for _ in range(RUNS)]
    assert np.mean(np.array(bounds) < mean) <= risk
    assert np.median(bounds) < mean + 0.08


def test_nothing_is_shown_without_numbers_or_of_a_mean_of_zero() -> None:
    assert not is_mean_below(np.zeros(0), 0.5, 0.1)
    assert not is_mean_below(np.zeros(9), 0.0, 0.1)
    assert is_mean_below(np.ones(3), 1.0, 0.1)
    assert not is_mean_below(np.zeros(100), 0.01, 0.01)
    assert is_mean_below(np.zeros(2000), 0.01, 0.01)


def test_a_run_strays_no_farther_than_said() -> None:
    rng, count, share = np.random.default_rng(4), 2000, 0.04
    slack = run_slack(count, share, 0.05)
    means = (rng.random((1000, count)) < share).mean(axis=1)
    assert (means > share + slack).mean() <= 0.05
    assert slack < 0.02
