"""A real HTTP server of a fleet's folder in somebody else's hands: by path it cuts, lies, drips or never ends."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["AttackedServer", "Reply", "attacked"]

PREFIX = "/fleet/v1/"
Reply = Callable[["Handler", bytes, int], None]
"""Writes an answer: the handler, the file, the first byte that was asked for."""


class AttackedServer(ThreadingHTTPServer):
    """replies: by a part of the path, instead of an honest answer. counted: bytes of bodies, by path."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.replies: dict[str, Reply] = {}
        self.counted: dict[str, int] = {}
        self.asked: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class Handler(BaseHTTPRequestHandler):
    """Ranges as RFC 9110 has them."""

    protocol_version = "HTTP/1.1"
    server: AttackedServer

    def do_GET(self) -> None:
        path = self.path.removeprefix(PREFIX)
        self.server.asked.append(path)
        file = self.server.folder / path
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        reply = next((reply for part, reply in self.server.replies.items() if part in path), None)
        if reply is not None:
            reply(self, file.read_bytes() if file.is_file() else b"", int(wanted[1]) if wanted else 0)
            return
        if not file.is_file():
            self.answer(404, b"")
            return
        data = file.read_bytes()
        if wanted is None:
            self.answer(200, data)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self.answer(416, b"")
            return
        self.answer(206, data[first : last + 1], **{"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def answer(self, status: int, body: bytes, *, length: int | None = None, **headers: str) -> None:
        """length: what is said of the body, if it is not what it is; negative: nothing is said."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None or length >= 0:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        else:
            self.close_connection = True
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        path = self.path.removeprefix(PREFIX)
        self.server.counted[path] = self.server.counted.get(path, 0) + len(body)
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def cut(self) -> None:
        """The connection ends here."""
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[AttackedServer]:
    with AttackedServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
