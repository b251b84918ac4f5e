"""An issuer's door: where a machine that is not in the mesh yet, or not any more, asks for a certificate.

TLS 1.3, the issuer shows its node's certificate, the other side shows none: it has a token, or signs with the key that
it had. A frame is a length in four bytes and JSON; in an answer, one byte before it says whether it is an error.
Bounded: connections, frames on one, bytes of each, time for all.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from littoral.errors import LittoralError, PeerError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.messages import (
    ASK_BYTES_MAX,
    Ask,
    AskAuthority,
    AskJoin,
    AuthorityAnswer,
    decoded,
)
from littoral.mesh.trust.certificates import pem_of_chain
from littoral.transport.told_errors import told_error

__all__ = ["GRANTED", "REFUSED", "Door", "open_door", "read_frame", "write_frame"]

CONNECTIONS_MAX = 32
ASKS_MAX = 4
DEADLINE_S = 10.0
FRAME_HEAD_BYTES = 4
GRANTED = b"+"
REFUSED = b"-"
"""First byte of an answer."""

Say = Callable[[str], None]


class Door:
    """host, port: where it listens."""

    def __init__(self, identity: Identity, issuer: Issuer, say: Say) -> None:
        self._identity = identity
        self._issuer = issuer
        self._say = say
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0
        self.reload()

    def reload(self) -> None:
        """Shows the identity's present certificate from the next connection on."""
        self._context.load_cert_chain(self._identity.credential_file)

    async def listen(self, host: str, port: int) -> None:
        """Raises PeerError where the address cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, ssl=self._context, ssl_handshake_timeout=DEADLINE_S, backlog=CONNECTIONS_MAX
            )
        except OSError as error:
            raise PeerError(f"cannot listen at `{host}:{port}`: {error.strerror or error}") from error
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Ends what is open, and waits for it."""
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server makes one for each connection"
        self._open[task] = writer
        try:
            if len(self._open) <= CONNECTIONS_MAX:
                async with asyncio.timeout(DEADLINE_S):
                    await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, PeerError) as error:
            self._say(f"door: a connection ended: {type(error).__name__}")
        finally:
            del self._open[task]
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(ASKS_MAX):
            try:
                frame = await read_frame(reader, ASK_BYTES_MAX)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                return
            answer, is_last = self._answer(frame)
            await write_frame(writer, answer)
            if is_last:
                return

    def _answer(self, frame: bytes) -> tuple[bytes, bool]:
        """The answer, and whether it is the last one on this connection."""
        try:
            ask: Ask = decoded(frame, Ask, ASK_BYTES_MAX)  # type: ignore[arg-type]
            return GRANTED + msgspec.json.encode(self._granted(ask)), False
        except LittoralError as error:
            self._say(f"door: refused: {error.message}")
            return REFUSED + told_error(error), True

    def _granted(self, ask: Ask) -> msgspec.Struct:
        if isinstance(ask, AskAuthority):
            trust = self._identity.trust
            older = [pem_of_chain([one]) for one in trust.older]
            return AuthorityAnswer(pem_of_chain([trust.root]), pem_of_chain([trust.issuing]), older)
        if isinstance(ask, AskJoin):
            answer = self._issuer.join(ask)
            self._say("door: a node joined")
            return answer
        renewed = self._issuer.renew(ask.proof)
        self._say("door: a certificate was renewed")
        return renewed


@asynccontextmanager
async def open_door(identity: Identity, host: str, port: int, *, say: Say = lambda _line: None) -> AsyncIterator[Door]:
    """The door of an issuer. Raises ForbiddenError on a node that is none, PeerError for the address."""
    door = Door(identity, Issuer(identity), say)
    await door.listen(host, port)
    try:
        yield door
    finally:
        await door.close()


async def read_frame(reader: asyncio.StreamReader, most_bytes: int) -> bytes:
    """Raises PeerError for a longer one, IncompleteReadError at the end."""
    length = int.from_bytes(await reader.readexactly(FRAME_HEAD_BYTES))
    if length > most_bytes:
        raise PeerError(f"a frame of {length} bytes, at most {most_bytes}")
    return await reader.readexactly(length)


async def write_frame(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(FRAME_HEAD_BYTES) + frame)
    await writer.drain()
