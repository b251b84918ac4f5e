"""Attacks by WebSocket, frame by frame, on the stream of a real pipeline: each is hung up on, the node serves on."""

import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence

import pytest

from littoral import settings
from littoral.web import Limits
from node_fixture import Served, node_in_thread
from raw_http import connect, request, send
from supervised import short_folder
from waiting import until

LIMITS = Limits(body_bytes_max=1 << 16, bodies_bytes_max=1 << 20, stalled_s=2.0, header_s=20.0)
PATH = "/pipelines/double/stream"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
CONT, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9
NONE = b""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, limits=LIMITS) as served,
    ):
        yield served


def frame(opcode: int, data: bytes = b"", *, last: bool = True, masked: bool = True, size: int | None = None) -> bytes:
    """size: what the frame says of itself, where that is a lie."""
    told = len(data) if size is None else size
    head = bytes([(0x80 if last else 0) | opcode])
    mark = 0x80 if masked else 0
    if told < 126:
        head += bytes([mark | told])
    elif told < 1 << 16:
        head += bytes([mark | 126]) + struct.pack(">H", told)
    else:
        head += bytes([mark | 127]) + struct.pack(">Q", told)
    return head + (bytes(4) if masked else b"") + data


def open_socket(served: Served, timeout_s: float = 60.0) -> socket.socket:
    """After its handshake."""
    connection = connect(served.address, timeout_s)
    connection.sendall(request("GET", PATH, headers=HANDSHAKE))
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    assert data.startswith(b"HTTP/1.1 101 ")
    return connection


