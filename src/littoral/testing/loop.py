"""An event loop whose time is simulated: a day of waiting takes as long as what happens in it."""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

from littoral.testing.clock import SimulatedClock
from littoral.testing.processes import PROCESS, Step

__all__ = ["SimulatedLoop", "run_simulated"]

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

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        super().__init__()
        self.clock = clock or SimulatedClock()
        self._selector = _Jump(self.clock)
        self.set_task_factory(_task)

    def time(self) -> float:
        return self.clock.monotonic()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        if (process := context.get(PROCESS)) is None:
            return super().call_soon(callback, *args, context=context)
        step = Step(process, context, callback, args)
        step.handle = super().call_soon(step, context=context)
        return step.handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context
        if (process := context.get(PROCESS)) is None:
            return super().call_at(when, callback, *args, context=context)
        step = Step(process, context, callback, args)
        handle = step.handle = super().call_at(when, step, context=context)
        return handle

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


class _Jump:
    """In the place of a selector: waiting moves the clock."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left to happen in the simulation, and something is awaited")
        if timeout > 0:
            self._clock.advance(max(timeout, MOMENT_S))
        return []

    def close(self) -> None:
        pass


def run_simulated(main: Callable[[], Coroutine[Any, Any, T]], clock: SimulatedClock | None = None) -> T:
    """What `main()` returns, run to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(main())
