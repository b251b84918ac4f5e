"""An Open Inference Protocol client on a bare socket: one request, again and again, and how long each answer takes."""

import json
import socket
import time
from types import TracebackType
from typing import Self

import numpy as np

__all__ = ["Client", "infer_request", "post"]


def infer_request(model: str, feeds: dict[str, np.ndarray]) -> bytes:
    """Binary in, binary out; float32."""
    feeds = {name: array.astype("<f4") for name, array in feeds.items()}
    inputs = [
        {"name": name, "shape": array.shape, "datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
        for name, array in feeds.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(array.tobytes() for array in feeds.values())
    return _post(f"/v2/models/{model}/infer", body, f"Inference-Header-Content-Length: {len(head)}\r\n")


def post(path: str, body: object) -> bytes:
    return _post(path, json.dumps(body).encode(), "")


def _post(path: str, body: bytes, headers: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: node\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Client:
    """One connection that stays open."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def ask(self, request: bytes) -> tuple[int, float]:
        """Status and milliseconds."""
        began = time.perf_counter()
        self._socket.sendall(request)
        status = int(self._stream.readline().split()[1])
        length = 0
        while (line := self._stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self._stream.read(length)
        return status, (time.perf_counter() - began) * 1000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        self._socket.close()
