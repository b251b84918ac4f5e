"""The node's end of a shard host's socket: one connection, many calls in flight, reconnecting.

While a host is restarted its calls wait and are sent again, until their deadline. Reads can be repeated freely. Writes
can too: each sets points, or payloads, or removes them, so that done twice is as good as once. What is given up is
order among *concurrent* writes to one point, which has none until one of them is acknowledged.
"""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import LittoralError, ShardError, UnavailableError
from littoral.telemetry import Kind, Spread, recorded_trace, span
from littoral.vectors import frames
from littoral.vectors.channel import Channel
from littoral.vectors.frames import Answer, Failure, Request
from littoral.vectors.layout import socket_path

__all__ = ["ShardClient"]

PAUSE_FIRST_S = 0.005
PAUSE_MAX_S = 0.1


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
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()
        self._closed: LittoralError | None = None
        self.reconnect_count = 0
        self.times: dict[str, Spread] = {}
        """Of requests that were answered, by what they asked for."""

    @property
    def life(self) -> str:
        """Another in every life of the shard: the name of its folder."""
        return self._folder.name

    async def ask(self, request: Request, deadline_s: float) -> Answer:
        """The answer, after as many attempts as the deadline allows.

        Raises the host's own errors, and UnavailableError when there was no answer in time: a write may then have
        happened or not.
        """
        if recorded_trace() is None:
            return await self._asked(request, deadline_s)
        what = request.__struct_config__.tag
        told = {"littoral.collection": self._folder.parent.name, "littoral.shard": self.life}
        with span(f"shard {what}", Kind.CLIENT, told):
            return await self._asked(request, deadline_s)

    async def _asked(self, request: Request, deadline_s: float) -> Answer:
        # Kept here: who asks several shards the same at once hands each of them this request.
        request.call = call = next(self._numbers)
        frame = frames.encode(request)
        give_up = self._clock.monotonic() + deadline_s
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                answer = await self._attempt(call, frame, give_up)
                self._took(request, self._clock.monotonic() - give_up + deadline_s)
                return answer
            except (_LostError, UnavailableError) as error:
                if self._closed is not None:
                    raise self._closed from error
                if self._clock.monotonic() + pause_s >= give_up:
                    raise self._late(deadline_s, error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _took(self, request: Request, seconds: float) -> None:
        tag = str(request.__struct_config__.tag)
        if (spread := self.times.get(tag)) is None:
            spread = self.times[tag] = Spread()
        spread.observe(seconds)

    def _late(self, deadline_s: float, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"shard `{self._folder.parent.name}`: no answer in {deadline_s:g} s ({error}; host: {self._state()})",
            hint="try again; a write may have happened or not, and can be repeated",
        )

    async def _attempt(self, call: int, frame: bytearray, give_up: float) -> Answer:
        left_s = max(0.0, give_up - self._clock.monotonic())
        if (channel := self._channel) is None or not channel.takes_frames:
            channel = await self._readied(left_s)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._pending[call] = answer
        late = loop.call_later(left_s, _end, answer)
        try:
            channel.send(frame)
            found = await answer
        finally:
            late.cancel()
            self._forget(call)
        if isinstance(found, Failure):
            raise frames.error_of(found)
        return found

    async def _readied(self, left_s: float) -> Channel:
        """A channel that takes a frame now: whoever awaits this sends before anyone else can."""
        try:
            async with asyncio.timeout(left_s):
                channel = await self._connected()
                while not channel.takes_frames:
                    if not channel.is_open:
                        raise _LostError("the host closed the connection")
                    await channel.wait_room()
                return channel
        except TimeoutError as error:
            raise _LostError("timed out") from error
        except OSError as error:
            raise _LostError(error.strerror or type(error).__name__) from error

    def _forget(self, call: int) -> None:
        future = self._pending.pop(call)
        if future.done() and not future.cancelled():
            future.exception()  # looked at, else asyncio logs it as lost

    async def _connected(self) -> Channel:
        async with self._connecting:
            if self._closed is not None:
                raise self._closed
            if self._channel is None:
                loop = asyncio.get_running_loop()
                with socket_path(self._folder) as path:
                    _, self._channel = await loop.create_unix_connection(self._opened, path)
                self.reconnect_count += 1
            return self._channel

    def _opened(self) -> Channel:
        return Channel(self._answered, self._ended)

    def _answered(self, answer: Answer) -> None:
        if (future := self._pending.get(answer.call)) is not None and not future.done():
            future.set_result(answer)

    def _ended(self, channel: Channel, reason: LittoralError | None) -> None:
        """Tells everyone who still waits."""
        if self._channel is channel:
            self._channel = None
        end: Exception = _LostError("the host closed the connection")
        if reason is not None:
            end = ShardError(f"shard `{self._folder.parent.name}`: {reason.message}")
        for future in self._pending.values():
            if not future.done():
                future.set_exception(end)

    async def close(self, reason: LittoralError | None = None) -> None:
        """Ends the connection; every call, waiting or to come, raises `reason`."""
        self._closed = reason or UnavailableError(f"shard `{self._folder.parent.name}` is closed here")
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._closed)
        if (channel := self._channel) is not None:
            await channel.close()


def _end(answer: asyncio.Future[Answer]) -> None:
    if not answer.done():
        answer.set_exception(_LostError("timed out"))
