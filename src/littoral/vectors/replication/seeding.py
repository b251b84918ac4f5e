"""What a new replica begins with: a snapshot of the shard, and the journal that has the versions of its points."""

from pathlib import Path

from littoral.errors import ShardError
from littoral.vectors.layout import sync_folder
from littoral.vectors.replication.replica import Replica

__all__ = ["ARCHIVE", "JOURNAL", "install_journal", "pack_replica", "remove_journal"]

ARCHIVE = "points.snapshot"
JOURNAL = "journal.sqlite"
PACK_DEADLINE_S = 600.0


async def pack_replica(replica: Replica, folder: Path) -> list[Path]:
    """Both, as files in that folder: the archive is for `Collections.recover`. Writes wait meanwhile."""
    archive, journal = folder / ARCHIVE, folder / JOURNAL
    await replica.pack(archive, journal, deadline_s=PACK_DEADLINE_S)
    return [archive, journal]


def install_journal(packed: Path, path: Path) -> None:
    """Puts a packed journal where `Replica.open` finds it: after the shard has the points, never before.

    A crash in between leaves points without versions: what other replicas have comes again over these. Raises
    ShardError. Waits for the disk.
    """
    try:
        remove_journal(path)
        packed.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ShardError(f"journal `{path}`: {error.strerror}") from error


def remove_journal(path: Path) -> None:
    """The file, and what SQLite keeps beside it."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
