"""Copies of a shard's files, in steps of a millisecond; whoever copies sees to it that nobody writes meanwhile.

The write-ahead log stays behind: after a flush the segments hold everything, but for the number of the next write
(`log_numbers`). Holes stay holes.
"""

import errno
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from littoral.errors import ShardError

__all__ = ["LOG", "copy_steps", "pack_steps", "stored_bytes", "stored_files", "unpack"]

STEP_BYTES = 1 << 20
LOG = "wal"
FILE_COUNT_MAX = 65_536


def stored_files(folder: Path) -> list[Path]:
    """The files of a store, without its log, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != LOG)


def stored_bytes(folder: Path) -> int:
    """What they take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in stored_files(folder))


def copy_steps(source: Path, target: Path) -> Iterator[None]:
    """The store again in a folder that is not there yet. Raises ShardError, and leaves what it has made."""
    try:
        target.mkdir(mode=0o700)
        for folder in sorted(path for path in source.rglob("*") if path.is_dir()):
            if folder.relative_to(source).parts[0] != LOG:
                (target / folder.relative_to(source)).mkdir(mode=0o700)
        for path in stored_files(source):
            yield from _copied(path, target / path.relative_to(source))
    except OSError as error:
        raise ShardError(f"copy of `{source}`: {error.strerror}") from error


def _copied(source: Path, target: Path) -> Iterator[None]:
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for start, end in _extents(reader.fileno(), size):
            at = start
            while at < end:
                at += _moved(reader.fileno(), writer.fileno(), at, min(end - at, STEP_BYTES))
                yield
        yield


def _moved(reader: int, writer: int, at: int, count: int) -> int:
    return os.pwrite(writer, os.pread(reader, count, at), at)


def _extents(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """From where to where there is data."""
    end = 0
    while end < size:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end


def pack_steps(source: Path, target: Path, more: Path) -> Iterator[None]:
    """The store's files and one more as a tar: what Qdrant's own shard snapshots are. Raises ShardError.

    Whoever keeps it makes it durable: that takes as long as the disk does, and searches wait for whoever packs.
    """
    try:
        with tarfile.open(target, "x", format=tarfile.PAX_FORMAT) as archive:
            archive.add(more, more.name, recursive=False)
            for path in stored_files(source):
                yield from _packed(archive, path, str(path.relative_to(source)))
        yield
    except (OSError, tarfile.TarError) as error:
        raise ShardError(f"snapshot `{target}`: {error}") from error


def _packed(archive: tarfile.TarFile, path: Path, name: str) -> Iterator[None]:
    """As `addfile`, but with pauses."""
    entry = archive.gettarinfo(path, name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    stream = archive.fileobj
    head = entry.tobuf(archive.format or tarfile.PAX_FORMAT, archive.encoding or "utf-8", "surrogateescape")
    stream.write(head)
    left = entry.size
    with path.open("rb") as reader:
        while left:
            part = reader.read(min(left, STEP_BYTES))
            if not part:
                raise ShardError(f"`{path}` became shorter while it was read")
            stream.write(part)
            left -= len(part)
            yield
    padding = -entry.size % tarfile.BLOCKSIZE
    stream.write(bytes(padding))
    archive.offset += len(head) + entry.size + padding


def unpack(archive: Path, target: Path, *, bytes_max: int) -> None:
    """Puts the files of a snapshot, which may be compressed, into a folder that is not there yet.

    Only plain files below `target`, at most 65536 of them and `bytes_max` together. Raises ShardError for all else.
    """
    try:
        with tarfile.open(archive, "r:*") as opened:
            left = bytes_max
            for count, entry in enumerate(opened):
                left -= entry.size
                if count >= FILE_COUNT_MAX or left < 0:
                    raise ShardError(
                        f"snapshot `{archive.name}` has more than {FILE_COUNT_MAX} files or {bytes_max} bytes"
                    )
                if entry.isdir():
                    continue
                parts = Path(entry.name).parts
                if not entry.isreg() or not parts or ".." in parts or Path(entry.name).is_absolute():
                    raise ShardError(f"snapshot `{archive.name}`: `{entry.name[:80]}` is no plain file below it")
                opened.extract(entry, target, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ShardError(f"snapshot `{archive.name}` cannot be read: {error}") from error
