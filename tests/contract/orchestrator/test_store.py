"""One store, on SQLite and on a real PostgreSQL: rows come back as they went in, and a write is done as a whole."""

import random
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from littoral.errors import ConflictError, SetupError, UnavailableError
from littoral.orchestrator.store import Add, Delete, Put, Trim
from littoral.orchestrator.store.migrations import MIGRATIONS
from littoral.orchestrator.store.postgres import PostgresDatabase
from littoral.orchestrator.store.rows import (
    KEYS,
    ArtifactRow,
    AskRow,
    Assigned,
    ClaimRow,
    EventRow,
    GroupRow,
    MemberRow,
    MoveRow,
    NodeRow,
    Plan,
    ReportRow,
    Ring,
    RolloutRow,
    Row,
    SightingRow,
)
from littoral.orchestrator.store.sql import SqlStore, Statement
from littoral.updates.artifacts import Custom, Provenance
from littoral.updates.wire import CheckIn, Gates, Window

SET = Assigned(models={"e": "models/e/1.wasm"}, site="sites/s/2.toml", dashboards=("dashboards/d/1.json",))
ROWS: dict[type[Row], Row] = {
    NodeRow: NodeRow(
        name="gw-1",
        token_sha256="ab",
        public_key="PEM",
        enrolled_at_s=1795376000.123456,
        group='no"rth',
        labels={"région": "nörd ✓ '\";--"},
        deployment=2**40,
        assigned=SET,
        gates=Gates(p99_ratio_max=2.5, hook="http://127.0.0.1"),
        windows=(Window(days=(0, 6), from_minute=1380, to_minute=60),),
        bytes_per_s_max=None,
        is_frozen=True,
    ),
    SightingRow: SightingRow(
        node="gw-1", seen_at_s=2.0, checkin=CheckIn(deployment=3, state="canary", facts={"a": [1]})
    ),
    GroupRow: GroupRow(name="north", match={"a": "b"}, assigned=SET, bytes_per_s_max=5),
    ClaimRow: ClaimRow(id="c", sha256="x", made_at_s=1.0, made_by="ada", expires_at_s=2.0, uses_left=5),
    ArtifactRow: ArtifactRow(
        target="models/e/1.wasm",
        kind="models",
        name="e",
        version=1,
        length=3,
        sha256="aa",
        state="pending",
        at_s=1.0,
        by="x",
        custom=Custom(provenance=Provenance(figures={"p50_ms": 1.5})),
        signatures=("k1", "k2"),
        wanted=2,
    ),
    RolloutRow: RolloutRow(
        id="r1",
        number=1,
        plan=Plan(group="north", set=SET, rings=(Ring(name="a", percent=5.0),), windows=()),
        state="running",
        began_at_s=1.0,
        by="ada",
        soaks_from_s=None,
        group_before=SET,
    ),
    MemberRow: MemberRow(rollout="r1", node="gw-1", ring=0, before=SET, state="told", deployment=3),
    EventRow: EventRow(number=1, at_s=1.0, kind="node", on="gw-1", detail={"x": None, "y": [1.5, "z"]}),
    AskRow: AskRow(id="q", number=1, node="gw-1", kind="doctor", at_s=1.0, by="ada", answer='{"a": 1}'),
    MoveRow: MoveRow(id="fleet", state="left", other="/etc/fleet/outgrown.toml", at_s=1.5),
    ReportRow: ReportRow(node="gw-1", at_s=5.0, metrics={'m{a="b"}': 0.1}, dropped={"bytes": 2}),
}


def test_every_table_is_looked_at() -> None:
    assert ROWS.keys() == KEYS.keys()


def test_rows_come_back_as_they_went_in(databases: Any) -> None:
    store = SqlStore.open(databases.open())
    store.write([Add(row) for row in ROWS.values()])
    for kind, row in ROWS.items():
        assert store.rows(kind) == [row]
        assert store.get(kind, **{name: getattr(row, name) for name in KEYS[kind]}) == row
        assert store.get(kind, **dict.fromkeys(KEYS[kind], 999 if kind is EventRow else "nobody")) is None
    store.write([Put(row) for row in ROWS.values()])
    assert [store.rows(kind) for kind in ROWS] == [[row] for row in ROWS.values()]


def test_a_write_is_done_as_a_whole_or_not_at_all(databases: Any) -> None:
    store = SqlStore.open(databases.open())
    event = ROWS[EventRow]
    store.write([Add(event)])
    with pytest.raises(ConflictError, match="event `1` is there already"):
        store.write([Put(ROWS[GroupRow]), Delete(EventRow, {"number": 1}), Add(event), Add(event)])
    assert (store.rows(GroupRow), store.rows(EventRow)) == ([], [event])
    store.write([Delete(EventRow, {"number": 1}), Add(event), Put(ROWS[GroupRow])])
    assert (store.rows(GroupRow), store.rows(EventRow)) == ([ROWS[GroupRow]], [event])


def test_what_is_written_is_there_when_it_is_opened_again(databases: Any) -> None:
    database = databases.open()
    SqlStore.open(database).write([Put(row) for row in ROWS.values()])
    database.close()
    store = SqlStore.open(databases.open())
    assert [store.rows(kind) for kind in ROWS] == [[row] for row in ROWS.values()]


