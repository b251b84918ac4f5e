"""A WebSocket: frames by `websockets`, which does no I/O of its own, over a connection of ours."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Opening
from websockets.protocol import State
from websockets.server import ServerProtocol

from littoral.errors import PeerError, UnavailableError
from littoral.web.bodies import Held
from littoral.web.flow import Flow, News

__all__ = ["NoBody", "OpenSocket"]

SEND_S = 30.0
CLOSE_S = 0.5
UNREAD_COUNT_MAX = 16
REASON_BYTES_MAX = 123
UNREAD_BYTES_MAX = 1 << 20
LARGEST = 2
"""Times what a handler takes of one message: that much still gets the handler's own words, more is cut off."""


class OpenSocket:
    """`Socket`. `feed` and `lost` are the connection's side.

    hold: called with whether bytes should stop coming.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: Flow,
        hold: Callable[[bool], None],
        message_bytes_max: int,
        held: Held,
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._hold = hold
        self._protocol = ServerProtocol(max_size=LARGEST * message_bytes_max)
        self._messages: deque[bytes | str] = deque()
        self._unread_bytes = 0
        self._part = bytearray()
        self._held = held
        self._held_bytes = 0
        self._is_text = False
        self._is_over = False
        self._news = News()

    def accept(self, head: bytes) -> bool:
        """head: of the request that asked for it. Whether it is open now; the refusal is sent if not."""
        self._protocol.receive_data(head)
        for event in self._protocol.events_received():
            if isinstance(event, Opening):
                self._protocol.send_response(self._protocol.accept(event))
        self._flush()
        return self._protocol.state is State.OPEN

    def feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        try:
            self._hold_bytes()
        except UnavailableError as error:
            self._protocol.fail(CloseCode.TRY_AGAIN_LATER, error.message)
        self._flush()
        if self._protocol.state is not State.OPEN:
            self._is_over = True
        self._news.tell()

    def lost(self) -> None:
        self._is_over = True
        self._held.remove(self._held_bytes)
        self._held_bytes = 0
        self._news.tell()

    async def receive(self) -> bytes | str | None:
        while not self._messages:
            if self._is_over:
                return None
            await self._news.wait()
        message = self._messages.popleft()
        self._unread_bytes -= len(message)
        self._hold_bytes()
        if len(self._messages) < UNREAD_COUNT_MAX and self._unread_bytes < UNREAD_BYTES_MAX:
            self._hold(False)
        return message

    async def send(self, text: str) -> None:
        if self._protocol.state is not State.OPEN:
            raise PeerError("the other side of the socket is gone")
        self._protocol.send_text(text.encode())
        self._flush()
        try:
            async with asyncio.timeout(SEND_S):
                await self._flow.drain()
        except TimeoutError as error:
            raise PeerError(f"the other side of the socket took nothing in {SEND_S:g} s") from error

    async def close(self, refusal: str = "") -> None:
        """Says so, and gives the other side a moment to say the same. refusal: why it may not go on."""
        if self._protocol.state is State.OPEN:
            code = CloseCode.POLICY_VIOLATION if refusal else CloseCode.NORMAL_CLOSURE
            self._protocol.send_close(code, refusal.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
            self._flush()
        self._hold(False)
        try:
            async with asyncio.timeout(CLOSE_S):
                while not self._is_over:
                    self._messages.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._part += frame.data
        if not frame.fin:
            return
        data = bytes(self._part)
        self._part.clear()
        try:
            self._messages.append(data.decode() if self._is_text else data)
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text is no UTF-8")
            return
        self._unread_bytes += len(self._messages[-1])
        if len(self._messages) >= UNREAD_COUNT_MAX or self._unread_bytes >= UNREAD_BYTES_MAX:
            self._hold(True)

    def _hold_bytes(self) -> None:
        """All that is in memory of what came: frames that are not whole, messages that are not, and those not taken.

        Raises UnavailableError where all callers together have too much.
        """
        if self._is_over:
            return
        size = len(self._protocol.reader.buffer) + len(self._part) + self._unread_bytes
        more, self._held_bytes = size - self._held_bytes, size
        if more > 0:
            self._held.add(more)
        else:
            self._held.remove(-more)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self._transport.is_closing():
                self._transport.write(data)


class NoBody:
    """Of a request that asks for a WebSocket."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max

    async def read(self) -> bytes:
        return b""

    def chunks(self, _pause_s: float) -> AsyncIterator[bytes]:
        return _nothing()


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk
