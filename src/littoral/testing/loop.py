"""An event loop whose time is simulated: a day of waiting takes as long as what happens in it."""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

from littoral.testing.clock import SimulatedClock
from littoral.testing.processes import PROCESS, Step

__all__ = ["SimulatedLoop", "run_simulated"]

SWEPT_EVERY = 8192
"""Timers; most of them are cancelled before their time, and would make a heap of those that are not."""

MOMENT_S = 1e-9
"""Less would be lost in rounding, and who waits for it would wait again, without end."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became so, then moves the clock to what is next.

    Without threads and without files: `run_in_executor` (and so `asyncio.to_thread`) calls the function on the spot.
    What belongs to a `Process` runs while that lives. Raises RuntimeError when something is awaited that nothing can
    bring about any more.
    """

    _ready: deque[Step]
    _stopping: bool

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        super().__init__()
        self.clock = clock or SimulatedClock()
        self._timers: list[tuple[float, int, Step]] = []
        self._timer_count = 0
        self.set_task_factory(_task)

    def time(self) -> float:
        return self.clock.monotonic()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> Step:
        context = contextvars.copy_context() if context is None else context
        step = Step(context.get(PROCESS), context, callback, args)
        self._ready.append(step)
        return step

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> Step:
        context = contextvars.copy_context() if context is None else context
        step = Step(context.get(PROCESS), context, callback, args, when)
        self._timer_count += 1
        if self._timer_count % SWEPT_EVERY == 0:
            self._timers[:] = [timer for timer in self._timers if not timer[2].is_cancelled]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (when, self._timer_count, step))
        return step

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> Step:
        return self.call_at(self.clock.monotonic() + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """What is ready now, not what becomes so meanwhile; first the clock moves on if nothing is."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise RuntimeError("nothing is left to happen in the simulation, and something is awaited")
            self._wait(timers[0][0] - self.clock.monotonic())
        until_s = self.clock.monotonic() + MOMENT_S
        while timers and timers[0][0] < until_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            step = ready.popleft()
            if step.is_cancelled:
                continue
            if (process := step.process) is not None and process.is_still:
                process.park(step)
                continue
            self._do(step)

    def _wait(self, for_s: float) -> None:
        if for_s > 0:
            self.clock.advance(max(for_s, MOMENT_S))

    def _do(self, step: Step) -> None:
        try:
            step.context.run(step.call, *step.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001
            self.call_exception_handler({"message": f"{step.call} failed", "exception": error})

    def run_in_executor(self, _executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        outcome: asyncio.Future[T] = self.create_future()
        try:
            outcome.set_result(func(*args))
        except Exception as error:  # noqa: BLE001
            outcome.set_exception(error)
        return outcome

    def _process_events(self, event_list: object) -> None:
        """There are none but timers."""

    def _write_to_self(self) -> None:
        """Nobody is asleep who would have to be woken."""


def _task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T] | Generator[Any, None, T],
    context: contextvars.Context | None = None,
) -> asyncio.Task[T]:
    context = contextvars.copy_context() if context is None else context
    task = asyncio.Task(work, loop=loop, context=context)
    if (process := context.get(PROCESS)) is not None:
        process.tasks[task] = None
        task.add_done_callback(process.tasks.pop)
    return task


def run_simulated(main: Callable[[], Coroutine[Any, Any, T]], clock: SimulatedClock | None = None) -> T:
    """What `main()` returns, run to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(main())
