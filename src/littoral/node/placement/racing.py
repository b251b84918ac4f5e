"""One piece of work, done by the first of several who succeeds: one after another, the next beside one that is slow."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from littoral.errors import LittoralError, UnavailableError

__all__ = ["Race", "Raced"]

_W = TypeVar("_W")
_R = TypeVar("_R")


class Raced(NamedTuple, Generic[_W, _R]):
    """winner: whose answer it is. slow: those beside whom the next was asked. failures: of the others."""

    winner: _W
    answer: _R
    slow: list[_W]
    failures: list[tuple[_W, LittoralError]]


class Race(Generic[_W, _R]):
    """order: who is asked, one after another. patience_s: after so long the next begins too; None = never.

    is_own: whose word on a wrong input is final, and whose error is told where all fail.
    """

    def __init__(
        self,
        order: Sequence[_W],
        start: Callable[[_W], "asyncio.Task[_R]"],
        *,
        patience_s: Callable[[_W], float | None],
        is_own: Callable[[_W], bool],
    ) -> None:
        self._waiting = list(order)
        self._start = start
        self._patience_s = patience_s
        self._is_own = is_own
        self._running: dict[asyncio.Task[_R], _W] = {}
        self._slow: list[_W] = []
        self._failures: list[tuple[_W, LittoralError]] = []

    async def run(self, beside: tuple[_W, "asyncio.Task[_R]"] | None = None) -> Raced[_W, _R]:
        """The first answer; who is still at work then is cancelled, but for `beside`, who belongs to the caller.

        Raises an own error, unless that is UnavailableError, and whatever is left where all fail.
        """
        if beside is not None:
            self._running[beside[1]] = beside[0]
        latest = self._begin()
        try:
            while True:
                patience_s = self._patience_s(self._running[latest]) if latest in self._running else 0.0
                done, _ = await asyncio.wait(
                    self._running, timeout=patience_s if self._waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if (raced := self._ended(task)) is not None:
                        return raced
                if not done and latest in self._running:
                    self._slow.append(self._running[latest])
                if self._waiting and (not done or latest not in self._running):
                    latest = self._begin()
        finally:
            for task in self._running:
                if beside is None or task is not beside[1]:
                    task.cancel()

    def _begin(self) -> "asyncio.Task[_R]":
        who = self._waiting.pop(0)
        task = self._start(who)
        self._running[task] = who
        return task

    def _ended(self, task: "asyncio.Task[_R]") -> Raced[_W, _R] | None:
        who = self._running.pop(task)
        if (error := task.exception()) is None:
            return Raced(who, task.result(), self._slow, self._failures)
        if not isinstance(error, LittoralError):
            raise error
        self._failures.append((who, error))
        if self._is_own(who) and not isinstance(error, UnavailableError):
            raise error
        if not (self._running or self._waiting):
            raise next((own for other, own in self._failures if self._is_own(other)), error)
        return None
