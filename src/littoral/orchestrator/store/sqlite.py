"""SQLite, embedded: one file beside the orchestrator, synced at every transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from littoral.errors import ConflictError, UnavailableError
from littoral.orchestrator.store.sql import Statement

__all__ = ["SqliteDatabase"]

BUSY_S = 5.0


class SqliteDatabase:
    """A `Database`. file: made if missing; `:memory:` for none."""

    mark = "?"

    def __init__(self, file: Path | str) -> None:
        self._file = file
        try:
            self._connection = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise UnavailableError(f"store `{file}`: {error}") from error

    def run(self, statements: Iterable[Statement]) -> None:
        connection = self._connection
        what = ""
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                what = statement.what
                connection.executemany(statement.sql, statement.many)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.IntegrityError):
                raise ConflictError(f"{what} is there already") from error
            if isinstance(error, sqlite3.Error):
                raise self._away(error) from error
            raise

    def fetch(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._away(error) from error

    def close(self) -> None:
        self._connection.close()

    def _away(self, error: sqlite3.Error) -> UnavailableError:
        return UnavailableError(f"store `{self._file}`: {error}")
