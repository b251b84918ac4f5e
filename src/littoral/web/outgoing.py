"""Requests to another server over HTTP/1.1: connections are kept, answers are bounded in bytes and time.

A request whose caller goes away takes its connection with it, so that the other side need not go on.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from littoral.errors import PeerError, SettingError

__all__ = ["Outgoing", "Replied"]

IDLE_COUNT_MAX = 8
IDLE_S = 15.0
HEAD_BYTES_MAX = 1 << 16
FORBIDDEN = frozenset("\r\n\0")


class Replied(NamedTuple):
    """headers: names in lower case, the last of a name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """To one server, for one event loop. url: `https://HOST[:PORT][/PATH]`. ca: PEM beside the machine's authorities.

    Raises SettingError for an address that is none, or a PEM that is none.
    """

    def __init__(self, url: str, *, ca: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            port, host = parts.port or (443 if parts.scheme == "https" else 80), parts.hostname
        except ValueError as error:
            raise SettingError(f"address `{url[:200]}`: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query:
            raise SettingError(f"address `{url[:200]}`, must be like https://fleet.example")
        self.url = url.rstrip("/")
        self._host, self._port = host, port
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/")
        self._context = _context(ca) if parts.scheme == "https" else None
        self._idle: list[tuple[float, _Line]] = []

    async def ask(
        self,
        method: str,
        path: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        deadline_s: float,
        bytes_max: int,
    ) -> Replied:
        """path: behind the address. bytes_max: of the answer's body. Raises PeerError, also where no answer came in
        time; a request may then have been done.
        """
        head = self._head(method, path, len(body), headers or {})
        try:
            async with asyncio.timeout(deadline_s):
                return await self._ask(head, body, bytes_max)
        except TimeoutError as error:
            raise PeerError(f"{self.url}: no answer in {deadline_s:.3g} s") from error
        except OSError as error:
            raise PeerError(f"{self.url}: {error.strerror or error}") from error

    def close(self) -> None:
        """Connections that wait for a request end."""
        while self._idle:
            self._idle.pop()[1].abort()

    async def _ask(self, head: bytes, body: bytes, bytes_max: int) -> Replied:
        """Once more where a connection that was kept had ended meanwhile, and nothing was heard over it."""
        line = self._kept()
        if line is not None:
            with contextlib.suppress(_GoneError):
                return await self._over(line, head, body, bytes_max)
        return await self._over(await self._connected(), head, body, bytes_max)

    async def _over(self, line: "_Line", head: bytes, body: bytes, bytes_max: int) -> Replied:
        try:
            replied = await line.send(head, body, bytes_max, self.url)
        except BaseException:
            line.abort()
            raise
        if line.can_stay and len(self._idle) < IDLE_COUNT_MAX:
            self._idle.append((asyncio.get_running_loop().time(), line))
        else:
            line.abort()
        return replied

    def _kept(self) -> "_Line | None":
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            since_s, line = self._idle.pop()
            if line.can_stay and now_s - since_s < IDLE_S:
                return line
            line.abort()
        return None

    async def _connected(self) -> "_Line":
        name = None if self._context is None else self._host
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(_Line, self._host, self._port, ssl=self._context, server_hostname=name)
        return line

    def _head(self, method: str, path: str, size: int, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {self._path}{path} HTTP/1.1", f"host: {self._authority}", f"content-length: {size}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any(not line.isascii() or FORBIDDEN & set(line) for line in lines):
            raise PeerError(f"{self.url}: a header has characters that HTTP has not")
        return "\r\n".join([*lines, "", ""]).encode()


class _GoneError(PeerError):
    """The connection ended before a word of the answer."""


class _Line(asyncio.Protocol):
    """One connection, for one request at a time."""

    can_stay = False
    """For another request; false from the first doubt on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what uvloop gives is none by name
        self._reply: asyncio.Future[Replied] | None = None
        self._is_lost = False

    async def send(self, head: bytes, body: bytes, bytes_max: int, url: str) -> Replied:
        """The answer. Raises PeerError."""
        self._url, self._bytes_max = url, bytes_max
        self._parser = HttpResponseParser(self)
        self._head_bytes = self._body_bytes = 0
        self._parts: list[bytes] = []
        self._has_heard = self._stays = False
        self._reply = asyncio.get_running_loop().create_future()
        self.can_stay = False
        if self._is_lost:
            raise _GoneError(f"{url}: the connection has ended")
        self._transport.write(head)
        if body:
            self._transport.write(body)
        return await self._reply

    def abort(self) -> None:
        self.can_stay = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._reply is None or self._reply.done():
            self.abort()  # nobody asked
            return
        self._has_heard = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(f"its answer is no HTTP/1.1: {error.__context__ or error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost, self.can_stay = True, False
        if self._reply is not None and not self._reply.done():
            told = f"{self._url}: the connection ended before the answer did{f': {error}' if error else ''}"
            self._reply.set_exception(PeerError(told) if self._has_heard else _GoneError(told))

    # what the parser tells

    def on_message_begin(self) -> None:
        self._headers: dict[str, str] = {}
        if self._reply is not None and self._reply.done():
            self.abort()  # a second answer, to no request

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self._check(self._head_bytes, HEAD_BYTES_MAX, "of headers")

    def on_headers_complete(self) -> None:
        self._stays = self._parser.should_keep_alive()
        declared = self._headers.get("content-length", "0")
        self._check(int(declared) if declared.isdecimal() else 0, self._bytes_max, "")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        self._parts.append(data)
        self._check(self._body_bytes, self._bytes_max, "")

    def on_message_complete(self) -> None:
        if self._reply is None or self._reply.done():
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._fail(f"answers {status}")
            return
        self.can_stay = self._stays
        self._reply.set_result(Replied(status, self._headers, b"".join(self._parts)))
        self._parts = []

    def _check(self, found: int, most: int, of: str) -> None:
        if found > most:
            self._fail(f"its answer has more than {most} bytes {of}".rstrip())

    def _fail(self, why: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(PeerError(f"{self._url}: {why}"))
        self.abort()


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        found = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise SettingError(f"the authority's certificate: {error}", hint="PEM") from error
    if ca:
        found.load_default_certs()
    return found
