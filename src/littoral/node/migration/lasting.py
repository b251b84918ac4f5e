"""How long something has lasted while the node ran, whatever the machine's clock says: counted, and written down."""

import contextlib
from pathlib import Path

from littoral.clock import Clock

__all__ = ["Lasting"]

NOTE_S = 600.0


class Lasting:
    """file: with the seconds of former lives of the node; so much as `NOTE_S` of each is forgotten where it is killed.

    Counts from `begin`, or from what the file says; else from `before_s`, as well as that is known.
    """

    def __init__(self, file: Path, clock: Clock, before_s: float = 0.0) -> None:
        self._file = file
        self._clock = clock
        self._before_s = max(0.0, before_s)
        with contextlib.suppress(OSError, ValueError):
            self._before_s = max(0.0, float(file.read_text()))
        self._since_s = self._noted_s = clock.monotonic()

    @property
    def seconds(self) -> float:
        if self._clock.monotonic() - self._noted_s >= NOTE_S:
            self.note()
        return self._before_s + self._clock.monotonic() - self._since_s

    def begin(self) -> None:
        """Anew."""
        self._before_s, self._since_s = 0.0, self._clock.monotonic()
        self.note()

    def note(self) -> None:
        """On a disk that takes nothing what stands there stays."""
        self._noted_s = self._clock.monotonic()
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._file.with_name(f".{self._file.name}.new")
            fresh.write_text(f"{self._before_s + self._noted_s - self._since_s:.3f}\n")
            fresh.replace(self._file)

    def forget(self) -> None:
        """It is over."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
