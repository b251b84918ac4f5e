"""Streams of a real node: frames in, answers out, over one POST and over a WebSocket."""

import contextlib
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from littoral.node.stream_runs import CREDIT_MAX, STREAM_COUNT_MAX
from littoral.web import Limits
from node_fixture import Served, node_in_thread
from page_pictures import page_pictures
from pictures import jpeg, natural
from raw_http import connect, read_reply, request, send
from supervised import short_folder
from waiting import until

LENGTHS = {"Content-Type": "application/x-littoral-frames"}
PICTURES = [picture.data for picture in page_pictures()[:8]]
LARGE = jpeg(natural(1200, 900))
LIMITS = Limits(body_bytes_max=1 << 20)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder, limits=LIMITS) as node:
        yield node


def stream(
    served: Served, body: bytes, headers: dict[str, str], pipeline: str = "embed"
) -> tuple[str, list[tuple[str, Any]]]:
    """Content type and events."""
    connection = http.client.HTTPConnection(served.address, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", f"/pipelines/{pipeline}/stream", body, headers)
        reply = connection.getresponse()
        return reply.headers["content-type"], events(reply.read())


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)


def events(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def counts(served: Served) -> dict[str, float]:
    lines = send(served.address, "GET", "/metrics").body.decode().splitlines()
    return {
        line.split()[0][len("littoral_streams_") :]: float(line.split()[1])
        for line in lines
        if line.startswith("littoral_streams_")
    }


def test_every_frame_of_a_post_is_answered(served: Served) -> None:
    media_type, found = stream(served, framed(*PICTURES), LENGTHS)
    assert media_type == "text/event-stream"
    assert found[0] == ("open", {"credit": 4})
    assert found[-1] == ("end", {"answers": 8, "errors": 0})
    assert {said["frame"] for name, said in found if name == "answer"} == set(range(8))
    one = send(served.address, "POST", "/pipelines/embed", PICTURES[3]).json["result"]
    assert next(said for name, said in found if name == "answer" and said["frame"] == 3)["result"] == one


def test_answers_come_while_the_body_goes_on(served: Served) -> None:
    head = request("POST", "/pipelines/embed/stream", headers={**LENGTHS, "Transfer-Encoding": "chunked"})
    with connect(served.address) as connection:
        connection.sendall(head)
        unread = b""
        for number, picture in enumerate(PICTURES):
            frame = framed(picture)
            connection.sendall(b"%x\r\n%b\r\n" % (len(frame), frame))
            while b'"frame":%d}' % number not in unread and b'"frame":%d,' % number not in unread:
                unread += connection.recv(1 << 16)
        connection.sendall(b"0\r\n\r\n")
        while not unread.endswith(b"0\r\n\r\n"):
            unread += connection.recv(1 << 16)
        assert b'event: end\ndata: {"answers":8,"errors":0}' in unread


@pytest.mark.parametrize("lengths", [True, False])
def test_parts_as_cameras_send_them(served: Served, lengths: bool) -> None:
    parts = []
    for number, picture in enumerate(PICTURES):
        size = f"Content-Length: {len(picture)}\r\n" if lengths else ""
        head = f"--frame\r\nContent-Type: image/jpeg\r\nlittoral-id: n{number}\r\n{size}\r\n"
        parts.append(head.encode() + picture + b"\r\n")
    headers = {"Content-Type": 'multipart/x-mixed-replace; boundary="frame"'}
    _, found = stream(served, b"".join(parts) + b"--frame--\r\n", headers)
    assert {said["id"] for name, said in found if name == "answer"} == {f"n{i}" for i in range(8)}


def test_a_frame_that_is_no_picture_costs_that_frame(served: Served) -> None:
    body = framed(PICTURES[0], b"no picture", b"", PICTURES[1])
    _, found = stream(served, body, LENGTHS)
    assert {said["frame"]: said["code"] for name, said in found if name == "error"} == {1: 422, 2: 400}
    assert found[-1] == ("end", {"answers": 2, "errors": 2})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (framed(PICTURES[0]) + struct.pack("<I", 2 << 20), (413, "frame has 2097152 bytes or more, at most 1048576")),
        (framed(PICTURES[0]) + b"\x05\0\0\0abc", (400, "body ended within a frame, after 7 bytes of it")),
    ],
)
def test_what_is_no_frame_ends_the_stream(served: Served, body: bytes, said: tuple[int, str]) -> None:
    name, end = stream(served, body, LENGTHS)[1][-1]
    assert (name, end["answers"], end["code"], end["status"]["error"]) == ("end", 1, *said)


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        ("/pipelines/nothing/stream", LENGTHS, 404, "pipeline `nothing` is unknown"),
        ("/pipelines/embed/stream", {"Content-Type": "image/jpeg"}, 400, "content type is `image/jpeg`, must be"),
        ("/pipelines/embed/stream", {"Content-Type": "multipart/mixed"}, 400, "content type is `multipart/mixed`"),
        ("/pipelines/embed/stream?credit=0", LENGTHS, 400, f"`credit` is `0`, must be 1..{CREDIT_MAX}"),
        ("/pipelines/embed/stream", LENGTHS | {"Content-Encoding": "gzip"}, 501, "body is encoded as `gzip`"),
        ("/pipelines/embed/stream", LENGTHS | {"Origin": "http://evil.example"}, 403, "another origin"),
    ],
)
def test_what_is_refused_before_it_begins(
    served: Served, path: str, headers: dict[str, str], status: int, said: str
) -> None:
    reply = send(served.address, "POST", path, framed(PICTURES[0]), headers)
    if status == 501:
        assert "gzip" in reply.body.decode()
        return
    assert reply.status == status
    assert said in reply.error


