"""The store of what was compiled here: bounded, and shared by processes that write at the same time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littoral.artifact import Store, digest, store

WRITERS, EACH, KEPT = 4, 60, 8


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ENTRIES_MAX", KEPT)


@pytest.mark.usefixtures("small")
def test_the_oldest_make_room(tmp_path: Path) -> None:
    found = Store(tmp_path)
    digests = [digest(bytes([i])) for i in range(KEPT + 3)]
    for i, one in enumerate(digests):
        found.record(one)
        os.utime(tmp_path / "compiled" / one, (i, i))
    found.record(digests[3])  # used again
    found.record(digest(b"one more"))
    assert [found.holds(one) for one in digests] == [False, False, False, True, False, *[True] * (KEPT - 2)]


@pytest.mark.usefixtures("small")
def test_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        mine = Store(tmp_path)
        for i in range(EACH):
            mine.record(digest(bytes([writer, i])))
            mine.record(digest(bytes([writer, i // 2])))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    left = list((tmp_path / "compiled").iterdir())
    assert 1 <= len(left) <= KEPT + WRITERS
    assert all(Store(tmp_path).holds(entry.name) for entry in left)


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    found = Store(tmp_path)
    for name, age_s in ((".dead.x", 7200), (".alive.x", 5)):
        path = tmp_path / "compiled" / name
        path.touch()
        changed = path.stat().st_mtime - age_s
        os.utime(path, (changed, changed))
    found.record(digest(b"model"))
    assert {p.name for p in (tmp_path / "compiled").iterdir()} == {".alive.x", digest(b"model")}
