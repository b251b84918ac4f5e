"""The sockets of a shard host: who is connected, what they sent, what they have still to take."""

import selectors
import socket
from collections.abc import Iterator

from littoral.clock import Clock
from littoral.errors import LittoralError, TooLargeError
from littoral.vectors import frames
from littoral.vectors.connection import Connection, is_same_user

__all__ = ["Clients"]

CONNECTION_COUNT_MAX = 64
OUTPUT_BYTES_MAX = 64 << 20
STALL_CHECK_S = 1.0


class Clients:
    """All connections of one listener, without threads. `dropped_count` counts those we hung up on."""

    def __init__(self, listener: socket.socket, clock: Clock) -> None:
        self.dropped_count = 0
        self._clock = clock
        self._listener = listener
        self._clients: dict[int, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for waker in (self._wake_reader, self._wake_writer):
            waker.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def wake_handle(self) -> int:
        """For `signal.set_wakeup_fd`: a byte written here ends `take`."""
        return self._wake_writer.fileno()

    @property
    def has_output(self) -> bool:
        """Whether answers are waiting to be taken."""
        return any(client.has_output for client in self._clients.values())

    def takes_answers(self, client: Connection) -> bool:
        """Whether there is room for a large answer: for this client, and among all."""
        return not client.is_full and sum(c.outbox_bytes for c in self._clients.values()) < OUTPUT_BYTES_MAX

    def take(self, wait_s: float | None) -> list[tuple[Connection, bytes]]:
        """Requests that are complete now, after waiting for any up to `wait_s` (None: for ever)."""
        if self.has_output:
            wait_s = STALL_CHECK_S if wait_s is None else min(wait_s, STALL_CHECK_S)
        taken: list[tuple[Connection, bytes]] = []
        for key, events in self._selector.select(wait_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
            elif events & selectors.EVENT_READ:
                taken += self._receive(key.data)
        return taken

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone again, or no handle left: it will try again
            self.dropped_count += 1
            return
        if len(self._clients) >= CONNECTION_COUNT_MAX or not is_same_user(client):
            self.dropped_count += 1
            client.close()
            return
        connection = Connection(client, self._clock.monotonic())
        self._clients[client.fileno()] = connection
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _receive(self, client: Connection) -> Iterator[tuple[Connection, bytes]]:
        try:
            for body in client.receive():
                yield client, body
        except TooLargeError as error:
            self.hang_up(client, error)

    def hang_up(self, client: Connection, error: LittoralError) -> None:
        """For a stream that cannot be followed any more: says why, as far as the client listens, and closes it."""
        self.dropped_count += 1
        now = self._clock.monotonic()
        client.post(frames.encode(frames.failure(0, error)), now)
        client.send(now)
        client.is_open = False

    def send(self) -> None:
        """Sends what can be sent, and forgets who is gone."""
        now = self._clock.monotonic()
        for handle, client in list(self._clients.items()):
            client.send(now)
            if client.is_stalled(now):
                self.dropped_count += 1
                client.is_open = False
            if client.is_open:
                self._watch(client)
            else:
                self._selector.unregister(client.socket)
                client.close()
                del self._clients[handle]

    def _watch(self, client: Connection) -> None:
        wanted = selectors.EVENT_WRITE if client.has_output else 0
        if not client.is_full:
            wanted |= selectors.EVENT_READ
        if self._selector.get_key(client.socket).events != wanted:
            self._selector.modify(client.socket, wanted, client)

    def close(self) -> None:
        """Hangs up on everyone."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
