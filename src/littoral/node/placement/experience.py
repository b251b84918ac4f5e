"""What was learned of each node's promises: how long steps took, by how long they were predicted to take. Pure.

A prediction is made of facts (queue, service time, transfer). What it leaves out, such as cores that are shared or a
network that changes, shows in the ratio of the time taken to the time predicted. For every node and step that ratio is
kept as a mean and a variance of its logarithm, and what is old counts less and less. So a node of which little is known
has a wide range. It is not chosen on a hope: its range's upper end counts. But a small share of requests is also given
to the node that might be the best by its lower end, beside the one that was chosen (`may_try`): so a bad node costs
nobody time, and one that has become good is found.

Confidence bounds as in UCB (Auer, Cesa-Bianchi, Fischer 2002), discounted as in D-UCB (Garivier, Moulines 2011); the
choice by the other end as in conservative bandits (Wu et al. 2016).
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

__all__ = ["Expected", "Experience", "Learned"]

HALF_LIFE_S = 30.0
TRIES_SHARE = 0.02
TRIES_MAX = 2.0
ARMS_MAX = 4096
PRIOR_WEIGHT = 1.0
PRIOR_VARIANCE = 0.25
RATIO_MAX = 32.0
HIGH_SIGMAS, LOW_SIGMAS = 2.0, 2.0

Arm = tuple[str, str]
"""A node and a step's key."""


class Expected(NamedTuple):
    """Seconds. likely: the mean. cautious: of the mean, as large as it may well be. high: few take longer. low: of the
    mean, as small as it may be.
    """

    likely_s: float
    cautious_s: float
    high_s: float
    low_s: float


class Learned(NamedTuple):
    """For people. ratio: time taken by time predicted. weight: of how many recent answers."""

    ratio: float
    spread: float
    weight: float


@dataclass
class _Arm:
    weight: float = 0.0
    sum: float = 0.0
    squares: float = 0.0
    at_s: float = 0.0

    def fade(self, now_s: float, half_life_s: float) -> None:
        kept = 0.5 ** (max(0.0, now_s - self.at_s) / half_life_s)
        self.weight, self.sum, self.squares, self.at_s = self.weight * kept, self.sum * kept, self.squares * kept, now_s

    def moments(self) -> tuple[float, float, float]:
        """Mean, variance of one, variance of the mean, with a prior that promises are kept, more or less."""
        total = self.weight + PRIOR_WEIGHT
        mean = self.sum / total
        variance = max(0.0, (self.squares + PRIOR_WEIGHT * PRIOR_VARIANCE) / total - mean * mean)
        return mean, variance, variance / total


class Experience:
    """share: of requests that may be tried elsewhere besides. rng: only when the first try is due."""

    def __init__(self, rng: Random, *, share: float = TRIES_SHARE, half_life_s: float = HALF_LIFE_S) -> None:
        self._share = share
        self._half_life_s = half_life_s
        self._tries = rng.random() if share else 0.0
        self._arms: OrderedDict[Arm, _Arm] = OrderedDict()

    def expected(self, arm: Arm, predicted_s: float, now_s: float) -> Expected:
        """What the prediction is worth, after what was learned."""
        mean, variance, doubt = self._moments(arm, now_s)
        likely_s = predicted_s * math.exp(mean)
        return Expected(
            likely_s,
            likely_s * math.exp(math.sqrt(doubt)),
            likely_s * math.exp(HIGH_SIGMAS * math.sqrt(variance + doubt)),
            likely_s * math.exp(-LOW_SIGMAS * math.sqrt(doubt)),
        )

    def note(self, arm: Arm, predicted_s: float, taken_s: float, now_s: float) -> None:
        """An answer came after `taken_s`; or none came until then."""
        ratio = max(taken_s, 1e-6) / max(predicted_s, 1e-6)
        logged = math.log(min(max(ratio, 1 / RATIO_MAX), RATIO_MAX))
        found = self._arms.setdefault(arm, _Arm(at_s=now_s))
        self._arms.move_to_end(arm)
        found.fade(now_s, self._half_life_s)
        found.weight += 1
        found.sum += logged
        found.squares += logged * logged
        if len(self._arms) > ARMS_MAX:
            self._arms.popitem(last=False)

    def count(self) -> None:
        """One more request is decided: a share of a try is earned."""
        self._tries = min(TRIES_MAX, self._tries + self._share)

    def may_try(self) -> bool:
        """Whether a try is left; it is used up."""
        if self._tries < 1:
            return False
        self._tries -= 1
        return True

    def learned(self, arm: Arm, now_s: float) -> Learned:
        found = self._arms.get(arm)
        mean, variance, _ = self._moments(arm, now_s)
        return Learned(math.exp(mean), math.sqrt(variance), 0.0 if found is None else found.weight)

    def forget(self, node: str) -> None:
        """It was started anew, and may be another machine."""
        for arm in [arm for arm in self._arms if arm[0] == node]:
            del self._arms[arm]

    def _moments(self, arm: Arm, now_s: float) -> tuple[float, float, float]:
        found = self._arms.get(arm)
        if found is None:
            return _Arm().moments()
        found.fade(now_s, self._half_life_s)
        return found.moments()