def to_end(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            data += more
    return data


def code_of(data: bytes) -> int:
    """Of the close frame that came last; 0 without one."""
    at = data.rfind(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big") if at >= 0 else 0


WRONG: Mapping[str, tuple[bytes, int]] = {
    "a frame without a mask": (frame(TEXT, b"{}", masked=False), 1002),
    "a ping without a mask": (frame(PING, b"x", masked=False), 1002),
    "a reserved bit: compressed": (b"\xc1" + frame(TEXT, zlib.compress(bytes(60_000))[:100])[1:], 1002),
    "a second reserved bit": (b"\xa1" + frame(TEXT, b"x")[1:], 1002),
    "a third reserved bit": (b"\x91" + frame(TEXT, b"x")[1:], 1002),
    "an opcode nobody knows": (frame(3, b"x"), 1002),
    "a control opcode nobody knows": (frame(11, b"x"), 1002),
    "a ping of 126 bytes": (frame(PING, bytes(126)), 1002),
    "a ping in fragments": (frame(PING, b"x", last=False), 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close with a code that is not sent": (frame(CLOSE, (1006).to_bytes(2, "big")), 1002),
    "a close with a code of nobody": (frame(CLOSE, (70).to_bytes(2, "big")), 1002),
    "a close with a reason that is no text": (frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"), 1007),
    "a continuation of nothing": (frame(CONT, b"x"), 1002),
    "a message within a message": (frame(TEXT, b"{", last=False) + frame(TEXT, b"}"), 1002),
    "text that is no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "text that is cut within a letter": (frame(TEXT, b"\xe2\x82"), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "letters longer than they must be": (frame(TEXT, b"\xc0\xaf"), 1007),
    "text that is no JSON": (frame(TEXT, b"\0"), 1008),
    "JSON nested deep": (frame(TEXT, b"[" * 4000), 1008),
    "a long text": (frame(TEXT, b'"' + b"x" * 5000 + b'"'), 1008),
    "a frame of 2^62 bytes": (frame(BINARY, b"x", size=1 << 62), 1009),
    "a frame of 2^63 bytes": (frame(BINARY, b"x", size=(1 << 63) + 1), 1009),
    "a frame of a gigabyte": (frame(BINARY, bytes(1000), size=1 << 30), 1009),
    "fragments of a gigabyte": (
        frame(BINARY, bytes(30_000), last=False) + frame(CONT, bytes(60_000), last=False) * 3,
        1009,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_frames_are_hung_up_on(served: Served, name: str) -> None:
    data, code = WRONG[name]
    with open_socket(served) as connection:
        connection.sendall(data)
        found = to_end(connection)
    told = b'"code":%d' % code in found
    assert code_of(found) == code or told, found


HANDSHAKES: Mapping[str, tuple[Mapping[str, str], int]] = {
    "no key": ({"Sec-WebSocket-Key": ""}, 400),
    "a short key": ({"Sec-WebSocket-Key": "AAAA"}, 400),
    "a key that is no Base64": ({"Sec-WebSocket-Key": "!" * 24}, 400),
    "an old version": ({"Sec-WebSocket-Version": "8"}, 426),
    "a version of nobody": ({"Sec-WebSocket-Version": "13, 13"}, 426),
    "another origin": ({"Origin": "https://evil.example"}, 403),
    "no origin at all": ({"Origin": "null"}, 403),
    "another host": ({"Host": "evil.example"}, 403),
    "another protocol": ({"Upgrade": "h2c"}, 426),
    "a body": ({"Content-Length": "5"}, 400),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_wrong_handshakes_are_refused(served: Served, name: str) -> None:
    changed, status = HANDSHAKES[name]
    reply = send(served.address, "GET", PATH, headers={**HANDSHAKE, **changed})
    assert reply.status in (status, 400, 426), reply
    assert reply.status != 101


def test_compression_is_never_agreed_on(served: Served) -> None:
    """So there is no bomb of it."""
    offered = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits=15"}
    reply = send(served.address, "GET", PATH, headers={**HANDSHAKE, **offered})
    assert reply.status == 101
    assert "sec-websocket-extensions" not in reply.headers


def test_pings_without_end_to_who_reads_nothing_are_taken_no_more(served: Served) -> None:
    """Each is answered, so who takes no answer is not read from: what waits for it is bounded."""
    with open_socket(served) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2.0)
        pings, sent = frame(PING, bytes(125)) * 500, 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 64 << 20:
                sent += connection.send(pings)
        assert sent < 64 << 20
    assert send(served.address, "GET", "/livez").status == 200


def test_pings_that_are_read_are_answered(served: Served) -> None:
    with open_socket(served) as connection:
        connection.sendall(frame(PING, b"a") * 1000 + frame(CLOSE, (1000).to_bytes(2, "big")))
        assert to_end(connection).count(b"\x8a\x01a") == 1000


def test_fragments_of_nothing_take_nothing(served: Served) -> None:
    """A hundred thousand empty fragments are one message of as many bytes as are in it."""
    with open_socket(served) as connection:
        empty = frame(CONT, last=False) * 1000
        connection.sendall(frame(TEXT, b'{"type":', last=False))
        for _ in range(100):
            connection.sendall(empty)
        connection.sendall(frame(CONT, b'"end"}'))
        found = to_end(connection)
    assert b'"code":1000' in found, found


def test_half_messages_of_all_are_bounded_together(served: Served) -> None:
    """Each within its own bound: who comes last is told that there is no room, others go on."""
    half = frame(BINARY, bytes(60_000), last=False) + frame(CONT, bytes(60_000), last=False)
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(open_socket(served)) for _ in range(12)]
        threads = [threading.Thread(target=one.sendall, args=(half,)) for one in sockets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = sockets[-1]
        until(lambda: any(_is_closed(one) for one in sockets))
        assert last is not None
    assert send(served.address, "GET", "/livez").status == 200


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        data = connection.recv(1 << 16, socket.MSG_PEEK)
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return b"\x88" in data or not data


RACES: Mapping[str, Sequence[bytes]] = {
    "a close, and more after it": [frame(CLOSE, (1000).to_bytes(2, "big")), frame(BINARY, bytes(100)) * 50],
    "two closes": [frame(CLOSE, (1000).to_bytes(2, "big")) * 2],
    "a close in the middle of a message": [frame(TEXT, b"{", last=False) + frame(CLOSE, (1000).to_bytes(2, "big"))],
    "gone in the middle of a frame": [frame(BINARY, b"abc", size=1000)],
    "gone at once": [NONE],
    "a frame and gone": [frame(BINARY, b'{"inputs":{"x":[[1,2,3]]}}')],
}


@pytest.mark.parametrize("name", RACES)
def test_who_closes_in_odd_ways_leaves_nothing(served: Served, name: str) -> None:
    def open_count() -> float:
        text = send(served.address, "GET", "/metrics").body.decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("littoral_streams_open "))

    for _ in range(5):
        with open_socket(served) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in RACES[name]:
                connection.sendall(part)
    until(lambda: open_count() == 0)


def test_a_request_behind_a_refused_handshake_is_not_read(served: Served) -> None:
    smuggled = request("GET", "/assets/canary")
    with connect(served.address, 30) as connection:
        connection.sendall(request("GET", "/nothing", headers=HANDSHAKE) + smuggled)
        found = to_end(connection)
    assert found.count(b"HTTP/1.1 ") == 1
