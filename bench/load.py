"""Load from a process of its own: requests made beforehand over kept raw sockets, in a closed loop or at a rate.

Closed loop: every client has one request under way, and sends the next as soon as it has the answer. At a rate: as many
requests a second are due, whatever becomes of them, over at most `clients` connections; times count from when a request
was due, so those that wait for a connection, or for the generator itself, are not better off.

`python -m bench.load ORDER` is that process: ORDER as JSON, the requests on standard input, each after its length
(u32). The last line it prints is JSON, the fields of `Load`.
"""

import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["Load", "Running", "begin_load", "http_request", "under_load"]

RECEIVE_BYTES = 1 << 18
GRACE_S = 5.0
"""For answers that are under way when the time is over."""


class Load(NamedTuple):
    """times_ms: by status, in the order of the answers. late_ms: from when a request was due until it was sent.

    caches: how many answers came from which cache, by the `cache` of their `how`. lost: without an answer.
    """

    seconds: float
    times_ms: dict[int, list[float]]
    late_ms: list[float]
    caches: dict[str, int]
    lost: int

    @property
    def answers(self) -> int:
        return sum(map(len, self.times_ms.values()))

    @property
    def statuses(self) -> dict[int, int]:
        return {status: len(times) for status, times in self.times_ms.items()}

    @property
    def failed(self) -> int:
        """Without an answer, or with another one than 200."""
        return self.lost + self.answers - len(self.times_ms.get(200, []))

    def per_second(self, status: int = 200) -> float:
        return len(self.times_ms.get(status, [])) / self.seconds

    def at_ms(self, share: float, status: int = 200) -> float:
        """The time within which this share of the answers with that status came."""
        times = sorted(self.times_ms[status])
        return times[min(len(times) - 1, int(len(times) * share))]


def http_request(method: str, path: str, body: bytes, *headers: str, content_type: str = "application/json") -> bytes:
    """As it goes over the wire. headers: such as `cache-control: no-store`."""
    head = (
        f"{method} {path} HTTP/1.1",
        "host: node",
        f"content-type: {content_type}",
        *headers,
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


class _Order(NamedTuple):
    address: str
    clients: int
    seconds: float
    rate: float
    warm_up_s: float


class Running:
    """A load that has begun."""

    def __init__(self, order: _Order, requests: Sequence[bytes]) -> None:
        with tempfile.TemporaryFile() as file:
            for request in requests:
                file.write(len(request).to_bytes(4, "little") + request)
            file.seek(0)
            command = [sys.executable, "-m", "bench.load", json.dumps(order)]
            self._process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, text=True)

    def result(self) -> Load:
        """Waits for its end. Raises CalledProcessError."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        told = json.loads(output.splitlines()[-1])
        times_ms = {int(status): times for status, times in told["times_ms"].items()}
        return Load(**told | {"times_ms": times_ms})

    def end(self) -> Load:
        """Has it end before its time."""
        self._process.terminate()
        return self.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends it, unless it is over."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def begin_load(
    address: str,
    requests: Sequence[bytes],
    *,
    clients: int = 1,
    seconds: float = 5.0,
    rate: float = 0.0,
    warm_up_s: float = 0.0,
) -> Running:
    """Requests in turn. rate: a second, 0 for a closed loop. warm_up_s: before the seconds that count."""
    return Running(_Order(address, clients, seconds, rate, warm_up_s), requests)


def under_load(
    address: str,
    requests: Sequence[bytes],
    *,
    clients: int = 1,
    seconds: float = 5.0,
    rate: float = 0.0,
    warm_up_s: float = 0.0,
) -> Load:
    """As `begin_load`, and waits for it."""
    with begin_load(address, requests, clients=clients, seconds=seconds, rate=rate, warm_up_s=warm_up_s) as running:
        return running.result()


class _Connection:
    """One connection with one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_at = 0.0
        self.sent_at = 0.0
        self._pending = b""
        self._wanted = 0

    def send(self, request: bytes, due_at: float) -> None:
        self.due_at, self.sent_at = due_at, time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """A whole answer, or None. Raises ConnectionError."""
        if not (part := self.socket.recv(RECEIVE_BYTES)):
            raise ConnectionResetError
        self._pending = self._pending + part if self._pending else part
        if not self._wanted:
            end = self._pending.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._pending[:end].lower() + b"\r\n"
            at = head.index(b"\r\ncontent-length:") + 17
            self._wanted = end + 4 + int(head[at : head.index(b"\r\n", at)])
        if len(self._pending) < self._wanted:
            return None
        answer, self._pending, self._wanted = self._pending, b"", 0
        return answer


