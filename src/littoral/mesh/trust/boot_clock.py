"""The time that a site's certificates are judged by: it moves forward only, also over a start in 1970."""

from pathlib import Path

from littoral.artifact.model import write_atomically
from littoral.clock import Clock

__all__ = ["BootClock"]

STANDSTILL_S = 86400.0
SAVE_EVERY_S = 600.0
FILE_BYTES_MAX = 64


class BootClock:
    """The latest of: the time kept on disk, the machine's clock, what verified signatures say.

    While the machine's clock is right, this is that clock; set back by up to a day, this one stands still until the
    other has caught up. Farther behind, the machine's clock is wrong and this one goes on by itself. A machine's clock
    beyond `latest_s` (the end of the site's authority) is not believed: one bad battery would end every certificate.
    Reading never touches the disk; `save` does, and is for the owner to call from time to time.
    """

    def __init__(self, file: Path, machine: Clock, *, latest_s: float) -> None:
        self._file = file
        self._machine = machine
        self._latest_s = latest_s
        self._saved_s = _read(file)
        self._now_s = self._saved_s
        self._at_s = machine.monotonic()

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def wall(self) -> float:
        """Unix time in seconds; never less than before."""
        at_s, machine_s = self._machine.monotonic(), self._machine.wall()
        passed_s, self._at_s = max(0.0, at_s - self._at_s), at_s
        if self._now_s - STANDSTILL_S <= machine_s <= self._latest_s:
            self._now_s = max(self._now_s, machine_s)
        else:
            self._now_s += passed_s
        return self._now_s

    def learn(self, at_s: float) -> None:
        """It is at least this late: an authority of the site signed something that was made then."""
        self._now_s = max(self.wall(), min(at_s, self._latest_s))

    def extend(self, latest_s: float) -> None:
        """The site has an authority that ends later."""
        self._latest_s = max(self._latest_s, latest_s)

    @property
    def behind_s(self) -> float:
        """How far the machine's clock is behind this one; negative: ahead."""
        return self.wall() - self._machine.wall()

    def save(self, *, now: bool = False) -> None:
        """Writes what it is to disk, at most every ten minutes unless `now`. Raises OSError."""
        current_s = self.wall()
        if not now and current_s - self._saved_s < SAVE_EVERY_S:
            return
        write_atomically(self._file, f"{int(current_s)}\n".encode(), 0o600)
        self._saved_s = current_s


def _read(file: Path) -> float:
    """What was kept; 0 without a file, and for one that holds no time: this is a lower bound, and others follow."""
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0.0
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0.0
