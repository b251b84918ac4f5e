"""Pages of payloads that lie on the disk and were looked at: they stay in a process's memory until somebody needs room.

A process with many of them looks large, and its limit is reached although nothing is kept. Giving them back costs the
next look at one a fault: the system's cache still has the page, unless it needed the room.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from littoral.vectors.records import CollectionConfig

__all__ = ["MappedPages"]

GROWN_BYTES_MAX = 16 << 20
PAUSE_S = 0.25
PAYLOADS = "payload_storage"
_SHARED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ..-?.?s \S+ \S+ \d+ +(/.*)$")


class MappedPages:
    """Of a store below `folder`, in this process."""

    def __init__(self, folder: Path, *, is_wanted: bool = True) -> None:
        """is_wanted: else nothing is given back; nor where the system is not Linux."""
        self._folder = str(folder.resolve())
        self._is_here = is_wanted and Path("/proc/self/statm").exists()
        self._due_s = 0.0
        self._least_bytes = 1 << 62

    @classmethod
    def of(cls, folder: Path, config: CollectionConfig) -> Self:
        """Payloads that are to be in memory stay there."""
        return cls(folder, is_wanted=config.payload is None or config.payload.memory in (None, "cold"))

    def tend(self, now_s: float) -> bool:
        """Gives them back where mapped files have grown by 16 MiB. At most four times a second; whether it did so."""
        if not self._is_here or now_s < self._due_s:
            return False
        self._due_s = now_s + PAUSE_S
        held_bytes = _mapped_bytes()
        self._least_bytes = min(self._least_bytes, held_bytes)
        if held_bytes < self._least_bytes + GROWN_BYTES_MAX:
            return False
        self.give_back()
        self._least_bytes = _mapped_bytes()
        return True

    def give_back(self) -> None:
        """Only of mappings that are shared with their file: a private one would lose what was written to it."""
        import ctypes  # a shard host whose payloads are in memory has no need of it

        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, end in self._payloads():
            advise(start, end - start, mmap.MADV_DONTNEED)

    def _payloads(self) -> Iterator[tuple[int, int]]:
        for line in Path("/proc/self/maps").read_text().splitlines():
            if (found := _SHARED.match(line)) is None:
                continue
            start, end, path = found.groups()
            if path.startswith(self._folder) and Path(path).parent.name == PAYLOADS:
                yield int(start, 16), int(end, 16)


def _mapped_bytes() -> int:
    shared_pages = int(Path("/proc/self/statm").read_text().split()[2])
    return shared_pages * mmap.PAGESIZE
