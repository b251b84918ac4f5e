"""Snapshots of collections: one tar each, with its digest beside it, in `<data>/snapshots/<collection>/`.

What Qdrant's own shard snapshots are (`segments/`, `edge_config.json`) plus `collection.json`, so that a collection can
be made from one. A recovery unpacks beside the collection, starts a host on it, and then changes one name in a file:
a crash at any moment leaves the collection as it was or as it is to be.
"""

import hashlib
import os
import re
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, NotFoundError, ShardError, TooLargeError, TrustError
from littoral.vault import KeyRing
from littoral.vault.layout import MAGIC, plain_bytes
from littoral.vectors.copying import LOG, unpack
from littoral.vectors.layout import COLLECTION_FILE, FILE_BYTES_MAX, CollectionFile, sync_folder
from littoral.vectors.log_numbers import begin_log
from littoral.vectors.records import CollectionConfig

__all__ = ["SNAPSHOTS", "SnapshotFile", "SnapshotFolder", "config_in", "is_sealed", "unpack_store"]

SNAPSHOTS = "snapshots"
ENDING = ".snapshot"
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,200}\.snapshot")
SNAPSHOT_COUNT_MAX = 64
DIGEST_BYTES = 1 << 20
PART_BYTES = 1 << 18


class SnapshotFile(NamedTuple):
    """sha256: in hexadecimal digits. created_at: seconds since 1970."""

    name: str
    created_at: float
    size_bytes: int
    sha256: str