class _Generator:
    def __init__(self, order: _Order, requests: Sequence[bytes]) -> None:
        host, _, port = order.address.rpartition(":")
        self._address = (host, int(port))
        self._order = order
        self._requests = requests
        self._turn = 0
        self._poll = select.epoll()
        self._by_handle: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._under_way = 0
        self._lost = 0
        self._is_ended = False
        self._answers: list[tuple[float, float, bytes]] = []

    def run(self) -> Load:
        for _ in range(self._order.clients):
            self._connect()
        began = time.perf_counter()
        self._counted_from = began + self._order.warm_up_s
        until = self._counted_from + self._order.seconds
        fallen_due = 0
        while (now := time.perf_counter()) < until and not self._is_ended:
            if self._order.rate:
                while began + fallen_due / self._order.rate <= now:
                    self._due.append(began + fallen_due / self._order.rate)
                    fallen_due += 1
            else:
                self._due.extend([now] * (len(self._idle) - len(self._due)))
            self._send()
            next_at = began + fallen_due / self._order.rate if self._order.rate else until
            self._receive(min(next_at, until))
        ended = time.perf_counter()
        while (self._under_way or self._due) and time.perf_counter() < ended + GRACE_S:
            self._send()
            self._receive(ended + GRACE_S)
        self._lost += self._under_way + len(self._due)
        return self._load(ended - self._counted_from)

    def end(self) -> None:
        """At the next request or answer."""
        self._is_ended = True

    def _connect(self) -> None:
        connection = _Connection(self._address)
        self._by_handle[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        self._idle.append(connection)

    def _send(self) -> None:
        while self._due and self._idle:
            connection = self._idle.popleft()
            connection.send(self._requests[self._turn % len(self._requests)], self._due.popleft())
            self._turn += 1
            self._under_way += 1

    def _receive(self, until: float) -> None:
        select.select([self._poll], [], [], max(0.0, until - time.perf_counter()))  # epoll's own waits are in whole ms
        for handle, _ in self._poll.poll(0):
            connection = self._by_handle[handle]
            try:
                answer = connection.receive()
            except ConnectionError:
                self._replace(handle)
                continue
            if answer is None:
                continue
            self._under_way -= 1
            self._idle.append(connection)
            if connection.due_at >= self._counted_from:
                took_s = time.perf_counter() - connection.due_at
                self._answers.append((took_s, connection.sent_at - connection.due_at, _told(answer)))

    def _replace(self, handle: int) -> None:
        """A connection that the node has closed."""
        connection = self._by_handle.pop(handle)
        self._poll.unregister(handle)
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self._under_way -= 1
            self._lost += 1
        connection.socket.close()
        self._connect()

    def _load(self, seconds: float) -> Load:
        times_ms: dict[int, list[float]] = {}
        caches: Counter[str] = Counter()
        for took_s, _, told in self._answers:
            status, _, cache = told.decode().partition(" ")
            times_ms.setdefault(int(status), []).append(round(took_s * 1000, 4))
            caches[cache] += 1
        late_ms = [round(late_s * 1000, 4) for _, late_s, _ in self._answers]
        return Load(seconds, times_ms, late_ms, dict(caches), self._lost)


def _told(answer: bytes) -> bytes:
    """Status, and which cache."""
    at = answer.find(b'"cache":')
    return answer[9:12] + b" " + answer[at + 8 : answer.index(b",", at)].strip(b'"') if at > 0 else answer[9:12]


def _read_requests() -> list[bytes]:
    requests = []
    while length := sys.stdin.buffer.read(4):
        requests.append(sys.stdin.buffer.read(int.from_bytes(length, "little")))
    return requests


def main() -> None:
    generator = _Generator(_Order(*json.loads(sys.argv[1])), _read_requests())
    signal.signal(signal.SIGTERM, lambda *_: generator.end())
    print(json.dumps(generator.run()._asdict()))


if __name__ == "__main__":
    main()
