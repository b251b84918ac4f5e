"""One client of a shard host: bytes in, frames out, both bounded."""

import contextlib
import itertools
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator

from littoral.vectors.frames import Frames

__all__ = ["Connection", "is_same_user"]

RECEIVE_BYTES = 1 << 17
OUTBOX_BYTES_MAX = 16 << 20
STALL_S = 30.0
SEND_COUNT_MAX = 64


class Connection:
    """Not blocking. A client that does not take its answers is not read from, and is dropped after 30 s."""

    def __init__(self, client: socket.socket, now: float) -> None:
        client.setblocking(False)
        self.socket = client
        self.is_open = True
        self._frames = Frames()
        self._outbox: deque[memoryview] = deque()
        self.outbox_bytes = 0
        self._progress_at = now

    @property
    def has_output(self) -> bool:
        return bool(self._outbox)

    @property
    def is_full(self) -> bool:
        """Whether its answers pile up: then no more requests are read."""
        return self.outbox_bytes >= OUTBOX_BYTES_MAX

    def is_stalled(self, now: float) -> bool:
        """Whether answers have waited for 30 s without a byte being taken."""
        return bool(self._outbox) and now - self._progress_at > STALL_S

    def receive(self) -> Iterator[bytes]:
        """Bodies of the frames that are complete now. Raises TooLargeError for a frame that declares too much."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_open = False
            return
        yield from self._frames.feed(data)

    def post(self, frame: bytearray, now: float) -> None:
        """Queues an answer."""
        if not self._outbox:
            self._progress_at = now
        self._outbox.append(memoryview(frame))
        self.outbox_bytes += len(frame)

    def send(self, now: float) -> None:
        """Sends what the client takes now. Many answers in one call: each call may wake the client."""
        while self._outbox and self.is_open:
            try:
                sent = self.socket.sendmsg(itertools.islice(self._outbox, SEND_COUNT_MAX))
            except BlockingIOError:
                return
            except OSError:
                self.is_open = False
                return
            self._progress_at = now
            self.outbox_bytes -= sent
            while sent and sent >= len(self._outbox[0]):
                sent -= len(self._outbox.popleft())
            if sent:
                self._outbox[0] = self._outbox[0][sent:]

    def close(self) -> None:
        """Drops what was not sent."""
        self.is_open = False
        self._outbox.clear()
        with contextlib.suppress(OSError):
            self.socket.close()


def is_same_user(client: socket.socket) -> bool:
    """Whether the other end runs as this user or root."""
    _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user in (0, os.geteuid())
