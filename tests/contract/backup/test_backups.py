"""Folders of backups: whole or not at all, nothing kept twice, every changed byte found, and the way back."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, NodeError, PeerError, SettingError, TrustError, UnavailableError
from littoral.node.backup.folder import Backups
from littoral.node.backup.manifest import check_name, decoded, encoded
from littoral.node.backup.restoring import restore
from littoral.node.backup.sending import sent
from littoral.node.backup.stopped import Stopped, one_by_one
from littoral.node.site import read_site
from littoral.vault import Key, KeyRing
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from littoral.vectors.owner_lock import OwnerLock
from stopped_node import SITE, points_of, take, write_points, write_stopped

RING = KeyRing([Key(bytes(range(32)))])
LATER = KeyRing([Key(bytes(range(1, 33))), RING.current])

RINGS = pytest.mark.parametrize("ring", [None, RING], ids=["plain", "sealed"])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return write_stopped(tmp_path / "node")


def backups(folder: Path, ring: KeyRing | None = None) -> Backups:
    return Backups(folder, ring, SYSTEM)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@RINGS
def test_a_node_comes_back_as_it_was(site: Path, tmp_path: Path, ring: KeyRing | None) -> None:
    before = points_of(site)
    (site.parent / "data/gateway").mkdir()
    for name in ("counts.json", "near-misses", "watch.json", "answers.table"):
        (site.parent / "data/gateway" / name).write_text(name)
    made = take(site, tmp_path / "kept", ring)
    assert made.manifest.collections == ["parts"]
    done = restore(backups(tmp_path / "kept", ring), tmp_path / "again")
    assert (done.name, done.to_do) == (made.name, [])
    assert points_of(done.site_file) == before
    for name in ("site.toml", "models/plain/1/model.wasm", "models/plain/2/model.wasm"):
        assert (done.site_file.parent / name).read_bytes() == (site.parent / name).read_bytes()
    learned = {path.name: path.read_text() for path in (done.site_file.parent / "data/gateway").iterdir()}
    assert learned == {name: name for name in ("counts.json", "near-misses", "watch.json")}
    assert (done.site_file.parent / "data/collections/aliases.json").read_text() == '{"pieces": "parts"}'
    write_points(done.site_file, range(5, 25))
    assert len(points_of(done.site_file)) == 25


@RINGS
def test_what_is_there_is_not_kept_again(site: Path, tmp_path: Path, ring: KeyRing | None) -> None:
    first = take(site, tmp_path / "kept", ring)
    again = take(site, tmp_path / "kept", ring)
    assert first.new_count > 5
    assert again.kept_count >= first.new_count - 3
    assert again.new_bytes < first.new_bytes // 4
    assert backups(tmp_path / "kept", ring).names() == [first.name, again.name]
    assert list(backups(tmp_path / "kept", ring).damage()) == []


@RINGS
def test_a_changed_byte_is_found_at_any_place(site: Path, tmp_path: Path, ring: KeyRing | None) -> None:
    kept = tmp_path / "kept"
    manifest = take(site, kept, ring).manifest
    blobs = backups(kept, ring).blobs_of(manifest)
    for path in (path for path in (kept / "blobs").rglob("*") if path.is_file()):
        for changed in changes(good := path.read_bytes()):
            path.write_bytes(changed)
            with pytest.raises(TrustError):
                blobs.get(path.name)
        path.write_bytes(good)
    (path,) = (kept / "manifests").iterdir()
    for changed in changes(good := path.read_bytes(), 61):
        path.write_bytes(changed)
        with pytest.raises(TrustError):
            backups(kept, ring).read()
    path.write_bytes(good)
    assert list(backups(kept, ring).damage()) == []


def changes(good: bytes, step: int = 0) -> Iterator[bytes]:
    """A byte here and there, and a byte less or more."""
    for at in {*range(0, len(good), step or len(good)), len(good) // 2, len(good) - 1}:
        yield good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    yield from (good[:-1], good + b"\0", b"")


@RINGS
def test_nothing_is_written_of_a_backup_with_damage(site: Path, tmp_path: Path, ring: KeyRing | None) -> None:
    kept = tmp_path / "kept"
    take(site, kept, ring)
    blob = next(path for path in (kept / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(TrustError, match="part of "):
        restore(backups(kept, ring), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert [path.name for path in tmp_path.iterdir() if "restoring" in path.name] == []


@RINGS
def test_the_next_backup_mends_a_blob_that_was_damaged(site: Path, tmp_path: Path, ring: KeyRing | None) -> None:
    kept = tmp_path / "kept"
    take(site, kept, ring)
    model = b"version 1"
    (damaged,) = [
        path
        for path in (kept / "blobs").rglob("*")
        if path.is_file() and backups(kept, ring).blobs_of(backups(kept, ring).read()[1]).get(path.name) == model
    ]
    damaged.write_bytes(b"something else")
    assert list(backups(kept, ring).damage())
    take(site, kept, ring)
    assert list(backups(kept, ring).damage()) == []


def test_two_blobs_that_changed_places_are_found(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    take(site, kept, RING)
    one, two = sorted(path for path in (kept / "blobs").rglob("*") if path.is_file())[:2]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert len(list(backups(kept, RING).damage())) == 2


def test_a_manifest_under_another_name_is_refused(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    made = take(site, kept, RING)
    (path,) = (kept / "manifests").iterdir()
    path.rename(path.with_name("000009-20300101T000000Z.backup"))
    with pytest.raises(TrustError):
        backups(kept, RING).read()
    assert made.name not in backups(kept, RING).names()


def test_a_sealed_backup_tells_nothing(site: Path, tmp_path: Path) -> None:
    take(site, tmp_path / "kept", RING)
    told = b"".join(files(tmp_path / "kept").values())
    for secret in (b"gw-1", b"version 1", b"parts", b"site.toml"):
        assert secret not in told
    with pytest.raises(TrustError, match="is sealed"):
        backups(tmp_path / "kept").read()


def test_a_new_key_seals_what_is_new_and_the_old_one_opens_what_was(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = take(site, kept, RING)
    second = take(site, kept, LATER)
    assert (first.manifest.key, second.manifest.key) == (RING.current.id.hex(), LATER.current.id.hex())
    assert second.kept_count <= 3
    assert list(backups(kept, LATER).damage()) == []
    damage = list(backups(kept, RING).damage())
    assert [one.backup for one in damage] == [second.name]
    assert len(points_of(restore(backups(kept, RING), tmp_path / "again", first.name).site_file)) == 20


def test_only_the_latest_stay_and_what_they_need(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    made = []
    for start in range(3):
        write_points(site, range(start * 100, start * 100 + 100))
        made.append(take(site, kept).name)
    gone = backups(kept).prune(1)
    assert (gone.backups, gone.blob_count > 0) == (made[:2], True)
    assert backups(kept).names() == made[2:]
    assert list(backups(kept).damage()) == []
    assert len(points_of(restore(backups(kept), tmp_path / "again").site_file)) == 300


def test_digests_of_tokens_come_along_only_if_asked_for(site: Path, tmp_path: Path) -> None:
    made = take(site, tmp_path / "kept")
    assert "site/tokens.json" not in [file.name for file in made.manifest.files]
    assert "tokens.json" in [one.what for one in made.manifest.left_out]
    made = take(site, tmp_path / "kept", with_tokens=True)
    assert "site/tokens.json" in [file.name for file in made.manifest.files]
    assert "tokens.json" not in [one.what for one in made.manifest.left_out]
    done = restore(backups(tmp_path / "kept"), tmp_path / "again")
    assert (done.site_file.parent / "tokens.json").exists()


def test_files_elsewhere_are_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "far.wasm").write_bytes(b"far away")
    text = SITE.replace('name = "gw-1"', f'name = "gw-1"\ndata = "{tmp_path / "points"}"')
    site = write_stopped(tmp_path / "node", text + f'\n[models.far]\npath = "{tmp_path / "far.wasm"}"\n')
    take(site, tmp_path / "kept")
    done = restore(backups(tmp_path / "kept"), tmp_path / "again")
    assert (tmp_path / "again/outside/3/far.wasm").read_bytes() == b"far away"
    assert (tmp_path / "again/data/collections/parts").is_dir()
    assert [line.split("`")[1] for line in done.to_do] == ["node.data", str(tmp_path / "far.wasm")]


def test_a_folder_with_something_in_it_is_refused(site: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds something else"):
        take(site, site.parent)
    take(site, tmp_path / "kept")
    with pytest.raises(ConflictError, match="not empty"):
        restore(backups(tmp_path / "kept"), site.parent)
    (tmp_path / "empty").mkdir()
    assert restore(backups(tmp_path / "kept"), tmp_path / "empty").site_file.exists()


def test_a_shard_that_somebody_has_open_is_left_alone(site: Path, tmp_path: Path) -> None:
    folder = read_site(site).data / COLLECTIONS / "parts"
    lock = OwnerLock.take(folder / read_collection_file(folder).shards[0], SYSTEM)
    with pytest.raises(NodeError, match="is in use by process"):
        take(site, tmp_path / "kept")
    lock.release()
    assert backups(tmp_path / "kept").names() == []
    assert take(site, tmp_path / "kept").manifest.collections == ["parts"]


def test_two_do_not_work_on_a_folder_at_once(site: Path, tmp_path: Path) -> None:
    take(site, tmp_path / "kept")
    lock = OwnerLock.take(tmp_path / "kept", SYSTEM, name=".backup.lock")
    for work in (lambda: take(site, tmp_path / "kept"), lambda: backups(tmp_path / "kept").prune(1)):
        with pytest.raises(UnavailableError):
            work()
    lock.release()


def stream_of(site: Path) -> bytes:
    described = read_site(site)
    return b"".join(one_by_one(sent(described, Stopped(described.data), SYSTEM)))


def test_a_stream_that_ends_early_is_no_backup(site: Path, tmp_path: Path) -> None:
    stream = stream_of(site)
    ends = [0, 1, 512, 1024, 2048, len(stream) // 2, len(stream) - 1024 - 512, len(stream) - 2048]
    for end in ends:
        with pytest.raises(PeerError):
            backups(tmp_path / "kept").take(io.BytesIO(stream[:end]).read)
    assert backups(tmp_path / "kept").names() == []
    backups(tmp_path / "kept").take(io.BytesIO(stream).read)
    assert list(backups(tmp_path / "kept").damage()) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_stream_names_no_place_elsewhere(site: Path, tmp_path: Path, name: str) -> None:
    assert not check_name(name)
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(stream_of(site))) as there,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as changed,
    ):
        for entry in there:
            body = there.extractfile(entry)
            entry.name = name if entry.name == "site/site.toml" else entry.name
            changed.addfile(entry, body)
    with pytest.raises(PeerError, match="no plain file"):
        backups(tmp_path / "kept").take(io.BytesIO(stream.getvalue()).read)


def test_a_manifest_names_no_place_elsewhere(site: Path, tmp_path: Path) -> None:
    manifest = take(site, tmp_path / "kept").manifest
    assert decoded(encoded(manifest), "backup") == manifest
    told = json.loads(encoded(manifest).partition(b"\n")[2])
    told["files"][0]["name"] = "site/../../x"
    data = json.dumps(told).encode()
    first = f"littoral-backup-1 {hashlib.sha256(data).hexdigest()}\n".encode()
    with pytest.raises(TrustError, match="no name of a file"):
        decoded(first + data, "backup")


def test_a_node_that_seals_its_files_is_not_kept_plain_by_accident(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    site = write_stopped(tmp_path / "node", SITE + '\n[encryption]\nkey_file = "keys"\n')
    with pytest.raises(SettingError, match="would be plain"):
        take(site, tmp_path / "kept")
    assert "keys of `encryption`" in [one.what for one in take(site, tmp_path / "kept", RING).manifest.left_out]


def test_a_model_that_is_not_there_is_told(site: Path, tmp_path: Path) -> None:
    shutil.rmtree(site.parent / "models")
    with pytest.raises(NodeError, match="the node says: model"):
        take(site, tmp_path / "kept")
    assert backups(tmp_path / "kept").names() == []
