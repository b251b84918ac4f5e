"""Admission: the bound follows what requests wait beside what they work; the rest is refused at once."""

import asyncio
import heapq
from contextlib import ExitStack

import pytest

from littoral.errors import InputError, UnavailableError
from littoral.runtime.admission import LIMIT_AT_FIRST, LIMIT_MIN, ROUND_COUNT, Admission
from littoral.runtime.call import Call, current_call
from littoral.runtime.edges import BYTES, Value
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.step import How
from littoral.testing import SimulatedClock


class Overload:
    """`servers` that work 10 ms on each request; whenever one leaves, callers fill up what is admitted."""

    def __init__(self, admission: Admission, clock: SimulatedClock, servers: int) -> None:
        self.admission, self.clock = admission, clock
        self._free_at = [0.0] * servers
        self._leaving: list[tuple[float, int, ExitStack, float]] = []
        self.latencies: list[float] = []
        self._number = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._leaving)

    def offer(self, count: int = 1000) -> None:
        for _ in range(count):
            stack = ExitStack()
            try:
                call = stack.enter_context(self.admission.admitted(Call()))
            except UnavailableError:
                return
            now = self.clock.monotonic()
            begins = max(now, heapq.heappop(self._free_at))
            heapq.heappush(self._free_at, begins + 0.01)
            call.waited(begins - now)
            self._number += 1
            heapq.heappush(self._leaving, (begins + 0.01, self._number, stack, now))

    def next(self) -> None:
        at, _, stack, came = heapq.heappop(self._leaving)
        self.clock.advance(max(0.0, at - self.clock.monotonic()))
        self.latencies.append(at - came)
        stack.close()


@pytest.mark.parametrize("servers", [1, 2, 4, 8])
def test_under_overload_all_servers_are_busy_and_nobody_waits_for_long(servers: int) -> None:
    clock = SimulatedClock()
    load = Overload(Admission("p", clock=clock), clock, servers)
    for _ in range(200):
        load.offer()
        load.next()
    began, load.latencies = clock.monotonic(), []
    for _ in range(1000):
        load.offer()
        load.next()
    rate = 1000 / (clock.monotonic() - began)
    assert rate == pytest.approx(servers / 0.01, rel=0.02)
    assert sorted(load.latencies)[989] <= 0.03
    statistics = load.admission.statistics()
    assert servers <= statistics.limit <= max(LIMIT_MIN, 3 * servers)
    assert statistics.work_ms == pytest.approx(10)
    assert statistics.refused >= 1000


@pytest.mark.parametrize("servers", [1, 2, 4])
def test_only_those_already_admitted_wait_for_long_when_too_many_begin_to_come(servers: int) -> None:
    clock = SimulatedClock()
    load = Overload(Admission("p", clock=clock), clock, servers)
    clock.advance(60)
    for _ in range(200):
        load.offer()
        load.next()
    assert sum(latency > 0.04 for latency in load.latencies) <= LIMIT_AT_FIRST + ROUND_COUNT


@pytest.mark.parametrize("clients", [8, LIMIT_AT_FIRST])
def test_a_few_clients_may_wait_for_each_other(clients: int) -> None:
    clock = SimulatedClock()
    load = Overload(Admission("p", clock=clock), clock, servers=1)
    load.offer(clients)
    for _ in range(300):
        load.next()
        load.offer(1)
    assert (load.admission.statistics().refused, load.admission.statistics().limit) == (0, LIMIT_AT_FIRST)


def test_the_bound_rises_again_when_nobody_is_refused_any_more() -> None:
    clock = SimulatedClock()
    load = Overload(Admission("p", clock=clock), clock, servers=1)
    for _ in range(100):
        load.offer()
        load.next()
    assert load.admission.statistics().limit <= 3
    while load.is_busy:
        load.next()
    for _ in range(1000):
        load.offer(1)
        load.next()
    assert load.admission.statistics().limit == LIMIT_AT_FIRST


def test_a_little_load_leaves_the_bound_as_it_is() -> None:
    clock = SimulatedClock()
    admission = Admission("p", clock=clock)
    for _ in range(200):
        with admission.admitted(Call()):
            clock.advance(0.01)
    assert admission.statistics().limit == LIMIT_AT_FIRST
    assert (admission.statistics().admitted, admission.statistics().refused) == (200, 0)


def test_the_urgent_have_more_room() -> None:
    with ExitStack() as stack:
        admission = Admission("pipeline `p`", limit_min=4, limit_max=4)
        for _ in range(4):
            stack.enter_context(admission.admitted(Call()))
        with pytest.raises(UnavailableError, match="pipeline `p` is full: 4 requests are being answered"):
            admission.check(Call())
        for _ in range(4):
            stack.enter_context(admission.admitted(Call(priority=9)))
        with pytest.raises(UnavailableError):
            admission.check(Call(priority=9))
    assert admission.statistics().busy == 0


class Waits:
    """A step that waits until it is let go."""

    name = "waits"
    takes = BYTES
    gives = BYTES

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls: list[Call] = []

    def bind(self, _given: object) -> "Waits":
        return self

    async def run(self, value: Value, _how: How) -> Value:
        self.calls.append(current_call())
        await self.go.wait()
        if value == b"bad":
            raise InputError("bad")
        return value


@pytest.fixture
def waits() -> Waits:
    return Waits()


async def test_a_full_pipeline_refuses_at_once_and_recovers(waits: Waits) -> None:
    pipeline = Pipeline("p", [waits], admission=Admission("pipeline `p`", limit_min=2, limit_max=2))
    tasks = [asyncio.ensure_future(pipeline.run(value, priority=1, deadline_ms=60_000)) for value in (b"a", b"bad")]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="pipeline `p` is full"):
        await pipeline.run(b"c")
    assert [call.priority for call in waits.calls] == [1, 1]
    assert all(call.deadline_s is not None for call in waits.calls)
    waits.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], InputError)
    assert (await pipeline.run(b"d")).value == b"d"
    cancelled = asyncio.ensure_future(pipeline.run(b"e"))
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert pipeline.admission.statistics().busy == 0
