"""Requests that a new version gets as well, beside their callers: run on it and on the version before, and compared.

Each changed model or agent has a lane: a thread that stands back behind all others, with an instance of either version
that nobody else has. What a lane has no time for is dropped and counted. An agent that asks the host for more than its
log has none: asked twice, it may do something twice.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.pool import Pool
from littoral.runtime.thread_priority import BESIDE_NICE
from littoral.tensors import Array
from littoral.updates.deployment.gates import Figures, drift_of

__all__ = ["Given", "Lane", "Mirror", "Trial"]

QUEUE_MAX = 4
REST = 4.0
"""Seconds of rest for each second of work: a lane takes a fifth of a core at most."""

MIB = 1 << 20


Given = Mapping[str, Array] | bytes
"""What a model or an agent gets, or gives."""


class Trial(NamedTuple):
    """name: in figures, label: for people. before: None where nothing served that could be compared. ask: one of
    either pool's workers. memory_bytes: of an instance. is_mirrored: a request may be answered twice. states: outputs
    that the next request of a sequence is given; next to a large answer a small state would not count."""

    name: str
    label: str
    before: Pool[Any] | None
    after: Pool[Any]
    serves: Callable[[], bool]
    ask: Callable[[Any, Given], Given]
    memory_bytes: int
    is_mirrored: bool = True
    states: tuple[str, ...] = ()


class Lane:
    """Of one version. share: of requests, at random."""

    def __init__(self, trial: Trial, clock: Clock, *, share: float = 1.0, rng: random.Random | None = None) -> None:
        self.trial = trial
        self.figures = Figures(memory_mb=trial.memory_bytes / MIB)
        self.dropped = 0
        self._clock = clock
        self._pools = [pool for pool in (trial.before, trial.after) if pool is not None]
        self._queue: asyncio.Queue[Given] = asyncio.Queue(QUEUE_MAX)
        self._twins: list[Any] = []
        self._counted = (0, 0)
        self._loop = asyncio.get_running_loop()
        self._share = share
        self._rng = rng or random.Random()  # noqa: S311  which requests are mirrored is no secret

    def offer(self, feeds: Given) -> None:
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
            for pool in self._pools:
                self._twins.append(await threads.run(pool.first.another))
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
        ends, runs = self._counts()
        if self.trial.serves():
            ended, ran = self._counted
            self.figures.served_failed = ends - ended
            self.figures.served = runs - ran + self.figures.served_failed
        else:
            self._counted = (ends, runs)

    def count_from_here(self) -> None:
        """What became of requests before is not of interest."""
        self._counted = self._counts()

    def _counts(self) -> tuple[int, int]:
        pool = self.trial.after
        return sum(pool.ends.values()), pool.statistics().runs

    def _put(self, feeds: Given) -> None:
        try:
            self._queue.put_nowait(feeds)
        except asyncio.QueueFull:
            self.dropped += 1

    def _pair(self, feeds: Given) -> None:
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
            self.figures.pair(before_s, after_s, compared(expected, given, self.trial.states))
        else:
            self.figures.mirrored += 1

    def _timed(self, worker: Any, feeds: Given) -> tuple[float, Given]:
        began = self._clock.monotonic()
        given = self.trial.ask(worker, feeds)
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

    @property
    def compares(self) -> bool:
        """Whether there is anything that may be asked twice."""
        return any(lane.trial.is_mirrored for lane in self.lanes)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes if lane.trial.is_mirrored]

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


def compared(expected: Given, given: Given, states: Sequence[str] = ()) -> float | None:
    """1 − cosine of all outputs together, or of one of `states` where that is more; 1 where they are not of the same
    names and shapes. None of bytes: which of two answers is the better one, they do not say."""
    if isinstance(expected, bytes) or isinstance(given, bytes):
        return None
    if expected.keys() != given.keys():
        return 1.0
    found = [_drift(expected, given, [name]) for name in states if name in expected]
    return max([_drift(expected, given, [*expected]), *found])


def _drift(expected: Mapping[str, Array], given: Mapping[str, Array], names: Sequence[str]) -> float:
    dot = one = other = 0.0
    for name in names:
        left, right = expected[name], given[name]
        if left.shape != right.shape:
            return 1.0
        a, b = _flat(left), _flat(right)
        dot, one, other = dot + float(a @ b), one + float(a @ a), other + float(b @ b)
    return drift_of(dot, one, other)


def _flat(values: Array) -> "np.ndarray[Any, np.dtype[np.float64]]":
    with np.errstate(all="ignore"):
        return np.asarray(values, np.float64).ravel()
