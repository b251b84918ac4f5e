"""Requests that a new version gets as well, beside their callers: run on it and on the version before, and compared.

Each changed model has a lane: a thread that stands back behind all others, with an instance of either version that
nobody else has. What a lane has no time for is dropped and counted.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.node import ServedModel, ServedVersion
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.thread_priority import BESIDE_NICE
from littoral.tensors import Array
from littoral.updates.deployment.gates import Figures, drift_of

__all__ = ["Lane", "Mirror"]

QUEUE_MAX = 4
REST = 4.0
"""Seconds of rest for each second of work: a lane takes a fifth of a core at most."""

MIB = 1 << 20


class Lane:
    """Of one model. before: None where nothing served before that could be compared. share: of requests, at random."""

    def __init__(
        self,
        served: ServedModel,
        before: ServedVersion | None,
        after: ServedVersion,
        clock: Clock,
        *,
        share: float = 1.0,
        rng: random.Random | None = None,
    ) -> None:
        self.name = served.name
        self.after = after
        self.figures = Figures(memory_mb=after.pool.first.memory_bytes / MIB)
        self.dropped = 0
        self._served = served
        self._clock = clock
        self._pools = [version.pool for version in (before, after) if version is not None]
        self._queue: asyncio.Queue[Mapping[str, Array]] = asyncio.Queue(QUEUE_MAX)
        self._twins: list[Session] = []
        self._versions = (before, after)
        self._counted = (0, 0)
        self._loop = asyncio.get_running_loop()
        self._share = share
        self._rng = rng or random.Random()  # noqa: S311  which requests are mirrored is no secret

    def offer(self, feeds: Mapping[str, Array]) -> None:
        """From the loop or from any thread; never waits."""
        if self._share < 1 and self._rng.random() >= self._share:
            return
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._put(feeds)
        else:
            self._loop.call_soon_threadsafe(self._put, feeds)

    async def run(self) -> None:
        """Until it is cancelled."""
        threads = GuestThreads(1, name="mirror", nice=BESIDE_NICE)
        try:
            before, after = self._versions
            if before is not None:
                self._twins.append(await threads.run(before.pool.first.another))
            self._twins.append(await threads.run(after.pool.first.another))
            for pool in self._pools:
                pool.mirror = self.offer
            while True:
                feeds = await self._queue.get()
                began = self._clock.monotonic()
                await threads.run(self._pair, feeds)
                await asyncio.sleep(REST * (self._clock.monotonic() - began))
        finally:
            for pool in self._pools:
                pool.mirror = None
            threads.close(0.0)
            for twin in self._twins:
                twin.close()

    def look(self) -> None:
        """Takes up what became of real requests since the new version serves."""
        pool = self.after.pool
        ends, runs = sum(pool.ends.values()), pool.statistics().runs
        if self._served.serving is self.after:
            ended, ran = self._counted
            self.figures.served_failed = ends - ended
            self.figures.served = runs - ran + self.figures.served_failed
        else:
            self._counted = (ends, runs)

    def _put(self, feeds: Mapping[str, Array]) -> None:
        try:
            self._queue.put_nowait(feeds)
        except asyncio.QueueFull:
            self.dropped += 1

    def _pair(self, feeds: Mapping[str, Array]) -> None:
        """In the lane's thread. What the version before cannot answer either says nothing."""
        if len(self._twins) == 2:
            try:
                before_s, expected = self._timed(self._twins[0], feeds)
            except LittoralError:
                return
        try:
            after_s, given = self._timed(self._twins[-1], feeds)
        except LittoralError:
            self.figures.failure()
            return
        if len(self._twins) == 2:
            self.figures.pair(before_s, after_s, compared(expected, given))
        else:
            self.figures.mirrored += 1

    def _timed(self, session: Session, feeds: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        began = self._clock.monotonic()
        given = session.run(feeds)
        return self._clock.monotonic() - began, given


class Mirror:
    """The lanes of one deployment."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = tuple(lanes)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def dropped(self) -> int:
        return sum(lane.dropped for lane in self.lanes)

    @property
    def mirrored(self) -> int:
        return sum(lane.figures.mirrored for lane in self.lanes)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes]

    async def close(self) -> None:
        """Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, LittoralError):
                await task

    def problem(self) -> str:
        """Why a lane ended by itself, or ''."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                return str(error)
        return ""


def compared(expected: Mapping[str, Array], given: Mapping[str, Array]) -> float:
    """1 − cosine of all outputs together; 1 where they are not of the same names and shapes."""
    if expected.keys() != given.keys():
        return 1.0
    dot = one = other = 0.0
    for name, left in expected.items():
        right = given[name]
        if left.shape != right.shape:
            return 1.0
        a, b = _flat(left), _flat(right)
        dot, one, other = dot + float(a @ b), one + float(a @ a), other + float(b @ b)
    return drift_of(dot, one, other)


def _flat(values: Array) -> "np.ndarray[Any, np.dtype[np.float64]]":
    with np.errstate(all="ignore"):
        return np.asarray(values, np.float64).ravel()
