"""Whether a remembered answer may be told for a similar question."""

from typing import Literal, NamedTuple

import msgspec

from littoral.answers.fits import wilson_at_most
from littoral.answers.observations import Observations

__all__ = ["Decision", "Fit", "Policy", "Target", "decide"]

Target = Literal["hit", "request"]
Fit = Literal["ridge", "firth", "wilson"]

Z = 1.6448536269514722


class Policy(msgspec.Struct, frozen=True):
    """target: what delta is a share of: the wrong ones among the answers that were told, or among all requests.
    explore_share: of the requests that could be answered, how many are asked of the upstream all the same.
    observations_min: judged pairs of an entry before it is told at all.
    """

    target: Target = "hit"
    delta: float = 0.02
    fit: Fit = "firth"
    explore_share: float = 0.02
    observations_min: int = 6


class Decision(NamedTuple):
    """serve: tell the entry's answer. is_forced: it could be told, but is asked of the upstream, to learn whether it
    would have been right. bound: upper bound of the probability that it is wrong, 0 … 1. threshold: similarity from
    which on the entry is told, above 1 where at none. reason: for people.
    """

    serve: bool
    is_forced: bool
    bound: float
    threshold: float
    reason: str


def decide(observations: Observations, similarity: float, policy: Policy, u: float) -> Decision:
    """u: uniform in 0 … 1, drawn for this request alone."""
    count = len(observations)
    if count < policy.observations_min:
        return Decision(False, False, 1.0, 2.0, f"{count} of {policy.observations_min} judgements that it takes")
    similarities, are_correct = observations.similarities, observations.are_correct
    is_below = similarities <= similarity
    bound = wilson_at_most(int((~are_correct[is_below]).sum()), int(is_below.sum()), Z)
    if bound > policy.delta:
        return Decision(False, False, bound, 2.0, f"may be wrong with {bound:.3g}, above {policy.delta:g}")
    if u < policy.explore_share:
        return Decision(False, True, bound, similarity, "could be told; asked to check")
    return Decision(True, False, bound, similarity, f"wrong with at most {bound:.3g}")
