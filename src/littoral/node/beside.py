"""A node beside this process: `littoral up` as a child, which ends with the block and dies with this process."""

import contextlib
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from littoral.clock import SYSTEM, Clock
from littoral.errors import UnavailableError
from littoral.lifeline import FAILED, READY
from littoral.node.child import Child
from littoral.node.client import NodeClient

__all__ = ["RunningNode", "running_node"]

START_S = 60.0
END_S = 3.0


class RunningNode:
    """A supervisor and its node. `url` is where the node serves since it was last ready."""

    def __init__(self, site: Path, listen: str | None, clock: Clock) -> None:
        options = [] if listen is None else ["--listen", listen]
        # -P: a folder of this name where we are must not be taken for the package
        self._child = Child([sys.executable, "-P", "-m", "littoral", "up", str(site), *options], {})
        self._clock = clock
        self._is_over = False
        self._failure = ""
        self.address = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._child.pid

    def client(self) -> NodeClient:
        """A client of it; close it."""
        return NodeClient(self.url)

    def wait_ready(self, timeout_s: float = START_S) -> None:
        """Returns when the node says (again) that it serves. Raises UnavailableError if it ends, or is too late."""
        until = self._clock.monotonic() + timeout_s
        while not self._is_told():
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                raise UnavailableError(f"node: not ready in {timeout_s:g} s")
            self._watch(left_s, "before it was ready")

    def wait(self) -> NoReturn:
        """Until it ends of itself, which it should not: UnavailableError says how it did."""
        while True:
            self._is_told()
            self._watch(None, "although nobody asked it to")

    def stop(self) -> None:
        """Ends it in order, and after three seconds at all costs. Twice is fine."""
        if self._is_over:
            return
        self._child.terminate()
        if not select.select([self._child.ended], [], [], END_S)[0]:
            self._child.kill()
        self._is_over = True
        self._child.reap()

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._is_over:
            return
        self._child.kill()
        self._is_over = True
        self._child.reap()

    def _watch(self, timeout_s: float | None, when: str) -> None:
        """Returns when there may be something to read."""
        readable, _, _ = select.select([self._child.status, self._child.ended], [], [], timeout_s)
        if self._child.ended not in readable:
            return
        self._is_told()
        self._is_over = True
        how = self._child.reap()
        raise UnavailableError(self._failure or f"node: ended {when}: {how}")

    def _is_told(self) -> bool:
        is_ready = False
        for line in self._child.reports():
            word, _, rest = line.partition(" ")
            if word == READY:
                is_ready, self.address = True, rest
            elif word == FAILED:
                self._failure = rest
        return is_ready


@contextlib.contextmanager
def running_node(
    site: Path, *, listen: str | None = None, timeout_s: float = START_S, clock: Clock = SYSTEM
) -> Iterator[RunningNode]:
    """`littoral up SITE` until the end of the block, ready at its beginning.

    listen: instead of the site file's; port 0 = any free one. Raises UnavailableError with the node's own words if it
    cannot start.
    """
    node = RunningNode(site, listen, clock)
    try:
        node.wait_ready(timeout_s)
        yield node
    finally:
        node.stop()
