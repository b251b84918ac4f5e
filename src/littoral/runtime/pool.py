"""Warm instances of one model or agent, lent to one call at a time; whoever finds none free waits, within bounds.

Who waits is bounded in number and time: the urgent go first, and who would wait past its deadline is refused at once.
Guests run in `GuestThreads` only. A caller that is cancelled or gives up leaves at once; the guest goes on to its end
(or its deadline), and only then is its instance free again.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from littoral.clock import SYSTEM, Clock
from littoral.errors import DeadlineError, MemoryCapError, TrapError, UnavailableError
from littoral.runtime.call import Call, current_call
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.memory_budget import MemoryBudget
from littoral.runtime.quarantine import Quarantine
from littoral.runtime.thread_stack import holds_guests
from littoral.runtime.waiting import WaitingCalls
from littoral.telemetry import record_span, recorded_trace, span

if TYPE_CHECKING:
    from littoral.tensors import Array

__all__ = ["Lease", "Pool", "PoolStatistics", "Worker"]

WAITING_MAX = 64
WAIT_MS = 1000.0
SHARE_OF_THE_LATEST = 0.1
"""In the mean time of a call; from `CALLS_MIN` calls on it is believed."""
CALLS_MIN = 8


HERE_S = 0.0002
"""Mean time of calls that are made where they are asked for, rather than in a guest thread."""


ENDS: dict[type[BaseException], str] = {TrapError: "trap", DeadlineError: "deadline", MemoryCapError: "memory"}
"""Failures that cost an instance."""


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
    The others since the start: refused = the queue was full, or the wait would have been too long. work_ms: mean time
    of a call, the latest counting most. waited_s, worked_s: of all calls together.
    """

    instances: int
    busy: int
    waiting: int
    runs: int
    failures: int
    refused: int
    timed_out: int
    threads: int = 0
    work_ms: float = 0.0
    waited_s: float = 0.0
    worked_s: float = 0.0


@dataclass
class _Slot(Generic[_W]):
    worker: _W | None


