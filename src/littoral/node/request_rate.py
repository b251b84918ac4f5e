"""Requests a second of one tenant: a bucket that holds as many as may come in one second."""

from littoral.clock import Clock
from littoral.errors import TooOftenError

__all__ = ["Rate"]


class Rate:
    """per_s: that are refilled; at least one fits. Refusing costs microseconds and takes nothing."""

    def __init__(self, tenant: str, per_s: float, clock: Clock) -> None:
        self._tenant = tenant
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._clock = clock
        self._left = self._most
        self._at_s = clock.monotonic()
        self.taken_count = self.refused_count = 0

    def limit(self, per_s: float) -> None:
        """From now on."""
        self._per_s, self._most = per_s, max(1.0, per_s)
        self._left = min(self._left, self._most)

    def take(self) -> None:
        """One request. Raises TooOftenError with the time after which the next is taken."""
        now_s = self._clock.monotonic()
        self._left = min(self._most, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            self.refused_count += 1
            raise TooOftenError(
                f"tenant `{self._tenant}`: quota `requests_per_s`: more than {self._per_s:g} a second",
                hint="ask less often",
                retry_after_s=(1.0 - self._left) / self._per_s,
            )
        self._left -= 1.0
        self.taken_count += 1
