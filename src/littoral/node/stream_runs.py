"""The frames of one stream through a pipeline: a few at a time, each answered or refused by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from littoral.errors import UnavailableError
from littoral.node.node import Node, ServedPipeline
from littoral.node.observed import Observed
from littoral.node.origin import Origin, coming_from
from littoral.node.pipelines_api import pipeline_input, result_of
from littoral.web.failures import failure_of
from littoral.web.framing import Frame

__all__ = ["CREDIT", "CREDIT_MAX", "STREAM_COUNT_MAX", "Outcome", "StreamCounts", "StreamRun", "Streams"]

STREAM_COUNT_MAX = 32
BYTES_MAX = 128 << 20
CREDIT = 4
CREDIT_MAX = 16


@dataclass
class Outcome:
    """One frame's. number: from 0, in the order of the stream."""

    number: int
    is_ok: bool
    said: dict[str, Any]


@dataclass
class StreamCounts:
    """Since the start, and now."""

    open: int = 0
    frames: int = 0
    failures: int = 0
    refused: int = 0


class Streams:
    """Of a node: how many there are, and how many bytes of frames are in the works of all of them."""

    def __init__(self, *, stream_count_max: int = STREAM_COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.counts = StreamCounts()
        self._stream_count_max = stream_count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._has_room = asyncio.Condition()

    def check_room(self) -> None:
        """Before a stream begins. Raises UnavailableError where there are too many."""
        if self.counts.open >= self._stream_count_max:
            self.counts.refused += 1
            raise UnavailableError(f"{self.counts.open} streams are there, which is the most")

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Around a stream."""
        self.counts.open += 1
        try:
            yield
        finally:
            self.counts.open -= 1

    async def take(self, size: int) -> None:
        """Waits until there is room for a frame of this size; a single one always has it."""
        async with self._has_room:
            await self._has_room.wait_for(lambda: not self._bytes or self._bytes + size <= self._bytes_max)
            self._bytes += size

    async def give_back(self, size: int) -> None:
        async with self._has_room:
            self._bytes -= size
            self._has_room.notify_all()


class StreamRun:
    """credit: frames that may be unanswered at a time. `async with` it: what is at work then ends with the block."""

    def __init__(
        self,
        streams: Streams,
        node: Node,
        observed: Observed,
        served: ServedPipeline,
        *,
        credit: int,
        deadline_ms: float,
    ) -> None:
        self.credit = credit
        self.unanswered = 0
        self._streams = streams
        self._node = node
        self._observed = observed
        self._served = served
        self._deadline_ms = deadline_ms
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(credit)
        self._next_number = 0

    async def __aenter__(self) -> "StreamRun":
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_for_room(self) -> None:
        """Returns when another frame may be given."""
        await self._room.acquire()

    def give(self, frame: Frame) -> None:
        """After `wait_for_room`, or within the credit that the sender was told of."""
        self.unanswered += 1
        task = asyncio.create_task(self._run(frame, self._next_number))
        self._next_number += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """No frame follows: `outcomes` ends after those that are at work."""
        task = asyncio.create_task(self._finish(list(self._tasks)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """As they come. Each makes room for another frame when it is taken, before it is sent: a sender that has its
        answer may not be found over its credit."""
        while (outcome := await self._outcomes.get()) is not None:
            self.unanswered -= 1
            self._room.release()
            yield outcome

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        if tasks:
            await asyncio.wait(tasks)
        self._outcomes.put_nowait(None)

    async def _run(self, frame: Frame, number: int) -> None:
        self._streams.counts.frames += 1
        await self._streams.take(len(frame.data))
        try:
            said, is_ok = await self._answer(frame), True
        except Exception as error:  # noqa: BLE001  every frame gets an answer
            failure = failure_of(error)
            said, is_ok = {"status": {"error": failure.message}, "code": failure.status}, False
            self._streams.counts.failures += 1
        finally:
            await self._streams.give_back(len(frame.data))
        about: dict[str, Any] = {"frame": number} | ({"id": frame.id} if frame.id else {})
        self._outcomes.put_nowait(Outcome(number, is_ok, about | said))

    async def _answer(self, frame: Frame) -> dict[str, Any]:
        if self._node.rate is not None:
            self._node.rate.take()
        began = self._node.clock.monotonic()
        where = Origin(frame.data, frame.id, at=self._node.clock.wall())
        with self._observed.pipeline(self._served.name) as outcome, coming_from(where):
            value = pipeline_input(self._served, frame.data, frame.media_type)
            answer = await self._served.pipeline.run(value, deadline_ms=self._deadline_ms)
            outcome.stages_ms = answer.how.stages
        result = result_of(answer.value, self._served.pipeline.gives)
        return {"status": "ok", "time": self._node.clock.monotonic() - began, "result": result, "how": answer.how}
