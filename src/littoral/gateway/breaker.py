"""A circuit breaker: who fails too often is asked nothing for a while, then one request at a time."""

from collections import deque
from typing import Literal, NamedTuple

from littoral.clock import Clock

__all__ = ["Breaker", "BreakerOptions", "State"]

State = Literal["closed", "open", "half-open"]


class BreakerOptions(NamedTuple):
    """Of the last `window` answers at least `failures_min` and `share` failed: it opens for `open_s`, twice as long
    each time the request after it fails too, at most `open_s_max`.
    """

    window: int = 20
    failures_min: int = 5
    share: float = 0.5
    open_s: float = 5.0
    open_s_max: float = 120.0


class Breaker:
    """Of one upstream. Pure but for the clock. `rest` is what the service itself asked for, and no failure."""

    def __init__(self, options: BreakerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._outcomes: deque[bool] = deque(maxlen=options.window)
        self._opened_until_s: float | None = None
        self._resting_until_s = 0.0
        self._open_s = options.open_s
        self._is_trying = False
        self.opened_count = 0

    @property
    def state(self) -> State:
        if self._opened_until_s is None:
            return "closed"
        return "open" if self._clock.monotonic() < self._opened_until_s else "half-open"

    @property
    def wait_s(self) -> float:
        """Until it may be asked; 0 = now."""
        until_s = max(self._resting_until_s, self._opened_until_s or 0.0)
        return max(0.0, until_s - self._clock.monotonic())

    def allows(self) -> bool:
        """Whether it may be asked now. Does not count as asking."""
        return self.wait_s == 0.0 and not (self.state == "half-open" and self._is_trying)

    def begin(self) -> None:
        """It is asked."""
        self._is_trying = self.state == "half-open"

    def succeeded(self) -> None:
        self._is_trying = False
        self._outcomes.append(True)
        if self._opened_until_s is not None and self.state == "half-open":
            self._opened_until_s, self._open_s = None, self._options.open_s
            self._outcomes.clear()

    def failed(self) -> None:
        was_trying, self._is_trying = self._is_trying, False
        self._outcomes.append(False)
        if self._opened_until_s is not None:
            if was_trying or self.state == "half-open":
                self._open_s = min(2 * self._open_s, self._options.open_s_max)
                self._open()
            return
        failures = self._outcomes.count(False)
        if failures >= self._options.failures_min and failures >= self._options.share * len(self._outcomes):
            self._open()

    def left(self) -> None:
        """It was asked, and nobody waited for what it says."""
        self._is_trying = False

    def rest(self, seconds: float) -> None:
        """It wants to be asked no earlier."""
        self._is_trying = False
        self._resting_until_s = max(self._resting_until_s, self._clock.monotonic() + seconds)

    def _open(self) -> None:
        self._opened_until_s = self._clock.monotonic() + self._open_s
        self.opened_count += 1
