"""The threads that run guests: their stacks, their queue, their end; and the ticker that stops guests."""

import asyncio
import os
import threading
from concurrent.futures import Future

import numpy as np
import pytest

import littoral
from littoral.errors import DeadlineError, SetupError, TrapError, UnavailableError
from littoral.runtime import engine
from littoral.runtime.agents import Agent
from littoral.runtime.engine import STACK_BYTES_MAX
from littoral.runtime.epochs import IDLE_TICKS_MAX, PERIOD_MS, EpochTicker
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.thread_stack import STACK_BYTES_MIN, stack_bytes
from modules_in_text import agent, compiled_here, model
from waiting import until, until_async

DEEP = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
FEEDS = {"x": np.zeros(4, np.float32)}


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "guarded"])
def test_a_stack_overflow_in_a_serving_thread_is_a_trap(is_trusted: bool) -> None:
    wasm = model("(drop (call $deep (i32.const 0)))", extra=DEEP)
    session = littoral.load(compiled_here(wasm) if is_trusted else wasm)
    with GuestThreads(2) as threads:
        for _ in range(8):
            with pytest.raises(TrapError, match="call stack exhausted"):
                threads.submit(session.run, FEEDS).result(60)


def test_an_agents_stack_overflow_in_a_serving_thread_is_a_trap() -> None:
    guest = Agent.open(agent("(drop (call $deep (i32.const 0))) (i64.const 0)", extra=DEEP))
    with GuestThreads(1) as threads, pytest.raises(TrapError, match="call stack exhausted"):
        threads.submit(guest.infer, b"").result(60)


def test_serving_threads_have_stacks_that_hold_a_guest() -> None:
    with GuestThreads(2) as threads:
        assert threads.submit(stack_bytes).result(60) >= STACK_BYTES_MIN >= 4 * STACK_BYTES_MAX


def test_other_threads_keep_their_stack_size() -> None:
    before = threading.stack_size()
    GuestThreads(1).close()
    assert threading.stack_size() == before


def test_idle_cores_are_lent_and_busy_ones_are_not() -> None:
    cores = len(os.sched_getaffinity(0))
    goes_on = threading.Event()
    with GuestThreads(cores) as threads:
        assert threads.borrow(cores)
        assert not threads.borrow(1)
        threads.give_back(cores)
        working = threads.submit(goes_on.wait, 60)
        until(lambda: threads.statistics().busy == 1)
        assert not threads.borrow(cores)
        assert threads.borrow(cores - 1)
        threads.give_back(cores - 1)
        goes_on.set()
        assert working.result(60)


def in_thread_of(size: int, work: object) -> object:
    done: Future[object] = Future()

    def target() -> None:
        try:
            done.set_result(work())  # type: ignore[operator]
        except littoral.errors.LittoralError as error:
            done.set_exception(error)

    before = threading.stack_size(size)
    try:
        thread = threading.Thread(target=target, name="small")
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(60)
    return done.result(0)


def test_a_guest_is_refused_on_a_thread_with_a_small_stack() -> None:
    session = littoral.load(model())
    message = r"thread `small` has a stack of 262144 bytes, guests need 1048576 · hint: call `threading\.stack_size"
    with pytest.raises(SetupError, match=message):
        in_thread_of(256 << 10, lambda: session.run(FEEDS))
    with pytest.raises(SetupError):
        in_thread_of(256 << 10, lambda: littoral.load(model()))
    in_thread_of(1 << 20, lambda: session.run(FEEDS))
    assert session.run(FEEDS)["y"].tolist() == [0, 0, 0, 0]


def test_a_stack_overflow_on_the_smallest_allowed_stack_is_a_trap() -> None:
    session = littoral.load(model("(drop (call $deep (i32.const 0)))", extra=DEEP))
    with pytest.raises(TrapError, match="call stack exhausted"):
        in_thread_of(STACK_BYTES_MIN, lambda: session.run(FEEDS))


