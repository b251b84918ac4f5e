"""How many inferences of one tenant are under way at a time; who comes beyond that waits, within bounds, for its own.

It stands before pools and queues that all tenants share: whatever one of them sends, it has only so many calls there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from littoral.clock import SYSTEM, Clock
from littoral.errors import TooOftenError
from littoral.runtime.call import Call

__all__ = ["Gate", "GateStatistics"]

WAITING_MAX = 64
WAIT_S = 1.0


@dataclass(frozen=True)
class GateStatistics:
    """busy, waiting: now. entered, refused: since the start."""

    busy: int
    waiting: int
    entered: int
    refused: int


class Gate:
    """count_max: at a time. For one event loop."""

    def __init__(self, tenant: str, count_max: int, *, waiting_max: int = WAITING_MAX, clock: Clock = SYSTEM) -> None:
        self.tenant = tenant
        self.count_max = count_max
        self._waiting_max = waiting_max
        self._clock = clock
        self._room = asyncio.Semaphore(count_max)
        self._owed = 0
        self._busy = self._waiting = self._entered = self._refused = 0

    @contextlib.asynccontextmanager
    async def entered(self, call: Call) -> AsyncIterator[None]:
        """Around one inference. Raises TooOftenError where too many wait, or none ended in time."""
        await self._wait(call)
        self._busy += 1
        self._entered += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._give()

    async def limit(self, count_max: int) -> None:
        """From now on; what is under way beyond it ends first."""
        more, self.count_max = count_max - self.count_max, count_max
        self._owed += max(0, -more)
        for _ in range(more):
            self._give()
        while self._owed and not self._room.locked():
            self._owed -= 1
            await self._room.acquire()

    def statistics(self) -> GateStatistics:
        return GateStatistics(self._busy, self._waiting, self._entered, self._refused)

    def _give(self) -> None:
        """A place is free, or one less is owed."""
        if self._owed:
            self._owed -= 1
        else:
            self._room.release()

    async def _wait(self, call: Call) -> None:
        if self._waiting >= self._waiting_max:
            raise self._full()
        began = self._clock.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._room.acquire()
        except TimeoutError as error:
            raise self._full() from error
        finally:
            self._waiting -= 1
            call.waited(self._clock.monotonic() - began)

    def _full(self) -> TooOftenError:
        self._refused += 1
        return TooOftenError(
            f"tenant `{self.tenant}`: quota `inferences_max`: {self._busy} are under way and {self._waiting} wait, at"
            f" most {self.count_max} at a time",
            hint="ask fewer at a time",
            retry_after_s=WAIT_S,
        )
