"""How many requests a pipeline takes at a time: as many as keep its guests busy, and hardly more.

While the first bound holds all who come, they wait for each other, as a few clients do that each ask one thing at a
time. Once somebody had to be refused, more comes than can be answered. Then the work done in a second says how many
are worked on at a time (Little's law), and twice as many are enough: the bound falls until requests wait about as long
as they work, and the rest is refused in microseconds. When nobody is refused any more it rises again.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from littoral.clock import SYSTEM, Clock
from littoral.errors import UnavailableError
from littoral.runtime.call import PRIORITY_MAX, Call, Waits

__all__ = ["Admission", "AdmissionStatistics"]

LIMIT_MIN = 2
LIMIT_MAX = 64
LIMIT_AT_FIRST = 32
WAIT_SHARE_LOW, WAIT_SHARE_HIGH = 0.6, 1.1
"""Of the time of work, over a round of requests: where some are refused, below rises, above falls."""
ROUND_COUNT = 8


@dataclass(frozen=True)
class AdmissionStatistics:
    """limit, busy: now. admitted, refused: since the start. work_ms: mean of the latest, without waits."""

    limit: int
    busy: int
    admitted: int
    refused: int
    work_ms: float


class Admission:
    """For one event loop. name: as in messages, such as ``pipeline `similar` ``."""

    def __init__(
        self, name: str, *, limit_min: int = LIMIT_MIN, limit_max: int = LIMIT_MAX, clock: Clock = SYSTEM
    ) -> None:
        self._name = name
        self._clock = clock
        self._limit_min, self._limit_max = limit_min, limit_max
        self._limit = self._at_first = float(max(limit_min, min(LIMIT_AT_FIRST, limit_max)))
        self._busy = self._most_busy = 0
        self._admitted = self._refused = 0
        self._waited_s = self._worked_s = 0.0
        self._count = 0
        self._round_began = clock.monotonic()
        self._refused_before = 0
        self._work_s = 0.0

    def check(self, call: Call) -> None:
        """Raises UnavailableError where a call of this priority would be refused now. Urgent ones have more room."""
        if self._busy < self._limit * (1 + call.priority / PRIORITY_MAX):
            return
        if self._refused == self._refused_before:
            self._begin_round()
        self._refused += 1
        raise UnavailableError(
            f"{self._name} is full: {self._busy} requests are being answered",
            hint="try again, less often",
            retry_after_s=self._work_s,
        )

    @contextlib.contextmanager
    def admitted(self, call: Call) -> Iterator[Call]:
        """Around a run; the call as it is to be made current. Raises UnavailableError."""
        self.check(call)
        waits = Waits()
        self._busy += 1
        self._most_busy = max(self._most_busy, self._busy)
        began = self._clock.monotonic()
        try:
            yield call._replace(waits=waits)
            self._note(self._clock.monotonic() - began, waits.seconds)
        finally:
            self._busy -= 1
            self._admitted += 1

    def statistics(self) -> AdmissionStatistics:
        return AdmissionStatistics(int(self._limit), self._busy, self._admitted, self._refused, self._work_s * 1000)

    def _note(self, total_s: float, waited_s: float) -> None:
        """After a request that was answered. Branches may wait at the same time: never more than the whole."""
        waited_s = min(waited_s, total_s)
        self._waited_s += waited_s
        self._worked_s += total_s - waited_s
        self._work_s += (total_s - waited_s - self._work_s) * (1 / ROUND_COUNT if self._work_s else 1)
        self._count += 1
        is_refusing = self._refused > self._refused_before
        if self._count < (ROUND_COUNT if is_refusing else max(ROUND_COUNT, self._limit)):
            return
        share = self._waited_s / max(self._worked_s, 1e-9)
        if not is_refusing:
            self._limit = max(self._limit, min(self._limit + 1, self._at_first))
        elif share > WAIT_SHARE_HIGH:
            worked_on = self._worked_s / max(self._clock.monotonic() - self._round_began, 1e-9)
            self._limit = max(self._limit_min, min(self._limit, 2 * worked_on))
        elif share < WAIT_SHARE_LOW and self._most_busy >= int(self._limit):
            self._limit = min(self._limit_max, self._limit + 1)
        self._refused_before = self._refused
        self._begin_round()

    def _begin_round(self) -> None:
        self._waited_s = self._worked_s = 0.0
        self._count, self._most_busy = 0, self._busy
        self._round_began = self._clock.monotonic()
