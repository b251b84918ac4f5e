"""Audit logs for tests: keys that are always the same, entries by number, a log in a folder or on a simulated disk."""

from pathlib import Path

from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import Disk, FolderDisk
from littoral.audit.entries import Entry, encode_entry
from littoral.audit.log import TreeLog

ORIGIN = "littoral/gateway-1"
KEY = SecretKey(bytes(range(32)))
WITNESS_KEY = SecretKey(bytes(range(1, 33)))


def entry(number: int) -> bytes:
    """Of a query, always the same one by number."""
    return encode_entry(
        Entry(1_767_225_600.0 + number, "query", "camera#ab12", "frames", 1, f"{number:064x}", "vector")
    )


def entries(start: int, end: int) -> list[bytes]:
    return [entry(number) for number in range(start, end)]


def opened(disk: Disk) -> TreeLog:
    return TreeLog.begin(disk, ORIGIN, KEY)


def filled(folder: Path, size: int, *, batch: int = 1000) -> TreeLog:
    """A log of `size` entries in batches."""
    log = opened(FolderDisk(folder))
    for at in range(0, size, batch):
        log.append(entries(at, min(at + batch, size)))
    return log
