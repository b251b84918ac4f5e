"""Pools: bounded waiting, cancellation, replacement, closing, with real guests."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import littoral
from littoral.errors import DeadlineError, TrapError, UnavailableError
from littoral.runtime.agents import Agent
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.pool import Pool
from modules_in_text import DOUBLE, agent, model
from waiting import until_async

FEEDS = {"x": np.arange(4, dtype=np.float32)}
MISBEHAVE = {"x": np.full(4, -1, np.float32)}
MAY_TRAP = f"(if (f32.lt (f32.load (i32.const 1024)) (f32.const 0)) (then (unreachable))) {DOUBLE}"


@pytest.fixture
def threads() -> Iterator[GuestThreads]:
    with GuestThreads(4) as found:
        yield found


def double(session: Session) -> list[float]:
    return session.run(FEEDS)["y"].tolist()


class Gate:
    """Work that begins, says so, and ends when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, session: Session) -> list[float]:
        self.begun.release()
        assert self.go.wait(60)
        return double(session)


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.begun.acquire, timeout=60)


async def test_a_pool_grows_to_its_bound_and_no_further(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, instances_max=3) as pool:
        assert pool.statistics().instances == 1
        gate = Gate()
        tasks = [asyncio.ensure_future(pool.run(gate)) for _ in range(5)]
        for _ in range(3):
            await begun(gate)
        counts = pool.statistics()
        assert (counts.instances, counts.busy, counts.waiting) == (3, 3, 2)
        gate.go.set()
        assert await asyncio.gather(*tasks) == [[0, 2, 4, 6]] * 5
        counts = pool.statistics()
        assert (counts.instances, counts.busy, counts.waiting, counts.runs) == (3, 0, 0, 5)


def test_the_least_number_of_instances_is_there_from_the_start(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, instances_min=2, instances_max=3) as pool:
        assert pool.statistics().instances == 2
    with pytest.raises(ValueError, match=r"pool `m`: instances 3\.\.2"):
        Pool(littoral.load(model()), name="m", threads=threads, instances_min=3, instances_max=2)


