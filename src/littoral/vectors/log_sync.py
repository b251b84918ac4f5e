"""Makes the store's write-ahead log durable, in a thread beside reads and writes.

A flush of the store writes all that it maps, for 100 ms and more where there are 100 000 points, and holds the
interpreter's lock; the log alone takes a millisecond and no lock. After a power cut the store does again what its log
says beyond the last flush.
"""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from littoral.errors import ShardError
from littoral.vectors.building import Job

__all__ = ["LogSync", "sync_log"]

LOG = "wal"
ATTEMPTS = 8


class LogSync:
    """One at a time; for the thread of the host. wake_handle: gets a byte when one has ended."""

    def __init__(self, wake_handle: int) -> None:
        self._wake_handle = wake_handle
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="littoral-log")
        self._running: Future[None] | None = None
        self._jobs: list[Job] = []
        self._store = Path()
        self.began = 0.0

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def begin(self, store: Path, jobs: Sequence[Job], now: float) -> None:
        """What was applied to the store before this is durable when it has ended; the jobs wait for that."""
        self._store, self._jobs, self.began = store, list(jobs), now
        self._running = self._thread.submit(sync_log, store)
        self._running.add_done_callback(self._wake)

    def _wake(self, _: Future[None]) -> None:
        with contextlib.suppress(OSError):  # full: the host is awake; closed: it has ended
            os.write(self._wake_handle, b"\0")

    def ended(self, store: Path, *, wait: bool = False) -> list[Job] | None:
        """The jobs, once they need wait no more; None before. store: where it is now.

        Raises ShardError if it failed; but a store that has been exchanged meanwhile was flushed before.
        """
        if self._running is None or not (wait or self._running.done()):
            return None
        error, self._running = self._running.exception(), None
        if error is not None and self._store == store:
            raise ShardError(f"log of `{store}`: {error}") from error
        return self._jobs

    def close(self) -> None:
        """Waits for what runs."""
        self._thread.shutdown()


def sync_log(store: Path) -> None:
    """Every file of the log, and its folder: files may be renamed or come meanwhile. Raises OSError."""
    folder = store / LOG
    synced: set[int] = set()
    for _ in range(ATTEMPTS):
        files = set(folder.iterdir())
        if all(_sync(file, synced) for file in files) and set(folder.iterdir()) == files:
            _sync(folder, synced)
            return
    raise BlockingIOError(f"files come and go in `{folder}`")


def _sync(path: Path, synced: set[int]) -> bool:
    """False if it is gone. A file that was renamed is not done twice."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if (inode := os.fstat(handle).st_ino) not in synced:
            os.fsync(handle)
            synced.add(inode)
        return True
    finally:
        os.close(handle)
