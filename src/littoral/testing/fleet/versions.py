"""Versions of a simulated model: good ones, and each way of being bad that a gate is for."""

import hashlib
from enum import StrEnum
from random import Random
from typing import NamedTuple

from littoral.updates.deployment.gates import Figures, Verdict, judge
from littoral.updates.wire import Gates

__all__ = ["BAD", "Nature", "Version", "judged"]

PAIRS = 40
USUAL_S = 0.01


class Nature(StrEnum):
    """crash: its process ends while it serves. late: fails real requests, never mirrored ones. corrupt: its bytes are
    never those that were signed.
    """

    GOOD = "good"
    ERRORS = "errors"
    WRONG = "wrong"
    SLOW = "slow"
    HOG = "hog"
    SELF_TEST = "selftest"
    LATE = "late"
    CRASH = "crash"
    CORRUPT = "corrupt"


BAD = tuple(nature for nature in Nature if nature is not Nature.GOOD)


class Version(NamedTuple):
    """share: of the nodes that it is bad on, the same ones each time."""

    target: str
    nature: Nature = Nature.GOOD
    share: float = 1.0

    @property
    def data(self) -> bytes:
        return f"{self.target} {self.nature}".encode()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def on(self, node: str) -> Nature:
        """How it is there."""
        drawn = int.from_bytes(hashlib.sha256(f"{self.target} {node}".encode()).digest()[:4]) / 2**32
        return self.nature if drawn < self.share else Nature.GOOD


def judged(nature: Nature, gates: Gates, random: Random, *, serves: bool) -> Verdict | None:
    """What the node's gates make of mirrored requests, or, where it serves, of real ones."""
    figures = Figures(memory_mb=4096.0 if nature is Nature.HOG else 64.0)
    for _ in range(PAIRS):
        before_s = USUAL_S * random.uniform(0.9, 1.1)
        if nature is Nature.ERRORS:
            figures.failure()
            continue
        after_s = before_s * (3.0 if nature is Nature.SLOW else random.uniform(0.95, 1.05))
        figures.pair(before_s, after_s, 0.9 if nature is Nature.WRONG else random.uniform(0.0, 0.01))
    if serves:
        figures.served, figures.served_failed = PAIRS, PAIRS // 2 if nature is Nature.LATE else 0
    return judge(gates, figures)
