"""The clock of guarded guests: a thread that advances the engine's epoch while any of them runs.

A guest given `ticks_for(deadline_ms)` ticks is stopped no earlier than its deadline, and a few ticks later at most.
"""

import atexit
import os
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["PERIOD_MS", "EpochTicker"]

PERIOD_MS = 10
IDLE_TICKS_MAX = 50


class EpochTicker:
    """`with ticker:` around every guarded call. The thread sleeps half a second after the last one; it ends at exit."""

    def __init__(self, increment: Callable[[], None]) -> None:
        self._increment = increment
        self._reset()
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._in_flight = 0
        self._is_asleep = False
        self._thread: threading.Thread | None = None

    @staticmethod
    def ticks_for(deadline_ms: int) -> int:
        """Ticks after which at least `deadline_ms` have passed: the first tick may come at once."""
        return -(-deadline_ms // PERIOD_MS) + 1

    @property
    def is_ticking(self) -> bool:
        return self._thread is not None and not self._is_asleep

    def __enter__(self) -> None:
        with self._wake:
            self._in_flight += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._tick, name="littoral-epochs", daemon=True)
                self._thread.start()
            elif self._is_asleep:
                self._wake.notify()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._wake:
            self._in_flight -= 1

    def _tick(self) -> None:
        idle_ticks = 0
        with self._wake:
            while self._thread is threading.current_thread():
                self._is_asleep = idle_ticks >= IDLE_TICKS_MAX
                self._wake.wait(None if self._is_asleep else PERIOD_MS / 1000)
                idle_ticks = 0 if self._in_flight or self._is_asleep else idle_ticks + 1
                self._is_asleep = False
                self._increment()

    def stop(self) -> None:
        """Ends the thread; the next `with` starts it again."""
        with self._wake:
            thread, self._thread = self._thread, None
            self._wake.notify_all()
        if thread is not None:
            thread.join()
