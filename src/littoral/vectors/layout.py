"""Where a collection lies on disk, and how to reach the socket of a shard host.

`<data>/collections/<name>/collection.json` and, beside it, one folder per shard. A shard's folder has a name of its own
in every life of the collection, so that nobody takes the host of a deleted collection for that of its successor.
Sockets are reached through a handle on their folder: a path of any depth fits the 108 bytes of a socket address.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from littoral.errors import NotFoundError, ShardError
from littoral.vectors.formats import check_problem
from littoral.vectors.records import CollectionConfig

__all__ = [
    "BOOTS",
    "COLLECTIONS",
    "COLLECTION_FILE",
    "FILE_BYTES_MAX",
    "STORE",
    "CollectionFile",
    "Generation",
    "count_boot",
    "keep_boots",
    "listen",
    "read_collection_file",
    "socket_path",
    "sync_folder",
]

COLLECTIONS = "collections"
COLLECTION_FILE = "collection.json"
SOCKET = "host.sock"
STORE = "edge"
BOOTS = "boots"
FILE_BYTES_MAX = 1 << 20
LISTEN_BACKLOG = 64
FORMAT = 1


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The same points embedded by another model. shards: as of the collection. flipped_at: Unix time since which it is
    the one before, 0 while it is being built."""

    config: CollectionConfig
    shards: list[str]
    flipped_at: float = 0.0


class CollectionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Content of `collection.json`: what the collection is made with, and the folders of its shards.

    other: a second generation, which is to take its place, or had it before. declared: what the site file said of the
    collection when they last changed places.
    """

    config: CollectionConfig
    shards: list[str]
    other: Generation | None = None
    declared: str = ""
    format: Literal[1] = 1

    @property
    def all_shards(self) -> list[str]:
        """Of both generations."""
        return [*self.shards, *(self.other.shards if self.other else ())]

    def config_of(self, shard: str) -> CollectionConfig:
        """What this shard is made with."""
        return self.other.config if self.other is not None and shard in self.other.shards else self.config


def read_collection_file(folder: Path) -> CollectionFile:
    """Raises NotFoundError if the folder has none, ShardError naming the key that is wrong."""
    file = folder / COLLECTION_FILE
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX)
    except OSError as error:
        raise NotFoundError(f"`{file}`: {error.strerror}") from error
    try:
        return msgspec.json.decode(data, type=CollectionFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem, hint = check_problem(data, FORMAT, error)
        raise ShardError(f"`{file}`: {problem}", hint=hint) from error


@contextlib.contextmanager
def socket_path(shard_folder: Path) -> Iterator[str]:
    """A short name for the shard's socket, good inside the `with` block. Raises FileNotFoundError."""
    handle = os.open(shard_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)


def listen(shard_folder: Path) -> socket.socket:
    """The host's socket, for this user only. Whoever calls this owns the shard, so an old socket is nobody's."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        with socket_path(shard_folder) as path:
            Path(path).unlink(missing_ok=True)
            listener.bind(path)
        listener.listen(LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def sync_folder(folder: Path) -> None:
    """Makes the names in it durable: what a rename needs to survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_boots(former: Path, folder: Path) -> None:
    """Epochs of the folder go on from those of a former one."""
    with contextlib.suppress(FileNotFoundError):
        (folder / BOOTS).write_bytes((former / BOOTS).read_bytes())


def count_boot(folder: Path) -> int:
    """How often this shard was opened: the length of a file that grows by a byte. Makes epochs grow across crashes.

    Raises ShardError if the byte cannot be written.
    """
    try:
        handle = os.open(folder / BOOTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, b".")
            os.fsync(handle)
            return os.fstat(handle).st_size
        finally:
            os.close(handle)
    except OSError as error:
        raise ShardError(f"`{folder / BOOTS}`: {error.strerror}") from error
