"""A cheap generator of load, run as a process of its own: raw sockets, requests made beforehand, times in seconds.

`python -m bench.raw_load` reads a JSON line: address, connections, seconds, pause_s, and a file of requests, each with
its length before it (u32). Writes a JSON line: sorted times of all answers, how many failed, and how long it ran.
"""

import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Loaded", "begin_load", "http_request", "load"]

RECEIVE_BYTES = 1 << 18


class Loaded(NamedTuple):
    """times_s: sorted. per_s: answers in a second."""

    times_s: list[float]
    failed: int
    per_s: float

    def at_ms(self, share: float) -> float:
        """The time within which this share of the answers came."""
        return self.times_s[min(len(self.times_s) - 1, int(len(self.times_s) * share))] * 1000


def http_request(method: str, path: str, body: bytes) -> bytes:
    """As bytes, for one that stays connected and wants no kept answer."""
    head = (
        f"{method} {path} HTTP/1.1",
        "host: bench",
        "cache-control: no-store",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def begin_load(
    folder: Path,
    address: str,
    requests: Sequence[bytes],
    *,
    connections: int = 1,
    seconds: float = 5.0,
    pause_s: float = 0.0,
) -> "subprocess.Popen[str]":
    """Starts one; `load` waits for it. pause_s: between two requests of a connection, from start to start."""
    file = folder / f"requests-{time.monotonic_ns()}"
    with file.open("wb") as stream:
        for request in requests:
            stream.write(len(request).to_bytes(4, "little") + request)
    order = {"address": address, "connections": connections, "seconds": seconds, "pause_s": pause_s, "file": str(file)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.raw_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.close()
    return process


def load(process: "subprocess.Popen[str]") -> Loaded:
    """What came out of it."""
    with process:
        told = process.stdout.read() if process.stdout is not None else ""
    return Loaded(**json.loads(told))


class _Connection:
    def __init__(self, address: tuple[str, int], turn: int) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.turn = turn
        self.sent_at = 0.0
        self.next_at = 0.0
        self.pending = b""
        self.wanted = 0

    def send(self, requests: Sequence[bytes], step: int) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(requests[self.turn % len(requests)])
        self.turn += step
        self.pending, self.wanted = b"", 0

    def receive(self) -> bool | None:
        """Whether the answer was good, once it is there."""
        part = self.socket.recv(RECEIVE_BYTES)
        self.pending = self.pending + part if self.pending else part
        if not self.wanted:
            head = self.pending.find(b"\r\n\r\n")
            if head < 0:
                return None
            at = self.pending.lower().find(b"content-length:", 0, head)
            end = self.pending.find(b"\r\n", at)
            self.wanted = head + 4 + int(self.pending[at + 15 : end])
        return self.pending[9:12] == b"200" if len(self.pending) >= self.wanted else None


def _run(order: dict[str, object]) -> Loaded:
    requests, data, at = [], Path(str(order["file"])).read_bytes(), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        requests.append(data[at + 4 : end])
        at = end
    host, _, port = str(order["address"]).rpartition(":")
    count, pause_s = int(str(order["connections"])), float(str(order["pause_s"]))
    selector = selectors.DefaultSelector()
    times: list[float] = []
    failed = 0
    began = time.perf_counter()
    until = began + float(str(order["seconds"]))
    waiting = []
    for i in range(count):
        connection = _Connection((host, int(port)), i)
        connection.next_at = began + pause_s * i / count
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        waiting.append(connection)
    busy = 0
    while True:
        now = time.perf_counter()
        for connection in [one for one in waiting if one.next_at <= now] if now < until else []:
            waiting.remove(connection)
            connection.next_at = max(now - pause_s, connection.next_at) + pause_s
            connection.send(requests, count)
            busy += 1
        if now >= until and not busy:
            break
        wait_s = max(0.0, min((one.next_at for one in waiting), default=until) - now) if now < until else None
        for key, _ in selector.select(wait_s if waiting else None):
            if (is_good := key.data.receive()) is None:
                continue
            busy -= 1
            failed += not is_good
            times.append(time.perf_counter() - key.data.sent_at)
            waiting.append(key.data)
    return Loaded(sorted(times), failed, len(times) / (time.perf_counter() - began))


if __name__ == "__main__":
    print(json.dumps(_run(json.loads(sys.stdin.readline()))._asdict()))
