"""Ports that a test may give to processes of its own: nobody else in this run of the tests is given the same.

Below those that the system gives out itself, to listeners at port 0 and to every client: a port that was free a moment
ago cannot be taken by a connection in between.
"""

import itertools
import os
import re
import socket
from collections.abc import Iterator

FIRST, END = 20_000, 32_000
WORKERS_MAX = 16
SPAN = (END - FIRST) // WORKERS_MAX
STEP = 7
"""Runs beside each other begin at other ports."""


def free_ports(count: int) -> list[int]:
    """Different ones, where nobody listens by UDP or TCP."""
    return list(itertools.islice(filter(_is_free, _candidates), count))


def free_port() -> int:
    return free_ports(1)[0]


def _all_of_this_worker() -> Iterator[int]:
    """Each once, then all over again."""
    number = int((re.findall(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", "")) or ["0"])[0]) % WORKERS_MAX
    begins = os.getpid() * STEP
    for at in itertools.count(begins):
        yield FIRST + number * SPAN + at % SPAN


def _is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_candidates = _all_of_this_worker()
