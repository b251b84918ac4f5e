"""Adaptive micro-batching: requests that meet are computed together, where that was measured to be worth it.

* Alone, a request runs at once, as if there were no batching. Requests meet because the instances are busy, or, while
  others keep coming, within a window that follows their distance and ends well before the nearest deadline.
* How many run together is decided by what each variant costs, measured at the start and ever after: a model that gains
  nothing by batches is never held up for one.
* Every size was held against single runs: one that gave other bits is not used.

For one event loop. The work itself is done by the pool's instances.
"""

import asyncio
import contextvars
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from littoral.clock import SYSTEM, THREAD, Clock
from littoral.errors import SandboxError, UnavailableError
from littoral.runtime.batch_costs import BatchCosts
from littoral.runtime.call import Call, calling, current_call
from littoral.runtime.fitting import Place
from littoral.runtime.instance import Session
from littoral.runtime.pool import WAIT_MS, WAITING_MAX, Pool
from littoral.runtime.turns import Turns, greediest
from littoral.telemetry import Trace, record_span, recorded_trace
from littoral.tensors import Array

__all__ = ["Batcher", "BatchingStatistics"]

GROUPS_MAX = 64
SHARE_OF_THE_LATEST = 0.2
MET_MIN = 0.4
"""Share of waits in which somebody came, below which nobody waits."""
TRY_EVERY = 64
UNPAID_ROUND, UNPAID_TRIES = 512, 16
"""Of so many requests for which batches do not pay, so many meet."""
SLACK = 1.5
"""A batch is begun when the nearest deadline is this many times its cost away."""

Feeds = Mapping[str, Array]
Outputs = dict[str, Array]


@dataclass(frozen=True)
class BatchingStatistics:
    """batches, requests (in batches of more than one), largest: since the start. waiting, gap_ms (between requests that
    meet; None = none does): now. refused: since the start.
    """

    batches: int
    requests: int
    largest: int
    waiting: int
    refused: int
    gap_ms: float | None


class _Entry(NamedTuple):
    order: tuple[int, float, int]
    call: Call
    place: Place
    feeds: Feeds
    came_at: float
    answer: "asyncio.Future[Outputs]"
    trace: Trace | None = None


@dataclass
class _Group:
    """Requests that may share a run. came: set by each that comes."""

    entries: list[_Entry] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)


