"""One connection of HTTP/1.1: bytes in, requests to the handler one after the other, answers out in their order.

`httptools` finds the parts of a request (RFC 9112), strictly: what could be read in two ways is refused.
"""

import asyncio
import contextlib
import logging
from collections import deque
from typing import cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from littoral.errors import LittoralError, PeerError, UnavailableError
from littoral.web.addresses import network_of
from littoral.web.asked import Asked, authority_of
from littoral.web.bodies import Body
from littoral.web.failures import failure_of
from littoral.web.flow import Flow
from littoral.web.heads import CONTINUE, LAST_CHUNK, chunk, head_of
from littoral.web.messages import Answer, Leave, Stream, Upgrade, json_answer
from littoral.web.router import plain_error
from littoral.web.shared import Shared
from littoral.web.sockets import OpenSocket

__all__ = ["Connection"]

GONE_S = 0.05
"""A request whose caller hangs up has so long to end by itself, which most do."""

LINGER_S = 1.0
"""What still comes of a request that was refused is taken for so long, so that the caller reads the answer."""

HEADERS_MAX = 128
FRAMING_SHARE = 16
WAITING_COUNT_MAX = 64

WORDS = {"Pause on PRI/Upgrade": "it begins as HTTP/2 · hint: this port speaks HTTP/1.1; gRPC has a port of its own"}
"""For what llhttp says in its own."""

_log = logging.getLogger("littoral.web")


