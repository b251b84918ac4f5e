"""The one door to PostgreSQL: a connection, opened anew when it broke, and the lock of who owns the database."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg

from littoral.errors import ConflictError, UnavailableError
from littoral.orchestrator.store.sql import Statement

__all__ = ["PostgresDatabase"]

OWNER_LOCK = 0x6C6974746F72616C
"""`littoral`, as a number: whoever has it keeps the fleet of this database."""

CONNECT_S = 10
STATEMENT_MS = 30_000
OWNER_WAIT_MS = 2_000
"""The server ends a connection of ours, and its lock, a moment after we have left it."""


class PostgresDatabase:
    """A `Database`. conninfo: an address or keywords, as libpq has them. For one thread at a time."""

    mark = "%s"

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        with self._away():
            self._open()

    def run(self, statements: Iterable[Statement]) -> None:
        what = ""
        with self._away():
            connection = self._open()
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    for statement in statements:
                        what = statement.what
                        _run(cursor, statement)
            except psycopg.errors.UniqueViolation as error:
                raise ConflictError(f"{what} is there already") from error

    def fetch(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._away():
            return self._open().execute(sql.encode(), tuple(values)).fetchall()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        options = f"-c statement_timeout={STATEMENT_MS} -c synchronous_commit=on"
        connection = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=CONNECT_S, options=options)
        try:
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{OWNER_WAIT_MS}ms",))
            connection.execute("SELECT pg_advisory_lock(%s)", (OWNER_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            connection.close()
            what = "store: another orchestrator keeps this database"
            raise UnavailableError(what, hint="end that one first") from error
        self._connection = connection
        return connection

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.close()
            told = str(error).strip().splitlines()
            raise UnavailableError(f"store: {told[0] if told else type(error).__name__}") from error


def _run(cursor: psycopg.Cursor[tuple[Any, ...]], statement: Statement) -> None:
    """One by itself where there is one: `executemany` does not heed that `ALTER` ends prepared statements."""
    if len(statement.many) == 1:
        cursor.execute(statement.sql.encode(), statement.many[0])
    else:
        cursor.executemany(statement.sql.encode(), statement.many)
