"""Pools under load: who waits is bounded and in order, memory is shared, guests that keep failing are set apart."""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Semaphore

import numpy as np
import pytest

import littoral
from littoral.clock import SYSTEM
from littoral.errors import AgentError, DeadlineError, InputError, SettingError, TrapError, UnavailableError
from littoral.runtime.agents import Agent
from littoral.runtime.call import Call, calling, current_call
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.memory_budget import MemoryBudget
from littoral.runtime.pool import Pool
from littoral.runtime.quarantine import Quarantine, QuarantineLimits
from littoral.runtime.waiting import WaitingCalls
from littoral.testing import SimulatedClock
from modules_in_text import DOUBLE, agent, model
from waiting import until_async

FEEDS = {"x": np.arange(4, dtype=np.float32)}
MAY_TRAP = f"(if (f32.lt (f32.load (i32.const 1024)) (f32.const 0)) (then (unreachable))) {DOUBLE}"


@pytest.fixture
def threads() -> Iterator[GuestThreads]:
    with GuestThreads(2) as found:
        yield found


class Busy:
    """Holds one instance until it is let go."""

    def __init__(self, pool: Pool[Session]) -> None:
        self._pool = pool
        self._begun = Semaphore(0)
        self._go = Event()

    async def __aenter__(self) -> "Busy":
        self._running = asyncio.ensure_future(self._pool.run(self._hold))
        assert await asyncio.to_thread(self._begun.acquire, timeout=60)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await self._running

    def _hold(self, _: Session) -> None:
        self._begun.release()
        assert self._go.wait(60)


def test_waiting_calls_are_ordered_as_a_sorted_list_would_be() -> None:
    rng = random.Random(5)
    waiting: WaitingCalls[None] = WaitingCalls(8)
    model_list: list[tuple[tuple[int, float], int, Future[None]]] = []
    for number in range(2000):
        if rng.random() < 0.3 and model_list:
            assert waiting.pop() is model_list.pop(0)[2]
        elif rng.random() < 0.2 and model_list:
            gone = model_list.pop(rng.randrange(len(model_list)))[2]
            waiting.remove(gone)
            waiting.remove(gone)
        else:
            call = Call(rng.choice([None, 1.0, 2.0, 3.0]), rng.randrange(3))
            ahead = sum(order <= call.order() for order, _, _ in model_list)
            assert waiting.ahead_of(call) == ahead
            asked: Future[None] = Future()
            model_list.append((call.order(), number, asked))
            model_list.sort(key=lambda entry: entry[:2])
            wanted = model_list.pop()[2] if len(model_list) > 8 else None
            assert waiting.add(asked, call) is wanted
        assert len(waiting) == len(model_list)


async def test_the_urgent_goes_first_then_the_nearest_deadline(threads: GuestThreads) -> None:
    served: list[str] = []
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:

        async def ask(name: str, call: Call) -> None:
            with calling(call):
                await pool.run(lambda _: served.append(name))

        far, near = SYSTEM.monotonic() + 100, SYSTEM.monotonic() + 50
        calls = {"none": Call(), "far": Call(far), "near": Call(near), "urgent": Call(None, 3)}
        async with Busy(pool):
            tasks = [asyncio.ensure_future(ask(name, call)) for name, call in calls.items()]
            await until_async(lambda: pool.statistics().waiting == 4)
        await asyncio.gather(*tasks)
    assert served == ["urgent", "near", "far", "none"]


async def test_the_urgent_takes_the_place_of_the_last_in_line(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, waiting_max=1) as pool:
        async with Busy(pool):
            patient = asyncio.ensure_future(pool.run(lambda _: "patient"))
            await until_async(lambda: pool.statistics().waiting == 1)
            with calling(Call(priority=1)):
                urgent = asyncio.ensure_future(pool.run(lambda _: "urgent"))
            with pytest.raises(UnavailableError, match="1 calls are waiting, at most 1"):
                await patient
        assert await urgent == "urgent"
        assert pool.statistics().refused == 1


async def test_who_would_wait_past_its_deadline_is_refused_at_once(threads: GuestThreads) -> None:
    clock = SimulatedClock()
    with Pool(littoral.load(model()), name="m", threads=threads, clock=clock) as pool:
        for _ in range(10):
            await pool.run(lambda _: clock.advance(0.2))
        assert pool.statistics().work_ms == pytest.approx(200)
        assert pool.expected_wait_ms() == 0
        async with Busy(pool):
            assert pool.expected_wait_ms() == pytest.approx(100)
            with (
                calling(Call(clock.monotonic() + 0.05)),
                pytest.raises(UnavailableError, match="would be free in 100 ms, which is more than 50 ms") as caught,
            ):
                await pool.run(lambda _: None)
            assert caught.value.retry_after_s == pytest.approx(0.1)
            with calling(Call(clock.monotonic() + 0.5)):
                may = asyncio.ensure_future(pool.run(lambda _: "served"))
                await until_async(lambda: pool.statistics().waiting == 1)
        assert await may == "served"


