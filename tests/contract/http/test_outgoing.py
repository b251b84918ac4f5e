"""Requests to other servers: what a server may answer, and what is made of one that is broken, slow or hostile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from littoral.errors import PeerError, SettingError
from littoral.web.outgoing import CONNECTIONS_MAX, Outgoing

FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
MEBIBYTE = 1 << 20
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNK = b"8000\r\n" + bytes(0x8000) + b"\r\n"


class Told:
    """requests: as they came, heads and bodies. connections: in all."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer after the other; after the last the connection ends with the next request."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if not self.answers:
                    break
                writer.write(self.answers.pop(0))
                await writer.drain()


@contextlib.asynccontextmanager
async def served(talk: Talk) -> AsyncIterator[Outgoing]:
    """talk: what is said on each connection, which ends with it."""
    talking = set[asyncio.Task[None]]()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.transport.abort() if writer.is_closing() else writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0, limit=2 * MEBIBYTE)
    outgoing = Outgoing(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base")
    try:
        yield outgoing
    finally:
        await outgoing.close()
        server.close()
        await asyncio.gather(*talking)


@contextlib.asynccontextmanager
async def told(*answers: bytes) -> AsyncIterator[tuple[Told, Outgoing]]:
    found = Told(*answers)
    async with served(found.talk) as outgoing:
        yield found, outgoing


async def asked(outgoing: Outgoing, body: bytes = b"", deadline_s: float = 60.0) -> bytes:
    replied = await outgoing.ask("POST", "/x", body, {"a": "b"}, deadline_s=deadline_s, bytes_max=MEBIBYTE)
    return replied.body


async def test_a_request_goes_out_as_it_is_and_its_connection_is_kept() -> None:
    async with told(FINE, BUSY, FINE) as (server, outgoing):
        assert await asked(outgoing, b"body") == b"ok"
        replied = await outgoing.ask("GET", "/y", deadline_s=60.0, bytes_max=5)
        assert (replied.status, replied.headers["retry-after"], replied.body) == (503, "7", b"abcde")
        assert await asked(outgoing, bytes(MEBIBYTE)) == b"ok"
        assert server.connections == 1
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert (head[:23], body) == (b"POST /base/x HTTP/1.1\r\n", b"body")
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        assert names == {b"host", b"a", b"content-length"}
        assert server.requests[2].endswith(bytes(MEBIBYTE))


async def test_a_connection_that_ended_meanwhile_is_made_anew() -> None:
    """The server closes with the second request, of which it said nothing."""
    async with told(FINE) as (server, outgoing):
        assert await asked(outgoing) == b"ok"
        server.answers = []
        with pytest.raises(PeerError, match="Server disconnected"):
            await asked(outgoing)
        assert server.connections == 2, "once more, and no more"


BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "another version": b"HTTP/3.7 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "cut off": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
    "no end but the connection's": b"HTTP/1.1 200 OK\r\n\r\nok",
    "a switch": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "too much, declared": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "too much, and it comes": b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + bytes(2_000_000),
    "too much, in chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK * 40,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    "one long header": b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000 + b"\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_no_answer_is_a_peers_fault(what: str) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BROKEN[what])
        await writer.drain()

    async with served(once) as outgoing:
        with pytest.raises(PeerError):
            await asked(outgoing)


async def test_more_than_was_asked_for_ends_the_connection() -> None:
    """Bytes behind an answer are no answer to the next request."""
    async with told(FINE + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", FINE) as (server, outgoing):
        assert await asked(outgoing) == b"ok"
        assert await asked(outgoing) == b"ok"
        assert server.connections == 2


async def test_no_answer_in_time_and_nobody_there() -> None:
    """Who gives up hangs up, so that the server knows."""
    began, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        began.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with served(silent) as outgoing:
        with pytest.raises(PeerError, match=r"no answer in 0\.05 s"):
            await asked(outgoing, deadline_s=0.05)
        await gone.wait()
        began.clear()
        gone.clear()
        step = asyncio.create_task(asked(outgoing))
        await began.wait()
        step.cancel()
        await gone.wait()
    nobody = Outgoing("http://127.0.0.1:1")
    with pytest.raises(PeerError, match="127.0.0.1:1"):
        await asked(nobody)
    await nobody.close()


async def test_no_more_connections_are_made_than_may_be() -> None:
    async with told(*[FINE] * 3 * CONNECTIONS_MAX) as (server, outgoing):
        await asyncio.gather(*(asked(outgoing) for _ in range(2 * CONNECTIONS_MAX)))
        assert server.connections == CONNECTIONS_MAX


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "ä"])
async def test_a_header_cannot_become_two(value: str) -> None:
    outgoing = Outgoing("http://127.0.0.1:1")
    with pytest.raises(PeerError, match="characters that HTTP has not"):
        await outgoing.ask("GET", "", headers={"authorization": value}, deadline_s=1, bytes_max=1)


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://a:b@c", "http://x?y=1", "http://x:99999", "http://[::1"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SettingError, match="^address "):
        Outgoing(url)


def test_an_authority_that_is_none() -> None:
    with pytest.raises(SettingError, match="authority"):
        Outgoing("https://x", ca="-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----")