def test_a_get_that_is_no_websocket_is_told(served: Served) -> None:
    reply = send(served.address, "GET", "/pipelines/embed/stream")
    assert (reply.status, reply.headers["upgrade"]) == (426, "websocket")


@contextlib.contextmanager
def socket_to(served: Served, path: str = "/pipelines/embed/stream", **options: Any) -> Iterator[websocket.WebSocket]:
    opened = websocket.create_connection(f"ws://{served.address}{path}", timeout=60, **options)
    try:
        yield opened
    finally:
        opened.shutdown()


def heard(opened: websocket.WebSocket) -> Any:
    return json.loads(opened.recv())


def test_a_socket_may_have_a_long_address(served: Served) -> None:
    with socket_to(served, "/pipelines/embed/stream?note=" + "a" * 9000) as opened:
        assert heard(opened)["type"] == "credit"


def test_a_socket_answers_within_its_credit(served: Served) -> None:
    with socket_to(served, "/pipelines/embed/stream?credit=2") as opened:
        assert heard(opened) == {"type": "credit", "frames": 2}
        sent, answers = 0, []
        while len(answers) < len(PICTURES):
            while sent < min(len(PICTURES), len(answers) + 2):
                opened.send(json.dumps({"type": "frame", "id": f"n{sent}"}))
                opened.send_binary(PICTURES[sent])
                sent += 1
            answers.append(heard(opened))
        assert {(said["type"], said["frame"], said["id"]) for said in answers} == {
            ("answer", i, f"n{i}") for i in range(8)
        }
        opened.send('{"type": "end"}')
        assert heard(opened) == {"type": "end", "code": 1000, "reason": "all frames are answered"}
        assert opened.recv() == ""


