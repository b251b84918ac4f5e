"""What a replica that lacks nearly everything begins with: a snapshot of the shard, and the journal of its points."""

import asyncio
import contextlib
import gzip
import shutil
import sqlite3
from pathlib import Path

from littoral.errors import ShardError
from littoral.vectors.layout import sync_folder
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.shared_log import SharedLog

__all__ = [
    "ARCHIVE",
    "JOURNAL",
    "bring_over",
    "install_journal",
    "install_left_journal",
    "pack_replica",
    "remove_journal",
]

ARCHIVE = "points.snapshot"
JOURNAL = "journal.sqlite"
PACK_DEADLINE_S = 600.0
BUCKETS = 64
KEYS = 256
STATES_BYTES = 4 << 20
COPY_BYTES = 1 << 20


async def pack_replica(replica: Replica, folder: Path) -> list[Path]:
    """Both, as files in that folder: the archive is for `Collections.recover_part`. Writes wait while it is packed, not
    while it is compressed: files of a store are mostly holes where it is small.
    """
    plain, archive, journal = folder / "plain", folder / ARCHIVE, folder / JOURNAL
    await replica.pack(plain, journal, deadline_s=PACK_DEADLINE_S)
    await asyncio.to_thread(_compress, plain, archive)
    return [archive, journal]


def _compress(plain: Path, target: Path) -> None:
    try:
        with plain.open("rb") as source, gzip.open(target, "xb", compresslevel=1) as packed:
            shutil.copyfileobj(source, packed, COPY_BYTES)
        plain.unlink()
    except OSError as error:
        raise ShardError(f"snapshot `{target}`: {error.strerror}") from error


async def bring_over(former: SharedLog, fresh: SharedLog) -> bool:
    """What the former replica of a shard on this node has, and the fresh one, which came from elsewhere, lacks: by the
    rules by which any two replicas compare. Whether that was all, and the fresh one knows it.
    """
    vector, floor = dict(former.vector), dict(former.floor)
    nodes = await fresh.differing({0: (await former.digests([0]))[0]})
    while nodes and (under := fresh.below(nodes)):
        digests = await former.digests(under)
        nodes = await fresh.differing(dict(zip(under, digests, strict=True)))
    is_whole = True
    for at in range(0, len(nodes), BUCKETS):
        some = nodes[at : at + BUCKETS]
        keys = await fresh.wanted(some, await former.versions(some), vector, floor)
        while keys:
            told = set(await fresh.take_states(await former.states(keys[:KEYS], STATES_BYTES)))
            is_whole &= bool(told)
            keys = [key for key in keys if key not in told] if told else keys[KEYS:]
    if is_whole:
        await fresh.learn(vector, floor)
    return is_whole


def install_journal(packed: Path, path: Path) -> None:
    """Puts a journal where `Replica.open` finds it: after the shard has the points, never before.

    Raises ShardError. Waits for the disk.
    """
    try:
        with contextlib.closing(sqlite3.connect(packed)) as journal:
            journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        remove_journal(path)
        packed.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ShardError(f"journal `{path}`: {error.strerror}") from error
    except sqlite3.Error as error:
        raise ShardError(f"journal `{packed}`: {error}") from error


def install_left_journal(packed: Path, path: Path, life: str) -> bool:
    """After a crash between the exchange of a shard and that of its journal: goes on there. Whether there was one.

    life: of the shard as it lies here now. Raises ShardError. Waits for the disk.
    """
    if not packed.exists() or _shard_of(packed) != life:
        return False
    install_journal(packed, path)
    return True


def _shard_of(journal: Path) -> str:
    """For which one it was opened; none, if that cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(journal)) as opened:
            row = opened.execute("SELECT value FROM marks WHERE name = 'shard'").fetchone()
    except sqlite3.Error:
        return ""
    return "" if row is None else str(row[0])


def remove_journal(path: Path) -> None:
    """The file, and what SQLite keeps beside it."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
