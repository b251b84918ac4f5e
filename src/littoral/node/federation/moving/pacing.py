"""How fast points are moved: no more than so many bytes a second, and half of the time at most."""

import asyncio

from littoral.clock import Clock

__all__ = ["Pace"]

BURST_S = 0.25


class Pace:
    """A bucket of tokens. bytes_s: that flow into it."""

    def __init__(self, clock: Clock, bytes_s: float) -> None:
        self._clock = clock
        self.bytes_s = bytes_s
        self._free_at_s = clock.monotonic()

    def now(self) -> float:
        """Seconds, for `spent`."""
        return self._clock.monotonic()

    async def spent(self, bytes_sent: int, began_s: float) -> None:
        """Returns when more may be sent: not before as long again as this took, since it began."""
        now_s = self._clock.monotonic()
        self._free_at_s = max(self._free_at_s, now_s - BURST_S) + bytes_sent / self.bytes_s
        self._free_at_s = max(self._free_at_s, now_s + now_s - began_s)
        if self._free_at_s > now_s:
            await asyncio.sleep(self._free_at_s - now_s)