def test_random_changes_leave_what_a_dictionary_would_have(databases: Any) -> None:
    rng, store = random.Random(7), SqlStore.open(databases.open())
    known: dict[tuple[str, str], MemberRow] = {}
    for _ in range(60):
        changes: list[Any] = []
        for _ in range(rng.randint(1, 6)):
            key = f"r{rng.randint(0, 3)}", f"n{rng.randint(0, 9)}"
            if rng.random() < 0.7:
                row = MemberRow(rollout=key[0], node=key[1], ring=rng.randint(0, 5), told_at_s=rng.random())
                changes.append(Put(row))
                known[key] = row
            else:
                changes.append(Delete(MemberRow, {"rollout": key[0], "node": key[1]}))
                known.pop(key, None)
        store.write(changes)
    assert store.rows(MemberRow) == [row for _, row in sorted(known.items())]
    assert store.rows(MemberRow, {"rollout": "r2"}) == [row for key, row in sorted(known.items()) if key[0] == "r2"]


def test_the_newest_are_kept_and_read_in_pages(databases: Any) -> None:
    store = SqlStore.open(databases.open())
    store.write([Add(EventRow(number=n, at_s=0.0, kind="x")) for n in range(1, 21)])
    store.write([Trim(EventRow, 30)])
    assert [row.number for row in store.rows(EventRow, newest=3)] == [20, 19, 18]
    assert [row.number for row in store.rows(EventRow, newest=3, before=18)] == [17, 16, 15]
    store.write([Trim(EventRow, 5), Add(EventRow(number=21, at_s=0.0, kind="x"))])
    assert [row.number for row in store.rows(EventRow)] == [16, 17, 18, 19, 20, 21]


def test_a_store_of_a_later_version_is_left_alone(databases: Any) -> None:
    database = databases.open()
    SqlStore.open(database)
    later = len(MIGRATIONS) + 1
    database.run([Statement(f'INSERT INTO "schema" ("step") VALUES ({later})', [()])])
    with pytest.raises(SetupError, match=f"has schema {later}, this version knows {len(MIGRATIONS)}"):
        SqlStore.open(database)


def test_an_interrupted_migration_is_as_if_it_had_not_begun(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database = databases.open()
    with monkeypatch.context() as patch:
        patch.setattr("littoral.orchestrator.store.sql.MIGRATIONS", ((*MIGRATIONS[0][:4], "CREATE NONSENSE"),))
        with pytest.raises(UnavailableError):
            SqlStore.open(database)
    store = SqlStore.open(database)
    store.write([Put(ROWS[NodeRow])])
    assert store.rows(NodeRow) == [ROWS[NodeRow]]


def test_columns_are_never_made_of_what_is_asked(databases: Any) -> None:
    store = SqlStore.open(databases.open())
    with pytest.raises(KeyError, match="have no"):
        store.rows(NodeRow, {'name" = name OR "1"="1': "x"})
    store.write([Put(ROWS[NodeRow])])
    assert store.get(NodeRow, name="' OR ''='") is None


def test_only_one_orchestrator_has_a_database_of_postgres(conninfo: str) -> None:
    first = PostgresDatabase(conninfo)
    with pytest.raises(UnavailableError, match="another orchestrator keeps this database"):
        PostgresDatabase(conninfo)
    first.close()
    PostgresDatabase(conninfo).close()


def test_a_connection_that_broke_is_opened_again(conninfo: str) -> None:
    store = SqlStore.open(PostgresDatabase(conninfo))
    store.write([Put(ROWS[NodeRow])])
    with psycopg.connect(conninfo, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(UnavailableError):
        store.write([Put(ROWS[GroupRow])])
    store.write([Put(ROWS[GroupRow])])
    assert (store.rows(NodeRow), store.rows(GroupRow)) == ([ROWS[NodeRow]], [ROWS[GroupRow]])
    store.close()


def test_rows_are_plain_json_where_they_are_no_scalars(databases: Any) -> None:
    database = databases.open()
    SqlStore.open(database).write([Put(ROWS[GroupRow])])
    ((text,),) = database.fetch('SELECT "assigned" FROM "groups"', ())
    assert msgspec.json.decode(text)["models"] == {"e": "models/e/1.wasm"}


def test_rows_of_an_earlier_schema_are_read_and_go_on(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database, group = databases.open(), GroupRow(name="north", match={"region": "north"}, bytes_per_s_max=9)
    with monkeypatch.context() as patch:
        patch.setattr("littoral.orchestrator.store.sql.MIGRATIONS", MIGRATIONS[:1])
        SqlStore.open(database)
    sql = (
        'INSERT INTO "groups" ("name", "match", "assigned", "gates", "windows", "bytes_per_s_max", "is_frozen") '
        """VALUES ('north', '{"region": "north"}', '{}', '{}', '[]', 9, FALSE)"""
    )
    database.run([Statement(sql, [()])])
    store = SqlStore.open(database)
    assert store.rows(GroupRow) == [group]
    capped = replace(group, total_bytes_per_s_max=4096)
    store.write([Put(capped)])
    assert store.get(GroupRow, name="north") == capped
