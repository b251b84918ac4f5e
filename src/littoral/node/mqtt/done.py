"""Which messages with an id a route is done with: the newest, in memory and in a file that outlives the process.

A killed process had maybe acknowledged a message, and the broker not heard of it: it sends that message again, and the
next process knows it by this file. It is not synced to the disk: what a power cut takes is worked on again.
File: digests of 16 bytes, one behind the other; written anew when it holds twice as many as are kept.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

__all__ = ["DIGEST_BYTES", "Done"]

DIGEST_BYTES = 16

_log = logging.getLogger("littoral.mqtt")


class Done:
    """path: of the file; None = in memory only. An error of the disk costs the file, never a message."""

    def __init__(self, count_max: int, path: Path | None = None) -> None:
        self._count_max = count_max
        self._path = path
        self._handle: int | None = None
        self._written_count = 0
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        if path is not None:
            self._with_file(self._read)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Before the message is acknowledged."""
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > self._count_max:
            self._digests.popitem(last=False)
        if self._handle is not None:
            self._with_file(lambda: self._append(digest))

    def close(self) -> None:
        """What is added from now on is kept in memory only."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _read(self) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = len(data) // DIGEST_BYTES * DIGEST_BYTES
        for at in range(max(0, whole - self._count_max * DIGEST_BYTES), whole, DIGEST_BYTES):
            self._digests[data[at : at + DIGEST_BYTES]] = None
        self._write_anew()

    def _append(self, digest: bytes) -> None:
        assert self._handle is not None
        os.write(self._handle, digest)
        self._written_count += 1
        if self._written_count >= 2 * self._count_max:
            self._write_anew()

    def _write_anew(self) -> None:
        assert self._path is not None
        self.close()
        part = self._path.with_suffix(".part")
        part.write_bytes(b"".join(self._digests))
        part.replace(self._path)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._written_count = len(self._digests)

    def _with_file(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            _log.warning("`%s`: %s: after a crash, answers of before may be published again", self._path, error)
            self.close()
