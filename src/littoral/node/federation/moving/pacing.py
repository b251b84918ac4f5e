"""How fast points are moved: no more than so many bytes a second, and gently where somebody searches.

Points go in pieces, and after each a node rests, for some times as long as the piece took. Nobody searches here: large
pieces, short rests. Somebody does: small ones, long rests; still smaller and longer while searches beside a piece take
longer than those between two. There is a floor, so that a move ends.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from littoral.clock import Clock

__all__ = ["GAITS", "Gait", "Pace"]

BURST_S = 0.25
REST_MAX_S = 0.5
SEARCHED_S = 5.0
"""So long after the last search nobody searches any more."""

JUDGED_COUNT = 16
SLOWER, ALIKE = 1.5, 1.2
"""Searches beside a piece against those between two: from here on gentler, below that quicker again."""


class Gait(NamedTuple):
    """points: in a piece. rest: after it, in times of what it took."""

    points: int
    rest: float


GAITS = (Gait(256, 1.0), Gait(64, 3.0), Gait(32, 6.0), Gait(16, 12.0))
"""The first where nobody searches."""

GENTLEST = len(GAITS) - 1


class _Times:
    """Of searches, since they were judged last."""

    def __init__(self) -> None:
        self.count = 0
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        self.count += 1
        self.sum_s += took_s

    @property
    def mean_s(self) -> float:
        return self.sum_s / self.count


class Pace:
    """Of one node, as source and as target. bytes_s: that it may hand over."""

    def __init__(self, clock: Clock, bytes_s: float) -> None:
        self._clock = clock
        self.bytes_s = bytes_s
        now_s = clock.monotonic()
        self._free_at_s = now_s
        self._working = 0
        self._worked_at_s = now_s
        self._searched_at_s = now_s - SEARCHED_S
        self._level = 1
        self._beside, self._between = _Times(), _Times()

    def now(self) -> float:
        """Seconds, for `spent`."""
        return self._clock.monotonic()

    @property
    def level(self) -> int:
        """Which of `GAITS` suits the searches here."""
        is_searched = self._clock.monotonic() - self._searched_at_s < SEARCHED_S
        return self._level if is_searched else 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While points are handed over or taken here."""
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            self._worked_at_s = self._clock.monotonic()

    def searched(self, began_s: float) -> None:
        """A shard here has answered a search that began then."""
        self._searched_at_s = now_s = self._clock.monotonic()
        is_beside = self._working > 0 or self._worked_at_s > began_s
        (self._beside if is_beside else self._between).add(now_s - began_s)
        if min(self._beside.count, self._between.count) >= JUDGED_COUNT:
            self._judge(self._beside.mean_s / max(self._between.mean_s, 1e-9))
            self._beside, self._between = _Times(), _Times()

    def _judge(self, slower: float) -> None:
        if slower > SLOWER:
            self._level = min(GENTLEST, self._level + 1)
        elif slower < ALIKE:
            self._level = max(1, self._level - 1)

    async def spent(self, bytes_sent: int, began_s: float, *, level: int = 0) -> None:
        """Returns when the next piece may go. began_s: when this one did. level: that suits whoever took it."""
        now_s = self._clock.monotonic()
        rest_s = GAITS[max(self.level, min(level, GENTLEST))].rest * (now_s - began_s)
        self._free_at_s = max(self._free_at_s, now_s - BURST_S) + bytes_sent / self.bytes_s
        self._free_at_s = max(self._free_at_s, now_s + min(rest_s, REST_MAX_S))
        if self._free_at_s > now_s:
            await asyncio.sleep(self._free_at_s - now_s)
