"""Journals of replicas where there are keys: nothing of a point in their files but its id, and the same log as ever."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import TrustError
from littoral.vault import Key, KeyRing
from littoral.vectors.replication.entries import Change, State, decode_entry
from littoral.vectors.replication.journal import Journal
from spread_nodes import spread_nodes, spread_table

OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))
CANARY = "canary-Zq7#"
VECTOR = b"\x11\x22\x33\x44" * 8


def journal(path: Path, *keys: Key) -> Journal:
    return Journal(path, "a", "life", ring=KeyRing(keys) if keys else None)


def write(into: Journal, numbers: Iterable[int]) -> None:
    for number in numbers:
        with into.transaction():
            into.write([Change(number, VECTOR, {"name": f"{CANARY}{number}"})], 1000.0 + number)


def told(by: Journal) -> list[str]:
    shipped = [decode_entry(body) for body in by.entries_after({}, 1 << 20).entries]
    names = [str((change.payload or {})["name"]) for entry in shipped for change in entry.changes]
    assert names == [str((change.payload or {})["name"]) for _, changes in by.unapplied() for change in changes]
    return names


def on_disk(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*sqlite*") if path.is_file()]
    assert files
    return [path.name for path in files if any(one in path.read_bytes() for one in (CANARY.encode(), VECTOR))]


NAMES = [f"{CANARY}{number}" for number in range(20)]


def test_a_sealed_journal_tells_what_was_written_and_its_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    one = journal(path, OLD)
    write(one, range(20))
    assert told(one) == NAMES
    assert on_disk(tmp_path) == []
    one.close()
    again = journal(path, OLD)
    assert told(again) == NAMES
    with again.transaction():
        again.take_states([State(1 << 61, "b.x", 1, Change(7, VECTOR, {"name": CANARY}))])
    assert [len(changes) for _, changes in again.unapplied()] == [1] * 7 + [0] + [1] * 13
    assert on_disk(tmp_path) == []
    again.close()


def test_what_was_plain_is_sealed_when_there_are_keys_and_nothing_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    plain = journal(path)
    write(plain, range(20))
    assert on_disk(tmp_path)
    plain.close()
    sealed = journal(path, OLD)
    assert on_disk(tmp_path) == []
    assert told(sealed) == NAMES
    sealed.close()


def test_another_key_seals_anew_and_the_former_one_may_go(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    one = journal(path, OLD)
    write(one, range(10))
    one.close()
    both = journal(path, NEW, OLD)
    write(both, range(10, 20))
    both.close()
    new = journal(path, NEW)
    assert told(new) == NAMES
    new.close()
    with pytest.raises(TrustError, match="is sealed by key"):
        journal(path, OLD)
    unsealed = journal(path)
    with pytest.raises(TrustError, match="belong into the table `encryption`"):
        unsealed.entries_after({}, 1 << 20)
    unsealed.close()


def test_an_entry_that_was_changed_or_moved_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    one = journal(path, OLD)
    write(one, range(2))
    one.close()
    for change in ("body = CAST(body || x'00' AS BLOB)", "body = (SELECT body FROM entries WHERE number = 2)"):
        file = sqlite3.connect(path)
        (kept,) = file.execute("SELECT body FROM entries WHERE number = 1").fetchone()
        with file:
            file.execute(f"UPDATE entries SET {change} WHERE number = 1")
        forged = journal(path, OLD)
        with pytest.raises(TrustError, match=r"entry 1 of `a\.life` is not as it was sealed"):
            forged.entries_after({}, 1 << 20)
        forged.close()
        with file:
            file.execute("UPDATE entries SET body = ? WHERE number = 1", (kept,))
        file.close()
    whole = journal(path, OLD)
    assert told(whole) == NAMES[:2]
    whole.close()


async def test_nodes_with_keys_replicate_and_their_journals_tell_nothing(tmp_path: Path) -> None:
    tables = {"frames": spread_table(8, shards=2, replicas=2, holders=2)}
    async with spread_nodes(tmp_path, ["a", "b"], tables, keys=KeyRing([OLD])) as nodes:
        payloads = [{"name": f"{CANARY}{at}"} for at in range(40)]
        vectors = np.frombuffer(VECTOR * 40, "<f4").reshape(40, 8)
        await nodes["a"]["frames"].upsert(range(40), vectors, payloads)
        records, _ = await nodes["b"]["frames"].scroll(limit=100)
        assert {str((record.payload or {})["name"]) for record in records} == {str(one["name"]) for one in payloads}
        for name in nodes:
            assert on_disk(tmp_path / name / "mesh") == []
