"""One connection of HTTP/1.1: the order of answers, what may be read in two ways, who stalls, and WebSockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from littoral.web import Answer, Limits, Protocol, Request, Route, Router, Socket, Stream, Upgrade, json_answer, serving
from raw_http import NOTHING, Reply, ask, connect, read_reply, request
from waiting import until_async

LIMITS = Limits(body_bytes_max=1000, body_s=2.0, header_s=4.0, header_bytes_max=4096, stalled_s=2.0)
CLOSE = {"Connection": "close"}
CHUNKED = {"Transfer-Encoding": "chunked"}
SOCKET = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
MASK = bytes(4)
_T = TypeVar("_T")


class App:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.received: list[bytes | str | None] = []
        self.is_large_asked = self.is_stream_over = False
        self.header = "fine"
        routes = [
            Route("GET", "/n/{n}", self.numbered),
            Route("POST", "/n/{n}", self.numbered),
            Route("GET", "/query", self.query),
            Route("GET", "/empty", self.empty),
            Route("GET", "/header", self.with_header),
            Route("GET", "/large", self.large),
            Route("GET", "/stream", self.stream),
            Route("POST", "/frames", self.frames),
            Route("GET", "/socket", self.socket),
            Route("GET", "/refused", self.query),
        ]
        self.router = Router([Protocol((), routes)])

    async def numbered(self, asked: Request) -> Answer:
        self.seen.append(asked.names["n"])
        await asyncio.sleep(0.02 if asked.names["n"] == "0" else 0)
        data = await asked.body.read() if asked.method == "POST" else b""
        return json_answer([asked.names["n"], data.decode()])

    async def query(self, asked: Request) -> Answer:
        return json_answer([asked.path, asked.query])

    async def empty(self, _: Request) -> Answer:
        return Answer(b"", 204)

    async def with_header(self, _: Request) -> Answer:
        return json_answer(1, 200, ("x-said", self.header))

    async def large(self, _: Request) -> Answer:
        self.is_large_asked = True
        return Answer(bytes(32 << 20))

    async def stream(self, _: Request) -> Stream:
        return Stream(self._endless(), "text/plain")

    async def _endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 << 10)
        finally:
            self.is_stream_over = True

    async def frames(self, asked: Request) -> Stream:
        async def sizes() -> AsyncIterator[bytes]:
            async for part in asked.body.chunks(1.0):
                yield b"%d " % len(part)

        return Stream(sizes(), "text/plain")

    async def socket(self, asked: Request) -> Upgrade | Answer:
        return Upgrade(self._echo) if asked.is_upgrade else json_answer("plain")

    async def _echo(self, opened: Socket) -> None:
        while (message := await opened.receive()) is not None:
            self.received.append(message)
            if message == "end":
                return
            await opened.send(message if isinstance(message, str) else str(len(message)))


@pytest.fixture
async def app() -> App:
    return App()


@contextlib.asynccontextmanager
async def served(app: App, limits: Limits = LIMITS) -> AsyncIterator[str]:
    async with serving(app.router, host="127.0.0.1", port=0, limits=limits) as server:
        yield server.address


@pytest.fixture
async def address(app: App) -> AsyncIterator[str]:
    async with served(app) as address:
        yield address


async def talk(address: str, talking: Callable[[socket.socket], _T]) -> _T:
    """On a connection of its own, beside the loop."""

    def run() -> _T:
        with connect(address) as connection:
            return talking(connection)

    return await asyncio.to_thread(run)


def to_end(connection: socket.socket) -> bytes:
    data = b""
    while more := connection.recv(1 << 16):
        data += more
    return data


async def said(address: str, data: bytes) -> bytes:
    """All that comes back until the connection ends."""

    def talking(connection: socket.socket) -> bytes:
        connection.sendall(data)
        return to_end(connection)

    return await talk(address, talking)


async def asked(address: str, data: bytes) -> Reply:
    return await asyncio.to_thread(ask, address, data)


# --- order ---


async def test_requests_sent_ahead_are_answered_in_their_order(app: App, address: str) -> None:
    ahead = b"".join(request("POST", f"/n/{n}", b"body%d" % n) for n in range(5)) + request("GET", "/n/5", b"", CLOSE)
    answers = await said(address, ahead)
    assert app.seen == [str(n) for n in range(6)]
    assert [answers.index(b'["%d",' % n) for n in range(6)] == sorted(answers.index(b'["%d",' % n) for n in range(6))
    assert b'["3","body3"]' in answers
    assert b'["5",""]' in answers


async def test_a_request_in_single_bytes_is_one_request(address: str) -> None:
    def talking(connection: socket.socket) -> Reply:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("POST", "/n/1?x=%41", b"drops"):
            connection.sendall(bytes([byte]))
        return read_reply(connection)

    assert (await talk(address, talking)).json == ["1", "drops"]


async def test_too_many_requests_ahead_end_the_connection(app: App, address: str) -> None:
    answers = await said(address, request("GET", "/n/0") * 100)
    assert b"requests were sent ahead of their answers" in answers
    assert 1 <= len(app.seen) <= 65


async def test_http_1_0_is_answered_and_ends(address: str) -> None:
    answer = await said(address, b"GET /n/1 HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer


async def test_a_stream_to_http_1_0_has_no_chunks(app: App, address: str) -> None:
    answer = await said(address, b"POST /frames HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc")
    assert answer.endswith(b"\r\n\r\n3 ")


# --- what could be read in two ways ---


@pytest.mark.parametrize(
    "head",
    [
        "GET /n/1 HTTP/1.1\r\n\r\n",
        "GET /n/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /n/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        "POST /n/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /n/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /n/1 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /n/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n1",
        "GET /n/1 HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET /n/1 HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
        "GET /n/1 HTTP/1.1\nHost: a\n\n",
        "GET /n/1 HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /n/1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "CONNECT node:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT node:443 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_plain_request_is_refused(app: App, address: str, head: str) -> None:
    reply = await asked(address, head.encode("latin-1"))
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.error.startswith("request is no HTTP/1.1: ")
    assert app.seen == []


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"-1\r\n\r\n", b"f" * 17 + b"\r\n"]
)
async def test_a_body_in_wrong_chunks_is_refused(app: App, address: str, chunks: bytes) -> None:
    reply = await asked(address, request("POST", "/n/1", chunks, CHUNKED))
    assert reply.status in (400, 503)
    assert reply.headers.get("connection") == "close" or reply.status == 503
    assert (await asked(address, request("GET", "/n/2"))).status == 200


async def test_a_long_head_is_refused(address: str) -> None:
    for size in (5000, 100_000):
        reply = await asked(address, request("GET", "/n/1", b"", {"X": "y" * size}))
        assert (reply.status, reply.error) == (431, "head of the request has more than 4096 bytes")


async def test_targets_in_their_forms(address: str) -> None:
    for target in ("/query?a=1", "http://node/query?a=1", "/query?a=1#there"):
        assert (await asked(address, request("GET", target))).json == ["/query", {"a": "1"}]
    assert (await asked(address, request("GET", "/qu%65ry?a=%26"))).json == ["/query", {"a": "&"}]
    assert (await asked(address, request("OPTIONS", "*"))).status == 404


async def test_headers_that_come_twice_are_one_list(address: str) -> None:
    twice = b"GET /query HTTP/1.1\r\nhost: a\r\naccept: text/html\r\naccept: text/plain\r\n\r\n"
    assert (await asked(address, twice)).status == 200


# --- bodies ---


async def test_who_asks_before_sending_is_told_to_go_on(address: str) -> None:
    def talking(connection: socket.socket) -> tuple[bytes, Reply]:
        connection.sendall(request("POST", "/n/1", b"", {"Content-Length": "3", "Expect": "100-continue"}))
        first = connection.recv(100)
        connection.sendall(b"abc")
        return first, read_reply(connection)

    first, reply = await talk(address, talking)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert reply.json == ["1", "abc"]


async def test_who_asks_before_sending_too_much_is_not(address: str) -> None:
    reply = await asked(address, request("POST", "/n/1", b"", {"Content-Length": "1001", "Expect": "100-continue"}))
    assert (reply.status, reply.headers["connection"]) == (413, "close")


async def test_an_answer_is_read_by_who_still_sends(address: str) -> None:
    reply = await asked(address, request("POST", "/n/1", bytes(4 << 20), {"Content-Length": str(4 << 20)}))
    assert (reply.status, reply.error) == (413, f"body has {4 << 20} bytes, at most 1000")


async def test_a_body_that_nobody_wanted_does_not_hide_the_next_request(address: str) -> None:
    def talking(connection: socket.socket) -> list[int]:
        connection.sendall(request("POST", "/nothing", bytes(500), {"Content-Length": "900"}))
        first = read_reply(connection).status
        connection.sendall(bytes(400) + request("GET", "/n/1"))
        return [first, read_reply(connection).status]

    assert await talk(address, talking) == [404, 200]


async def test_a_stream_of_any_length_goes_through(app: App, address: str) -> None:
    size = 8 << 20
    sent = request("POST", "/frames", bytes(size), {"Content-Length": str(size), **CLOSE})
    parts = [part.split(b"\r\n")[-1] for part in (await said(address, sent)).split(b" \r\n")[:-1]]
    assert sum(int(part) for part in parts if part.isdigit()) == size


# --- answers ---


async def test_no_body_where_none_belongs(address: str) -> None:
    answers = await said(
        address, request("HEAD", "/n/1") + request("GET", "/empty") + request("HEAD", "/n/2", b"", CLOSE)
    )
    assert [head.split(b"\r\n")[0] for head in answers.split(b"\r\n\r\n")] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 200 OK",
        b"",
    ]


async def test_a_header_stays_one_line(app: App, address: str) -> None:
    app.header = "a\r\nset-cookie: b\x00\N{SNOWMAN}"
    reply = await asked(address, request("GET", "/header"))
    assert reply.headers["x-said"] == "a  set-cookie: b ?"
    assert "set-cookie" not in reply.headers


async def test_every_answer_has_its_date(address: str) -> None:
    await asked(address, request("GET", "/n/1"))
    assert (await asked(address, request("GET", "/n/1"))).headers["date"].endswith(" GMT")


async def test_who_takes_nothing_is_hung_up_on(app: App, address: str) -> None:
    with contextlib.ExitStack() as open_ones:
        stalled = [open_ones.enter_context(connect(address)) for _ in range(2)]
        stalled[0].sendall(request("GET", "/large"))
        await until_async(lambda: app.is_large_asked)
        stalled[1].sendall(request("GET", "/stream"))
        await until_async(lambda: app.is_stream_over)
        for one in stalled:
            with contextlib.suppress(ConnectionResetError):
                assert len(await asyncio.to_thread(to_end, one)) < 32 << 20


async def test_more_connections_than_it_takes(app: App) -> None:
    async with served(app, LIMITS._replace(connection_count_max=2, body_s=20)) as address:
        with connect(address) as first, connect(address) as second:
            for one in (first, second):
                one.sendall(request("POST", "/n/1", b"a", {"Content-Length": "2"}))
            await until_async(lambda: app.router.busy_count == 2)
            reply = await asked(address, b"")
            assert (reply.status, reply.error) == (503, "2 connections are open, which is the most")
            first.sendall(b"b")
            assert (await asyncio.to_thread(read_reply, first)).status == 200
            assert (await asked(address, request("GET", "/n/2"))).status == 200, "a silent one makes room"
            second.sendall(b"b")
            assert (await asyncio.to_thread(read_reply, second)).json == ["1", "ab"]


# --- WebSockets ---


def frame(opcode: int, data: bytes, *, is_last: bool = True) -> bytes:
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([(0x80 if is_last else 0) | opcode]) + size + MASK + data


async def exchanged(address: str, *frames: bytes, headers: dict[str, str] | None = None) -> tuple[bytes, bytes]:
    """Head of the answer, and what came after it."""
    data = await said(address, request("GET", "/socket", b"", headers or SOCKET) + b"".join(frames))
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


async def test_messages_sent_with_the_request_are_answered(app: App, address: str) -> None:
    head, rest = await exchanged(
        address,
        frame(1, b"one"),
        frame(2, b"ab", is_last=False),
        frame(9, b"ping"),
        frame(0, b"cd"),
        frame(1, b"end"),
    )
    assert head.startswith(b"HTTP/1.1 101 ")
    assert app.received == ["one", b"abcd", "end"]
    assert rest == b"\x8a\x04ping" + b"\x81\x03one" + b"\x81\x014" + b"\x88\x02\x03\xe8"


async def test_a_client_that_closes_is_closed(app: App, address: str) -> None:
    _, rest = await exchanged(address, frame(8, (1000).to_bytes(2, "big")))
    assert rest == b"\x88\x02\x03\xe8"
    assert app.received == []


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\x81\x03abc", 1002), (b"\xf1\x80" + MASK, 1002), (frame(1, b"\xff\xfe"), 1007), (frame(2, bytes(2001)), 1009)],
    ids=["unmasked", "reserved bits", "no text", "too large"],
)
async def test_wrong_frames_close_it(app: App, address: str, data: bytes, code: int) -> None:
    _, rest = await exchanged(address, data)
    assert rest[:1] == b"\x88"
    assert int.from_bytes(rest[2:4], "big") == code
    assert app.received == []


async def test_a_wrong_opening_is_refused(address: str) -> None:
    without_key = {name: value for name, value in SOCKET.items() if name != "Sec-WebSocket-Key"}
    for headers in (without_key, SOCKET | {"Sec-WebSocket-Version": "12"}):
        head, _ = await exchanged(address, headers=headers)
        assert head.startswith(b"HTTP/1.1 400 ")


async def test_a_socket_where_there_is_none_is_an_answer(address: str) -> None:
    assert (await asked(address, request("GET", "/nothing", b"", SOCKET))).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_protocol_is_not_changed_to(address: str, method: str) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}

    def talking(connection: socket.socket) -> list[Any]:
        connection.sendall(request(method, "/n/1", b"ab" if method == "POST" else b"", headers))
        first = read_reply(connection).json
        connection.sendall(request("GET", "/n/2"))
        return [first, read_reply(connection).json]

    assert await talk(address, talking) == [["1", "ab" if method == "POST" else ""], ["2", ""]]


async def test_who_says_nothing_gets_nothing(app: App) -> None:
    async with served(app, LIMITS._replace(header_s=0.2)) as address:
        assert await asked(address, b"") == NOTHING
