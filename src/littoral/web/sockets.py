"""A WebSocket as Granian gives it, in our words. Granian closes without a code: who closes says why in a message."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from granian._granian import RSGIProtocolClosed, RSGIProtocolError

from littoral.errors import PeerError

__all__ = ["NoBody", "OpenSocket"]

SEND_S = 30.0
CLOSED = 0


class OpenSocket:
    """`Socket` over Granian's transport."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    async def receive(self) -> bytes | str | None:
        try:
            message = await self._transport.receive()
        except (RSGIProtocolClosed, RSGIProtocolError):
            return None
        return None if message.kind == CLOSED else message.data

    async def send(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._transport.send_str(text)
        except (RSGIProtocolClosed, RSGIProtocolError) as error:
            raise PeerError("the other side of the socket is gone") from error
        except TimeoutError as error:
            raise PeerError(f"the other side of the socket took nothing in {SEND_S:g} s") from error


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
