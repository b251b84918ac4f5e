"""Where a route stops, and what stopping there has been shown to keep."""

import math
from typing import Literal, NamedTuple

import msgspec

__all__ = ["ALL", "RISK", "RUN", "Calibration", "Class", "Form", "class_of"]

ALL = math.inf
"""A level that no estimate reaches: every shard is asked that is not ruled out."""

Form = Literal["mean", "high"]

RUN = 2000
RISK = 0.05
K_CLASSES = (1, 3, 10, 30, 100, 300, 1000)


class Class(NamedTuple):
    """Queries that share a calibration. k: the largest of the class. filter: `none`, or how much it lets through."""

    collection: str
    strategy: str
    k: int
    filter: Literal["none", "many", "some", "few"]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A level and what it was shown to keep.

    count: queries it was made from. recall: their mean at the level. below: the share of them whose recall is below
    0.9. steps: (found, recall) pairs, both growing: what a route's own estimate has meant. asks_every: summaries were
    seen to be wrong, so no shard is ruled out by them.
    """

    target: float
    form: Form
    level: float
    count: int
    recall: float
    below: float
    run: int = RUN
    risk: float = RISK
    epoch: int = 0
    steps: tuple[tuple[float, float], ...] = ()
    asks_every: bool = False

    @property
    def is_exhaustive(self) -> bool:
        return self.level == ALL

    def expected(self, found: float) -> float:
        """The recall that queries had, on average, that thought to have found this share."""
        told = found
        for limit, recall in self.steps:
            if found < limit:
                break
            told = recall
        return told


def class_of(collection: str, strategy: str, k: int, selectivity: float = 1.0) -> Class:
    """selectivity: the share of points that the search's filter lets through; 1 = no filter."""
    size = next((most for most in K_CLASSES if k <= most), k)
    if selectivity >= 1:
        return Class(collection, strategy, size, "none")
    return Class(collection, strategy, size, "many" if selectivity >= 0.5 else "some" if selectivity >= 0.05 else "few")
