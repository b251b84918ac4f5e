"""Ports for tests whose nodes must know each other's before they are opened."""

import os
import random
import socket
from collections.abc import Iterator

FIRST, COUNT = 20_000, 12_000
"""Below those that the system gives to whoever asks for any: nobody gets one of these by chance meanwhile."""


def free_ports(count: int) -> list[int]:
    """Free for UDP and TCP a moment ago; none that this process was given before."""
    return [next(_FREE) for _ in range(count)]


def free_port() -> int:
    return next(_FREE)


def _free() -> Iterator[int]:
    start = random.Random(os.getpid()).randrange(COUNT)
    while True:
        for step in range(COUNT):
            port = FIRST + (start + step) % COUNT
            if _is_free(port):
                yield port


def _is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket() as other:
        try:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_FREE = _free()
