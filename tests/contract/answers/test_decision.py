"""Whether a remembered answer is told: what more judgements may change, and what they may not."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from littoral.answers.decision import NEVER, Fit, Policy, decide, wrong_at_most
from littoral.answers.evidence import DIRECTIONS, evidence_of, similarity_at
from littoral.answers.fits import Prior, fitted, wilson_at_most, wilson_below
from littoral.answers.observations import OBSERVATIONS_MAX, Observations
from littoral.answers.pooled import Pooled
from littoral.errors import ArtifactError

FITS: tuple[Fit, ...] = ("ridge", "firth", "wilson")
PRIORS: tuple[Prior, ...] = ("ridge", "firth")
Z = 1.6448536269514722

similar = st.floats(-1, 1, width=32)
pairs = st.lists(st.tuples(similar, st.booleans()), max_size=OBSERVATIONS_MAX - 1)


def of(*judged: tuple[float, bool]) -> Observations:
    found = Observations()
    for similarity, is_correct in judged:
        found = found.added(similarity, is_correct)
    return found


def of_curve(count: int, threshold: float, seed: int) -> Observations:
    rng = np.random.default_rng(seed)
    similarities = rng.uniform(0.4, 1, count)
    right = rng.random(count) < 1 / (1 + np.exp(-30 * (similarities - threshold)))
    return of(*zip(similarities.tolist(), right.tolist(), strict=True))


def test_observations_are_packed_in_five_bytes_a_pair() -> None:
    found = of((0.5, True), (0.9, False))
    assert len(found.pack()) == 10
    assert Observations.unpack(found.pack()) == found
    assert found.similarities.tolist() == [0.5, pytest.approx(0.9)]
    assert found.are_correct.tolist() == [True, False]


def test_the_newest_observations_are_kept() -> None:
    found = of(*((at / 100, True) for at in range(OBSERVATIONS_MAX + 3)))
    assert len(found) == OBSERVATIONS_MAX
    assert found.similarities[0] == pytest.approx(0.03)


@pytest.mark.parametrize("packed", [b"1234", b"\x00\x00\x00\x7f\x01", b"\x00\x00\x00\x00\x02", bytes(5 * 65)])
def test_bytes_that_are_no_observations_are_refused(packed: bytes) -> None:
    with pytest.raises(ArtifactError):
        Observations.unpack(packed)


@pytest.mark.parametrize("prior", PRIORS)
@settings(deadline=None)
@given(pairs)
def test_every_fit_ends_with_a_curve(prior: Prior, judged: list[tuple[float, bool]]) -> None:
    curve = fitted(of(*judged), prior)
    assert 0 <= curve.threshold <= 1
    assert curve.slope > 0
    assert curve.deviation >= 0
    assert all(map(math.isfinite, curve[:3]))


@pytest.mark.parametrize("prior", PRIORS)
def test_a_fit_finds_the_threshold_that_pairs_were_made_with(prior: Prior) -> None:
    found = [fitted(of_curve(64, 0.75, seed), prior) for seed in range(30)]
    assert np.mean([curve.threshold for curve in found]) == pytest.approx(0.75, abs=0.02)
    errors = [abs(curve.threshold - 0.75) / curve.deviation for curve in found]
    assert np.mean([error < 2 for error in errors]) >= 0.85


@pytest.mark.parametrize("prior", PRIORS)
def test_separable_pairs_have_a_finite_slope(prior: Prior) -> None:
    curve = fitted(of(*[(0.7, False)] * 10, *[(0.8, True)] * 10), prior)
    assert curve.has_settled
    assert 0.7 < curve.threshold < 0.8
    assert curve.slope < 1000


@pytest.mark.parametrize("prior", PRIORS)
def test_pairs_that_are_wrong_the_nearer_they_are_give_no_trust(prior: Prior) -> None:
    upside_down = of(*[(0.5, True)] * 10, *[(0.95, False)] * 10)
    assert not fitted(upside_down, prior).has_settled
    assert wrong_at_most(upside_down, 1.0, prior) > 0.4


@settings(deadline=None)
@given(pairs, similar, similar)
def test_a_wrong_pair_never_lowers_the_bound_without_a_model(
    judged: list[tuple[float, bool]], more: float, similarity: float
) -> None:
    before = wilson_below(of(*judged), similarity, Z)
    assert wilson_below(of(*judged, (more, False)), similarity, Z) >= before - 1e-12


@settings(deadline=None)
@given(pairs, similar, similar, st.booleans())
def test_a_wrong_pair_never_lowers_the_predicted_risk(
    judged: list[tuple[float, bool]], more: float, similarity: float, is_learned: bool
) -> None:
    order = Pooled()
    for at in range(20 if is_learned else 0):
        order.learn(evidence_of(of_curve(at, 0.8, at), 0.5 + at / 40, 0.5), at % 3 > 0)
    with_one, without = (
        order.risk(evidence_of(found, similarity, wilson_below(found, similarity, Z)))
        for found in (of(*judged, (more, False)), of(*judged))
    )
    assert with_one >= without - 1e-9


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_lies_above_what_was_counted_and_grows_with_what_was_wrong(wrong: int, right: int) -> None:
    count = wrong + right
    bound = wilson_at_most(wrong, count, Z)
    assert wrong / max(count, 1) - 1e-12 <= bound <= 1
    assert wilson_at_most(wrong + 1, count + 1, Z) >= bound - 1e-12


@pytest.mark.parametrize("fit", FITS)
@settings(deadline=None)
@given(judged=pairs, similarity=similar, u=st.floats(0, 1))
def test_what_is_told_by_its_entry_is_within_delta(
    fit: Fit, judged: list[tuple[float, bool]], similarity: float, u: float
) -> None:
    found = decide(of(*judged), similarity, Policy(delta=0.1, fit=fit), u)
    assert not (found.serve and found.is_forced)
    assert not found.serve or (found.bound <= 0.1 and len(judged) >= 6)
    assert 0 <= found.bound <= 1


@pytest.mark.parametrize("fit", PRIORS)
def test_the_threshold_is_where_the_bound_reaches_delta(fit: Fit) -> None:
    observations, policy = of_curve(64, 0.7, 3), Policy(delta=0.05, fit=fit)
    threshold = decide(observations, 0.9, policy, 0.5).threshold
    assert 0.7 < threshold < 1
    assert (
        wrong_at_most(observations, threshold + 1e-4, fit) <= 0.05 < wrong_at_most(observations, threshold - 1e-3, fit)
    )


def test_an_entry_that_was_never_judged_has_no_threshold() -> None:
    found = decide(Observations(), 1.0, Policy(delta=0.5), 0.99)
    assert not found.serve
    assert found.threshold == NEVER


def test_errors_per_request_are_bounded_by_exploring_at_random() -> None:
    """A risk of `bound` that is told with a probability of at most delta / bound."""
    observations, policy = of_curve(64, 0.7, 3), Policy(target="request", delta=0.02, explore_share=0.0)
    found = [decide(observations, 0.78, policy, u) for u in np.linspace(0.0005, 0.9995, 1000)]
    assert found[0].bound > 0.02
    assert np.mean([one.serve for one in found]) == pytest.approx(0.02 / found[0].bound, abs=0.002)


def test_some_of_what_could_be_told_is_asked_all_the_same() -> None:
    observations, policy = of(*[(0.5, False)] * 20, *[(0.8, True)] * 40), Policy(delta=0.2)
    assert decide(observations, 0.99, policy, 0.019).is_forced
    assert decide(observations, 0.99, policy, 0.021).serve


@settings(deadline=None)
@given(pairs, st.floats(0.3, 1), st.floats(0.001, 0.5))
def test_the_similarity_from_which_on_an_entry_is_told_has_that_risk(
    judged: list[tuple[float, bool]], similarity: float, risk: float
) -> None:
    order = Pooled()
    evidence = evidence_of(of(*judged), similarity, 0.5)
    found = similarity_at(order.coefficients, evidence, risk)
    assume(abs(order.risk(evidence) - risk) > 0.01)
    assert (order.risk(evidence) < risk) == (similarity >= found)


def test_directions_are_kept_whatever_is_learned() -> None:
    order, rng = Pooled(), np.random.default_rng(2)
    for _ in range(300):
        order.learn(tuple(rng.normal(size=len(DIRECTIONS)).tolist()), bool(rng.random() < 0.5))
    assert (DIRECTIONS * order.coefficients >= 0).all()