def test_a_pool_works_without_an_event_loop(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        assert pool.run_sync(double) == [0, 2, 4, 6]


async def test_short_calls_are_made_where_they_are_asked_for(
    threads: GuestThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        assert pool.run_here(double) is None  # nothing is known of it yet
        for _ in range(8):
            await pool.run(double)
        monkeypatch.setattr("littoral.runtime.pool.HERE_S", 10.0)
        assert pool.run_here(lambda _: threading.current_thread()) == (threading.current_thread(),)
        assert pool.run_here(double) == ([0, 2, 4, 6],)
        gate = Gate()
        running = asyncio.ensure_future(pool.run(gate))
        await begun(gate)
        assert pool.run_here(double) is None  # no instance is free
        gate.go.set()
        await running
        monkeypatch.setattr("littoral.runtime.pool.HERE_S", 0.0)
        assert pool.run_here(double) is None  # calls take longer
        assert pool.statistics().runs == 11


async def test_a_trap_of_a_call_made_here_costs_that_call_alone(
    threads: GuestThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("littoral.runtime.pool.HERE_S", 10.0)
    with Pool(littoral.load(model(MAY_TRAP)), name="m", threads=threads) as pool:
        for _ in range(8):
            await pool.run(double)
        with pytest.raises(TrapError):
            pool.run_here(lambda session: session.run(MISBEHAVE))
        assert pool.run_here(double) == ([0, 2, 4, 6],)
        counts = pool.statistics()
        assert (counts.busy, counts.failures) == (0, 1)


async def test_waiting_is_bounded_in_number(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, waiting_max=1) as pool:
        gate = Gate()
        running = asyncio.ensure_future(pool.run(gate))
        await begun(gate)
        waiting = asyncio.ensure_future(pool.run(double))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="pool `m`: 1 calls are waiting, at most 1"):
            await pool.run(double)
        with pytest.raises(UnavailableError):
            pool.run_sync(double)
        gate.go.set()
        assert await running == await waiting == [0, 2, 4, 6]
        assert pool.statistics().refused == 2


async def test_waiting_is_bounded_in_time(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, wait_ms=500) as pool:
        gate = Gate()
        running = asyncio.ensure_future(pool.run(gate))
        await begun(gate)
        with pytest.raises(UnavailableError, match=r"no instance was free in 500 ms \(1 busy, 0 others waiting\)"):
            await pool.run(double)
        with pytest.raises(UnavailableError, match="no instance was free in 1 ms"):
            await asyncio.to_thread(pool.run_sync, double, wait_ms=1)
        gate.go.set()
        await running
        assert await pool.run(double) == [0, 2, 4, 6]
        assert pool.statistics().timed_out == 2


async def test_a_cancelled_waiter_leaves_no_trace(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        gate = Gate()
        running = asyncio.ensure_future(pool.run(gate))
        await begun(gate)
        waiting = asyncio.ensure_future(pool.run(double))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.statistics().waiting == 0
        gate.go.set()
        assert await running == [0, 2, 4, 6]
        assert await pool.run(double) == [0, 2, 4, 6]


async def test_an_instance_is_free_again_only_when_its_guest_has_ended(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        gate = Gate()
        running = asyncio.ensure_future(pool.run(gate))
        await begun(gate)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.statistics().busy == 1
        waiting = asyncio.ensure_future(pool.run(double))
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.go.set()
        assert await waiting == [0, 2, 4, 6]
        assert pool.statistics().busy == 0


async def test_work_cancelled_in_the_threads_queue_gives_its_instance_back() -> None:
    with GuestThreads(1) as threads, Pool(littoral.load(model()), name="m", threads=threads) as pool:
        go = threading.Event()
        blocker = threads.submit(go.wait, 60)
        queued = asyncio.ensure_future(pool.run(double))
        await until_async(lambda: threads.statistics().queued == 1)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        assert pool.statistics().busy == 0
        go.set()
        blocker.result(60)
        assert await pool.run(double) == [0, 2, 4, 6]
        assert pool.statistics().runs == 1


async def test_many_callers_cancelled_at_random_moments_lose_no_instance(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads, instances_max=2, waiting_max=1000) as pool:
        tasks = [asyncio.ensure_future(pool.run(double)) for _ in range(300)]
        for i, task in enumerate(tasks):
            if i % 3 == 0:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r == [0, 2, 4, 6] or isinstance(r, asyncio.CancelledError) for r in results)
        await until_async(lambda: pool.statistics().busy == 0)
        assert pool.statistics().waiting == 0
        assert await asyncio.gather(*(pool.run(double) for _ in range(4))) == [[0, 2, 4, 6]] * 4


async def test_a_trap_costs_one_call_and_the_instance_is_replaced(threads: GuestThreads) -> None:
    with Pool(littoral.load(model(MAY_TRAP)), name="m", threads=threads) as pool:
        for _ in range(3):
            with pytest.raises(TrapError):
                await pool.run(lambda session: session.run(MISBEHAVE))
            assert await pool.run(double) == [0, 2, 4, 6]
        assert (pool.statistics().runs, pool.statistics().failures) == (3, 3)


async def test_agents_are_pooled_alike(threads: GuestThreads) -> None:
    endless = "(if (i32.eqz (local.get $size)) (then (loop $on (br $on))))"
    echo = "(i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))"
    first = Agent.open(agent(endless + echo), deadline_ms=500)
    with Pool(first, name="a", threads=threads, instances_max=2) as pool:
        with pytest.raises(DeadlineError):
            await pool.run(lambda guest: guest.infer(b""))
        answers = await asyncio.gather(*(pool.run(lambda guest, i=i: guest.infer(bytes([i + 1]))) for i in range(20)))
        assert answers == [bytes([i + 1]) for i in range(20)]


async def test_close_fails_waiters_and_lets_the_running_end(threads: GuestThreads) -> None:
    pool = Pool(littoral.load(model()), name="m", threads=threads, instances_max=1)
    gate = Gate()
    running = asyncio.ensure_future(pool.run(gate))
    await begun(gate)
    waiting = asyncio.ensure_future(pool.run(double))
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(UnavailableError, match="pool `m` is closed"):
        await waiting
    with pytest.raises(UnavailableError, match="pool `m` is closed"):
        await pool.run(double)
    gate.go.set()
    assert await running == [0, 2, 4, 6]
    with pytest.raises(UnavailableError, match="the session is closed"):
        pool.first.run(FEEDS)


async def test_a_lease_serves_several_calls_and_ends_once(threads: GuestThreads) -> None:
    with Pool(littoral.load(model()), name="m", threads=threads) as pool:
        lease = await pool.lease()
        assert await lease.run(double) == await lease.run(double) == [0, 2, 4, 6]
        lease.release()
        lease.release()
        assert pool.statistics().busy == 0
        with pytest.raises(UnavailableError, match="this lease is over"):
            await lease.run(double)
