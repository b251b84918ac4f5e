"""What is no longer kept: bundles of entries, never their hashes, and only after the log itself has said so."""

from typing import NamedTuple

from littoral.audit.disk import Disk
from littoral.audit.entries import decode_entry
from littoral.audit.log import TreeLog
from littoral.audit.tiles import ENTRIES, WIDTH, Tile, bundled
from littoral.errors import TrustError

__all__ = ["Keep", "Kept", "prune", "pruned_to"]

BUNDLES_MAX = 4096
"""Of one round."""


class Keep(NamedTuple):
    """Bounds of what is kept, each only if it is stated. seconds: by the entries' own times. data_bytes: of bundles."""

    seconds: float | None = None
    data_bytes: int | None = None


class Kept(NamedTuple):
    """first: the first bundle that is there. data_bytes: of all that are."""

    first: int
    data_bytes: int

    @classmethod
    def of(cls, disk: Disk, size: int) -> "Kept":
        """As it is on the disk."""
        files = list(disk.files("tile/entries"))
        first, last = 0, size // WIDTH
        while first < last and disk.read(Tile(ENTRIES, first).path) is None:
            first += 1
        return cls(first, sum(size for _, size in files))


def pruned_to(disk: Disk, kept: Kept, log: TreeLog, keep: Keep, now_s: float) -> int:
    """Up to which entry nothing is to be kept any more: a multiple of 256, never of the last bundles."""
    last, number, left = log.size // WIDTH, kept.first, kept.data_bytes
    while number < min(last, kept.first + BUNDLES_MAX):
        path = Tile(ENTRIES, number).path
        if (data := disk.read(path)) is None:
            break
        is_large = keep.data_bytes is not None and left > keep.data_bytes
        if not is_large and not _is_old(data, path, keep, now_s):
            break
        left -= len(data)
        number += 1
    return number * WIDTH


def prune(disk: Disk, kept: Kept, to: int) -> Kept:
    """Removes the bundles before entry `to`, which the log has said by now. Raises OSError."""
    number, left = kept.first, kept.data_bytes
    while number < to // WIDTH:
        path = Tile(ENTRIES, number).path
        left -= len(disk.read(path) or b"")
        disk.remove(path)
        number += 1
    return Kept(number, max(0, left))


def _is_old(data: bytes, path: str, keep: Keep, now_s: float) -> bool:
    if keep.seconds is None:
        return False
    try:
        return decode_entry(bundled(data, path)[-1], 0).at_s < now_s - keep.seconds
    except (TrustError, IndexError):
        return False
