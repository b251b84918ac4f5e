"""A cache's entries on disk: one file that only grows, each record with a checksum, made anew when it is full.

Nothing here is worth more than the time to compute it again: a damaged or torn record ends the reading, and what
follows it is forgotten. Records are written by a thread of the journal's own, in the order they came.

Readable by its owner only, and sealed where there are keys (`cache_records`): vectors tell much of what they were made
of. A file of another form, or sealed by a former key, is written anew with what could be read of it.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from littoral.vault import KeyRing
from littoral.vectors.cache_records import Form, SealedForm, form_of, new_form
from littoral.vectors.layout import sync_folder

__all__ = ["CacheJournal"]

PENDING_MAX = 4096

_log = logging.getLogger("littoral.cache")


class CacheJournal:
    """path: of the file; its folder is made. bytes_max: of the file. ring: keys that seal it; None: it is plain.

    Errors of the disk cost entries, never an answer: they are logged, and the journal stops.
    """

    def __init__(self, path: Path, bytes_max: int, ring: KeyRing | None = None) -> None:
        self._path = path
        self._ring = ring
        self._form = new_form(ring)
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pending = 0
        self._is_broken = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="littoral-cache")

    @property
    def is_full(self) -> bool:
        """Whether it is time for `replace`."""
        return self._bytes > self._bytes_max

    def limit(self, bytes_max: int) -> bool:
        """Of the file, from now on. Whether it is time for `replace`."""
        self._bytes_max = bytes_max
        return self.is_full

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order they were written; first of all, once. Cuts off what is damaged."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            self._broken(error)
            return
        form = form_of(data, self._ring)
        if form is None:
            if data:
                _log.warning("cache `%s`: of another version, or sealed by other keys: begun anew", self._path)
            self._submit(self._write_anew, self._form.head)
            self._bytes = len(self._form.head)
            return
        if not self._goes_on(form):
            yield from self._in_another_form(form, data)
            return
        self._form = form
        whole = yield from form.records(data)
        self._bytes = whole
        if whole < len(data):
            _log.warning("cache `%s`: damaged at byte %d of %d, cut off there", self._path, whole, len(data))
            self._submit(os.truncate, self._path, whole)

    def _goes_on(self, form: Form) -> bool:
        if isinstance(form, SealedForm):
            return form.is_current
        return self._ring is None

    def _in_another_form(self, form: Form, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        found = list(form.records(data))
        self.replace(found)
        yield from found

    def add(self, key: bytes, value: bytes) -> None:
        """Written by another thread; dropped if too many wait there."""
        if self._pending >= PENDING_MAX:
            return
        record = self._form.record(key, value)
        self._bytes += len(record)
        self._submit(self._append, record)

    def replace(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """A new file of these entries in place of the old one: the latest first to stay, half of the room at most."""
        kept: list[bytes] = []
        self._form = new_form(self._ring)
        size = len(self._form.head)
        for key, value in reversed(list(entries)):
            record = self._form.record(key, value)
            if size + len(record) > self._bytes_max // 2:
                break
            kept.append(record)
            size += len(record)
        self._bytes = size
        self._submit(self._write_anew, b"".join([self._form.head, *reversed(kept)]))

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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
