"""A node's HTTP side for the page's tests: the real assets under the real headers, answers of a `PageNode`."""

import json
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from page_node import PIPELINES, PageNode, RefusedError, Shown

ASSETS = Path(str(resources.files("littoral.web") / "assets"))
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
BODY_BYTES_MAX = 16 << 20
HEARTBEAT_S = 5.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: PageNode

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/events":
            self._stream()
        elif path == "/" or path.startswith("/assets/"):
            self._asset("index.html" if path == "/" else path.removeprefix("/assets/"))
        else:
            self._answer(lambda: self.node.get(path))

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            self._json(413, {"status": {"error": f"body has {length} bytes, at most {BODY_BYTES_MAX}"}, "time": 0})
            return
        body = self.rfile.read(length)
        self._answer(lambda: self.node.post(self.path, body))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, work: Any) -> None:
        try:
            self._json(200, work())
        except RefusedError as error:
            is_api = self.path.startswith("/api/")
            self._json(error.status, {"error": str(error)} if is_api else {"status": {"error": str(error)}, "time": 0})

    def _asset(self, name: str) -> None:
        path = (ASSETS / name).resolve()
        if not path.is_relative_to(ASSETS) or not path.is_file():
            self._send(404, "text/plain", b"")
            return
        self._send(200, MEDIA_TYPES.get(path.suffix, "text/plain"), path.read_bytes())

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": media_type, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.close_connection = True
        with self.node.events() as events:
            self.wfile.write(b": connected\n\n")
            while (event := _next(events)) is not None:
                try:
                    self.wfile.write(event)
                except OSError:
                    return


def _next(events: "queue.SimpleQueue[bytes | None]") -> bytes | None:
    try:
        return events.get(timeout=HEARTBEAT_S)
    except queue.Empty:
        return b": still here\n\n"


class _Server(ThreadingHTTPServer):
    """Closing it closes the connections that browsers keep, too."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers drop connections when they leave."""


@contextmanager
def serve_page(pictures: Sequence[Shown], pipelines: Sequence[str] = tuple(PIPELINES), port: int = 0) -> Iterator[str]:
    """The address of a server that lives as long as the `with` block."""
    with serve_node(PageNode(pictures, pipelines), port) as address:
        yield address


@contextmanager
def serve_node(node: PageNode, port: int = 0) -> Iterator[str]:
    """As `serve_page`, of a node that the test keeps in its hands."""
    handler = type("Handler", (_Handler,), {"node": node})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            node.tell(None)
