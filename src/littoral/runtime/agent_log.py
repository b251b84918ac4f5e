"""What agents say: `littoral.log(level, pointer, length)`, bounded in length and rate, and counted."""

import logging

from littoral.clock import Clock
from littoral.runtime.abi import Span
from littoral.runtime.printable import printable
from littoral.tensors import Array

__all__ = ["LEVELS", "AgentLog"]

LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG, 5: logging.DEBUG}
LINE_BYTES_MAX = 1024
LINES_PER_S = 20.0
BURST_LINES = 20.0

_logger = logging.getLogger("littoral.agents")


class AgentLog:
    """Lines go to the logger `littoral.agents`, after the agent's name. Over 20 a second are dropped and counted."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._tokens = BURST_LINES
        self._refilled_s = clock.monotonic()
        self.lines = 0
        self.dropped = 0

    def write(self, memory: Array, level: int, pointer: int, length: int) -> None:
        """One line; longer ones are cut. A pointer outside memory is a dropped line."""
        span = Span(pointer & 0xFFFFFFFF, length & 0xFFFFFFFF)
        if span.start + span.bytes > memory.size:
            self.dropped += 1
            return
        self.say(level, span._replace(bytes=min(span.bytes, LINE_BYTES_MAX)).of(memory).tobytes())

    def say(self, level: int, line: bytes | str) -> None:
        """One line that the host has already."""
        if not self._has_token():
            self.dropped += 1
            return
        self.lines += 1
        _logger.log(LEVELS.get(level, logging.INFO), "%s: %s", self._name, printable(line, LINE_BYTES_MAX))

    def _has_token(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(BURST_LINES, self._tokens + (now - self._refilled_s) * LINES_PER_S)
        self._refilled_s = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
