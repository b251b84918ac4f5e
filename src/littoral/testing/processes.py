"""Processes of a simulation: what one has begun stands still while it is frozen, and never goes on once it is dead."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["PROCESS", "Process", "Step"]

T = TypeVar("T")


class Step:
    """One call that a loop runs, for a process if it is one's; whoever asked for it may cancel it, as a handle."""

    __slots__ = ("_when", "args", "call", "context", "is_cancelled", "process")

    def __init__(
        self,
        process: "Process | None",
        context: contextvars.Context,
        call: Callable[..., object],
        args: tuple[Any, ...],
        when: float = 0.0,
    ) -> None:
        self.process = process
        self.context = context
        self.call = call
        self.args = args
        self.is_cancelled = False
        self._when = when

    def cancel(self) -> None:
        self.is_cancelled = True
        self.call, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        """Seconds of the loop's clock."""
        return self._when


def _nothing() -> None:
    """In the place of what was cancelled."""


def _go_on(step: Step) -> None:
    step.call(*step.args)


class Process:
    """In a `SimulatedLoop`: everything begun in `context`, and what that begins, is of this process.

    ended: done once it is dead. tasks: of it that are not done, in the order in which they began.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.is_still = False
        """Dead or frozen: no step of it runs."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._parked: list[Step] = []
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def kill(self) -> None:
        """Not one more step: no `finally`, no goodbye."""
        self.is_dead = self.is_still = True
        if not self.ended.done():
            self.ended.set_result(None)

    def freeze(self) -> None:
        """Stands still until `thaw`; what would have run meanwhile runs then."""
        self.is_frozen = self.is_still = True

    def thaw(self) -> None:
        """Goes on."""
        self.is_frozen = False
        self.is_still = self.is_dead
        self._release()

    def _release(self) -> None:
        parked, self._parked = self._parked, []
        loop = asyncio.get_running_loop()
        for step in parked:
            loop.call_soon(_go_on, step, context=step.context)

    async def bury(self) -> None:
        """After the simulation: its tasks end as if they had been cancelled, so that the loop can end."""
        self.is_dead = self.is_frozen = self.is_still = False
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        self._release()
        await asyncio.gather(*tasks, return_exceptions=True)

    def park(self, step: Step) -> None:
        """It stands still: for when it goes on."""
        self._parked.append(step)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("littoral process", default=None)
