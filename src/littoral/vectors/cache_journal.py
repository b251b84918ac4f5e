"""A cache's entries on disk: one file that only grows, each record with a checksum, made anew when it is full.

Nothing here is worth more than the time to compute it again: a damaged or torn record ends the reading, and what
follows it is forgotten. Records are written by a thread of the journal's own, in the order they came.

File: `LITTORAL-CACHE-1\\n`, then records: length of the value (u32, little-endian), key (32 bytes), value, BLAKE2b of
all of these (16 bytes). Readable by its owner only: vectors tell much of what they were made of.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from littoral.vectors.layout import sync_folder

__all__ = ["CacheJournal"]

MAGIC = b"LITTORAL-CACHE-1\n"
LENGTH_BYTES = 4
KEY_BYTES = 32
SUM_BYTES = 16
VALUE_BYTES_MAX = 1 << 20
PENDING_MAX = 4096

_log = logging.getLogger("littoral.cache")


class CacheJournal:
    """path: of the file; its folder is made. bytes_max: of the file.

    Errors of the disk cost entries, never an answer: they are logged, and the journal stops.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pending = 0
        self._is_broken = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="littoral-cache")

    @property
    def is_full(self) -> bool:
        """Whether it is time for `replace`."""
        return self._bytes > self._bytes_max

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order they were written; first of all, once. Cuts off what is damaged."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            self._broken(error)
            return
        whole = yield from _records(data)
        if whole == 0:
            self._submit(self._start)
            self._bytes = len(MAGIC)
            return
        self._bytes = whole
        if whole < len(data):
            _log.warning("cache `%s`: damaged at byte %d of %d, cut off there", self._path, whole, len(data))
            self._submit(os.truncate, self._path, whole)

    def add(self, key: bytes, value: bytes) -> None:
        """Written by another thread; dropped if too many wait there."""
        if self._pending >= PENDING_MAX:
            return
        record = _record(key, value)
        self._bytes += len(record)
        self._submit(self._append, record)

    def replace(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """A new file of these entries in place of the old one: the latest first to stay, half of the room at most."""
        kept: list[bytes] = []
        size = len(MAGIC)
        for key, value in reversed(list(entries)):
            record = _record(key, value)
            if size + len(record) > self._bytes_max // 2:
                break
            kept.append(record)
            size += len(record)
        self._bytes = size
        self._submit(self._write_anew, b"".join([MAGIC, *reversed(kept)]))

    def close(self) -> None:
        """After everything is written."""
        self._thread.shutdown(wait=True)

    def _submit(self, work: Callable[..., object], *values: object) -> None:
        if self._is_broken:
            return
        self._pending += 1
        self._thread.submit(self._run, work, values)

    def _run(self, work: Callable[..., object], values: tuple[object, ...]) -> None:
        try:
            if not self._is_broken:
                work(*values)
        except OSError as error:
            self._broken(error)
        finally:
            self._pending -= 1

    def _start(self) -> None:
        self._write_anew(MAGIC)

    def _append(self, record: bytes) -> None:
        with open(self._path, "ab", opener=_private) as file:
            file.write(record)

    def _write_anew(self, data: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        sync_folder(self._path.parent)

    def _broken(self, error: OSError) -> None:
        self._is_broken = True
        _log.error("cache `%s`: %s: nothing more is kept there", self._path, error.strerror)


def _records(data: bytes) -> Generator[tuple[bytes, bytes], None, int]:
    """Returns how many bytes were good: 0 for a file of another kind."""
    if not data.startswith(MAGIC):
        return 0
    at = len(MAGIC)
    while at + LENGTH_BYTES <= len(data):
        length = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
        start = at + LENGTH_BYTES + KEY_BYTES
        stop = start + length
        if length > VALUE_BYTES_MAX or stop + SUM_BYTES > len(data):
            break
        if data[stop : stop + SUM_BYTES] != _sum(data[at:stop]):
            break
        yield data[at + LENGTH_BYTES : start], data[start:stop]
        at = stop + SUM_BYTES
    return at


def _record(key: bytes, value: bytes) -> bytes:
    assert len(key) == KEY_BYTES
    assert len(value) <= VALUE_BYTES_MAX
    told = b"".join((len(value).to_bytes(LENGTH_BYTES, "little"), key, value))
    return told + _sum(told)


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=SUM_BYTES).digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
