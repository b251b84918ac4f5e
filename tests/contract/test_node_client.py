"""The client of a node's HTTP interface, against a server that says what it is told to say."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from littoral.errors import (
    ConflictError,
    DeadlineError,
    InputError,
    LittoralError,
    NodeError,
    NotFoundError,
    NotOfferedError,
    PeerError,
    TooLargeError,
    UnavailableError,
)
from littoral.node import client as client_module
from littoral.node.client import NodeClient


class Said(ThreadingHTTPServer):
    """Answers in order, the last one again and again; notes what it was asked."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str, bytes, str | None]] = []
        self.hold = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Said

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = self.server
        said.asked.append((self.command, self.path, body, self.headers.get("Content-Type")))
        status, answer = said.answers.pop(0) if len(said.answers) > 1 else said.answers[0]
        if status == 0:
            said.hold.wait(120)
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815 (as the class above calls it)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def talking(*answers: tuple[int, bytes], timeout_s: float = 20.0) -> Iterator[tuple[NodeClient, Said]]:
    with Said(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        client = NodeClient(server.url, timeout_s=timeout_s)
        try:
            yield client, server
        finally:
            client.close()
            server.hold.set()
            server.shutdown()
            thread.join()


def test_a_pipeline_is_asked_with_bytes() -> None:
    answer = {"status": "ok", "time": 0.01, "result": [], "how": {"node": "a", "stages": {"decode": 1.5}}}
    with talking((200, json.dumps(answer).encode())) as (client, server):
        told = client.run_pipeline("a/b", b"picture")
    assert (told.result, told.stages_ms, told.how["node"]) == ([], {"decode": 1.5}, "a")
    assert server.asked == [("POST", "/pipelines/a%2Fb", b"picture", "application/octet-stream")]


def test_a_collection_is_asked_with_json() -> None:
    with talking((200, b'{"result": {"count": 3}, "status": "ok", "time": 0}')) as (client, server):
        assert client.collection("POST", "frames", "/points/count", {"exact": True}) == {"count": 3}
    assert server.asked == [("POST", "/collections/frames/points/count", b'{"exact": true}', "application/json")]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputError),
        (404, NotFoundError),
        (405, InputError),
        (409, ConflictError),
        (413, TooLargeError),
        (422, InputError),
        (500, NodeError),
        (501, NotOfferedError),
        (504, DeadlineError),
    ],
)
@pytest.mark.parametrize("body", [b'{"status": {"error": "what it said"}, "time": 0}', b'{"error": "what it said"}'])
def test_errors_come_back_as_they_were(status: int, kind: type[LittoralError], body: bytes) -> None:
    with talking((status, body)) as (client, server), pytest.raises(kind, match="^what it said$"):
        client.call("GET", "/x")
    assert len(server.asked) == 1


def test_a_busy_node_is_asked_again() -> None:
    busy = (503, b'{"error": "busy"}')
    with talking(busy, busy, (200, b'{"ok": 1}')) as (client, server):
        assert client.call("GET", "/x") == {"ok": 1}
    assert len(server.asked) == 3


def test_a_node_that_stays_busy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACK_OFF_S", 0.001)
    with talking((503, b'{"error": "busy"}')) as (client, server), pytest.raises(UnavailableError, match="^busy$"):
        client.call("GET", "/x")
    assert len(server.asked) == 6


def test_a_connection_that_was_closed_is_made_again() -> None:
    with talking((200, b"{}"), (200, b"{}")) as (client, server):
        client.call("GET", "/x")
        client._connection().sock.shutdown(2)
        assert client.call("GET", "/x") == {}
    assert len(server.asked) == 2


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1"])
def test_what_is_no_json_is_told(body: bytes) -> None:
    with talking((200, body)) as (client, _), pytest.raises(PeerError, match="no JSON"):
        client.call("GET", "/x")


def test_an_answer_that_is_too_large_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_BYTES_MAX", 10)
    with talking((200, b'{"a": 123456}')) as (client, _), pytest.raises(PeerError, match="more than 10 bytes"):
        client.call("GET", "/x")


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    started = time.perf_counter()
    with talking((0, b""), timeout_s=0.2) as (client, _), pytest.raises(DeadlineError, match=r"no answer in 0.2 s"):
        client.call("GET", "/x")
    assert time.perf_counter() - started < 60


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8642", "ftp://a", "http://", "http://a/b", "http://a?b", "http://a:70000", "http://[::1"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="address of a node is"):
        NodeClient(url)
