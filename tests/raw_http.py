"""HTTP/1.1 by hand: bytes as a test wants them, and what comes back."""

import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """status 0: the connection was closed without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message in any of the node's shapes."""
        said = self.json
        status = said.get("status")
        return str(status["error"] if isinstance(status, dict) else said["error"])


NOTHING = Reply(0, {}, b"")


def connect(address: str, timeout_s: float = 60) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout_s)


def request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """With the length of the body, unless the headers speak of one."""
    given = {"Host": "node", **(headers or {})}
    if body and not {"Content-Length", "Transfer-Encoding"} & set(given):
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def ask(address: str, data: bytes, *, half_close: bool = False, timeout_s: float = 60) -> Reply:
    """Sends the bytes on a connection of its own, and reads one answer."""
    with connect(address, timeout_s) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused while it was sending: the answer may still be there
        return read_reply(connection)


def send(address: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
    return ask(address, request(method, path, body, headers))


def send_json(address: str, method: str, path: str, body: Any) -> Reply:
    return send(address, method, path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def read_reply(connection: socket.socket) -> Reply:
    """One answer with a declared length; NOTHING where the connection ends before it."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := _receive(connection)):
            return NOTHING
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length and (more := _receive(connection)):
        body += more
    return Reply(int(first.split()[1]), headers, body)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except ConnectionResetError:
        return b""
