"""Whether a remembered answer may be told for a similar question, by what was judged of its entry alone.

The rule of vCache (arXiv 2502.03771), worked out from its mathematics, and one for the share of wrong ones among the
answers that are told. Both hold as far as the entry's curve is what it is assumed to be: `littoral.answers.watch`
audits that.
"""

from functools import lru_cache
from statistics import NormalDist
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from littoral.answers.fits import Curve, fitted, wilson_below
from littoral.answers.observations import Observations

__all__ = ["NEVER", "Decision", "Fit", "Policy", "Target", "decide", "wrong_at_most"]

Target = Literal["hit", "request"]
Fit = Literal["ridge", "firth", "wilson"]

NEVER = 2.0
"""A threshold that no similarity reaches."""

EPSILONS = np.geomspace(1e-4, 0.5, 40)
Z = np.array([NormalDist().inv_cdf(1 - epsilon) for epsilon in EPSILONS])
WILSON_Z = NormalDist().inv_cdf(0.95)


class Policy(msgspec.Struct, frozen=True):
    """target: what delta is a share of: of the answers that are told, or of all requests. delta: 0 … 1, of wrong ones.
    explore_share: of all requests, how many are asked of the upstream although they could be answered.
    observations_min: judged pairs of an entry before its own curve counts.
    """

    target: Target = "hit"
    delta: float = 0.02
    fit: Fit = "firth"
    explore_share: float = 0.02
    observations_min: int = 6


class Decision(NamedTuple):
    """serve: tell the entry's answer. is_forced: it could be told, but the upstream is asked, to learn whether it would
    have been right. bound: upper bound of the probability that it is wrong, 0 … 1. threshold: similarity from
    which on the entry is told for certain, NEVER where from none. reason: for people. evidence: what
    `Watch.judged` needs to learn from it. could_serve: `serve`, or for another reason than its risk it is not told.
    """

    serve: bool
    is_forced: bool
    bound: float
    threshold: float
    reason: str
    evidence: tuple[float, ...] = ()
    could_serve: bool = False


def decide(observations: Observations, similarity: float, policy: Policy, u: float) -> Decision:
    """u: uniform in 0 … 1, drawn for this request alone."""
    count = len(observations)
    if count < policy.observations_min:
        return Decision(False, False, 1.0, NEVER, f"{count} of {policy.observations_min} judgements that it takes")
    bound = wrong_at_most(observations, similarity, policy.fit)
    threshold = _threshold(observations, policy)
    if bound > policy.delta and (policy.target == "hit" or u <= 1 - policy.delta / bound):
        return Decision(False, False, bound, threshold, f"may be wrong with {bound:.3g}, delta is {policy.delta:g}")
    if u < policy.explore_share:
        return Decision(False, True, bound, threshold, "could be told; asked to check")
    return Decision(True, False, bound, threshold, f"wrong with at most {bound:.3g}, delta is {policy.delta:g}")


def wrong_at_most(observations: Observations, similarity: float, fit: Fit) -> float:
    """Upper bound of the probability that the entry's answer is wrong at this similarity."""
    if fit == "wilson":
        return wilson_below(observations, similarity, WILSON_Z)
    curve = fitted(observations, fit)
    thresholds = _thresholds(curve)
    odds = np.clip(curve.slope * (similarity - thresholds), -35, 35)
    return float(1 - ((1 - EPSILONS) / (1 + np.exp(-odds))).max())


def _thresholds(curve: Curve) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The threshold lies above each of them with a probability of at most that epsilon."""
    return np.clip(curve.threshold + Z * curve.deviation, 0, 1)


@lru_cache(4096)
def _threshold(observations: Observations, policy: Policy) -> float:
    """Where 1 − delta is reached: solved for the similarity at each epsilon below delta."""
    if policy.fit == "wilson":
        at = np.unique(observations.similarities).tolist()
        return next((s for s in at if wilson_below(observations, s, WILSON_Z) <= policy.delta), NEVER)
    curve, usable = fitted(observations, policy.fit), policy.delta > EPSILONS
    if not usable.any():
        return NEVER
    wanted = (1 - policy.delta) / (1 - EPSILONS[usable])
    found = float((_thresholds(curve)[usable] + np.log(wanted / (1 - wanted)) / curve.slope).min())
    return found if found <= 1 else NEVER
