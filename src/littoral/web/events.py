"""Server-sent events: whoever listens gets them as they come; who is too slow loses the oldest, and that is counted."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator

import msgspec

from littoral.errors import UnavailableError
from littoral.web.messages import Stream

__all__ = ["Events"]

LISTENER_COUNT_MAX = 32
QUEUE_COUNT_MAX = 256
HEARTBEAT_S = 5.0
MEDIA_TYPE = "text/event-stream"


class Events:
    """For one event loop. dropped_count: events that a slow listener lost, since the start."""

    def __init__(self, *, listener_count_max: int = LISTENER_COUNT_MAX, queue_count_max: int = QUEUE_COUNT_MAX) -> None:
        self.dropped_count = 0
        self._listener_count_max = listener_count_max
        self._queue_count_max = queue_count_max
        self._listeners: set[_Listener] = set()

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    def tell(self, name: str, data: object) -> None:
        """data: anything that is JSON."""
        if not self._listeners:
            return
        event = b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
        for listener in self._listeners:
            if len(listener.queue) == self._queue_count_max:
                listener.queue.popleft()
                self.dropped_count += 1
            listener.queue.append(event)
            listener.has_more.set()

    def stream(self, *, heartbeat_s: float = HEARTBEAT_S) -> Stream:
        """All events from now on. Raises UnavailableError if too many listen already."""
        if len(self._listeners) >= self._listener_count_max:
            raise UnavailableError(f"{len(self._listeners)} listeners are there, which is the most")
        return Stream(self._chunks(heartbeat_s), MEDIA_TYPE)

    async def _chunks(self, heartbeat_s: float) -> AsyncGenerator[bytes, None]:
        with self._listening() as listener:
            yield b": connected\n\n"
            while True:
                try:
                    await asyncio.wait_for(listener.has_more.wait(), heartbeat_s)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                listener.has_more.clear()
                chunk = b"".join(listener.queue)
                listener.queue.clear()
                yield chunk

    @contextlib.contextmanager
    def _listening(self) -> Iterator["_Listener"]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.has_more = asyncio.Event()
