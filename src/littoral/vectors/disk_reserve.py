"""Room on the disk that a shard keeps for itself: given back when somebody has filled the rest.

The store maps its files, which have holes: on a disk without a free byte it cannot flush, and to open it is to be ended
by a signal. Both need little, some hundred KiB. Writes are refused long before, so what is given back is enough for
what was written by then.
"""

import contextlib
import os
from pathlib import Path

__all__ = ["RESERVE", "RESERVE_BYTES", "DiskReserve"]

RESERVE = "reserve"
RESERVE_BYTES = 4 << 20


class DiskReserve:
    """Of one shard. least_bytes: that the disk must have free for a write; 0 = nothing is kept."""

    def __init__(self, folder: Path, least_bytes: int) -> None:
        self._file = folder / RESERVE
        self._least_bytes = least_bytes

    def give_back(self) -> None:
        """Before what must not fail: where the disk has less than this left."""
        if self._least_bytes and self._free_bytes() < RESERVE_BYTES:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def keep(self) -> None:
        """Again, once a write would be taken beside it."""
        if not self._least_bytes or self._file.exists() or self._free_bytes() < self._least_bytes + RESERVE_BYTES:
            return
        try:
            with self._file.open("xb") as stream:
                os.posix_fallocate(stream.fileno(), 0, RESERVE_BYTES)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._file.parent)
        return disk.f_bavail * disk.f_frsize
