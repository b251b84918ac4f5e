"""What happened in a simulation, in order: a digest of all of it, and lines for people of what matters."""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from littoral.clock import Clock

__all__ = ["Trace"]

LINES_MAX = 20_000
DIGEST_BYTES = 8


class Trace:
    """show: called with each line as it is written. All messages are in the digest, and none of them in the lines.

    folder: where the files of this run are, which have other names in each.
    """

    def __init__(self, clock: Clock, folder: Path, show: Callable[[str], None] | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.message_count = 0
        self.message_bytes = 0
        self._clock = clock
        self._folder = f"{folder}/"
        self._show = show
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def note(self, line: str) -> None:
        """Something that people want to read."""
        told = f"{self._clock.monotonic():9.3f}  {line.replace(self._folder, '')}"
        self.lines.append(told)
        self._hash.update(told.encode())
        if self._show is not None:
            self._show(told)

    def message(self, origin: str, targets: Sequence[str], body_bytes: int) -> None:
        """One was sent, to each of these."""
        self.message_count += len(targets)
        self.message_bytes += len(targets) * body_bytes
        begin, end = f"{origin}>", f" {body_bytes} @{self._now_us()}"
        self._hash.update("".join((begin, (end + begin).join(targets), end)).encode() if targets else b"")

    def _now_us(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    @property
    def digest(self) -> str:
        """The same for the same course of things."""
        return self._hash.hexdigest()
