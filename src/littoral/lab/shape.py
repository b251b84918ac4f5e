"""What happens to packets between the nodes of a lab: when each arrives, and whether."""

import random
from collections.abc import Collection
from typing import Literal, NamedTuple

from littoral.errors import InputError

__all__ = ["LAN", "WAN", "Shape", "Way", "Wires", "is_between"]

Way = Literal["both", "in", "out"]

QUEUE_S_MAX = 0.25
"""A packet that would have to wait for the rate for longer is dropped, as a full router does."""


class Shape(NamedTuple):
    """One direction of one link. jitter_ms: uniform around the delay, without overtaking. loss: share of packets."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate_mbit: float = 0.0
    loss: float = 0.0

    def checked(self) -> "Shape":
        """Itself. Raises InputError."""
        if not 0 <= self.delay_ms <= 10_000 or not 0 <= self.jitter_ms <= self.delay_ms:
            raise InputError(
                f"delay {self.delay_ms} ms ± {self.jitter_ms} ms: must be 0 to 10000, and jitter at most as much"
            )
        if self.rate_mbit < 0 or not 0 <= self.loss < 1:
            raise InputError(f"rate {self.rate_mbit} Mbit/s, loss {self.loss}: must be 0 or more, and below 1")
        return self


LAN = Shape()
WAN = Shape(delay_ms=20.0, jitter_ms=2.0, rate_mbit=50.0)


def is_between(away: Collection[int], way: Way, origin: int, target: int) -> bool:
    """Whether that cut keeps packets of `origin` from `target`."""
    if (origin in away) == (target in away):
        return False
    return way == "both" or (way == "out") == (origin in away)


class Wires:
    """Between every two nodes, numbered from 1; 0 is the host, to which nothing is shaped, lost or cut."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape = shape.checked()
        self._random = random.Random(seed)  # noqa: S311
        self._free_s: dict[tuple[int, int], float] = {}
        self._last_s: dict[tuple[int, int], float] = {}
        self.away: frozenset[int] = frozenset()
        self.way: Way = "both"

    def cut(self, nodes: Collection[int], way: Way = "both") -> None:
        """From now on nothing gets between these and the others; among these it does.

        way: `out`: what they say is lost, and they hear the others; `in`: the other way round.
        """
        self.away, self.way = frozenset(nodes), way

    def heal(self) -> None:
        self.away = frozenset()

    def arrival_s(self, origin: int, target: int, packet_bytes: int, now_s: float) -> float | None:
        """When a packet arrives that is sent now; None: never."""
        if origin == 0 or target == 0:
            return now_s
        if is_between(self.away, self.way, origin, target) or self._random.random() < self.shape.loss:
            return None
        pair = (origin, target)
        sent_s = max(now_s, self._free_s.get(pair, 0.0))
        if sent_s - now_s > QUEUE_S_MAX:
            return None
        if self.shape.rate_mbit:
            sent_s += packet_bytes * 8 / (self.shape.rate_mbit * 1e6)
            self._free_s[pair] = sent_s
        delay_ms = self.shape.delay_ms + self.shape.jitter_ms * (2 * self._random.random() - 1)
        self._last_s[pair] = arrival_s = max(sent_s + delay_ms / 1000, self._last_s.get(pair, 0.0))
        return arrival_s
