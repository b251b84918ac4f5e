"""Hybrid time: the wall clock where it can be trusted, a counter where it cannot.

A time is one integer: milliseconds since 1970 × 2¹⁶, plus a count. It grows with every write here and with every one
seen from elsewhere, whatever the wall clock does, so that a write that knew of another is always the later one.
Source: Kulkarni et al., Logical Physical Clocks (2014); the count carries into the milliseconds instead of a bound.
"""

from littoral.errors import InputError

__all__ = ["TIME_MAX", "HybridClock", "hybrid_time"]

COUNT_BITS = 16
TIME_MAX = 2**62
"""Beyond every wall clock (the year 4199); what claims to be later is refused, so that times never run out."""


class HybridClock:
    """Of one replica. last: the highest time it has given or seen."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, wall: float) -> int:
        """The time of a write made here now. wall: seconds since 1970."""
        self.last = max(self.last + 1, hybrid_time(wall))
        return self.last

    def saw(self, time: int) -> None:
        """A write from elsewhere has this time. Raises InputError for one that no clock gives."""
        if not 0 < time < TIME_MAX:
            raise InputError(f"hybrid time is {time}, must be in 1..{TIME_MAX - 1}")
        self.last = max(self.last, time)


def hybrid_time(wall: float) -> int:
    """The first time of that millisecond. wall: seconds since 1970."""
    return max(0, int(wall * 1000)) << COUNT_BITS
