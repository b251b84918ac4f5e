"""Pauses between attempts."""

import random
from dataclasses import dataclass

__all__ = ["BackOff"]

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 30.0


@dataclass
class BackOff:
    """Pauses that double, each shortened at random by up to a half, so that many nodes do not come back at once."""

    rng: random.Random
    first_s: float = PAUSE_FIRST_S
    most_s: float = PAUSE_MAX_S
    failure_count: int = 0

    def next_s(self) -> float:
        longest = min(self.most_s, self.first_s * 2.0 ** min(self.failure_count, 32))
        self.failure_count += 1
        return longest * self.rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        self.failure_count = 0
