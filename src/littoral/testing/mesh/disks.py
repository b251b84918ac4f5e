"""A disk without room, of one node: its stores, journals and files take nothing, as SQLite and the kernel say."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from littoral.testing.mesh.stores import Disk

__all__ = ["DISK", "disks_may_be_full"]

DISK: ContextVar[Disk | None] = ContextVar("littoral disk", default=None)
"""Of the node whose code runs."""

CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE")
"""Of a transaction only its end reaches the disk."""


class _Journal(sqlite3.Connection):
    """A full disk refuses what would reach it."""

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if _is_full() and (sql.startswith("COMMIT") or (sql.startswith(CHANGES) and not self.in_transaction)):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *more)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        if _is_full() and not self.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise sqlite3.OperationalError("database or disk is full")
        return super().executescript(script)


@contextlib.contextmanager
def disks_may_be_full() -> Iterator[None]:
    """While a simulation runs, in this process."""
    connect, fsync = sqlite3.connect, os.fsync

    def connected(path: Path | str, **options: Any) -> sqlite3.Connection:
        return connect(path, factory=_Journal, **options)

    def synced(file: int) -> None:
        if _is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    sqlite3.connect, os.fsync = connected, synced  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect, os.fsync = connect, fsync


def _is_full() -> bool:
    disk = DISK.get()
    return disk is not None and disk.is_full
