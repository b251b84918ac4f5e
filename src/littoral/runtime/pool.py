"""Warm instances of one model or agent, lent to one call at a time; whoever finds none free waits, within bounds.

Guests run in `GuestThreads` only. A caller that is cancelled or gives up leaves at once; the guest goes on to its end
(or its deadline), and only then is its instance free again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from littoral.errors import UnavailableError
from littoral.runtime.guest_threads import GuestThreads

__all__ = ["Lease", "Pool", "PoolStatistics", "Worker"]

WAITING_MAX = 64
WAIT_MS = 1000.0


class Worker(Protocol):
    """What a pool holds: a `Session` or an `Agent`. It replaces its own instance after a failure.

    threads: that one call keeps busy, the calling one included.
    """

    @property
    def threads(self) -> int: ...

    def another(self) -> Self: ...

    def rest(self) -> None: ...

    def close(self) -> None: ...


_W = TypeVar("_W", bound=Worker)
_R = TypeVar("_R")


@dataclass(frozen=True)
class PoolStatistics:
    """instances (made), busy, waiting: now; threads: of the instances, busy or asleep, those that call them included.
    The others since the start: refused = the queue was full.
    """

    instances: int
    busy: int
    waiting: int
    runs: int
    failures: int
    refused: int
    timed_out: int
    threads: int = 0


@dataclass
class _Slot(Generic[_W]):
    worker: _W | None


class Pool(Generic[_W]):
    """`instances_min` instances from the start, up to `instances_max` on demand.

    first: belongs to the pool from now on. waiting_max: callers that may wait; the next one is refused. wait_ms: how
    long a caller waits for an instance unless it says otherwise.
    """

    def __init__(
        self,
        first: _W,
        *,
        name: str,
        threads: GuestThreads,
        instances_min: int = 1,
        instances_max: int = 1,
        waiting_max: int = WAITING_MAX,
        wait_ms: float = WAIT_MS,
    ) -> None:
        if not 1 <= instances_min <= instances_max:
            raise ValueError(f"pool `{name}`: instances {instances_min}..{instances_max}")
        self.name = name
        self.first = first
        self.threads = threads
        self._wait_ms = wait_ms
        self._waiting_max = waiting_max
        self._lock = threading.Lock()
        self._waiting: deque[Future[Lease[_W]]] = deque()
        self._slots = [_Slot(first)]
        self._slots += [_Slot(threads.submit(first.another).result()) for _ in range(1, instances_min)]
        self._slots += [_Slot[_W](None) for _ in range(instances_min, instances_max)]
        self._free = self._slots[::-1]  # taken from the end: warm ones first
        self._is_closed = False
        self._is_resting = False
        self._runs = 0
        self._failures = 0
        self._refused = 0
        self._timed_out = 0

    async def run(self, work: Callable[[_W], _R], *, wait_ms: float | None = None) -> _R:
        """`work(instance)` in a guest thread. Raises UnavailableError where no instance was free in time."""
        lease = await self.lease(wait_ms=wait_ms)
        try:
            return await lease.run(work)
        finally:
            lease.release()

    def run_sync(self, work: Callable[[_W], _R], *, wait_ms: float | None = None) -> _R:
        """As `run`, for callers without an event loop; never call it from a guest thread."""
        waited_ms = self._wait_ms if wait_ms is None else wait_ms
        asked = self._ask()
        try:
            lease = asked.result(waited_ms / 1000)
        except BaseException as error:
            self._give_up(asked)
            if isinstance(error, TimeoutError):
                raise self._late(waited_ms) from error
            raise
        try:
            return lease.start(work).result()
        finally:
            lease.release()

    async def lease(self, *, wait_ms: float | None = None) -> "Lease[_W]":
        """One instance for several calls; the caller releases it. Raises UnavailableError."""
        waited_ms = self._wait_ms if wait_ms is None else wait_ms
        asked = self._ask()
        if asked.done():
            return asked.result()
        try:
            async with asyncio.timeout(waited_ms / 1000):
                return await asyncio.wrap_future(asked)
        except BaseException as error:
            self._give_up(asked)
            if isinstance(error, TimeoutError):
                raise self._late(waited_ms) from error
            raise

    def statistics(self) -> PoolStatistics:
        with self._lock:
            return PoolStatistics(
                sum(slot.worker is not None for slot in self._slots),
                len(self._slots) - len(self._free),
                len(self._waiting),
                self._runs,
                self._failures,
                self._refused,
                self._timed_out,
                sum(slot.worker.threads for slot in self._slots if slot.worker is not None),
            )

    def rest(self) -> None:
        """Frees idle instances now and busy ones after their call. A late call is served, by an instance for itself."""
        with self._lock:
            self._is_resting = True
            idle, self._free = self._free, []
        for slot in idle:
            self._take_back(slot)

    def wake(self) -> None:
        """Ends `rest`: instances that calls make from now on are kept."""
        with self._lock:
            self._is_resting = False

    def close(self, *, drains: bool = False) -> None:
        """Refuses new calls and, unless it drains, those that wait; frees idle instances now and busy ones later."""
        with self._lock:
            self._is_closed = True
            waiting = [] if drains else list(self._waiting)
            if not drains:
                self._waiting.clear()
            free = list(self._free)
        for asked in waiting:
            if asked.set_running_or_notify_cancel():
                asked.set_exception(self._closed())
        for slot in free:
            _empty(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self) -> "Future[Lease[_W]]":
        asked: Future[Lease[_W]] = Future()
        with self._lock:
            if self._is_closed:
                raise self._closed()
            if not self._free:
                if len(self._waiting) >= self._waiting_max:
                    self._refused += 1
                    raise UnavailableError(
                        f"pool `{self.name}`: {len(self._waiting)} calls are waiting, at most {self._waiting_max}"
                    )
                self._waiting.append(asked)
                return asked
            slot = self._free.pop()
        asked.set_result(Lease(self, slot))
        return asked

    def _give_up(self, asked: "Future[Lease[_W]]") -> None:
        with self._lock:
            if asked in self._waiting:
                self._waiting.remove(asked)
        if not asked.cancel():  # an instance was on its way
            asked.add_done_callback(_return_lease)

    def _take_back(self, slot: "_Slot[_W]") -> None:
        if self._is_resting and not self._waiting:
            self._put_to_rest(slot)
        while True:
            with self._lock:
                if not self._waiting:
                    self._free.append(slot)
                    is_closed = self._is_closed
                    break
                asked = self._waiting.popleft()
            if asked.set_running_or_notify_cancel():
                asked.set_result(Lease(self, slot))
                return
        if is_closed:
            _empty(slot)

    def _put_to_rest(self, slot: "_Slot[_W]") -> None:
        if slot.worker is self.first:
            self.first.rest()  # not closed: others are made from it
        else:
            _empty(slot)

    def _work(self, slot: "_Slot[_W]", work: Callable[[_W], _R]) -> _R:
        try:
            if slot.worker is None:
                slot.worker = self.first.another()
            result = work(slot.worker)
        except BaseException:
            with self._lock:
                self._failures += 1
            raise
        with self._lock:
            self._runs += 1
        return result

    def _late(self, waited_ms: float) -> UnavailableError:
        with self._lock:
            self._timed_out += 1
            busy, waiting = len(self._slots) - len(self._free), len(self._waiting)
        return UnavailableError(
            f"pool `{self.name}`: no instance was free in {waited_ms:g} ms ({busy} busy, {waiting} others waiting)"
        )

    def _closed(self) -> UnavailableError:
        return UnavailableError(f"pool `{self.name}` is closed")


class Lease(Generic[_W]):
    """One instance of a pool, for one caller."""

    def __init__(self, pool: Pool[_W], slot: _Slot[_W]) -> None:
        self._pool = pool
        self._slot: _Slot[_W] | None = slot
        self._job: Future[Any] | None = None

    def start(self, work: Callable[[_W], _R]) -> "Future[_R]":
        """Starts `work(instance)` in a guest thread; one at a time. Raises UnavailableError."""
        if (slot := self._slot) is None:
            raise UnavailableError(f"pool `{self._pool.name}`: this lease is over")
        job = self._pool.threads.submit(self._pool._work, slot, work)
        self._job = job
        return job

    async def run(self, work: Callable[[_W], _R]) -> _R:
        """Awaits `work(instance)`. A cancelled caller does not stop a guest that has begun."""
        return await asyncio.wrap_future(self.start(work))

    def release(self) -> None:
        """Gives the instance back, after the call in flight. From any thread; twice is fine."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        if self._job is None or self._job.done():
            self._pool._take_back(slot)
        else:
            self._job.add_done_callback(lambda _: self._pool._take_back(slot))


def _return_lease(asked: "Future[Lease[Any]]") -> None:
    if asked.exception() is None:
        asked.result().release()


def _empty(slot: _Slot[Any]) -> None:
    worker, slot.worker = slot.worker, None
    if worker is not None:
        worker.close()
