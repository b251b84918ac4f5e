"""How many wrong answers a run to come may have, by what was judged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.answers.drift import Bets
from littoral.answers.levels import BINS, EDGES, Counts, bin_of
from littoral.vectors.routing.bounds import binomial_interval

Z = 1.6448536269514722


def counted(*bins: tuple[int, int, int]) -> Counts:
    """Of each bin: requests, judged, wrong."""
    found = Counts()
    for at, (requests, judged, wrong) in enumerate(bins):
        found.requests[at], found.judged[at], found.wrong[at] = requests, judged, wrong
    return found


def test_a_risk_lies_in_one_bin() -> None:
    assert [bin_of(risk) for risk in (0.0, EDGES[0], 0.00051, 0.99)] == [0, 0, 1, BINS - 1]


@pytest.mark.parametrize(("judged", "wrong"), [(300, 0), (400, 2), (1000, 12)])
def test_for_one_bin_the_bound_is_the_exact_one(judged: int, wrong: int) -> None:
    found = counted((judged, judged, wrong)).share(1, of_all=False)
    assert found.estimate == wrong / judged
    assert found.at_most(Z) == pytest.approx(binomial_interval(wrong, judged, 0.1)[1], rel=0.04)


@settings(deadline=None)
@given(st.integers(0, 29), st.integers(30, 2000), st.integers(1, 50))
def test_more_wrong_ones_never_lower_the_bound(wrong: int, judged: int, times: int) -> None:
    one, more = (counted((times * judged, judged, k), (500, 40, 1)).share(2, of_all=False) for k in (wrong, wrong + 1))
    assert more.at_most(Z) >= one.at_most(Z)
    assert more.is_kept(0.02, 500, 0.05) <= one.is_kept(0.02, 500, 0.05)


def test_what_is_judged_more_often_weighs_no_more() -> None:
    """4 % are wrong in a bin that is judged always, none in one of nine times as many requests."""
    found = counted((9000, 500, 0), (1000, 1000, 40)).share(2, of_all=False)
    assert found.estimate == pytest.approx(0.004)
    assert counted((9000, 500, 0), (1000, 1000, 40)).share(2, of_all=True).estimate == pytest.approx(0.004)


def test_a_level_is_kept_by_enough_judgements_alone() -> None:
    kept = [counted((n, n, 0)).share(1, of_all=False).is_kept(0.02, 250, 0.01) for n in (50, 150, 250, 400)]
    assert kept == sorted(kept)
    assert not kept[0]
    assert kept[-1]
    assert not Counts().share(BINS, of_all=False).is_kept(0.02, 250, 0.01)


def test_runs_keep_their_bound_as_often_as_is_said() -> None:
    """A level is judged by a sample; where that says that a run keeps delta, it does, except with the risk given."""
    rng, delta, broken, used = np.random.default_rng(5), 0.02, 0, 0
    for _ in range(4000):
        rate = rng.uniform(0.002, 0.04)
        if counted((600, 600, int(rng.binomial(600, rate)))).share(1, of_all=False).is_kept(delta, 500, 0.05):
            used += 1
            broken += rng.binomial(500, rate) > delta * 500
    assert used > 400
    assert broken / used <= 0.05


def test_counts_are_told_and_read_again() -> None:
    found = counted((10, 5, 1), (7, 7, 0))
    found.others = 3
    assert Counts.of(found.told()).told() == found.told()
    with pytest.raises(ValueError, match="bins"):
        Counts.of(found.told() | {"wrong": [1.0]})


def test_bets_win_seldom_where_nothing_changed_and_soon_where_it_did() -> None:
    rng, alarms, bets = np.random.default_rng(6), 0, Bets()
    for _ in range(40_000):
        bets.judgement(0.02, bool(rng.random() > 0.02))
        if bets.capital >= 200:
            alarms, bets = alarms + 1, Bets()
    assert alarms <= 40_000 / 200
    for count in range(60):  # noqa: B007
        if bets.capital >= 200:
            break
        bets.judgement(0.02, bool(rng.random() > 0.33))
    assert count < 40