class SnapshotFolder:
    """The snapshots of one data folder. Its calls wait for the disk.

    ring: keys that seal them, and open those that are sealed; None: they are plain. Sizes and digests are of the tar.
    """

    def __init__(self, data: Path, clock: Clock = SYSTEM, ring: KeyRing | None = None) -> None:
        self.folder = data / SNAPSHOTS
        self._clock = clock
        self._ring = ring

    def all(self, collection: str) -> list[SnapshotFile]:
        """By name; one that has no digest yet is not told."""
        folder = self.folder / collection
        found = (self._described(path) for path in sorted(folder.glob(f"*{ENDING}"))) if folder.is_dir() else ()
        return [one for one in found if one is not None]

    def _described(self, path: Path) -> SnapshotFile | None:
        try:
            digest, found = _digest_file(path).read_text("ascii"), path.stat()
            size = found.st_size
            if is_sealed(path):
                size = plain_bytes(size)
        except (OSError, UnicodeDecodeError):
            return None
        return SnapshotFile(path.name, found.st_mtime, size, digest)

    def new(self, collection: str) -> Path:
        """Where the next one is to be written. Raises TooLargeError if 64 are there."""
        folder = self.folder / collection
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in (*folder.glob("*.part"), *folder.glob("*.sealing")):
            left.unlink(missing_ok=True)
        if len(self.all(collection)) >= SNAPSHOT_COUNT_MAX:
            raise TooLargeError(f"collection `{collection}` has {SNAPSHOT_COUNT_MAX} snapshots, delete one first")
        stamp = int(self._clock.wall() * 1000)
        return folder / f"{collection}-{stamp}-{secrets.token_hex(3)}{ENDING}.part"

    def keep(self, part: Path) -> SnapshotFile:
        """A finished one gets its digest and its name."""
        path = part.with_suffix("")
        _digest_file(path).write_text(sha256_of(part), "ascii")
        if self._ring is None:
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.rename(path)
        else:
            self._seal(part, path, self._ring)
            part.unlink()
        sync_folder(path.parent)
        if (found := self._described(path)) is None:
            raise ShardError(f"snapshot `{path}` was taken away")
        return found

    def _seal(self, part: Path, path: Path, ring: KeyRing) -> None:
        """The part lay beside the shard that it was made of, which is as plain."""
        from littoral.vault.sealed import SealedWriter

        sealing = path.with_name(f"{path.name}.sealing")
        try:
            with part.open("rb") as plain, open(sealing, "wb", opener=_private) as stream:
                writer = SealedWriter(stream, ring, _purpose(path))
                while data := plain.read(DIGEST_BYTES):
                    writer.write(data)
                writer.close()
                stream.flush()
                os.fsync(stream.fileno())
            sealing.rename(path)
        finally:
            sealing.unlink(missing_ok=True)

    def parts(self, path: Path) -> Iterator[bytes]:
        """The tar in the file of a snapshot, piece by piece. Raises TrustError for a sealed one that was changed, or
        whose key is not there.
        """
        what = f"snapshot `{path.name}`"
        with path.open("rb") as stream:
            if not is_sealed(path):
                while data := stream.read(PART_BYTES):
                    yield data
                return
            if self._ring is None:
                raise TrustError(f"{what} is sealed", hint="its keys belong into the table `encryption`")
            from littoral.vault.sealed import SealedReader

            yield from SealedReader(stream, self._ring, _purpose(path), what).chunks()

    def unsealed(self, path: Path) -> Path | None:
        """A sealed one as a file of its own, plain, which whoever asked for it removes; None: it is plain already."""
        if not is_sealed(path):
            return None
        plain = self._received()
        try:
            with open(plain, "wb", opener=_private) as stream:
                stream.writelines(self.parts(path))
        except BaseException:
            plain.unlink(missing_ok=True)
            raise
        return plain

    def path(self, collection: str, name: str) -> Path:
        """Raises NotFoundError."""
        path = self.folder / collection / name
        if not NAME.fullmatch(name) or not path.is_file():
            raise NotFoundError(f"collection `{collection}` has no snapshot `{name[:80]}`")
        return path

    def delete(self, collection: str, name: str) -> None:
        """Raises NotFoundError."""
        path = self.path(collection, name)
        path.unlink()
        _digest_file(path).unlink(missing_ok=True)

    def received(self, data: bytes) -> Path:
        """A file for what was sent; whoever asked for it removes it."""
        path = self._received()
        path.write_bytes(data)
        return path

    def _received(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder / f".received-{secrets.token_hex(8)}"


def is_sealed(path: Path) -> bool:
    """Whether it is a sealed file. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _purpose(path: Path) -> str:
    return f"snapshot {path.parent.name}/{path.name}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _digest_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.checksum")


def sha256_of(path: Path) -> str:
    """In hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(DIGEST_BYTES):
            digest.update(part)
    return digest.hexdigest()


def config_in(archive: Path, sha256: str | None) -> CollectionConfig:
    """What the collection in it was made with. Raises InputError for a file that is no snapshot of ours, or another."""
    if sha256 is not None and sha256_of(archive) != sha256.lower():
        raise InputError(f"snapshot: its SHA-256 is {sha256_of(archive)}, expected is {sha256[:64]}")
    try:
        with tarfile.open(archive, "r:*") as opened:
            entry = next(iter(opened))
            stream = opened.extractfile(entry)
            if entry.name != COLLECTION_FILE or stream is None:
                raise InputError(f"snapshot: begins with `{entry.name[:80]}`, expected `{COLLECTION_FILE}`")
            return msgspec.json.decode(stream.read(FILE_BYTES_MAX), type=CollectionFile).config
    except (
        OSError,
        tarfile.TarError,
        EOFError,
        StopIteration,
        msgspec.DecodeError,
        ValueError,
        RecursionError,
    ) as error:
        raise InputError(f"snapshot cannot be read: {error!s:.200}") from error


def unpack_store(archive: Path, store: Path, *, reserve_bytes: int) -> None:
    """Puts the store of a snapshot into a folder that is not there yet. Raises InputError for one that is none of ours.

    reserve_bytes: what must stay free on the disk.
    """
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    disk = os.statvfs(store.parent)
    try:
        unpack(archive, store, bytes_max=max(0, disk.f_bavail * disk.f_frsize - reserve_bytes))
        if not (store / LOG).exists():
            begin_log(store)
    except ShardError as error:
        raise InputError(error.message) from error
    (store / COLLECTION_FILE).unlink(missing_ok=True)
    for path in _folders(store):
        sync_folder(path)


def _folders(store: Path) -> Iterator[Path]:
    for path in store.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        else:
            yield path
    yield store
