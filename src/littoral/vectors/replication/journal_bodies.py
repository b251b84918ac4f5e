"""Bodies of entries as they lie in the file of a journal: sealed where there are keys, each for its place in the log.

A sealed one begins with a byte that no entry begins with, so a journal may hold both: what was written before there
were keys, or by a former one, is sealed anew when it is opened. What is not sealed says no more of a point than its id,
and when it was written.
"""

import sqlite3

from littoral.errors import TrustError
from littoral.vault import KeyRing

__all__ = ["Bodies"]

SEALED = b"\x53"
"""In msgpack a number; an entry is an array."""

PURPOSE = "replica journal"


class Bodies:
    """ring: None: they are plain. what: the journal, for messages."""

    def __init__(self, ring: KeyRing | None, what: str) -> None:
        self._what = what
        self._values = None
        if ring is not None:
            from littoral.vault.sealed import Values

            self._values = Values(ring, PURPOSE)

    def stored(self, body: bytes, origin: str | None, number: int | None) -> bytes:
        return body if self._values is None else SEALED + self._values.seal(body, _place(origin, number))

    def plain(self, data: bytes, origin: str | None, number: int | None) -> bytes:
        """Raises TrustError for a body that was changed or stands elsewhere, or whose key is not there."""
        if not data.startswith(SEALED):
            return data
        if self._values is None:
            raise TrustError(f"{self._what} is sealed", hint="its keys belong into the table `encryption`")
        what = f"{self._what}: entry {number} of `{origin}`" if origin is not None else f"{self._what}: a repair"
        return self._values.open(data[len(SEALED) :], _place(origin, number), what)

    def seal_all(self, file: sqlite3.Connection) -> int:
        """Seals what is not sealed by the newest key, and leaves nothing of it behind in the file; how many entries."""
        if self._values is None:
            return 0
        rows = file.execute("SELECT seq, origin, number, substr(body, 1, 64) FROM entries").fetchall()
        former = [(seq, origin, number) for seq, origin, number, head in rows if not self._is_current(head)]
        if not former:
            return 0
        file.execute("PRAGMA secure_delete=ON")
        file.execute("BEGIN IMMEDIATE")
        with file:
            for seq, origin, number in former:
                (data,) = file.execute("SELECT body FROM entries WHERE seq = ?", (seq,)).fetchone()
                sealed = self.stored(self.plain(data, origin, number), origin, number)
                file.execute("UPDATE entries SET body = ? WHERE seq = ?", (sealed, seq))
        file.execute("VACUUM")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(former)

    def _is_current(self, head: bytes) -> bool:
        assert self._values is not None
        return head.startswith(SEALED) and self._values.is_current(head[len(SEALED) :])


def _place(origin: str | None, number: int | None) -> bytes:
    return b"repair" if origin is None else f"log\0{origin}\0{number}".encode()
