"""The threads that run guests: a fixed number, with stacks that hold a guest's stack overflow, and a bounded queue.

wasmtime releases the interpreter's lock during a call, so these threads compute in parallel with the event loop.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from littoral.clock import SYSTEM, Clock
from littoral.errors import UnavailableError
from littoral.runtime.thread_priority import GUEST_NICE, stand_back
from littoral.runtime.thread_stack import require_stack, start_threads

__all__ = ["GuestThreads", "GuestThreadsStatistics"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class GuestThreadsStatistics:
    """threads, busy, queued: now. finished, refused: since the start."""

    threads: int
    busy: int
    queued: int
    finished: int
    refused: int


class GuestThreads:
    """A fixed set of threads. `submit` from any thread, `run` from a coroutine; close it, or use `with`.

    nice: how far they stand back behind the threads of the process.
    """

    def __init__(
        self, count: int, *, queue_max: int = 256, name: str = "guest", nice: int = GUEST_NICE, clock: Clock = SYSTEM
    ) -> None:
        if count < 1:
            raise ValueError(f"guest threads: count is {count}, must be at least 1")
        self._queue_max = queue_max
        self._clock = clock
        self._nice = nice
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._cores = len(os.sched_getaffinity(0))
        self._lent = 0
        self._busy = 0
        self._finished = 0
        self._refused = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"littoral-{name}-{i}", daemon=True) for i in range(count)
        ]
        start_threads(self._threads)

    def submit(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> "Future[_R]":
        """Starts `work` as soon as a thread is free. Raises UnavailableError when the queue is full or closed."""
        future: Future[_R] = Future()
        with self._changed:
            if self._is_closed:
                raise UnavailableError("guest threads are closed")
            if len(self._work) >= self._queue_max:
                self._refused += 1
                raise UnavailableError(f"guest threads: {len(self._work)} calls are waiting, at most {self._queue_max}")
            self._work.append((future, lambda: work(*args, **kwargs)))
            self._changed.notify()
        return future

    async def run(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Awaits `work`. When the caller is cancelled, work that has begun goes on and its result is dropped."""
        return await asyncio.wrap_future(self.submit(work, *args, **kwargs))

    def borrow(self, count: int) -> bool:
        """Whether cores are idle for `count` threads beside those that work; then they are to be given back.

        For a call under way that can be divided.
        """
        with self._changed:
            if self._work or self._busy + self._lent + count > self._cores:
                return False
            self._lent += count
        return True

    def give_back(self, count: int) -> None:
        """Ends a `borrow` that was granted."""
        with self._changed:
            self._lent -= count

    def statistics(self) -> GuestThreadsStatistics:
        with self._changed:
            return GuestThreadsStatistics(
                len(self._threads), self._busy, len(self._work), self._finished, self._refused
            )

    def close(self, timeout_s: float = 5.0) -> int:
        """Refuses new work, fails what is queued, waits for what runs; how many threads are still inside a guest."""
        with self._changed:
            self._is_closed = True
            dropped = list(self._work)
            self._work.clear()
            self._changed.notify_all()
        for future, _ in dropped:
            if future.set_running_or_notify_cancel():
                future.set_exception(UnavailableError("guest threads are closed"))
        until = self._clock.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - self._clock.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> "GuestThreads":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _serve(self) -> None:
        require_stack()
        stand_back(self._nice)
        while (work := self._next()) is not None:
            _carry_out(*work)
            del work  # the result must not live on until the next call
            with self._changed:
                self._busy -= 1
                self._finished += 1

    def _next(self) -> "tuple[Future[Any], Callable[[], Any]] | None":
        with self._changed:
            while not self._work:
                if self._is_closed:
                    return None
                self._changed.wait()
            self._busy += 1
            return self._work.popleft()


def _carry_out(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 (the thread's outermost boundary: the future carries it on)
        future.set_exception(error)
    else:
        future.set_result(result)
