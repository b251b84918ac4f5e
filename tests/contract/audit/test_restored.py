"""The log in a backup: whole although it is written meanwhile; a restored node begins another that names its end."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_log import KEY, ORIGIN, entries, filled
from littoral import settings
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.copying import copy_log, end_of
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import RESTORED, Entry, decode_entry
from littoral.audit.log import LogFolder, TreeLog
from littoral.audit.tiles import ENTRIES, Tile
from littoral.audit.verify import verify_log
from littoral.clock import SYSTEM
from littoral.errors import TrustError
from littoral.node.audit.epochs import BEFORE, EPOCH, LOG
from littoral.node.backup.folder import Backups
from littoral.node.backup.restoring import restore
from littoral.node.client import NodeClient
from littoral.node.doctor.audit import examine_audit
from littoral.node.site import read_site
from node_fixture import node_in_thread
from supervised import short_folder
from waiting import until

SITE_FILE = "site.toml"
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"

[collections.parts]
vectors = { size = 4, distance = "Dot" }

[audit]
commit_ms = 5
"""


def test_a_copy_is_whole_while_the_log_grows(tmp_path: Path) -> None:
    log, over = filled(tmp_path / "log", 700), threading.Event()

    def grow() -> None:
        while not over.is_set() and log.size < 50_000:
            log.append(entries(log.size, log.size + 97))

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for number in range(3):
            began = log.size
            end = copy_log(tmp_path / "log", tmp_path / str(number))
            report = verify_log(FolderDisk(tmp_path / str(number)), key=log.verifier)
            assert (report.faults, report.unsigned) == ([], 0)
            assert end is not None
            assert report.size == end.size >= began
    finally:
        over.set()
        writer.join()
    assert (end.origin, end) == (ORIGIN, end_of(tmp_path / "2"))


def test_a_copy_lacks_what_was_pruned_and_nothing_else(tmp_path: Path) -> None:
    filled(tmp_path / "log", 1000)
    (tmp_path / "log" / Tile(ENTRIES, 0).path).unlink()
    copy_log(tmp_path / "log", tmp_path / "copy")
    names = {path.relative_to(tmp_path / "log") for path in (tmp_path / "log").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()} == names
    assert copy_log(tmp_path / "nothing", tmp_path / "none") is None
    (tmp_path / "log" / "checkpoint").write_text("no\n")
    with pytest.raises(TrustError, match="is no checkpoint"):
        copy_log(tmp_path / "log", tmp_path / "wrong")


def told(folder: Path) -> list[Entry]:
    log = LogFolder.open(folder)
    return [decode_entry(log.entry(number), number) for number in range(log.size)]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[NodeClient]:
    with (
        node_in_thread(folder, site=folder / SITE_FILE) as served,
        contextlib.closing(NodeClient(served.url)) as client,
    ):
        yield client
        trail = served.node.audit
        until(lambda: trail is not None and not trail.recorder.waiting_count)


def backed_up(client: NodeClient, folder: Path) -> None:
    with client.download("/api/backup") as read:
        Backups(folder, None, SYSTEM).take(read)


def test_a_restored_node_goes_on_in_another_log_that_names_the_end_of_the_first() -> None:
    with short_folder() as folder, settings.override(LITTORAL_STATE=str(folder / "state")):
        first, backups = folder / "a", folder / "backups"
        first.mkdir()
        (first / SITE_FILE).write_text(SITE)
        with running(first) as client:
            client.collection("PUT", "parts", "/points?wait=true", {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]})
            backed_up(client, backups)
            client.collection("PUT", "parts", "/points?wait=true", {"points": [{"id": 2, "vector": [1, 2, 3, 4]}]})
        lost = told(first / "data" / LOG)
        for name in ("b", "c"):
            restore(Backups(backups, None, SYSTEM), folder / name)
            data = folder / name / "data"
            assert not (data / LOG).exists()
            assert verify_log(FolderDisk(data / BEFORE / "first")).is_right
            with running(folder / name) as client:
                backed_up(client, folder / f"backups-{name}")
            now = told(data / LOG)
            end = end_of(data / BEFORE / "first")
            assert end is not None
            assert 0 < end.size < len(lost)
            assert (now[0].did, now[0].on, now[0].count, now[0].digest) == (RESTORED, *end)
            assert now[1].did == "opened"
            assert verify_log(FolderDisk(data / LOG)).is_right
            findings = {one.subject: one.status for one in examine_audit(read_site(folder / name / SITE_FILE), SYSTEM)}
            assert findings[str(data / BEFORE / "first")] == "ok"
        origins = [LogFolder.open(folder / name / "data" / LOG).checkpoint.origin for name in "abc"]
        assert len(set(origins)) == 3
        assert all(one.startswith("littoral/gw-1/") for one in origins[1:])

        restore(Backups(folder / "backups-b", None, SYSTEM), folder / "d")
        before = folder / "d" / "data" / BEFORE
        kept = {path.name: end_of(path) for path in before.iterdir()}
        assert {end.origin for end in kept.values() if end is not None} == {"littoral/gw-1", origins[1]}
        shutil.rmtree(before / origins[1].rpartition("/")[2])
        with running(folder / "d"):
            pass
        wrong = [one for one in examine_audit(read_site(folder / "d" / SITE_FILE), SYSTEM) if one.status == "fail"]
        assert len(wrong) == 1
        assert "does not end with" in wrong[0].message
        assert (folder / "d" / "data" / EPOCH).is_file()


def test_another_key_does_not_go_on_with_a_log(tmp_path: Path) -> None:
    filled(tmp_path, 10)
    with pytest.raises(TrustError):
        TreeLog.begin(FolderDisk(tmp_path), ORIGIN, SecretKey(bytes(32)))
    assert TreeLog.begin(FolderDisk(tmp_path), ORIGIN, KEY).size == 10
