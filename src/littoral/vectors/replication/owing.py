"""What a shard owes to those that come in its place: points to hand over, noted in the transaction that wrote them.

A row is a point. 0: it was there when the owing began, or could not be told when it was written. A hybrid time: the
write of that time is about to be told. LOGGED: it came from another replica, whose task it is to tell; noted all the
same, for that one may be lost. REFUSED: it could not be handed over as it is; all
others go first. For one thread, inside the journal's transactions.
"""

import sqlite3
from collections.abc import Iterable, Sequence

__all__ = ["AHEAD", "LEAVING", "LOGGED", "STANDING", "Owing"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS owed(key BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owed_by_time ON owed(time);
"""
STANDING = 0
LOGGED = -1
REFUSED = -2
MARK = "owing"
LEAVING = "leaving"
"""Towards what a shard owes that has no place any more."""
AHEAD = "ahead"
"""Begins the name of what a shard will owe to: what is written until then is noted, deletions too."""


class Owing:
    """Part of a journal; file: its connection. towards: names the layout that it owes to, empty = nothing is owed."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self._file.executescript(SCHEMA)
        self.load()

    def load(self) -> None:
        row = self._file.execute("SELECT value FROM marks WHERE name = ?", (MARK,)).fetchone()
        self.towards = "" if row is None else str(row[0])

    def begin(self, towards: str, *, is_whole: bool, ahead: str = "") -> None:
        """From now on writes are noted; is_whole: and every point that is there. Again = no change.

        ahead: what was noted towards that stays noted, and is waited for like all else. Deletions of before are noted
        where nobody noted them: another holder may have handed these points over already.
        """
        if self.towards == towards:
            return
        stays = towards == LEAVING or self.towards == ahead != ""
        if not stays:
            self._file.execute("DELETE FROM owed")
        elif towards != LEAVING:
            self._file.execute("UPDATE owed SET time = ?", (STANDING,))
        if is_whole:
            are_noted = stays and self.towards and (self.towards == ahead or not self.towards.startswith(AHEAD))
            gone = "WHERE gone = 0" if are_noted else ""
            self._file.execute(f"INSERT OR IGNORE INTO owed SELECT key, ? FROM points {gone}", (STANDING,))  # noqa: S608
        self._file.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (MARK, towards))
        self.towards = towards

    def end(self) -> None:
        """Nothing is owed any more."""
        if self.towards:
            self._file.execute("DELETE FROM owed")
            self._file.execute("DELETE FROM marks WHERE name = ?", (MARK,))
            self.towards = ""

    def note(self, key: bytes, time: int) -> None:
        """This point was written."""
        if self.towards:
            self._file.execute("INSERT OR REPLACE INTO owed VALUES (?, ?)", (key, time))

    def at(self, time: int, count_max: int) -> list[bytes]:
        """Points of one write."""
        rows = self._file.execute("SELECT key FROM owed WHERE time = ? LIMIT ?", (time, count_max))
        return [key for (key,) in rows.fetchall()]

    def some(self, written_before: int, count_max: int) -> list[tuple[bytes, int]]:
        """Points to hand over, with what is noted of each; not those of writes that are just being told."""
        rows = self._file.execute(
            "SELECT key, time FROM owed WHERE time < ? AND time > ? ORDER BY time LIMIT ?",
            (written_before, REFUSED, count_max),
        )
        if not (found := rows.fetchall()):
            rows = self._file.execute(
                "SELECT key, time FROM owed WHERE time = ? ORDER BY random() LIMIT ?", (REFUSED, count_max)
            )
            found = rows.fetchall()
        return [(key, time) for key, time in found]

    def settle(self, told: Sequence[tuple[bytes, int]]) -> None:
        """They were handed over, unless something else was noted of them since."""
        self._file.executemany("DELETE FROM owed WHERE key = ? AND time = ?", told)

    def stand(self, keys: Iterable[bytes], time: int) -> None:
        """Of this write they could not be told."""
        changed = [(STANDING, key, time) for key in keys]
        self._file.executemany("UPDATE owed SET time = ? WHERE key = ? AND time = ?", changed)

    def refuse(self, told: Sequence[tuple[bytes, int]]) -> None:
        """They cannot be handed over as they are, unless something else was noted of them since."""
        changed = [(REFUSED, key, time) for key, time in told]
        self._file.executemany("UPDATE owed SET time = ? WHERE key = ? AND time = ?", changed)

    def counts(self) -> tuple[int, int]:
        """Points that have to be handed over, and all that are noted."""
        standing_for = (STANDING, REFUSED)
        (standing,) = self._file.execute("SELECT count(*) FROM owed WHERE time IN (?, ?)", standing_for).fetchone()
        (noted,) = self._file.execute("SELECT count(*) FROM owed").fetchone()
        return standing, noted