class Pool(Generic[_W]):
    """`instances_min` instances from the start, up to `instances_max` on demand.

    first: belongs to the pool from now on. waiting_max: callers that may wait; the next one is refused, or goes before
    one that is less urgent. wait_ms: how long a caller waits for an instance unless it says otherwise; never past its
    deadline (`call.Call`). budget: memory for instances, with the bytes of the first and of each other one.
    ends: calls that cost an instance, by why.
    Raises SettingError where the budget has not room for `instances_min`.
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
        quarantine: Quarantine | None = None,
        budget: MemoryBudget | None = None,
        memory_bytes: tuple[int, int] = (0, 0),
        clock: Clock = SYSTEM,
    ) -> None:
        if not 1 <= instances_min <= instances_max:
            raise ValueError(f"pool `{name}`: instances {instances_min}..{instances_max}")
        self.name = name
        self.first = first
        self.threads = threads
        self.quarantine = quarantine
        self.ends = dict.fromkeys(ENDS.values(), 0)
        self.mirror: Callable[[Mapping[str, Array] | bytes], None] | None = None
        """Told of what a model or agent is given, while another version gets it as well."""
        self._wait_ms = wait_ms
        self._waiting_max = waiting_max
        self._clock = clock
        self._budget = budget or MemoryBudget()
        self._bytes_each = memory_bytes[1]
        self._instances_min = instances_min
        self._bytes_min = memory_bytes[0] + memory_bytes[1] * (instances_min - 1)
        self._budget.require(self, name, self._bytes_min)
        self._budget.on_shortage(self, self._shed)
        self._lock = threading.Lock()
        self._waiting: WaitingCalls[Lease[_W]] = WaitingCalls(waiting_max)
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
        self._work_s = 0.0
        self._waited_s = 0.0
        self._worked_s = 0.0

    async def run(self, work: Callable[[_W], _R], *, wait_ms: float | None = None) -> _R:
        """`work(instance)` in a guest thread. Raises UnavailableError where no instance was free in time."""
        lease = await self.lease(wait_ms=wait_ms)
        try:
            return await lease.run(work)
        finally:
            lease.release()

    def run_here(self, work: Callable[[_W], _R]) -> tuple[_R] | None:
        """`work(instance)` in this thread, if an instance is free and calls are over in less time than another thread
        needs to take one up (`HERE_S`); else None, and nothing was done.
        """
        if self._runs < CALLS_MIN or self._work_s > HERE_S or not holds_guests():
            return None
        with self._lock:
            if self._is_closed or self._is_resting or not self._free or self._free[-1].worker is None:
                return None
            if self.quarantine is not None:
                self.quarantine.check()
            slot = self._free.pop()
        try:
            return (self._work(slot, work),)
        finally:
            self._take_back(slot)

    def run_sync(self, work: Callable[[_W], _R], *, wait_ms: float | None = None) -> _R:
        """As `run`, for callers without an event loop; never call it from a guest thread."""
        waited_ms = self._may_wait_ms(wait_ms)
        asked = self._ask(waited_ms)
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
        waited_ms = self._may_wait_ms(wait_ms)
        asked = self._ask(waited_ms)
        if asked.done():
            return asked.result()
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(waited_ms / 1000):
                return await asyncio.wrap_future(asked)
        except BaseException as error:
            self._give_up(asked)
            if isinstance(error, TimeoutError):
                raise self._late(waited_ms) from error
            raise
        finally:
            self._note_wait(current_call(), self._clock.monotonic() - began)

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
                self._work_s * 1000,
                self._waited_s,
                self._worked_s,
            )

    def rest(self) -> None:
        """Frees idle instances now and busy ones after their call. A late call is served, by an instance for itself.

        The budget forgets it: what takes its place needs the room.
        """
        with self._lock:
            self._is_resting = True
            idle, self._free = self._free, []
        self._budget.forget(self)
        for slot in idle:
            self._take_back(slot)

    def wake(self) -> None:
        """Ends `rest`: instances that calls make from now on are kept. Raises SettingError where there is no room."""
        with self._lock:
            if not self._is_resting:
                return
        self._budget.require(self, self.name, self._bytes_min)
        self._budget.on_shortage(self, self._shed)
        with self._lock:
            self._is_resting = False

    def expected_wait_ms(self, call: Call | None = None) -> float:
        """How long a call would wait for an instance if it came now; 0 until there is something to go by."""
        with self._lock:
            is_free = bool(self._free) and (self._free[-1].worker is not None or self._budget.bytes_max is None)
            return 0.0 if is_free else self._expected_wait_s(call or current_call()) * 1000

    def close(self, *, drains: bool = False) -> None:
        """Refuses new calls and, unless it drains, those that wait; frees idle instances now and busy ones later."""
        with self._lock:
            self._is_closed = True
            waiting = [] if drains else self._waiting.clear()
            free = list(self._free)
        for asked in waiting:
            if asked.set_running_or_notify_cancel():
                asked.set_exception(self._closed())
        for slot in free:
            _empty(slot)
        self._budget.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _may_wait_ms(self, wait_ms: float | None) -> float:
        """Never past the deadline of the call."""
        most = self._wait_ms if wait_ms is None else wait_ms
        deadline_s = current_call().deadline_s
        return most if deadline_s is None else min(most, max(0.0, (deadline_s - self._clock.monotonic()) * 1000))

    def _ask(self, may_wait_ms: float) -> "Future[Lease[_W]]":
        asked: Future[Lease[_W]] = Future()
        call = current_call()
        with self._lock:
            if self._is_closed:
                raise self._closed()
            if self.quarantine is not None:
                self.quarantine.check()
            if (slot := self._usable()) is None:
                self._wait(asked, call, may_wait_ms)
                return asked
        asked.set_result(Lease(self, slot))
        return asked

    def _usable(self) -> "_Slot[_W] | None":
        """A free slot, a warm one if there is one; an empty one only if there is memory for another instance."""
        if not self._free:
            return None
        if self._free[-1].worker is not None or self._is_resting:
            return self._free.pop()
        return self._free.pop() if self._budget.ask(self, self._bytes_each) else None

    def _wait(self, asked: "Future[Lease[_W]]", call: Call, may_wait_ms: float) -> None:
        """Raises UnavailableError for who would wait for too long, or where too many wait."""
        expected_s = self._expected_wait_s(call)
        if expected_s * 1000 > may_wait_ms:
            self._refused += 1
            raise UnavailableError(
                f"pool `{self.name}`: an instance would be free in {expected_s * 1000:.0f} ms, which is more than"
                f" {may_wait_ms:.0f} ms",
                retry_after_s=expected_s,
            )
        if (gone := self._waiting.add(asked, call)) is None:
            return
        self._refused += 1
        full = UnavailableError(
            f"pool `{self.name}`: {self._waiting_max} calls are waiting, at most {self._waiting_max}",
            retry_after_s=expected_s,
        )
        if gone is asked:
            raise full
        if gone.set_running_or_notify_cancel():
            gone.set_exception(full)

    def _expected_wait_s(self, call: Call) -> float:
        if self._runs < CALLS_MIN:
            return 0.0
        busy = len(self._slots) - len(self._free)
        return (self._waiting.ahead_of(call) + 0.5) * self._work_s / max(1, busy)

    def _shed(self) -> int:
        """Gives up an idle instance beyond the least; how many. Not while somebody else holds the lock: two pools may
        ask each other.
        """
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            made = [slot for slot in self._slots if slot.worker is not None]
            idle = [slot for slot in self._free if slot.worker is not None and slot.worker is not self.first]
            if len(made) <= self._instances_min or not idle:
                return 0
            slot = idle[0]
            self._free.remove(slot)
            self._free.insert(0, slot)
            worker, slot.worker = slot.worker, None
        finally:
            self._lock.release()
        if worker is not None:
            worker.close()
        self._budget.give_back(self, self._bytes_each)
        return 1

    def _give_up(self, asked: "Future[Lease[_W]]") -> None:
        with self._lock:
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
                asked = self._waiting.pop()
            if asked.set_running_or_notify_cancel():
                asked.set_result(Lease(self, slot))
                return
        if is_closed:
            _empty(slot)

    def _put_to_rest(self, slot: "_Slot[_W]") -> None:
        if slot.worker is self.first:
            self.first.rest()  # not closed: others are made from it
        elif slot.worker is not None:
            _empty(slot)

    def _note_wait(self, call: Call, seconds: float) -> None:
        call.waited(seconds)
        with self._lock:
            self._waited_s += seconds
        if (trace := recorded_trace()) is not None:
            now_s = self._clock.monotonic()
            record_span(trace, "wait", now_s - seconds, now_s, {"littoral.pool": self.name})

    def _begin(self, slot: "_Slot[_W]", work: Callable[[_W], _R], asked_at: float) -> _R:
        """In a guest thread, for which it may have waited too."""
        self._note_wait(current_call(), self._clock.monotonic() - asked_at)
        return self._work(slot, work)

    def _work(self, slot: "_Slot[_W]", work: Callable[[_W], _R]) -> _R:
        if recorded_trace() is None:
            return self._timed(slot, work)
        with span(f"run {self.name}", attributes={"littoral.pool": self.name}):
            return self._timed(slot, work)

    def _timed(self, slot: "_Slot[_W]", work: Callable[[_W], _R]) -> _R:
        began = self._clock.monotonic()
        try:
            if slot.worker is None:
                slot.worker = self._another()
                began = self._clock.monotonic()
            result = work(slot.worker)
        except BaseException as error:
            with self._lock:
                self._failures += 1
                if type(error) in ENDS:
                    self.ends[ENDS[type(error)]] += 1
                if self.quarantine is not None:
                    self.quarantine.failed(error)
            raise
        took_s = self._clock.monotonic() - began
        with self._lock:
            self._runs += 1
            self._worked_s += took_s
            self._work_s += (took_s - self._work_s) * max(SHARE_OF_THE_LATEST, 1 / self._runs)
            if self.quarantine is not None:
                self.quarantine.succeeded()
        return result

    def _another(self) -> _W:
        try:
            return self.first.another()
        except BaseException:
            self._budget.give_back(self, self._bytes_each)
            raise

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

    def start(self, work: Callable[[_W], _R], threads: GuestThreads | None = None) -> "Future[_R]":
        """Starts `work(instance)` in a guest thread; one at a time. Raises UnavailableError.

        threads: others than the pool's.
        """
        pool = self._pool
        return self._start(threads or pool.threads, pool._begin, self._alive(), work, pool._clock.monotonic())

    def start_after(self, work: Callable[[], _R]) -> "Future[_R]":
        """Starts what is still to do with what the instance has answered; it does not count as a call."""
        self._alive()
        return self._start(self._pool.threads, work)

    def _start(self, threads: GuestThreads, work: Callable[..., _R], *arguments: object) -> "Future[_R]":
        context = contextvars.copy_context()  # the log lines of a guest tell which request they belong to
        self._job = job = threads.submit(context.run, work, *arguments)
        return job

    def _alive(self) -> _Slot[_W]:
        if (slot := self._slot) is None:
            raise UnavailableError(f"pool `{self._pool.name}`: this lease is over")
        return slot

    async def run(self, work: Callable[[_W], _R], threads: GuestThreads | None = None) -> _R:
        """Awaits `work(instance)`. A cancelled caller does not stop a guest that has begun."""
        return await asyncio.wrap_future(self.start(work, threads))

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
