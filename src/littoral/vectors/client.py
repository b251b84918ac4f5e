"""The node's end of a shard host's socket: one connection, many calls in flight, reconnecting.

While a host is restarted its calls wait and are sent again, until their deadline. Reads can be repeated freely. Writes
can too: each sets points, or payloads, or removes them, so that done twice is as good as once. What is given up is
order among *concurrent* writes to one point, which has none until one of them is acknowledged.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import LittoralError, ShardError, UnavailableError
from littoral.vectors import frames
from littoral.vectors.frames import Answer, Failure, Request
from littoral.vectors.layout import socket_path

__all__ = ["ShardClient"]

PAUSE_FIRST_S = 0.005
PAUSE_MAX_S = 0.1
READ_AHEAD_BYTES = 1 << 20


class _LostError(Exception):
    """The connection cannot be had, or was cut: the request may or may not have arrived."""


class ShardClient:
    """Calls to one shard host. For one event loop."""

    def __init__(self, shard_folder: Path, clock: Clock, *, state: Callable[[], str] = lambda: "unknown") -> None:
        """state: what the supervisor says of the host, for messages."""
        self._folder = shard_folder
        self._clock = clock
        self._state = state
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._closed: LittoralError | None = None
        self.reconnect_count = 0

    async def ask(self, request: Request, deadline_s: float) -> Answer:
        """The answer, after as many attempts as the deadline allows.

        Raises the host's own errors, and UnavailableError when there was no answer in time: a write may then have
        happened or not.
        """
        request.call = next(self._numbers)
        frame = frames.encode(request)
        give_up = self._clock.monotonic() + deadline_s
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                return await self._attempt(request.call, frame, give_up)
            except (_LostError, UnavailableError) as error:
                if self._closed is not None:
                    raise self._closed from error
                if self._clock.monotonic() + pause_s >= give_up:
                    raise self._late(deadline_s, error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _late(self, deadline_s: float, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"shard `{self._folder.parent.name}`: no answer in {deadline_s:g} s ({error}; host: {self._state()})",
            hint="try again; a write may have happened or not, and can be repeated",
        )

    async def _attempt(self, call: int, frame: bytearray, give_up: float) -> Answer:
        try:
            async with asyncio.timeout(max(0.0, give_up - self._clock.monotonic())):
                writer = await self._connected()
                answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                self._pending[call] = answer
                try:
                    async with self._sending:  # one frame at a time in the buffer, whoever else waits
                        if writer.is_closing():
                            raise _LostError("the host closed the connection")
                        writer.write(frame)
                        await writer.drain()
                    found = await answer
                finally:
                    self._forget(call)
        except TimeoutError as error:
            raise _LostError("timed out") from error
        except OSError as error:
            raise _LostError(error.strerror or type(error).__name__) from error
        if isinstance(found, Failure):
            raise frames.error_of(found)
        return found

    def _forget(self, call: int) -> None:
        future = self._pending.pop(call)
        if future.done() and not future.cancelled():
            future.exception()  # looked at, else asyncio logs it as lost

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._closed is not None:
                raise self._closed
            if self._writer is None:
                with socket_path(self._folder) as path:
                    reader, self._writer = await asyncio.open_unix_connection(path, limit=READ_AHEAD_BYTES)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
                self.reconnect_count += 1
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hands out answers until the connection ends, then tells everyone who still waits."""
        end: Exception = _LostError("the host closed the connection")
        try:
            while True:
                length = frames.frame_length(await reader.readexactly(frames.LENGTH_BYTES))
                answer = frames.decode_answer(await reader.readexactly(length))
                if answer.call == 0 and isinstance(answer, Failure):
                    raise frames.error_of(answer)
                if (future := self._pending.get(answer.call)) is not None and not future.done():
                    future.set_result(answer)
        except (OSError, EOFError):
            pass
        except LittoralError as error:
            end = ShardError(f"shard `{self._folder.parent.name}`: {error.message}")
        finally:
            self._writer = None
            writer.close()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(end)

    async def close(self, reason: LittoralError | None = None) -> None:
        """Ends the connection; every call, waiting or to come, raises `reason`."""
        self._closed = reason or UnavailableError(f"shard `{self._folder.parent.name}` is closed here")
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._closed)
        if (writer := self._writer) is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