def test_the_queue_is_bounded_and_refusals_are_counted() -> None:
    go = threading.Event()
    with GuestThreads(1, queue_max=2) as threads:
        running = threads.submit(go.wait, 60)
        until(lambda: threads.statistics().busy == 1)
        queued = [threads.submit(int, "7") for _ in range(2)]
        with pytest.raises(UnavailableError, match="2 calls are waiting, at most 2"):
            threads.submit(int)
        counts = threads.statistics()
        assert (counts.threads, counts.busy, counts.queued, counts.refused) == (1, 1, 2, 1)
        go.set()
        assert running.result(60)
        assert [future.result(60) for future in queued] == [7, 7]


def test_work_that_is_cancelled_before_it_begins_never_runs() -> None:
    go = threading.Event()
    ran: list[int] = []
    with GuestThreads(1) as threads:
        threads.submit(go.wait, 60)
        late = threads.submit(ran.append, 1)
        assert late.cancel()
        go.set()
        threads.submit(int).result(60)
    assert ran == []


def test_an_exception_reaches_the_caller_and_the_thread_serves_on() -> None:
    with GuestThreads(1) as threads:
        with pytest.raises(ValueError, match="invalid literal"):
            threads.submit(int, "x").result(60)
        assert threads.submit(int, "7").result(60) == 7


def test_close_fails_what_waits_and_waits_for_what_runs() -> None:
    go, begun = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return go.wait(60)

    threads = GuestThreads(1)
    running, waiting = threads.submit(work), threads.submit(int)
    assert begun.wait(60)
    assert threads.close(timeout_s=0.0) == 1
    with pytest.raises(UnavailableError, match="guest threads are closed"):
        waiting.result(60)
    with pytest.raises(UnavailableError, match="guest threads are closed"):
        threads.submit(int)
    go.set()
    assert running.result(60)
    assert threads.close() == 0


async def test_a_cancelled_coroutine_leaves_and_the_work_goes_on() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(60)
        ended.set()

    with GuestThreads(1) as threads:
        task = asyncio.ensure_future(threads.run(work))
        await until_async(lambda: threads.statistics().busy == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended.is_set()
        go.set()
        assert await threads.run(ended.wait, 60)


def test_a_deadline_is_never_early_and_hardly_late() -> None:
    """Counted in ticks, so that a busy machine does not matter."""
    for deadline_ms in (1, 9, 10, 11, 50, 1000):
        ticks = EpochTicker.ticks_for(deadline_ms)
        assert (ticks - 1) * PERIOD_MS >= deadline_ms
        assert (ticks - 2) * PERIOD_MS < deadline_ms


def test_the_ticker_runs_while_guests_do_and_sleeps_after() -> None:
    ticks = 0

    def count() -> None:
        nonlocal ticks
        ticks += 1

    ticker = EpochTicker(count)
    assert not ticker.is_ticking
    with ticker:
        until(lambda: ticks > IDLE_TICKS_MAX + 2)
        assert ticker.is_ticking
    until(lambda: not ticker.is_ticking)
    asleep_at = ticks
    with ticker:
        until(lambda: ticks > asleep_at)
    ticker.stop()
    assert not ticker.is_ticking
    stopped_at = ticks
    with ticker:
        until(lambda: ticks > stopped_at)
    ticker.stop()


def test_deadlines_hold_in_many_threads_at_once() -> None:
    session = littoral.load(model("(loop $on (br $on))"), deadline_ms=20)
    sessions = [session, *(session.another() for _ in range(3))]
    with GuestThreads(4) as threads:
        for future in [threads.submit(one.run, FEEDS) for one in sessions]:
            with pytest.raises(DeadlineError):
                future.result(60)


def test_a_ticker_that_is_stopped_and_needed_at_once_leaves_one_thread() -> None:
    before = set(threading.enumerate())
    ticker = EpochTicker(lambda: None)
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            with ticker:
                pass

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for _ in range(50):
        ticker.stop()
    done.set()
    for user in users:
        user.join(60)
    ticker.stop()
    until(lambda: set(threading.enumerate()) <= before)


def test_there_is_one_engine_of_a_kind_whoever_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of one engine in a store of another would end the process."""
    monkeypatch.setattr(engine, "_engines", {})
    start = threading.Barrier(8)

    def ask() -> int:
        start.wait(60)
        return id(engine._engine("guarded"))

    with GuestThreads(8) as threads:
        assert len({future.result(60) for future in [threads.submit(ask) for _ in range(8)]}) == 1
