"""Folders of collections: read at the start, made and removed as a whole, cleared of what a crash left."""

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

import msgspec

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import FullDiskError, InputError, LittoralError, ShardError, UnavailableError
from littoral.settings import number
from littoral.vectors import layout
from littoral.vectors.aliases import ALIASES_FILE
from littoral.vectors.layout import STORE
from littoral.vectors.owner_lock import OwnerLock
from littoral.vectors.snapshots import unpack_store

__all__ = [
    "DOOMED",
    "NAME",
    "STAGED",
    "check_name",
    "doom",
    "is_part",
    "make",
    "scan",
    "unpack_beside",
    "wait_for_owner",
]

NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
PART_NAME = re.compile(r"[a-zA-Z0-9_-]{1,200}\.[a-z0-9]{1,50}")
HOST_END_WAIT_S = 3.0
STAGED = ".new-"
DOOMED = ".deleted-"


def is_part(name: str) -> bool:
    return PART_NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises InputError for a name that no collection can have."""
    if not NAME.fullmatch(name):
        raise InputError(f"collection name is `{name[:80]}`, must be 1 to 255 of a-z, A-Z, 0-9, `_` and `-`")


def scan(folder: Path) -> dict[str, layout.CollectionFile | ShardError]:
    """Clears what a crash left, and reads the rest."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found: dict[str, layout.CollectionFile | ShardError] = {}
    for path in folder.iterdir():
        if path.name.startswith((STAGED, DOOMED)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ALIASES_FILE and (NAME.fullmatch(path.name) or is_part(path.name)):
            found[path.name] = _read(path)
    return found


def _read(folder: Path) -> layout.CollectionFile | ShardError:
    try:
        file = layout.read_collection_file(folder)
    except LittoralError as error:
        return ShardError(error.message)
    for left in folder.glob("shard-*"):
        if left.name not in file.all_shards:
            shutil.rmtree(left, ignore_errors=True)
    if any(len(shards) != 1 for shards in (file.shards, *([file.other.shards] if file.other else []))) or not all(
        map(NAME.fullmatch, file.all_shards)
    ):
        return ShardError(f"`{folder / layout.COLLECTION_FILE}`: `shards` must name one folder")
    return file


def _reserve_bytes() -> int:
    return number("LITTORAL_DISK_RESERVE_MB") << 20


def check_room(folder: Path) -> None:
    """Whether a write would be taken there. Raises FullDiskError."""
    disk = os.statvfs(folder)
    if (free := disk.f_bavail * disk.f_frsize) < (least := _reserve_bytes()):
        raise FullDiskError(
            f"disk of `{folder}` has {free >> 20} MiB free, a new collection needs {least >> 20} MiB",
            hint="make room; what is there can be read meanwhile",
        )


def unpack_beside(archive: Path, former: Path, fresh: Path) -> None:
    """A new shard of a collection; nothing is left of one that fails."""
    try:
        unpack_store(archive, fresh / STORE, reserve_bytes=_reserve_bytes())
        layout.keep_boots(former, fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def make(folder: Path, name: str, file: layout.CollectionFile, archive: Path | None = None) -> None:
    """archive: a snapshot whose points it has from the start. Raises FullDiskError; nothing is left of it then."""
    check_room(folder)
    staged = folder / f"{STAGED}{secrets.token_hex(8)}"
    for shard in file.shards:
        (staged / shard).mkdir(parents=True, mode=0o700)
        if archive is not None:
            try:
                unpack_store(archive, staged / shard / STORE, reserve_bytes=_reserve_bytes())
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
    write_atomically(staged / layout.COLLECTION_FILE, msgspec.json.encode(file))
    staged.rename(folder / name)
    layout.sync_folder(folder)


def doom(folder: Path, name: str) -> Path:
    doomed = folder / f"{DOOMED}{secrets.token_hex(8)}"
    (folder / name).rename(doomed)
    layout.sync_folder(folder)
    return doomed


def wait_for_owner(shard_folder: Path, clock: Clock) -> None:
    """A host that cannot end in time loses its folder while it runs; nobody else uses what it then writes."""
    with contextlib.suppress(UnavailableError):
        OwnerLock.take(shard_folder, clock, wait_s=HOST_END_WAIT_S).release()
