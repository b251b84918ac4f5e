"""Time as an argument: whatever reads a clock takes one, so that tests can replace it."""

import time
from typing import Protocol

__all__ = ["SYSTEM", "THREAD", "Clock", "SystemClock", "ThreadClock"]


class Clock(Protocol):
    """Seconds. `monotonic` only ever grows and orders events; `wall` is Unix time and may jump."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.perf_counter)
    wall = staticmethod(time.time)  # noqa: TID251


class ThreadClock(SystemClock):
    """Processor time of the calling thread, for measuring what runs in it: what else runs here does not count."""

    monotonic = staticmethod(time.thread_time)


SYSTEM = SystemClock()
THREAD = ThreadClock()
