"""Judging beside requests: a bounded queue, few workers; what does not fit is dropped and counted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from littoral.answers.judges import Judge

__all__ = ["Case", "Judging", "JudgingStatistics"]

LOG = logging.getLogger(__name__)


class Case(NamedTuple):
    """told: called with the verdict; with None where the judge could not tell."""

    question: str
    cached: bytes
    fresh: bytes
    told: Callable[[bool | None], Awaitable[None]]

    @property
    def size_bytes(self) -> int:
        return len(self.question) + len(self.cached) + len(self.fresh)


class JudgingStatistics(NamedTuple):
    """waiting, waiting_bytes: now. The others since the start. untold: the judge could not tell. failed: it, or who was
    told, raised.
    """

    waiting: int
    waiting_bytes: int
    same: int
    other: int
    untold: int
    dropped: int
    failed: int


class Judging:
    """Started by `async with`; cases that wait at its end are dropped. cases_max, bytes_max: that may wait."""

    def __init__(self, judge: Judge, *, cases_max: int = 256, bytes_max: int = 16 << 20, workers: int = 2) -> None:
        self._judge = judge
        self._cases: asyncio.Queue[Case] = asyncio.Queue(cases_max)
        self._bytes_max = bytes_max
        self._bytes = 0
        self._worker_count = workers
        self._workers: list[asyncio.Task[None]] = []
        self._counts = dict.fromkeys(("same", "other", "untold", "dropped", "failed"), 0)

    async def __aenter__(self) -> "Judging":
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._worker_count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        while not self._cases.empty():
            self._bytes -= self._cases.get_nowait().size_bytes
            self._counts["dropped"] += 1

    def offer(self, case: Case) -> bool:
        """Whether there was room. Never waits."""
        if self._cases.full() or self._bytes + case.size_bytes > self._bytes_max:
            self._counts["dropped"] += 1
            return False
        self._bytes += case.size_bytes
        self._cases.put_nowait(case)
        return True

    async def settled(self) -> None:
        """Returns when no case waits and none is being judged."""
        await self._cases.join()

    def statistics(self) -> JudgingStatistics:
        return JudgingStatistics(waiting=self._cases.qsize(), waiting_bytes=self._bytes, **self._counts)

    async def _work(self) -> None:
        while True:
            case = await self._cases.get()
            try:
                await self._judged(case)
            except Exception:
                self._counts["failed"] += 1
                LOG.warning("a case could not be judged", exc_info=True)
            finally:
                self._bytes -= case.size_bytes
                self._cases.task_done()

    async def _judged(self, case: Case) -> None:
        verdict = await self._judge.same(case.question, case.cached, case.fresh)
        self._counts["untold" if verdict is None else "same" if verdict else "other"] += 1
        await case.told(verdict)
