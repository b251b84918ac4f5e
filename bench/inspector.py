"""What an isolate says of its heap: V8's inspector over a WebSocket (RFC 6455, the little that one question needs)."""

import base64
import http.client
import json
import os
import socket
import struct
from typing import Any, BinaryIO

__all__ = ["asked"]

TIMEOUT_S = 10
TEXT, FINAL, MASKED = 1, 0x80, 0x80


def asked(address: str, method: str) -> dict[str, Any]:
    """The answer of the one isolate behind the inspector at HOST:PORT. Raises OSError where it does not answer."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection, connection.makefile("rb") as lines:
        connection.sendall(_handshake(address, _path(address)))
        while (line := lines.readline()) not in (b"\r\n", b""):
            if line.startswith(b"HTTP/1.1") and b" 101 " not in line:
                raise ConnectionError(f"inspector at {address}: {line!r}")
        connection.sendall(_frame(json.dumps({"id": 1, "method": method}).encode()))
        while (answer := json.loads(_message(lines))).get("id") != 1:
            pass
        result: dict[str, Any] = answer["result"]
        return result


def _path(address: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    connection.request("GET", "/json")
    (isolate, *_) = json.loads(connection.getresponse().read())
    connection.close()
    return "/" + str(isolate["webSocketDebuggerUrl"]).split("/", 3)[3]


def _handshake(address: str, path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {address}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _frame(data: bytes) -> bytes:
    """Of less than 126 bytes, under a mask of zeros."""
    return bytes([FINAL | TEXT, MASKED | len(data), 0, 0, 0, 0]) + data


def _message(lines: BinaryIO) -> bytes:
    parts = []
    is_final = False
    while not is_final:
        first, length = _read(lines, 2)
        if length == 126:
            (length,) = struct.unpack(">H", _read(lines, 2))
        elif length == 127:
            (length,) = struct.unpack(">Q", _read(lines, 8))
        parts.append(_read(lines, length))
        is_final = bool(first & FINAL)
    return b"".join(parts)


def _read(lines: BinaryIO, length: int) -> bytes:
    data = lines.read(length)
    if len(data) < length:
        raise ConnectionError("inspector ended the connection")
    return data