async def test_a_deadline_that_has_passed_waits_for_nothing(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        async with Busy(pool):
            with calling(Call(SYSTEM.monotonic() - 1)), pytest.raises(UnavailableError, match="in 0 ms"):
                await pool.run(lambda _: None)


def test_an_inner_call_keeps_the_outer_deadline() -> None:
    with calling(Call(5.0, 1)):
        with calling(Call(9.0, 2)):
            assert current_call() == Call(5.0, 2)
        with calling(Call(3.0)):
            assert current_call() == Call(3.0)
        assert current_call() == Call(5.0, 1)
    assert current_call() == Call()


async def test_a_pool_grows_only_while_there_is_memory(threads: GuestThreads) -> None:
    budget = MemoryBudget(35)
    sizes = {"budget": budget, "memory_bytes": (10, 10), "instances_max": 4}
    with Pool(littoral.load(model()), name="a", threads=threads, **sizes) as a:
        async with Busy(a), Busy(a):
            assert (a.statistics().instances, budget.taken) == (2, 20)
        with Pool(littoral.load(model()), name="b", threads=threads, **sizes) as b:
            assert budget.taken == 30
            async with Busy(b):
                waits = asyncio.ensure_future(b.run(lambda _: "b"))
                assert await waits == "b"  # `a` gave up its idle second one
                assert (a.statistics().instances, b.statistics().instances, budget.taken) == (1, 2, 30)
            async with Busy(b), Busy(b):
                third = asyncio.ensure_future(b.run(lambda _: "waited"))
                await until_async(lambda: b.statistics().waiting == 1)
                assert b.statistics().instances == 2
            assert await third == "waited"
        assert budget.taken == 10
    assert budget.taken == 0


def test_what_must_be_there_has_to_fit(threads: GuestThreads) -> None:
    budget = MemoryBudget(3 << 20)
    with (
        Pool(littoral.load(model()), name="a", threads=threads, budget=budget, memory_bytes=(2 << 20, 1)),
        littoral.load(model()) as other,
        pytest.raises(SettingError) as caught,
    ):
        Pool(other, name="b", threads=threads, budget=budget, memory_bytes=(2 << 20, 1))
    assert str(caught.value) == (
        "`b` needs 2 MiB, of 3 MiB are taken: `a` 2 MiB · hint: raise `node.memory_mb`, or run less"
    )


LIMITS = QuarantineLimits(failures=3, window_s=10, pause_s=5)


async def test_a_guest_that_keeps_failing_is_set_apart_and_tried_again(threads: GuestThreads) -> None:
    clock = SimulatedClock()
    quarantine = Quarantine("model `m`", LIMITS, clock=clock)
    is_healed = False

    def feeds() -> dict[str, np.ndarray]:
        return {"x": np.full(4, 1 if is_healed else -1, np.float32)}

    with Pool(littoral.load(model(MAY_TRAP)), name="m", threads=threads, quarantine=quarantine) as pool:

        async def ask() -> object:
            return await pool.run(lambda session: session.run(feeds()))

        for _ in range(3):
            with pytest.raises(TrapError):
                await ask()
        with pytest.raises(
            UnavailableError, match=r"model `m` is in quarantine after 3 failures, the latest: .*unreachable"
        ) as caught:
            await ask()
        assert caught.value.hint == "tried again in 5 s"
        assert caught.value.retry_after_s == 5
        assert quarantine.state is not None
        clock.advance(5)
        with pytest.raises(TrapError):
            await ask()
        with pytest.raises(UnavailableError, match="tried again in 10 s"):
            await ask()
        clock.advance(10)
        is_healed = True
        assert await ask()
        assert (quarantine.state, quarantine.entered) == (None, 1)


def trap() -> TrapError:
    return TrapError("out of bounds", code="out_of_bounds")


def test_failures_far_apart_or_among_many_answers_are_no_reason() -> None:
    clock = SimulatedClock()
    quarantine = Quarantine("m", LIMITS, clock=clock)
    for _ in range(10):
        quarantine.failed(trap())
        clock.advance(6)
    assert quarantine.state is None
    clock.advance(100)
    for _ in range(10):
        quarantine.failed(trap())
        for _ in range(4):
            quarantine.succeeded()
    assert quarantine.state is None
    for _ in range(10):
        quarantine.failed(InputError("wrong shape"))
        quarantine.failed(AgentError("not my type", number=-1))
        quarantine.failed(UnavailableError("closed"))
    assert quarantine.state is None
    for _ in range(3):
        quarantine.failed(DeadlineError("took too long"))
    assert str(quarantine.state) == "m is in quarantine after 3 failures, the latest: took too long"


def test_a_pause_lets_a_single_call_through_and_doubles_up_to_a_bound() -> None:
    clock = SimulatedClock()
    quarantine = Quarantine("m", LIMITS, clock=clock)
    for _ in range(3):
        quarantine.failed(trap())
    for doubled in (1, 2, 4, 8, 16, 32, 32):
        with pytest.raises(UnavailableError):
            quarantine.check()
        clock.advance(5 * doubled)
        quarantine.check()
        with pytest.raises(UnavailableError):
            quarantine.check()
        quarantine.failed(trap())


async def test_an_agent_that_does_not_end_is_set_apart(threads: GuestThreads) -> None:
    endless = Agent.open(agent("(loop $on (br $on)) (i64.const 0)"), deadline_ms=20)
    quarantine = Quarantine("agent `a`", QuarantineLimits(failures=2))
    with Pool(endless, name="a", threads=threads, quarantine=quarantine) as pool:
        for _ in range(2):
            with pytest.raises(DeadlineError):
                await pool.run(lambda guest: guest.infer(b"x"))
        with pytest.raises(
            UnavailableError, match="agent `a` is in quarantine after 2 failures, the latest: agent `a`"
        ):
            await pool.run(lambda guest: guest.infer(b"x"))
