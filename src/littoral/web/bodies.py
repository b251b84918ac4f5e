"""Bodies as they come in: bounded in bytes and time, and no faster than they are taken."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from littoral.errors import InputError, SlowRequestError, UnavailableError
from littoral.web.encodings import decompressed, encoding_of
from littoral.web.flow import News
from littoral.web.limits import Limits
from littoral.web.messages import Headers, check_declared, encoded, too_large, too_slow

__all__ = ["Body", "Held"]

UNREAD_BYTES_MAX = 256 << 10
"""Of a body that nobody reads yet, or that is read in chunks: more is left to the kernel."""


class Held:
    """Bytes of all bodies that are in memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0

    def add(self, size: int) -> None:
        """Raises UnavailableError; what was added before stays until it is removed."""
        self._bytes += size
        if self._bytes > self._bytes_max:
            raise UnavailableError(f"bodies of all requests together have more than {self._bytes_max} bytes")

    def remove(self, size: int) -> None:
        self._bytes -= size


class Body:
    """Of one request; read once. `feed`, `finish` and `fail` are the connection's side, the rest is the handler's.

    hold: called with whether bytes should stop coming. ask: called when a handler wants the body for the first time.
    deadline: when a body that is read as a whole must be there, in the loop's time; none while nobody reads it.
    """

    def __init__(
        self, headers: Headers, limits: Limits, held: Held, hold: Callable[[bool], None], ask: Callable[[], None]
    ) -> None:
        self.is_complete = False
        self.deadline: float | None = None
        self._headers = headers
        self._limits = limits
        self._held = held
        self._hold = hold
        self._ask = ask
        self._parts: deque[bytes] = deque()
        self._unread_bytes = 0
        self._size = 0
        self._held_bytes = 0
        self._data: bytes | None = None
        self._error: Exception | None = None
        self._is_whole = False
        self._is_unwanted = False
        self._news = News()

    # the connection's side

    def feed(self, data: bytes) -> None:
        if self._is_unwanted or self._error is not None:
            return
        self._size += len(data)
        self._held_bytes += len(data)
        self._unread_bytes += len(data)
        self._parts.append(data)
        try:
            self._held.add(len(data))
        except UnavailableError as error:
            self.fail(error)
            return
        if self._is_whole:
            self._check_size()
            return
        if self._unread_bytes > UNREAD_BYTES_MAX:
            self._hold(True)
        self._news.tell()

    def finish(self) -> None:
        self.is_complete = True
        self._news.tell()

    def fail(self, error: Exception) -> None:
        """What a reader gets instead of the rest."""
        if not self.is_complete and self._error is None:
            self._error = error
            self._parts.clear()
            self._news.tell()

    def cut_off(self) -> None:
        """The caller has said that nothing more comes."""
        declared = self._headers.get("content-length")
        said = f"{self._size} of {declared} bytes" if declared is not None else f"{self._size} bytes and not the end"
        self.fail(InputError(f"body was cut off: {said} came"))

    def check(self, now: float) -> None:
        """To be called now and then, with the loop's time."""
        if self.deadline is not None and now > self.deadline:
            self.fail(too_slow(self._size, self._limits.body_s))

    def forget(self) -> None:
        """The request is over; what still comes of its body is dropped."""
        self._is_unwanted = True
        self._held.remove(self._held_bytes)
        self._parts.clear()
        self._data, self._held_bytes, self._unread_bytes = None, 0, 0
        self._hold(False)

    # the handler's side

    @property
    def bytes_max(self) -> int:
        return self._limits.body_bytes_max

    async def read(self) -> bytes:
        if self._data is None:
            encoding = encoding_of(self._headers)
            check_declared(self._headers, self._limits.body_bytes_max)
            data = await self._read()
            self._data = await self._decompressed(data, encoding) if encoding else data
        return self._data

    def chunks(self, pause_s: float) -> AsyncIterator[bytes]:
        if (encoding := self._headers.get("content-encoding", "identity")) != "identity":
            raise encoded(encoding)
        self._ask()
        return self._chunks(pause_s)

    async def _read(self) -> bytes:
        self._ask()
        self._is_whole = True
        self._check_size()
        self._hold(False)
        self.deadline = asyncio.get_running_loop().time() + self._limits.body_s
        while not self.is_complete and self._error is None:
            await self._news.wait()
        self.deadline = None
        if self._error is not None:
            raise self._error
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return data

    async def _chunks(self, pause_s: float) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    while not self._parts and not self.is_complete and self._error is None:
                        await self._news.wait()
            except TimeoutError as error:
                raise SlowRequestError(f"body: nothing came in {pause_s:g} s") from error
            if self._error is not None:
                raise self._error
            if not self._parts:
                return
            chunk = b"".join(self._parts)
            self._parts.clear()
            self._held.remove(len(chunk))
            self._held_bytes -= len(chunk)
            self._unread_bytes = 0
            self._hold(False)
            yield chunk

    async def _decompressed(self, data: bytes, encoding: str) -> bytes:
        whole = await asyncio.to_thread(decompressed, data, encoding, self._limits.body_bytes_max)
        self._held_bytes += len(whole)
        self._held.add(len(whole))
        return whole

    def _check_size(self) -> None:
        if self._size > self._limits.body_bytes_max:
            self.fail(too_large(self._size, self._limits.body_bytes_max, " and more"))
