"""The node's end of one connection to a shard host: frames out, answers in. Callbacks alone, no task of its own."""

import asyncio
from collections.abc import Callable
from typing import cast

from littoral.errors import LittoralError
from littoral.vectors import frames
from littoral.vectors.frames import Answer, Failure

__all__ = ["Channel"]

OUTBOX_BYTES_MAX = 1 << 16


class Channel(asyncio.Protocol):
    """For one event loop. answered: gets every answer. ended: is told that no more come, and why, if that is known."""

    def __init__(
        self, answered: Callable[[Answer], None], ended: Callable[["Channel", LittoralError | None], None]
    ) -> None:
        self._answered = answered
        self._ended = ended
        self._frames = frames.Frames()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._outbox: list[bytearray] = []
        self._outbox_bytes = 0
        self._reason: LittoralError | None = None
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._has_ended = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def takes_frames(self) -> bool:
        """Whether it is open and what was sent before is on its way."""
        return self._has_room.is_set() and self.is_open

    async def wait_room(self) -> None:
        """Until `takes_frames`, or until it is open no more."""
        await self._has_room.wait()

    def send(self, frame: bytearray) -> None:
        """Does not wait; look at `takes_frames` before. What is sent in one turn of the loop goes out together."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        if self._outbox_bytes > OUTBOX_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        frames_now, self._outbox, self._outbox_bytes = self._outbox, [], 0
        if frames_now and self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(frames_now)

    async def close(self) -> None:
        """Sends what it has, and ends."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
        await self._has_ended.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                answer = frames.decode_answer(body)
                if answer.call == 0 and isinstance(answer, Failure):
                    raise frames.error_of(answer)
                self._answered(answer)
        except LittoralError as error:
            self._reason = error
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        self._has_room.clear()

    def resume_writing(self) -> None:
        self._has_room.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._has_room.set()
        self._has_ended.set()
        self._ended(self, self._reason)
