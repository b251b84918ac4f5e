"""The one door to Granian: an HTTP/1.1 server inside this process and its event loop (ADR 0008).

The socket is ours: Granian's own shares its port with whoever asks for the same (`SO_REUSEPORT`), so that a second
server would silently take half of the requests.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from granian._granian import RSGIProtocolClosed, RSGIProtocolError, SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as GranianServer

from littoral.errors import InputError, PeerError, SettingError, SlowRequestError, UnavailableError
from littoral.web.backlog import Backlog
from littoral.web.encodings import decompressed, encoding_of
from littoral.web.failures import failure_of
from littoral.web.messages import (
    Answer,
    Handler,
    Headers,
    Request,
    Stream,
    Upgrade,
    check_declared,
    encoded,
    json_answer,
    too_large,
    too_slow,
)
from littoral.web.router import plain_error
from littoral.web.sockets import NoBody, OpenSocket

__all__ = ["Limits", "Server", "serving"]

BACKLOG = 256
GRACE_S = 1.0
WATCH_AFTER_S = 0.05
"""Most requests are answered before; for the others it is worth knowing whether their callers are still there."""
STOP_S = 0.6
SECURITY_HEADERS = (
    ("server", "littoral"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)
PLAIN_POLICY = ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
NO_STORE = ("cache-control", "no-store")

_log = logging.getLogger("littoral.web")


class Limits(NamedTuple):
    """Of one server.

    header_s: for the head of a request, and for the pause between two on one connection. bodies_bytes_max: all bodies
    that are held at one time.
    """

    body_bytes_max: int = 16 << 20
    bodies_bytes_max: int = 128 << 20
    body_s: float = 20.0
    header_bytes_max: int = 64 << 10
    header_s: float = 15.0
    connection_count_max: int = 512


class Server(NamedTuple):
    """address: `host:port`, with the port that was really taken."""

    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, host: str, port: int, limits: Limits | None = None, grace_s: float = GRACE_S
) -> AsyncIterator[Server]:
    """Serves until the block ends; then new connections are refused, and what runs has `grace_s` to end.

    port: 0 = any that is free. Raises SettingError where the address cannot be had.
    """
    listener = _listener(host, port)
    bound = listener.getsockname()
    site = _Site(handler, limits or Limits())
    granian = _Embedded(site, listener)
    running = asyncio.create_task(granian.serve(), name="littoral-http")
    try:
        yield Server(f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}")
    finally:
        granian.stop()  # type: ignore[no-untyped-call]
        await site.end(grace_s)
        with contextlib.suppress(TimeoutError):  # a caller that takes no bytes: the process is about to end
            await asyncio.wait_for(running, STOP_S)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise SettingError(
            f"address `{host}:{port}` cannot be listened at: {getattr(error, 'strerror', None) or error}",
            hint="end what uses it, or listen at another port",
        ) from error
    listener.setblocking(False)
    return listener


class _Embedded(GranianServer):
    """Granian on a socket that is there already, and which it closes."""

    def __init__(self, site: "_Site", listener: socket.socket) -> None:
        limits = site.limits
        super().__init__(
            site.serve,
            port=1,  # not used
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=True,
            backpressure=limits.connection_count_max,
            http1_settings=HTTP1Settings(
                header_read_timeout=round(limits.header_s * 1000), max_buffer_size=limits.header_bytes_max
            ),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._shd = SocketHolder(self._listener.detach(), False, BACKLOG)  # type: ignore[call-arg,assignment]


class _Site:
    """Requests of Granian to requests of ours, and answers back."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.limits = limits
        self._handler = handler
        self._held = _Held(limits.bodies_bytes_max)
        self._running: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._is_ending = False

    async def serve(self, scope: Any, protocol: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await (self._serve(scope, protocol) if scope.proto == "http" else self._serve_socket(scope, protocol))
        finally:
            self._running.discard(task)
            self._streams.discard(task)

    async def _serve(self, scope: Any, protocol: Any) -> None:
        body = _Body(protocol, scope.headers, self.limits, self._held)
        request = Request(scope.method, scope.path, scope.query_string, scope.headers, body)
        watch = _Watch(protocol)
        try:
            answer = await self._handler(request)
            watch.end()
            await body.drain()
        except asyncio.CancelledError:
            if watch.is_gone and not self._is_ending:
                return
            if not self._is_ending:
                raise
            answer = _failed(UnavailableError("the node is stopping"))
        except Exception as error:  # noqa: BLE001  the handler's last resort
            answer = _failed(error)
        finally:
            watch.end()
            body.forget()
        if isinstance(answer, Stream):
            await self._send_stream(answer, protocol, scope.client)
        elif isinstance(answer, Upgrade):
            message = {"error": "this is a WebSocket", "hint": "ask with `Upgrade: websocket`"}
            needed = json_answer(message, 426, ("upgrade", "websocket"), ("connection", "upgrade"))
            protocol.response_bytes(needed.status, _headers(needed), needed.body)
        else:
            protocol.response_bytes(answer.status, _headers(answer), answer.body)

    async def _serve_socket(self, scope: Any, protocol: Any) -> None:
        body = NoBody(self.limits.body_bytes_max)
        request = Request(scope.method, scope.path, scope.query_string, scope.headers, body, is_upgrade=True)
        answer = await self._handler(request)
        if not isinstance(answer, Upgrade):
            protocol.close(answer.status if isinstance(answer, Answer) and answer.status >= 400 else 400)
            return
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            await answer.run(OpenSocket(await protocol.accept()))
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
        except (PeerError, RSGIProtocolClosed, RSGIProtocolError) as error:
            _log.debug("socket ended: %s", error)
        except Exception as error:  # noqa: BLE001  the last resort of a socket, as of a request
            failure_of(error)
        finally:
            with contextlib.suppress(RSGIProtocolClosed, RSGIProtocolError):
                protocol.close(None)

    async def _send_stream(self, stream: Stream, protocol: Any, client: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        headers = [("content-type", stream.media_type), NO_STORE, PLAIN_POLICY, *SECURITY_HEADERS]
        transport = protocol.response_stream(200, headers)
        try:
            with contextlib.closing(Backlog.of(client)) as backlog:
                async with contextlib.aclosing(stream.chunks) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        await transport.send_bytes(chunk)
                        await backlog.wait()
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
        except (RuntimeError, PeerError) as error:  # Granian's own, when the caller is gone
            _log.debug("stream ended: %s", error)

    async def end(self, grace_s: float) -> None:
        """Streams end at once, requests after `grace_s`."""
        self._is_ending = True
        for task in self._streams:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        late = set(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=STOP_S)


class _Watch:
    """Cancels the request that it is made in when its caller hangs up. is_gone: it did."""

    def __init__(self, protocol: Any) -> None:
        self.is_gone = False
        self._protocol = protocol
        self._request = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self._begin = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)

    def end(self) -> None:
        """Twice is fine."""
        self._begin.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _watch(self) -> None:
        self._watching = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        await self._protocol.client_disconnect()
        if self._request is not None:
            self.is_gone = True
            self._request.cancel()


class _Held:
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


class _Body:
    """Read once, in bounds of bytes and time."""

    def __init__(self, protocol: Any, headers: Headers, limits: Limits, held: _Held) -> None:
        self._protocol = protocol
        self._headers = headers
        self._limits = limits
        self._held = held
        self._held_bytes = 0
        self._data: bytes | None = None
        self._is_touched = False

    async def read(self) -> bytes:
        if self._data is None:
            encoding = encoding_of(self._headers)
            declared = check_declared(self._headers, self._limits.body_bytes_max)
            self._is_touched = True
            data = await self._read(declared)
            self._data = await self._decompressed(data, encoding) if encoding else data
        return self._data

    async def _decompressed(self, data: bytes, encoding: str) -> bytes:
        whole = await asyncio.to_thread(decompressed, data, encoding, self._limits.body_bytes_max)
        self._held_bytes += len(whole)
        self._held.add(len(whole))
        return whole

    async def _read(self, declared: int | None) -> bytes:
        if declared == 0:
            return b""
        data = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in self._protocol:
                    data += chunk
                    self._held_bytes += len(chunk)
                    self._held.add(len(chunk))
                    if len(data) > self._limits.body_bytes_max:
                        raise too_large(len(data), self._limits.body_bytes_max, " and more")
                    if len(data) == declared:  # one wait less than for the end to be told
                        break
        except TimeoutError as error:
            raise too_slow(len(data), self._limits.body_s) from error
        if declared is not None and len(data) < declared:
            raise InputError(f"body was cut off: {len(data)} of {declared} bytes came")
        return bytes(data)

    @property
    def bytes_max(self) -> int:
        return self._limits.body_bytes_max

    def chunks(self, pause_s: float) -> AsyncIterator[bytes]:
        if (encoding := self._headers.get("content-encoding", "identity")) != "identity":
            raise encoded(encoding)
        self._is_touched = True
        return _chunks(aiter(self._protocol), pause_s)  # Granian gives no body once the answer has begun

    def forget(self) -> None:
        """The request is over."""
        self._held.remove(self._held_bytes)
        self._data, self._held_bytes = None, 0

    async def drain(self) -> None:
        """Takes what nobody read, so that the caller can finish sending and read the answer."""
        if self._is_touched or not self._is_expected():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                size = 0
                async for chunk in self._protocol:
                    size += len(chunk)
                    if size > self._limits.body_bytes_max:
                        return

    def _is_expected(self) -> bool:
        if self._headers.get("transfer-encoding") is not None:
            return True
        return 0 < int(self._headers.get("content-length", "0")) <= self._limits.body_bytes_max


async def _chunks(source: Any, pause_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(pause_s):
                chunk = await anext(source)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise SlowRequestError(f"body: nothing came in {pause_s:g} s") from error
        if not chunk:  # the last one, and what comes when the caller is gone
            return
        yield chunk


def _failed(error: Exception) -> Answer:
    failure = failure_of(error)
    return json_answer(plain_error(failure.message, 0), failure.status, *failure.headers)


def _headers(answer: Answer) -> list[tuple[str, str]]:
    given = {name for name, _ in answer.headers}
    defaults = [header for header in (NO_STORE, PLAIN_POLICY) if header[0] not in given]
    return [("content-type", answer.media_type), *answer.headers, *defaults, *SECURITY_HEADERS]
