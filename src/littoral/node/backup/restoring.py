"""From a backup to the folder of a node: looked at as a whole first, written aside, there by one rename."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import ConflictError, TrustError
from littoral.mesh.facts import BOOT_FILE
from littoral.node.audit.epochs import begin_epoch
from littoral.node.backup.blobs import Blobs
from littoral.node.backup.contents import DATA, MESH, OUTSIDE, SITE
from littoral.node.backup.folder import Backups
from littoral.node.backup.manifest import BLOB_BYTES, HOLE, File, Manifest
from littoral.node.backup.sending import COLLECTION
from littoral.node.backup.together import folder_of
from littoral.vectors.layout import BOOTS, COLLECTION_FILE, COLLECTIONS, STORE, CollectionFile, sync_folder
from littoral.vectors.log_numbers import begin_log

__all__ = ["Restored", "restore"]

DATA_HERE = "data"
BOOTS_SINCE_S, BOOT_S = 1_767_225_600, 60
"""A shard that was restored counts as if it had been opened every minute since 2026."""


class Restored(NamedTuple):
    """site_file: in the new folder. to_do: what stands elsewhere than the site file says, for people."""

    name: str
    manifest: Manifest
    site_file: Path
    to_do: list[str]


def restore(backups: Backups, folder: Path, name: str = "", clock: Clock = SYSTEM) -> Restored:
    """A backup, or the latest, as the folder of a node that `littoral up` starts; empty or not there before.

    clock: by its time a node of a mesh counts on, so that others take nothing that it says for something older.

    Raises ConflictError for a folder that holds something, TrustError for a backup with damage: then nothing is
    written. OSError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"`{folder}` is there and not empty", hint="name a folder that is not there")
    name, manifest = backups.read(name)
    for damage in backups.damage(name):
        raise TrustError(
            f"backup `{name}`: {damage.what}", hint="`littoral backup verify` tells everything; take another one"
        )
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    staged = folder.absolute().parent / f".{folder.name}.restoring-{secrets.token_hex(4)}"
    try:
        staged.mkdir(mode=0o700)
        _write(staged, manifest, backups.blobs_of(manifest))
        _count_on(staged / _data(manifest), int(clock.wall()))
        begin_epoch(staged / _data(manifest), name, clock.wall(), secrets.token_hex(4))
        for path in (*_folders(staged), staged):
            sync_folder(path)
        staged.rename(folder)
        sync_folder(folder.absolute().parent)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return Restored(name, manifest, folder / manifest.head.site_file, list(_to_do(manifest)))


def _write(folder: Path, manifest: Manifest, blobs: Blobs) -> None:
    data = folder / _data(manifest)
    place = _places(manifest, folder, data)
    for file in manifest.files:
        _write_file(place(file.name), file, blobs)
    for name in manifest.collections:
        _as_collection(folder_of(data, name))


def _count_on(data: Path, now_s: int) -> None:
    """What a node of a mesh numbers must never come twice, and a backup does not know what came after it."""
    if (data / MESH).is_dir():
        _put(data / MESH / BOOT_FILE, b"%d\n" % now_s)
    for shard in (data / COLLECTIONS).glob("*.*/shard-*"):
        with (shard / BOOTS).open("xb") as stream:
            stream.truncate(max(0, now_s - BOOTS_SINCE_S) // BOOT_S)
            os.fsync(stream.fileno())


def _put(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _data(manifest: Manifest) -> PurePosixPath:
    path = PurePosixPath(manifest.head.data)
    return PurePosixPath(DATA_HERE) if path.is_absolute() or ".." in path.parts else path


def _places(manifest: Manifest, folder: Path, data: Path) -> Callable[[str], Path]:
    """Where a file of the backup goes."""
    shards = {name: f"shard-0-{secrets.token_hex(4)}" for name in manifest.collections}

    def place(name: str) -> Path:
        first, _, rest = name.partition("/")
        if first == SITE and rest:
            return folder / rest
        if first == DATA and rest:
            return data / rest
        if first == OUTSIDE and rest:
            return folder / OUTSIDE / rest
        if name.startswith(COLLECTION) and len(parts := rest.split("/", 1)) == 2:
            collection = folder_of(data, parts[0])
            inner = parts[1]
            return collection / inner if inner == COLLECTION_FILE else collection / shards[parts[0]] / STORE / inner
        raise TrustError(f"backup: nobody knows where `{name[:80]}` belongs")

    return place


def _write_file(path: Path, file: File, blobs: Blobs) -> None:
    """Holes stay holes. Raises TrustError where what was written is not what was read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    left = file.size
    with path.open("xb") as stream:
        stream.truncate(file.size)
        for blob in file.blobs:
            size = min(left, BLOB_BYTES)
            content = bytes(size) if blob == HOLE else blobs.get(blob)
            if len(content) != size:
                raise TrustError(f"backup: `{file.name}` has a blob of {len(content)} bytes, expected {size}")
            digest.update(content)
            if blob == HOLE:
                stream.seek(size, os.SEEK_CUR)
            else:
                stream.write(content)
            left -= size
        stream.flush()
        os.fchmod(stream.fileno(), file.mode & 0o755 | 0o600)
        os.fsync(stream.fileno())
    if digest.hexdigest() != file.sha256:
        raise TrustError(f"backup: `{file.name}` is not what was read")


def _as_collection(folder: Path) -> None:
    """Its file names the one shard that it has now, and the store's log goes on after its points."""
    file = folder / COLLECTION_FILE
    shards = [path for path in folder.iterdir() if path.is_dir()]
    if len(shards) != 1 or not file.is_file():
        raise TrustError(f"backup: collection `{folder.name}` lacks its points or its `{COLLECTION_FILE}`")
    shard = shards[0]
    read = msgspec.json.decode(file.read_bytes(), type=CollectionFile)
    kept = msgspec.structs.replace(read, shards=[shard.name], other=None)
    with file.open("wb") as stream:
        stream.write(msgspec.json.encode(kept))
        stream.flush()
        os.fsync(stream.fileno())
    begin_log(shard / STORE)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir())


def _to_do(manifest: Manifest) -> Iterator[str]:
    if str(_data(manifest)) != manifest.head.data:
        yield f"`node.data` was `{manifest.head.data}`: it is `{DATA_HERE}` here, say so in the site file"
    for name, path in manifest.head.outside.items():
        yield f"`{path}` lies in `{name}` now: put it there, or change the site file"