class Connection(asyncio.Protocol):
    """is_idle: no request is under way. network: where it comes from."""

    network = ""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(self)
        self._waiting: deque[Asked] = deque()
        self._running: asyncio.Task[None] | None = None
        self._reading: Asked | None = None
        self._unread: Asked | None = None
        self._socket: OpenSocket | None = None
        self._early = b""
        self._leave: Leave | None = None
        self._refusal = ""
        self._is_over = False
        self._is_gone = False
        self._is_in_head = False
        self._deadline = 0.0
        self._begin_head()

    # what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what uvloop gives is none by name
        self._flow = Flow(self._transport, self._limits.stalled_s)
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.network = network_of(self._peer)
        has_room = self._shared.make_room(self.network)
        self._shared.connections[self] = None
        self._deadline = self._loop.time() + self._limits.header_s
        if not has_room:
            error = UnavailableError(f"{self._limits.connection_count_max} connections are open, which is the most")
            self._refuse(_failed(error))
            self._serve_next()

    def data_received(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.feed(data)
            return
        if self._is_over:
            return
        was_in_head, was_reading, taken = self._is_in_head, self._reading, self._body_bytes
        self._parse(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            self._check_head()
        elif was_reading is not None and was_reading is self._reading:
            self._check_framing(len(data) - (self._body_bytes - taken))
        if self._waiting:
            self._serve_next()
            self._flow.hold("waiting", bool(self._waiting))

    def eof_received(self) -> None:
        if self._reading is not None:
            self._reading.body.cut_off()

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_over = self._is_gone = True
        self._shared.connections.pop(self, None)
        if not self._shared.connections:
            self._shared.has_none.set()
        self._flow.lost()
        if self._reading is not None:
            self._reading.body.cut_off()
        if self._socket is not None:
            self._socket.lost()
        if self._running is not None:
            self._loop.call_later(GONE_S, self._running.cancel)
        for asked in self._waiting:
            asked.body.forget()
        self._waiting.clear()

    def pause_writing(self) -> None:
        """Who does not take its answers asks no more."""
        self._flow.paused(self._loop.time())
        self._flow.hold("unsent", True)

    def resume_writing(self) -> None:
        self._flow.resumed()
        self._flow.hold("unsent", False)
        self._serve_next()

    # what the server tells

    @property
    def is_idle(self) -> bool:
        return self._running is None and (self._flow.is_paused or not self._waiting) and not self._is_over

    @property
    def is_sending(self) -> bool:
        """Whether the body of its request is not there yet."""
        return self._reading is not None

    def check(self, now: float) -> None:
        """To be called now and then: ends what takes too long."""
        if self._flow.is_stalled(now):
            self.abort()
        elif self._running is not None:
            if self._reading is not None:
                self._reading.body.check(now)
            if self._leave is not None:
                self._check_leave(self._leave, self._running)
        elif self._socket is None and now > self._deadline:
            self.abort() if self._is_over else self._transport.close()

    def _check_leave(self, leave: Leave, running: "asyncio.Task[None]") -> None:
        try:
            leave()
        except LittoralError as error:
            self._leave, self._refusal = None, error.message
            running.cancel()

    def end(self) -> None:
        """As soon as nothing is under way any more."""
        if self.is_idle:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # what the parser tells

    def on_message_begin(self) -> None:
        self._begin_head()
        self._is_in_head = True
        if self._running is None:
            self._deadline = self._loop.time() + self._limits.header_s

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._head_bytes += len(part)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is not None:
            return  # a trailer: who checks the head of a request does not see it, so it says nothing
        self._head_bytes += len(name) + len(value)
        self._header_count += 1
        key, text = name.lower().decode("latin-1"), value.strip().decode("latin-1")
        if (before := self._headers.get(key)) is not None:
            if key in ("host", "content-length"):
                raise ValueError(f"`{key}` is there twice")
            text = f"{before}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if not self._check_head():
            return
        headers, parser = self._headers, self._parser
        if (version := parser.get_http_version()) not in ("1.0", "1.1"):
            raise ValueError(f"its version is {version}")
        if parser.get_method() == b"CONNECT":
            raise ValueError("a node is no proxy, it takes no CONNECT")
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise ValueError("its `transfer-encoding` is not `chunked`")
        if version == "1.0" and "transfer-encoding" in headers:
            raise ValueError("HTTP/1.0 has no `transfer-encoding`")
        if (authority := authority_of(self._target)) is not None and authority != headers.get("host", "").lower():
            raise ValueError("its address names another host than `host` does")
        asked = Asked(
            parser.get_method().decode("latin-1"),
            self._target,
            headers,
            Body(headers, self._limits, self._shared.held, self._hold_body, self._continue),
        )
        asked.is_http10 = version == "1.0"
        asked.keeps_alive = parser.should_keep_alive()
        asked.is_upgrade = parser.should_upgrade() and headers.get("upgrade", "").lower() == "websocket"
        if asked.is_upgrade and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
            raise ValueError("a WebSocket is asked for without a body")
        if not asked.is_http10 and "host" not in headers:
            raise ValueError("there is no `host`")
        if len(self._waiting) >= WAITING_COUNT_MAX:
            raise ValueError(f"more than {WAITING_COUNT_MAX} requests were sent ahead of their answers")
        self._reading = asked
        self._waiting.append(asked)

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._reading is not None:
            self._reading.body.feed(data)

    def on_message_complete(self) -> None:
        if self._reading is not None:
            self._reading.body.finish()
        self._reading = None
        if self._unread is not None:
            self._unread = None
            self._deadline = self._loop.time() + self._limits.header_s

    # requests

    def _begin_head(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = self._header_count = 0
        self._body_bytes = self._framing_bytes = 0

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._waiting and self._waiting[-1].is_upgrade:
                self._early, self._is_over = rest, True
                self._flow.hold("upgrade", True)
            elif self._waiting:  # another protocol, which is not ours: the request is one like any other
                self._reading = None
                asked = self._waiting.pop()
                asked.body.forget()
                self._parser = HttpRequestParser(self)
                self._parse(asked.head("upgrade", "connection") + rest)
        except HttpParserCallbackError as error:
            self._refuse_malformed(error.__context__ or error)
        except HttpParserError as error:
            self._refuse_malformed(error)

    def _check_head(self) -> bool:
        """Whether it is small enough; what is larger is refused."""
        bytes_max = self._limits.header_bytes_max
        for found, most, what in (
            (self._head_bytes, bytes_max, "bytes"),
            (self._header_count, HEADERS_MAX, "headers"),
        ):
            if found > most and not self._is_over:
                message = f"head of the request has more than {most} {what}"
                self._refuse(json_answer(plain_error(message), 431))
        return not self._is_over

    def _check_framing(self, size: int) -> None:
        """Bytes beside those of a body: sizes of chunks, which may be of single bytes, extensions, trailers."""
        self._framing_bytes += size
        if self._framing_bytes > self._limits.header_bytes_max + FRAMING_SHARE * self._body_bytes:
            self._refuse_malformed(ValueError("extensions of chunks, or trailers, take more than its body"))

    def _refuse_malformed(self, error: BaseException) -> None:
        if not isinstance(error, HttpParserError | ValueError):
            _log.error("request could not be taken", exc_info=error)
        message = f"request is no HTTP/1.1: {WORDS.get(str(error), error)}"
        self._refuse(json_answer(plain_error(message[:200]), 400))

    def _refuse(self, answer: Answer) -> None:
        """After what came before; then the connection ends."""
        if self._reading is not None and self._waiting and self._waiting[-1] is self._reading:
            self._waiting.pop().body.forget()
        elif self._reading is not None:
            self._reading.body.fail(UnavailableError("the rest of the body is no HTTP/1.1"))
        refused = Asked("", b"", {}, Body({}, self._limits, self._shared.held, self._hold_body, self._continue))
        refused.answer = answer
        refused.keeps_alive = False
        self._reading = None
        self._waiting.append(refused)
        self._is_over = True

    def _hold_body(self, is_held: bool) -> None:
        self._flow.hold("body", is_held)

    def _continue(self) -> None:
        asked = self._reading
        if asked is None or asked in self._waiting or self._is_gone:
            return
        if asked.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(CONTINUE)

    def _serve_next(self) -> None:
        if self._running is None and self._waiting and not self._flow.is_paused:
            self._running = self._loop.create_task(self._serve(self._waiting.popleft()))
            self._shared.running.add(self._running)

    async def _serve(self, asked: Asked) -> None:
        task = self._running
        assert task is not None
        try:
            if await self._answered(asked):
                self._after(asked)
        finally:
            asked.body.forget()
            self._running = self._leave = None
            self._shared.running.discard(task)
            self._shared.streams.discard(task)
            if self._waiting:
                self._serve_next()
            if not self._is_gone:
                self._flow.hold("waiting", bool(self._waiting))

    async def _answered(self, asked: Asked) -> bool:
        """Whether there was anyone to answer to."""
        try:
            answer = asked.answer or await self._shared.handler(asked.request(self._limits.body_bytes_max, self._peer))
        except asyncio.CancelledError:
            if self._shared.is_ending:
                answer = _failed(UnavailableError("the node is stopping"))
            elif self._is_gone:
                return False
            else:
                raise
        except Exception as error:  # noqa: BLE001  the handler's last resort
            answer = _failed(error)
        if self._is_gone:
            return False
        if isinstance(answer, Stream):
            await self._send_stream(asked, answer)
        elif isinstance(answer, Upgrade):
            await self._upgrade(asked, answer)
        else:
            self._send(asked, answer)
        return not self._is_gone

    # answers

    def _send(self, asked: Asked, answer: Answer) -> None:
        must_close = self._shared.is_ending or asked.must_close(answer, self._limits.body_bytes_max)
        asked.keeps_alive = asked.keeps_alive and not must_close
        has_body = answer.status not in (204, 304)
        head = head_of(
            answer.status,
            answer.media_type if has_body else "",
            answer.headers,
            date=self._shared.date,
            length=len(answer.body) if has_body else None,
            closes=not asked.keeps_alive,
        )
        if asked.method == "HEAD" or not has_body:
            self._transport.write(head)
        else:
            self._transport.writelines((head, answer.body))

    async def _send_stream(self, asked: Asked, stream: Stream) -> None:
        self._begin_stream(stream.leave)
        is_chunked = not asked.is_http10 and stream.length is None
        has_end = is_chunked or stream.length is not None
        asked.keeps_alive = asked.keeps_alive and has_end and not self._shared.is_ending
        head = head_of(
            stream.status,
            stream.media_type,
            stream.headers,
            date=self._shared.date,
            length=stream.length,
            is_chunked=is_chunked,
            closes=not asked.keeps_alive,
        )
        self._transport.write(head)
        try:
            async with contextlib.aclosing(stream.chunks) as chunks:  # type: ignore[type-var]
                if asked.method == "HEAD" and stream.length is not None:
                    return
                async for data in chunks:
                    if data:
                        self._transport.write(chunk(data) if is_chunked else data)
                    await self._flow.drain()
        except asyncio.CancelledError:
            if not self._ends_stream():
                raise
            asked.keeps_alive = False
        except PeerError as error:
            _log.debug("stream ended: %s", error)
        except Exception as error:  # noqa: BLE001  its head is sent: all that is left is not to end it well
            failure_of(error)
            self.abort()
        else:
            if is_chunked:
                self._transport.write(LAST_CHUNK)

    async def _upgrade(self, asked: Asked, upgrade: Upgrade) -> None:
        asked.keeps_alive = False
        if not asked.is_upgrade:
            message = {"error": "this is a WebSocket", "hint": "ask with `Upgrade: websocket`"}
            self._send(asked, json_answer(message, 426, ("upgrade", "websocket"), ("connection", "upgrade")))
            return
        self._begin_stream(upgrade.leave)
        socket = OpenSocket(
            self._transport, self._flow, self._hold_socket, self._limits.body_bytes_max, self._shared.held
        )
        if not socket.accept(asked.opening()):
            return
        self._socket = socket
        if self._early:
            socket.feed(self._early)
        self._flow.hold("upgrade", False)
        try:
            await upgrade.run(socket)
        except asyncio.CancelledError:
            if not self._ends_stream():
                raise
        except PeerError as error:
            _log.debug("socket ended: %s", error)
        except Exception as error:  # noqa: BLE001  the last resort of a socket, as of a request
            failure_of(error)
        finally:
            await socket.close(self._refusal)

    def _begin_stream(self, leave: Leave | None) -> None:
        assert self._running is not None, "called by what runs"
        self._shared.streams.add(self._running)
        self._leave = leave

    def _ends_stream(self) -> bool:
        """Whether it was told to end: the node stops, the caller is gone, or has no leave any more."""
        return self._shared.is_ending or self._is_gone or bool(self._refusal)

    def _hold_socket(self, is_held: bool) -> None:
        self._flow.hold("socket", is_held)

    def _after(self, asked: Asked) -> None:
        """What becomes of the connection."""
        self._deadline = self._loop.time() + self._limits.header_s
        if self._refusal:
            self.abort()  # what it has not taken yet is not for it any more
        if asked.keeps_alive:
            if not asked.body.is_complete:
                self._unread = asked
                self._deadline = self._loop.time() + LINGER_S
            return
        self._is_over = True
        for other in self._waiting:
            other.body.forget()
        self._waiting.clear()
        if asked.body.is_complete or self._socket is not None:
            self._transport.close()
            return
        self._flow.hold("upgrade", False)
        self._deadline = self._loop.time() + LINGER_S
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the other side is gone meanwhile
                self._transport.write_eof()


def _failed(error: Exception) -> Answer:
    failure = failure_of(error)
    return json_answer(plain_error(failure.message), failure.status, *failure.headers)
