"""When a migration is stuck: what passes by itself has time to pass before anybody is asked to see to it."""

from littoral.clock import Clock
from littoral.errors import UnavailableError

__all__ = ["PASSING_S", "Failing"]

PASSING_S = 15.0


class Failing:
    """Of one thing that is tried again and again. A pool without a free instance passes, a host that restarts too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s: float | None = None

    def is_stuck(self, error: BaseException) -> bool:
        """It failed again: whether that is to be told as an end of what goes by itself."""
        now_s = self._clock.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        return not isinstance(error, UnavailableError) or now_s - self._since_s >= PASSING_S

    def ended(self) -> None:
        """It went well."""
        self._since_s = None
