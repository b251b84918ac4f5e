"""Points that may lie in a shard that they do not belong to: noted with the write, until somebody has looked.

A row is a point, and the time of the write that made it doubtful. For one thread, inside the journal's transactions.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from littoral.vectors.replication.entries import Version

__all__ = ["Strays", "is_contested"]

SCHEMA = "CREATE TABLE IF NOT EXISTS strays(key BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;"


def is_contested(came: Version, known: Version | None) -> bool:
    """Whether a point is there that was taken away elsewhere: who wrote it last may not have known that it had left
    for another shard. came: from another replica.
    """
    if known is None or came.is_gone == known.is_gone:
        return False
    return came.beats(known) != came.is_gone


class Strays:
    """Part of a journal; file: its connection. is_any: whether some are noted; read by other threads too."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self._file.executescript(SCHEMA)
        self.load()

    def load(self) -> None:
        self.is_any = self._file.execute("SELECT 1 FROM strays LIMIT 1").fetchone() is not None

    def note(self, keys: Iterable[bytes], time: int) -> None:
        """They were written at this hybrid time."""
        rows = [(key, time) for key in keys]
        self._file.executemany("INSERT OR REPLACE INTO strays VALUES (?, ?)", rows)
        self.is_any = self.is_any or bool(rows)

    def some(self, count_max: int) -> list[tuple[bytes, int]]:
        """The oldest, with what is noted of each."""
        rows = self._file.execute("SELECT key, time FROM strays ORDER BY time LIMIT ?", (count_max,))
        return [(key, time) for key, time in rows.fetchall()]

    def settle(self, looked_at: Sequence[tuple[bytes, int]]) -> None:
        """They are where they belong, unless something else was noted of them since."""
        self._file.executemany("DELETE FROM strays WHERE key = ? AND time = ?", looked_at)
        self.load()
