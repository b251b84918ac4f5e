"""How far down the order of risks answers may be told: the share of wrong ones that judged samples allow for.

Requests are counted by their predicted risk, in bins. What was judged of a bin is a random sample of it, since only
the bin and a draw decide about that. So the share of wrong ones below a level is a weighted sum of rates, and what is
known of it is taken as the gamma distribution of Fay and Feuer (Statistics in Medicine 16, 1997): for one bin that of
the exact Poisson bound. How many wrong ones a run to come has is then negative binomial.
"""

import math
from bisect import bisect_left
from typing import Any, NamedTuple, Self

import numpy as np

from littoral.vectors.routing.beta import beta_share

__all__ = ["BINS", "EDGES", "Counts", "Share", "bin_of"]

EDGES = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.011, 0.015),
    *(0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4),
)
"""Predicted risks that bins end at; one more bin takes what is above."""

BINS = len(EDGES) + 1
JUDGED_MAX = 6000
"""When more are counted all counts are halved: what is long ago weighs less."""

UNJUDGED = 0.5
NAMES = ("requests", "judged", "wrong")


class Share(NamedTuple):
    """Of wrong ones. estimate: as counted. shape, scale: of the gamma distribution of what it may be."""

    estimate: float
    shape: float
    scale: float

    @property
    def mean(self) -> float:
        return self.shape * self.scale

    def at_most(self, z: float) -> float:
        """The quantile of the gamma distribution, z of the normal one (Wilson and Hilferty: its cube root)."""
        root = 1 - 1 / (9 * self.shape) + z / (3 * math.sqrt(self.shape))
        return min(1.0, self.mean * max(root, 0.0) ** 3)

    def is_kept(self, delta: float, run: float, risk: float) -> bool:
        """Whether in a run of so many a share of at most delta is wrong, except with this probability."""
        wrong_max, p = math.floor(delta * run), run * self.scale / (1 + run * self.scale)
        return beta_share(p, wrong_max + 1, self.shape) <= risk


NOTHING = Share(0.0, 1.0, 1.0)


def bin_of(risk: float) -> int:
    return bisect_left(EDGES, risk)


class Counts:
    """By bin: requests, and those of them that were judged, and wrong. others: requests that nothing could be told."""

    def __init__(self) -> None:
        self.requests, self.judged, self.wrong = (np.zeros(BINS) for _ in NAMES)
        self.others = 0.0

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Raises ValueError where there are other bins."""
        found = cls()
        for name in NAMES:
            counts = np.array(told[name], np.float64)
            if counts.shape != (BINS,) or not (counts >= 0).all():
                raise ValueError("other bins")
            setattr(found, name, counts)
        found.others = float(told["others"])
        return found

    def told(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in NAMES} | {"others": self.others}

    def request(self, at: int | None) -> None:
        if at is None:
            self.others += 1
        else:
            self.requests[at] += 1

    def judgement(self, at: int, is_correct: bool) -> None:
        self.judged[at] += 1
        self.wrong[at] += not is_correct
        if self.judged.sum() > JUDGED_MAX:
            self.fade(0.5)

    def risk_at_most(self, at: int) -> float:
        """Of a wrong answer in this bin: one more wrong one than was counted; near 1 where little was."""
        return float((self.wrong[at] + 1) / (self.judged[at] + 1.5))

    def base(self, bins: int, *, of_all: bool) -> float:
        """Requests in the first `bins`, or all."""
        return float(self.requests.sum() + self.others if of_all else self.requests[:bins].sum())

    def share(self, bins: int, *, of_all: bool) -> Share:
        """Of wrong ones in the first `bins`, among the requests there, or among all."""
        base = self.base(bins, of_all=of_all)
        used = self.requests[:bins] > 0
        if not used.any():
            return NOTHING
        each = self.requests[:bins][used] / base / np.maximum(self.judged[:bins][used], UNJUDGED)
        wrong = self.wrong[:bins][used]
        most, estimate = float(each.max()), float(each @ wrong)
        mean, variance = estimate + most, float(each**2 @ wrong) + most**2
        return Share(estimate, mean * mean / variance, variance / mean)

    def fade(self, share: float) -> None:
        """All that was counted weighs so much less."""
        for name in NAMES:
            setattr(self, name, getattr(self, name) * share)
        self.others *= share
