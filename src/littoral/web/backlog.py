"""How many bytes of an answer its caller has not taken yet, asked of the kernel.

Granian takes each chunk of a stream at once, into memory, however slow the caller is. The kernel's own queue tells:
while it is long, nothing more is given. The connection is Granian's; it is found by the caller's address.
"""

import array
import asyncio
import contextlib
import fcntl
import os
import select
import socket
import termios
from pathlib import Path

from littoral.errors import PeerError

__all__ = ["Backlog"]

BYTES_MAX = 256 << 10
PAUSE_FIRST_S = 0.002
PAUSE_MAX_S = 0.1
STALLED_S = 30.0


class Backlog:
    """Of one connection; close it, or the connection stays open."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    @classmethod
    def of(cls, client: str) -> "Backlog":
        """client: `host:port`. Of a connection that is not found nothing is known, and nobody waits."""
        host, _, port = client.rpartition(":")
        return cls(_connection_with(host.strip("[]"), int(port)) if port.isdecimal() else None)

    def size_bytes(self) -> int:
        """Sent, and not acknowledged by the caller's machine."""
        if self._connection is None:
            return 0
        size = array.array("i", [0])
        try:
            fcntl.ioctl(self._connection, termios.TIOCOUTQ, size)
        except OSError:  # the connection has ended, which whoever sends will find
            return 0
        return size[0]

    async def wait(self) -> None:
        """Returns when there is little left. Raises PeerError for a caller that takes nothing at all."""
        pause_s, waited_s, before = PAUSE_FIRST_S, 0.0, self.size_bytes()
        while (size := self.size_bytes()) > BYTES_MAX:
            if self._is_cut():
                raise PeerError("caller is gone")
            if size < before:
                before, waited_s = size, 0.0
            if waited_s > STALLED_S:
                raise PeerError(f"caller has taken nothing for {STALLED_S:g} s, {size} bytes wait")
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _is_cut(self) -> bool:
        if self._connection is None:
            return True
        watch = select.poll()
        watch.register(self._connection, 0)  # errors and hang-ups are always told
        return bool(watch.poll(0))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connection_with(host: str, port: int) -> socket.socket | None:
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if not str(path.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(path.name)))
            with contextlib.ExitStack() as unwanted:
                unwanted.callback(found.close)
                if found.getpeername()[:2] == (host, port):
                    unwanted.pop_all()
                    return found
    return None
