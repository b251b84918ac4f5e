"""Requests as fast as a node answers them: raw sockets, kept open, several clients, in a process of its own.

`python -m bench.request_load ADDRESS CLIENTS SECONDS FILE`: FILE holds requests as they go over the wire, each after
its length (u32). Every client sends them in turn, one at a time, and waits for the answer. The last line printed is
JSON: requests, seconds, the median and the 99th percentile in ms, answers by status, and by the `cache` of their `how`.
"""

import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Load", "post", "under_load"]

WARM_UP_SHARE = 0.2


class Load(NamedTuple):
    """caches: how many answers came from which cache."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    caches: dict[str, int]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def under_load(address: str, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Runs the generator beside this process."""
    with tempfile.NamedTemporaryFile() as file:
        for request in requests:
            file.write(len(request).to_bytes(4, "little") + request)
        file.flush()
        command = [sys.executable, "-m", "bench.request_load", address, str(clients), str(seconds), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout.splitlines()[-1]))


class _Client:
    """One connection with one request under way."""

    def __init__(self, address: str, at: int) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at = at
        self.began = 0.0
        self.data = b""
        self.needed = 0

    def send(self, requests: Sequence[bytes]) -> None:
        self.began = time.perf_counter()
        self.socket.sendall(requests[self.at % len(requests)])
        self.at += 1

    def receive(self) -> bytes | None:
        """A whole answer, or None."""
        self.data += self.socket.recv(1 << 18)
        if not self.needed:
            head = self.data.find(b"\r\n\r\n")
            if head < 0:
                return None
            start = self.data.index(b"content-length: ") + 16
            self.needed = head + 4 + int(self.data[start : self.data.index(b"\r", start)])
        if len(self.data) < self.needed:
            return None
        answer, self.data, self.needed = self.data, b"", 0
        return answer


def _generate(address: str, count: int, seconds: float, requests: Sequence[bytes]) -> Load:
    clients = [_Client(address, i * len(requests) // count) for i in range(count)]
    poll = select.epoll()
    by_handle = {client.socket.fileno(): client for client in clients}
    for handle, client in by_handle.items():
        poll.register(handle, select.EPOLLIN)
        client.send(requests)
    counted_from = time.perf_counter() + WARM_UP_SHARE * seconds
    until = counted_from + seconds
    times: list[float] = []
    heads: Counter[bytes] = Counter()
    while (now := time.perf_counter()) < until:
        for handle, _ in poll.poll():
            client = by_handle[handle]
            if (answer := client.receive()) is None:
                continue
            if now > counted_from:
                times.append(time.perf_counter() - client.began)
                heads[_told(answer)] += 1
            client.send(requests)
    times.sort()
    statuses: Counter[str] = Counter()
    caches: Counter[str] = Counter()
    for head, found in heads.items():
        status, _, cache = head.decode().partition(" ")
        statuses[status] += found
        caches[cache] += found
    p50, p99 = (times[int(share * (len(times) - 1))] * 1000 for share in (0.5, 0.99))
    return Load(len(times), seconds, round(p50, 3), round(p99, 3), dict(statuses), dict(caches))


def _told(answer: bytes) -> bytes:
    """Status, and which cache."""
    at = answer.find(b'"cache":')
    return answer[9:12] + b" " + answer[at + 8 : answer.index(b",", at)].strip(b'"') if at > 0 else answer[9:12]


def _read(path: str) -> list[bytes]:
    with Path(path).open("rb") as file:
        requests = []
        while length := file.read(4):
            requests.append(file.read(int.from_bytes(length, "little")))
    return requests


if __name__ == "__main__":
    print(json.dumps(_generate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), _read(sys.argv[4]))._asdict()))