class Batcher:
    """batch_max: items in one run. window_ms: the longest wait for others. servers_max: batches at one time.

    costs: of `batch_costs.measured`. Requests that cannot share a run go to the pool as they are.
    """

    def __init__(
        self,
        pool: Pool[Session],
        costs: BatchCosts,
        *,
        batch_max: int,
        window_ms: float,
        servers_max: int = 1,
        waiting_max: int = WAITING_MAX,
        clock: Clock = SYSTEM,
    ) -> None:
        self._pool = weakref.ref(pool)  # a batcher is found by its pool, and goes with it
        self.costs = costs
        self.batch_max = batch_max
        self._window_s = window_ms / 1000
        self._servers_max = servers_max
        self._waiting_max = waiting_max
        self._clock = clock
        self._groups: dict[tuple[int, ...], _Group] = {}
        self._places: dict[tuple[tuple[int, ...], ...], Place | None] = {}
        self._running = 0
        self._waiting = 0
        self._number = 0
        self._turns = Turns()
        self._gap_s: float | None = None
        self._came_at = 0.0
        self._met = 1.0
        self._unpaid = 0
        self._batches = self._requests = self._largest = self._refused = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pool(self) -> Pool[Session]:
        """Whoever asks for a batch holds it."""
        pool = self._pool()
        assert pool is not None
        return pool

    @property
    def may_wait(self) -> bool:
        """Whether a request that comes now would not run at once."""
        return self._running >= self._servers_max or self._waiting > 0 or self._gap_s is not None

    async def run(self, feeds: Feeds) -> Outputs:
        """As the pool's `session.run(feeds)`. Raises UnavailableError where too many wait, or it would be too late."""
        place = self._place(feeds)
        if place is None or place.items >= self._items_max(place):
            return await self.run_alone(lambda session: session.run(feeds))
        self._note_arrival()
        if not self._pays(place) or (self._is_alone() and not self._would_wait(place)):
            return await self._run(lambda session: self._single(session, place, feeds))
        entry = self._enter(place, feeds)
        try:
            return await entry.answer
        finally:
            self._leave(entry)

    async def run_alone(self, work: Callable[[Session], Outputs]) -> Outputs:
        """For a request that shares no run; others are told of it."""
        self._note_arrival()
        return await self._run(work)

    def statistics(self) -> BatchingStatistics:
        gap_ms = None if self._gap_s is None else self._gap_s * 1000
        return BatchingStatistics(self._batches, self._requests, self._largest, self._waiting, self._refused, gap_ms)

    def _place(self, feeds: Feeds) -> Place | None:
        """None for a request that is wrong, too: the session tells best what it is."""
        inputs = self.pool.first.inputs
        if feeds.keys() != {spec.name for spec in inputs}:
            return None
        arrays = [feeds[spec.name] for spec in inputs]
        if not all(spec.accepts(array.dtype.name, array.shape) for spec, array in zip(inputs, arrays, strict=True)):
            return None
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._places:
            if len(self._places) >= GROUPS_MAX:
                self._places.clear()
            self._places[shapes] = self.pool.first.fitting.place(shapes)
        return self._places[shapes]

    def _items_max(self, place: Place) -> int:
        return min(self.batch_max, max(self.costs.usable(place), default=1))

    def _note_arrival(self) -> None:
        """The distance between requests counts only while others are there: who comes alone meets nobody."""
        now = self._clock.monotonic()
        if not self._running and not self._waiting:
            self._gap_s = None
        elif self._gap_s is None:
            self._gap_s = now - self._came_at
        else:
            self._gap_s += (now - self._came_at - self._gap_s) * SHARE_OF_THE_LATEST
        self._came_at = now

    def _pays(self, place: Place) -> bool:
        """Where it does not, the pool's own queue is the shorter way; now and then some meet all the same, to learn."""
        if self.costs.best(place, self._items_max(place)) > place.items:
            return True
        self._unpaid = (self._unpaid + 1) % UNPAID_ROUND
        return self._unpaid >= UNPAID_ROUND - UNPAID_TRIES

    def _is_alone(self) -> bool:
        return self._running < self._servers_max and not self._waiting

    def _would_wait(self, place: Place) -> bool:
        return self._met >= MET_MIN and self._window_for(place, place.items) > 0

    def _window_for(self, place: Place, items: int) -> float:
        """Seconds worth waiting for others: 0 where nobody comes, or more would cost each of them no less."""
        target = min(self.costs.best(place, self.batch_max), self._items_max(place))
        if items >= target or self._gap_s is None or self._gap_s > self._window_s:
            return 0.0
        return min(self._window_s, self._gap_s * (target - items))

    async def _run(self, work: Callable[[Session], Outputs]) -> Outputs:
        self._running += 1
        try:
            return await self.pool.run(work)
        finally:
            self._running -= 1
            self._serve_waiting()

    def _enter(self, place: Place, feeds: Feeds) -> _Entry:
        call = current_call()
        self._check_room(place, call)
        group = self._groups.get(place.group)
        if group is None:
            if len(self._groups) >= GROUPS_MAX:
                self._groups = {key: found for key, found in self._groups.items() if found.entries}
            group = self._groups.setdefault(place.group, _Group())
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        entry = _Entry(
            (*call.order(), self._number), call, place, feeds, self._clock.monotonic(), answer, recorded_trace()
        )
        group.entries.append(entry)
        group.entries.sort(key=lambda found: found.order)
        group.entries = self._turns.lined_up(group.entries, _tenant_of)
        group.came.set()
        self._waiting += 1
        self._serve_waiting()
        return entry

    def _check_room(self, place: Place, call: Call) -> None:
        each_s = self.costs.each_s(place, self.batch_max)
        expected_s = self._ahead_of(call) * each_s / self._servers_max
        left_s = WAIT_MS / 1000 if call.deadline_s is None else call.deadline_s - self._clock.monotonic()
        if expected_s <= min(left_s, WAIT_MS / 1000) and (self._waiting < self._waiting_max or self._makes_room(call)):
            return
        self._refused += 1
        raise self._full(expected_s)

    def _full(self, expected_s: float) -> UnavailableError:
        return UnavailableError(
            f"model `{self.pool.name}`: {self._waiting} requests wait to be computed, {expected_s * 1000:.0f} ms",
            retry_after_s=expected_s,
        )

    def _ahead_of(self, call: Call) -> int:
        counts = self._counts()
        if counts.keys() <= {call.tenant}:
            return self._waiting
        return self._turns.ahead_of(call.tenant, counts[call.tenant], counts)

    def _counts(self) -> Counter[str]:
        """That wait, by tenant."""
        return Counter(_tenant_of(entry) for group in self._groups.values() for entry in group.entries)

    def _makes_room(self, call: Call) -> bool:
        """The last in line of the tenant that has most waiting goes, if that is another one."""
        most = greediest(counts := self._counts())
        if counts[most] <= counts[call.tenant] + 1:
            return False
        waiting = [entry for group in self._groups.values() for entry in group.entries if _tenant_of(entry) == most]
        gone = max(waiting, key=lambda entry: entry.order)
        self._leave(gone)
        self._refused += 1
        _fail([gone], self._full(0.0))
        return True

    def _leave(self, entry: _Entry) -> None:
        """Its caller has an answer, or is gone."""
        group = self._groups.get(entry.place.group)
        if group is not None and entry in group.entries:
            group.entries.remove(entry)
            self._waiting -= 1

    def _serve_waiting(self) -> None:
        for group in self._groups.values():
            while group.entries and self._running < self._servers_max:
                self._running += 1
                task = asyncio.create_task(self._serve(group), context=contextvars.Context())  # nobody's deadline
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return

    async def _serve(self, group: _Group) -> None:
        """One batch after the other, until nobody waits."""
        try:
            while group.entries:
                await self._wait_for_others(group)
                if batch := self._take(group):
                    await self._compute(batch)
        finally:
            self._running -= 1
            self._serve_waiting()

    async def _wait_for_others(self, group: _Group) -> None:
        """Not where waiting was in vain of late, but for a try now and then."""
        if (self._met < MET_MIN and (self._batches + 1) % TRY_EVERY) or not self._window_of(group):
            return
        before, until = len(group.entries), self._clock.monotonic() + self._window_of(group)
        await self._wait_until(group, until)
        self._met += ((len(group.entries) > before) - self._met) * SHARE_OF_THE_LATEST

    async def _wait_until(self, group: _Group, until: float) -> None:
        while group.entries:
            left_s = min(until, self._latest_start(group)) - self._clock.monotonic()
            if left_s <= 0 or self._window_of(group) == 0:
                return
            group.came.clear()
            try:
                await asyncio.wait_for(group.came.wait(), left_s)
            except TimeoutError:
                return

    def _window_of(self, group: _Group) -> float:
        if not group.entries:
            return 0.0
        return self._window_for(group.entries[0].place, sum(entry.place.items for entry in group.entries))

    def _latest_start(self, group: _Group) -> float:
        deadlines = [entry.call.deadline_s for entry in group.entries if entry.call.deadline_s is not None]
        if not deadlines:
            return float("inf")
        place = group.entries[0].place
        return min(deadlines) - SLACK * self.costs.of(place, self._items_max(place))

    def _take(self, group: _Group) -> Sequence[_Entry]:
        """The first in line, as many as are cheapest for each of them."""
        if not group.entries:
            return []
        counts: list[int] = []
        items = 0
        for entry in group.entries:
            items += entry.place.items
            if items > self._items_max(entry.place) and counts:
                break
            counts.append(items)
        first = group.entries[0]
        left_s = float("inf") if first.call.deadline_s is None else first.call.deadline_s - self._clock.monotonic()
        is_try = (self._batches + 1) % TRY_EVERY == 0  # what a size costs changes with the load
        chosen = len(counts) if is_try else self.costs.choose(first.place, counts, left_s)
        batch, group.entries = group.entries[:chosen], group.entries[chosen:]
        self._waiting -= chosen
        for entry in batch:
            self._turns.served(_tenant_of(entry))
        now_s = self._clock.monotonic()
        for entry in batch:
            entry.call.waited(now_s - entry.came_at)
            if entry.trace is not None:
                record_span(entry.trace, "wait", entry.came_at, now_s, {"littoral.pool": self.pool.name})
        return batch

    async def _compute(self, batch: Sequence[_Entry]) -> None:
        place, items = batch[0].place, sum(entry.place.items for entry in batch)
        self._batches += 1
        self._largest = max(self._largest, len(batch))
        self._requests += len(batch) if len(batch) > 1 else 0
        began_s = self._clock.monotonic()
        try:
            with calling(_longest(batch)):
                answers = await self.pool.run(lambda s: self._timed(s, place, items, [e.feeds for e in batch]))
        except asyncio.CancelledError:
            _fail(batch, UnavailableError(f"model `{self.pool.name}`: its pool is closing"))
            raise
        except SandboxError as error:
            if len(batch) == 1:
                _fail(batch, error)
            for entry in batch if len(batch) > 1 else ():  # one of them spoilt it: each for itself
                await self._compute([entry])
        except Exception as error:  # noqa: BLE001  each of them is told
            _fail(batch, error)
        else:
            self._record(batch, began_s)
            for entry, outputs in zip(batch, answers, strict=True):
                if not entry.answer.done():
                    entry.answer.set_result(outputs)

    def _record(self, batch: Sequence[_Entry], began_s: float) -> None:
        """One run, for each of those that are traced."""
        for trace in (entry.trace for entry in batch if entry.trace is not None):
            told: dict[str, str | int] = {"littoral.pool": self.pool.name, "littoral.batch": len(batch)}
            record_span(trace, f"run {self.pool.name}", began_s, self._clock.monotonic(), told)

    def _single(self, session: Session, place: Place, feeds: Feeds) -> Outputs:
        began = THREAD.monotonic()
        outputs = session.run(feeds)
        self.costs.note(place, place.items, THREAD.monotonic() - began)
        return outputs

    def _timed(self, session: Session, place: Place, items: int, requests: Sequence[Feeds]) -> list[Outputs]:
        began = THREAD.monotonic()
        outputs = session.run_together(requests)
        self.costs.note(place, items, THREAD.monotonic() - began)
        return outputs


def _longest(batch: Sequence[_Entry]) -> Call:
    """As urgent as the most urgent, and of use as long as to anybody."""
    deadlines = [entry.call.deadline_s for entry in batch]
    known = [deadline for deadline in deadlines if deadline is not None]
    deadline_s = max(known) if len(known) == len(deadlines) else None
    priority = max(entry.call.priority for entry in batch)
    return Call(deadline_s, priority, tenant=_tenant_of(batch[0]))


def _tenant_of(entry: _Entry) -> str:
    return entry.call.tenant


def _fail(batch: Sequence[_Entry], error: Exception) -> None:
    for entry in batch:
        if not entry.answer.done():
            entry.answer.set_exception(error)