@pytest.mark.parametrize(
    ("messages", "code", "said"),
    [
        ([LARGE] * 10, 1008, "5 frames are unanswered, credit is 4"),
        ([b"x" * ((1 << 20) + 1)], 1009, "frame has 1048577 bytes, at most 1048576"),
        (["hello"], 1008, "text message: JSON is malformed"),
        (['{"type": "what"}'], 1008, "text message is of type `what`, must be `frame` or `end`"),
        (['{"type": "frame", "more": 1}'], 1008, "unknown field `more`"),
        (["[" * 5000], 1008, "text message has 5000 characters, at most 4096"),
    ],
)
def test_who_breaks_the_rules_is_told_and_hung_up_on(
    served: Served, messages: list[bytes | str], code: int, said: str
) -> None:
    with socket_to(served) as opened:
        heard(opened)
        for message in messages:
            opened.send(message) if isinstance(message, str) else opened.send_binary(message)
        while (told := heard(opened))["type"] != "end":
            assert told["type"] == "answer", told
        assert told["code"] == code
        assert said in told["reason"]
        assert opened.recv() == ""


def test_pages_of_another_origin_get_no_socket(served: Served) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
        socket_to(served, origin="http://evil.example"),
    ):
        pass
    assert caught.value.status_code == 403
    with socket_to(served, origin=f"http://{served.address}") as opened:
        assert heard(opened)["type"] == "credit"
    for path in ("/pipelines/nothing/stream", "/healthz", "/nothing"):
        with pytest.raises(websocket.WebSocketBadStatusException), socket_to(served, path):
            pass


def test_streams_are_bounded_and_end_with_their_clients(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket_to(served)) for _ in range(STREAM_COUNT_MAX)]
        for opened in sockets:
            heard(opened)
        reply = send(served.address, "POST", "/pipelines/embed/stream", framed(PICTURES[0]), LENGTHS)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert counts(served)["open"] == STREAM_COUNT_MAX
        assert send(served.address, "POST", "/pipelines/embed", PICTURES[0]).status == 200
    until(lambda: counts(served)["open"] == 0)


def test_a_client_that_leaves_in_the_middle_of_a_frame_leaves_nothing(served: Served) -> None:
    for cut in (3, 1000):
        head = request("POST", "/pipelines/embed/stream", headers={**LENGTHS, "Transfer-Encoding": "chunked"})
        with connect(served.address) as connection:
            connection.sendall(head + b"fff\r\n" + framed(PICTURES[0])[:cut])
            until(lambda: counts(served)["open"] == 1)
        until(lambda: counts(served)["open"] == 0)


def test_a_client_that_reads_nothing_is_not_read_from_either(served: Served) -> None:
    """Its frames stay in its own memory: the connection is what holds it up."""
    before = counts(served)["frames_total"]
    frame = framed(PICTURES[0])
    chunk = b"%x\r\n%b\r\n" % (len(frame) * 50, frame * 50)
    host, _, port = served.address.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(2)
    connection.connect((host, int(port)))
    stopped = threading.Event()

    def push() -> None:
        with contextlib.suppress(OSError):
            connection.sendall(
                request("POST", "/pipelines/embed/stream", headers={**LENGTHS, "Transfer-Encoding": "chunked"})
            )
            for _ in range(2000):
                connection.sendall(chunk)
        stopped.set()

    thread = threading.Thread(target=push)
    thread.start()
    assert stopped.wait(60)
    connection.close()
    thread.join()
    until(lambda: counts(served)["open"] == 0)
    assert counts(served)["frames_total"] - before < 100_000


def test_a_node_that_stops_ends_its_streams() -> None:
    with short_folder() as folder, node_in_thread(folder) as node:
        opened = websocket.create_connection(f"ws://{node.address}/pipelines/embed/stream", timeout=60)
        heard(opened)
        connection = connect(node.address)
        connection.sendall(
            request("POST", "/pipelines/embed/stream", headers={**LENGTHS, "Transfer-Encoding": "chunked"})
        )
        until(lambda: counts(node)["open"] == 2)
    with contextlib.suppress(websocket.WebSocketConnectionClosedException):  # without a word, if it must
        assert opened.recv() == ""
    assert read_reply(connection).status == 200
    connection.close()
    opened.shutdown()
