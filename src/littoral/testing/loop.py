"""An event loop whose time is simulated: a day of waiting takes as long as what happens in it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from littoral.testing.clock import SimulatedClock

__all__ = ["SimulatedLoop", "run_simulated"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became so, then moves the clock to what is next.

    Without threads and without files: `run_in_executor` (and so `asyncio.to_thread`) calls the function on the spot.
    Raises RuntimeError when something is awaited that nothing can bring about any more.
    """

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        super().__init__()
        self.clock = clock or SimulatedClock()
        self._selector = _Jump(self.clock)

    def time(self) -> float:
        return self.clock.monotonic()

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


class _Jump:
    """In the place of a selector: waiting moves the clock."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left to happen in the simulation, and something is awaited")
        if timeout > 0:
            self._clock.advance(timeout)
        return []

    def close(self) -> None:
        pass


def run_simulated(main: Callable[[], Coroutine[Any, Any, T]], clock: SimulatedClock | None = None) -> T:
    """What `main()` returns, run to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(main())
