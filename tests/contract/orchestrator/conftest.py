"""What tests of an orchestrator share: both databases, both kinds of object storage."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from littoral.orchestrator.store.postgres import PostgresDatabase
from littoral.orchestrator.store.sql import Database
from littoral.orchestrator.store.sqlite import SqliteDatabase
from postgres_server import postgres_server
from s3_server import s3_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server of this run."""
    with postgres_server() as conninfo:
        yield conninfo


@pytest.fixture
def conninfo(postgres: str) -> str:
    """Of a database that nobody else has."""
    name = f"fleet_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{postgres} dbname={name}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Of storage that speaks S3."""
    with s3_server() as url:
        yield url


class Databases:
    """Opens the same database again and again. conninfo: '' for SQLite."""

    def __init__(self, file: Path, conninfo: str) -> None:
        self._file = file
        self._conninfo = conninfo
        self._open: list[Database] = []

    def open(self) -> Database:
        found: Database = PostgresDatabase(self._conninfo) if self._conninfo else SqliteDatabase(self._file)
        self._open.append(found)
        return found

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    conninfo = request.getfixturevalue("conninfo") if request.param == "postgres" else ""
    found = Databases(tmp_path / "fleet.sqlite", conninfo)
    yield found
    found.close()
