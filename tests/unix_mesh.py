"""A `Transport` between processes of one machine, over unix sockets in one folder: requests, and who is there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

from littoral.errors import LittoralError, PeerError
from littoral.transport import Handler, OnLiveness, OnMessage, Reply
from littoral.transport.told_errors import heard_error, told_error

FRAME_BYTES_MAX = 32 << 20


class UnixMesh:
    """Every request has a connection of its own: whoever dies takes no one's stream along."""

    body_bytes_max = 16 << 20

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        path = self._folder / f"{self.name}.sock"
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path, limit=FRAME_BYTES_MAX)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            caller, service, body = msgspec.msgpack.decode(await _read(reader), type=tuple[str, str, bytes])
            try:
                told: Any = [True, await self._handlers[service](caller, body)]
            except LittoralError as error:
                told = [False, told_error(error)]
            _write(writer, told)
            await writer.drain()
        writer.close()

    async def serve(self, service: str, handler: Handler) -> None:
        self._handlers[service] = handler

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        try:
            async with asyncio.timeout(deadline_s):
                reader, writer = await asyncio.open_unix_connection(self._folder / f"{peer}.sock")
                try:
                    _write(writer, [self.name, service, body])
                    is_well, told = msgspec.msgpack.decode(await _read(reader), type=tuple[bool, bytes])
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError) as error:
            raise PeerError(f"peer `{peer}`: {type(error).__name__}") from error
        if not is_well:
            raise heard_error(peer, told)
        return told

    def fan_out(self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float) -> AsyncIterator[Reply]:
        raise NotImplementedError

    async def publish(self, topic: str, body: bytes) -> None:
        raise NotImplementedError

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        raise NotImplementedError

    def alive(self) -> frozenset[str]:
        return frozenset()

    def watch(self, on_liveness: OnLiveness) -> None:
        """Nobody is told of anybody: what is away is found out by asking."""

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()


def _write(writer: asyncio.StreamWriter, message: Any) -> None:
    body = msgspec.msgpack.encode(message)
    writer.write(len(body).to_bytes(4, "big") + body)


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
