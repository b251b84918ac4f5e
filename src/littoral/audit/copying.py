"""A log as its last checkpoint has it, copied while it is written. Nothing is verified here, and no key is needed."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from littoral.audit.disk import FolderDisk
from littoral.audit.tiles import WIDTH, read_tile, tiles_of
from littoral.errors import TrustError

__all__ = ["End", "copy_log", "end_of"]

CHECKPOINT = "checkpoint"
BESIDE = ("witnessed", "witness.keys", "log.key")


class End(NamedTuple):
    """What a log's last checkpoint says. root: as it stands there, base64."""

    origin: str
    size: int
    root: str


def end_of(folder: Path) -> End | None:
    """None where there is no log. Raises TrustError for a checkpoint that is none, OSError."""
    return None if (data := FolderDisk(folder).read(CHECKPOINT)) is None else _end(data)


def copy_log(source: Path, target: Path) -> End | None:
    """As `end_of`. Files that no longer change are linked where that can be: they cost no room.

    What was pruned before is missing in the copy too. target: not there before, or empty.
    """
    disk = FolderDisk(source)
    beside = {name: disk.read(name) for name in BESIDE}  # a cosignature is never of more than the checkpoint after it
    if (checkpoint := disk.read(CHECKPOINT)) is None:
        return None
    end = _end(checkpoint)
    for tile in tiles_of(end.size):
        path = target / tile.path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if tile.width == WIDTH:
            _link(source / tile.path, path)
        elif (data := read_tile(disk, tile)) is not None:
            path.write_bytes(data)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, data in {**beside, CHECKPOINT: checkpoint}.items():
        if data is not None:
            (target / name).write_bytes(data)
    return end


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _end(checkpoint: bytes) -> End:
    lines = checkpoint.decode(errors="replace").split("\n")
    if len(lines) < 4 or not (lines[1].isascii() and lines[1].isdecimal() and len(lines[1]) <= 18):
        raise TrustError(f"`{CHECKPOINT}`: is no checkpoint: must be origin, size and root, a line each")
    return End(lines[0], int(lines[1]), lines[2])
