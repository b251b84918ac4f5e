"""What is told later: reports that wait on the disk while nobody hears, bounded in bytes and age, drops counted."""

from collections import Counter, deque

import msgspec

from littoral.artifact.disk import Disk
from littoral.updates.wire import Report

__all__ = ["Reports"]

FILE = "reports"
BATCH_MAX = 32


class Reports:
    """bytes_max: of all that waits, as JSON. age_max_s: of each."""

    def __init__(self, disk: Disk, *, bytes_max: int, age_max_s: float) -> None:
        self._disk = disk
        self._bytes_max = bytes_max
        self._age_max_s = age_max_s
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._dropped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._read()

    @property
    def depth_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def oldest_age_s(self, now: float) -> float:
        return max(0.0, now - self._waiting[0][0]) if self._waiting else 0.0

    def add(self, report: Report, now: float) -> None:
        """The oldest go where there is no room."""
        self._push(report.time, msgspec.json.encode(report))
        self.prune(now)

    def prune(self, now: float) -> None:
        """Throws away what is too old, or too much."""
        while self._waiting and self._bytes > self._bytes_max:
            self._drop("bytes")
        while self._waiting and now - self._waiting[0][0] > self._age_max_s:
            self._drop("age")

    def batch(self) -> list[Report]:
        """The oldest, to be sent; the first tells what was dropped since the last time."""
        found = [msgspec.json.decode(data, type=Report) for _, data in list(self._waiting)[:BATCH_MAX]]
        if found and self._dropped:
            found[0] = msgspec.structs.replace(found[0], dropped=dict(self._dropped))
        return found

    def sent(self, count: int) -> None:
        """The oldest so many were heard."""
        for _ in range(min(count, len(self._waiting))):
            self._bytes -= len(self._waiting.popleft()[1])
        self._dropped.clear()

    def save(self) -> None:
        """So that a restart loses none. Raises OSError."""
        lines = [data for _, data in self._waiting]
        self._disk.replace(FILE, b"\n".join([msgspec.json.encode(dict(self._dropped)), *lines]))

    def _push(self, at: float, data: bytes) -> None:
        self._waiting.append((at, data))
        self._bytes += len(data)

    def _drop(self, why: str) -> None:
        self._bytes -= len(self._waiting.popleft()[1])
        self._dropped[why] += 1
        self.dropped[why] += 1

    def _read(self) -> None:
        head, *lines = (self._disk.read(FILE) or b"{}").split(b"\n")
        try:
            self._dropped.update(msgspec.json.decode(head, type=dict[str, int]))
            for line in lines:
                self._push(msgspec.json.decode(line, type=Report).time, line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._dropped["damaged"] += 1
