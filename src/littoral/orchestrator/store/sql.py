"""Rows as SQL, for both databases: what they differ in is a few words of a `Dialect`."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, get_type_hints

import msgspec

from littoral.errors import SetupError
from littoral.orchestrator.store.interface import Add, Change, Delete, Put, R, Trim
from littoral.orchestrator.store.migrations import MIGRATIONS
from littoral.orchestrator.store.rows import KEYS, Row

__all__ = ["Database", "SqlStore", "Statement", "table_of"]

PLAIN = (str, int, float, bool, str | None, int | None, float | None)


class Statement(NamedTuple):
    """many: for each of these. what: the row, for messages about a key that is taken."""

    sql: str
    many: Sequence[tuple[Any, ...]]
    what: str = ""


class Database(Protocol):
    """A connection. mark: the place of a value in its SQL."""

    mark: str

    def run(self, statements: Iterable[Statement]) -> None:
        """In one transaction, on the disk when it returns. Raises ConflictError for a key that is taken,
        UnavailableError.
        """
        ...

    def fetch(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Raises UnavailableError."""
        ...

    def close(self) -> None: ...


class _Column(NamedTuple):
    name: str
    kind: Any
    is_json: bool


class _Table(NamedTuple):
    name: str
    columns: tuple[_Column, ...]
    key: tuple[str, ...]


class SqlStore:
    """Made by `open`, which brings the schema to its newest step. A `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, database: Database) -> "SqlStore":
        """Raises SetupError for a schema of a later version, UnavailableError."""
        _migrate(database)
        return cls(database)

    def write(self, changes: Sequence[Change]) -> None:
        if changes:
            self._database.run(self._statements(changes))

    def get(self, kind: type[R], **key: str | int) -> R | None:
        found = self.rows(kind, key)
        return found[0] if found else None

    def rows(
        self,
        kind: type[R],
        where: Mapping[str, str | int] = {},
        *,
        newest: int | None = None,
        before: int | None = None,
    ) -> list[R]:
        table, mark = table_of(kind), self._database.mark
        conditions = [f'"{_known(table, name)}" = {mark}' for name in where]
        values: list[Any] = list(where.values())
        if before is not None:
            conditions.append(f'"number" < {mark}')
            values.append(before)
        sql = f'SELECT {_names(c.name for c in table.columns)} FROM "{table.name}"'  # noqa: S608  names of ours
        sql += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        if newest is not None:
            sql += f' ORDER BY "number" DESC LIMIT {newest:d}'
        else:
            sql += f" ORDER BY {_names(table.key)}"
        return [_row(kind, table, found) for found in self._database.fetch(sql, values)]

    def close(self) -> None:
        self._database.close()

    def _statements(self, changes: Sequence[Change]) -> list[Statement]:
        found = []
        for (change, kind), group in itertools.groupby(changes, _grouping):
            found += _statements(change, kind, list(group), self._database.mark)
        return found


def _grouping(change: Change) -> tuple[type[Change], type[Row]]:
    return type(change), type(change.row) if isinstance(change, Put | Add) else change.kind


def _statements(change: type[Change], kind: type[Row], group: list[Any], mark: str) -> list[Statement]:
    table = table_of(kind)
    if change is Delete:
        return [_delete(table, one.where, mark) for one in group]
    if change is Trim:
        return [_trim(table, one.keep) for one in group]
    names = [column.name for column in table.columns]
    sql = f'INSERT INTO "{table.name}" ({_names(names)}) VALUES ({", ".join([mark] * len(names))})'  # noqa: S608
    if change is Put:
        kept = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in table.key)
        sql += f" ON CONFLICT ({_names(table.key)}) DO UPDATE SET {kept}"
    what = f"{table.name.removesuffix('s')} `{' '.join(str(getattr(group[0].row, name)) for name in table.key)}`"
    return [Statement(sql, [_values(table, one.row) for one in group], what)]


def _delete(table: _Table, where: Mapping[str, str | int], mark: str) -> Statement:
    conditions = " AND ".join(f'"{_known(table, name)}" = {mark}' for name in where)
    return Statement(f'DELETE FROM "{table.name}" WHERE {conditions}', [tuple(where.values())])  # noqa: S608


def _trim(table: _Table, keep: int) -> Statement:
    oldest = f'SELECT "number" FROM "{table.name}" ORDER BY "number" DESC LIMIT 1 OFFSET {keep:d}'  # noqa: S608
    return Statement(f'DELETE FROM "{table.name}" WHERE "number" <= ({oldest})', [()])  # noqa: S608


def _values(table: _Table, row: Row) -> tuple[Any, ...]:
    found = ((getattr(row, column.name), column.is_json) for column in table.columns)
    return tuple(msgspec.json.encode(value).decode() if is_json else value for value, is_json in found)


def _row(kind: type[R], table: _Table, found: Sequence[Any]) -> R:
    values = {}
    for column, value in zip(table.columns, found, strict=True):
        if column.is_json:
            values[column.name] = msgspec.json.decode(value, type=column.kind)
        else:
            values[column.name] = bool(value) if column.kind is bool else value
    return kind(**values)


@lru_cache
def table_of(kind: type[Row]) -> _Table:
    """Its name is that of the row's class."""
    hints = get_type_hints(kind)
    names = msgspec.structs.fields(kind)
    columns = tuple(_Column(f.name, hints[f.name], not _is_plain(hints[f.name])) for f in names)
    return _Table(f"{kind.__name__.removesuffix('Row').lower()}s", columns, KEYS[kind])


def _is_plain(kind: Any) -> bool:
    import typing

    return kind in PLAIN or typing.get_origin(kind) is typing.Literal


def _names(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _known(table: _Table, name: str) -> str:
    if all(name != column.name for column in table.columns):
        raise KeyError(f"{table.name} have no `{name}`")
    return name


def _migrate(database: Database) -> None:
    database.run([Statement('CREATE TABLE IF NOT EXISTS "schema" ("step" BIGINT NOT NULL)', [()])])
    found = database.fetch('SELECT max("step") FROM "schema"', ())
    step = int(found[0][0] or 0)
    if step > len(MIGRATIONS):
        raise SetupError(
            f"store has schema {step}, this version knows {len(MIGRATIONS)}",
            hint="a later version wrote it: update this orchestrator, or restore a backup of before",
        )
    for number, statements in enumerate(MIGRATIONS[step:], step + 1):
        mark = Statement(f'INSERT INTO "schema" ("step") VALUES ({database.mark})', [(number,)])  # noqa: S608
        database.run([*(Statement(sql, [()]) for sql in statements), mark])
