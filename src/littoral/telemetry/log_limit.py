"""How often one thing is told: so many times a second, and how many times it was not."""

from collections import OrderedDict
from collections.abc import Hashable

from littoral.clock import SYSTEM, Clock

__all__ = ["Limit"]

KEYS_MAX = 512
BURST_S = 2.0
"""What may come at once: as many as in so many seconds."""


class _Bucket:
    __slots__ = ("at_s", "left", "suppressed")

    def __init__(self, left: float, at_s: float) -> None:
        self.left = left
        self.at_s = at_s
        self.suppressed = 0


class Limit:
    """By key; of more than 512 keys those that were not told for longest are forgotten. suppressed: since the start.

    For one thread at a time.
    """

    def __init__(self, per_s: float, clock: Clock = SYSTEM, *, suppressed: int = 0) -> None:
        self.suppressed = suppressed
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, key: Hashable) -> int | None:
        """How many were suppressed before this one; None: so is this one."""
        now = self._clock.monotonic()
        if (bucket := self._buckets.get(key)) is None:
            bucket = self._buckets[key] = _Bucket(self._most, now)
            if len(self._buckets) > KEYS_MAX:
                self._buckets.popitem(last=False)
        bucket.left = min(self._most, bucket.left + (now - bucket.at_s) * self._per_s)
        bucket.at_s = now
        if bucket.left < 1:
            bucket.suppressed += 1
            self.suppressed += 1
            return None
        bucket.left -= 1
        self._buckets.move_to_end(key)
        before, bucket.suppressed = bucket.suppressed, 0
        return before
