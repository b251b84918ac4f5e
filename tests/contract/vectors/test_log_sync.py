"""What makes the log durable finds every file, whatever the store does to it meanwhile."""

import os
from pathlib import Path

import pytest

from littoral.vectors.log_sync import LogSync, sync_log


def store(folder: Path) -> Path:
    (folder / "wal").mkdir()
    for name in ("open-1", "open-2", "first-index"):
        (folder / "wal" / name).write_bytes(b"entry")
    return folder


def test_every_file_and_the_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store(tmp_path)
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), sync(handle)))
    sync_log(made)
    wanted = {path.stat().st_ino for path in (made / "wal").iterdir()} | {(made / "wal").stat().st_ino}
    assert set(synced) == wanted


def test_a_file_that_is_renamed_and_one_that_comes_are_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store(tmp_path)
    synced: set[int] = set()
    sync = os.fsync

    def renaming(handle: int) -> None:
        if not synced:
            (made / "wal" / "open-1").rename(made / "wal" / "closed-1")
            (made / "wal" / "open-3").write_bytes(b"new")
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", renaming)
    sync_log(made)
    assert {path.stat().st_ino for path in (made / "wal").iterdir()} <= synced


def test_a_failure_is_told_unless_the_store_was_exchanged(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    sync = LogSync(writer)
    for store_now, is_told in ((tmp_path / "gone", True), (tmp_path / "other", False)):
        sync.begin(tmp_path / "gone", [], 0.0)
        assert os.read(reader, 1) == b"\0"
        if is_told:
            with pytest.raises(Exception, match="log of"):
                sync.ended(store_now)
        else:
            assert sync.ended(store_now) == []
        assert not sync.is_running
    sync.close()
    os.close(reader)
    os.close(writer)
