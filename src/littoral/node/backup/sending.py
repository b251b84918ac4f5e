"""A node as a stream of bytes: a tar whose first entry says whose, and whose last one says that it is whole.

Entries: `head.json`; files by their names (`contents`); for each collection `collections/NAME.snapshot`, which is a tar
itself, as snapshots are, and for each shard of a spread one that lies here too, with its journal as a file behind it;
`wait` while one is being made; `error.json`, after which nothing comes; `end.json`.

Each collection is as it was at one moment after the stream began: what was acknowledged before is in. Only one of them
lies beside the others at a time, in `<data>/backup.part/`, and is gone when it is sent.
"""

import asyncio
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import msgspec

import littoral
from littoral.clock import Clock
from littoral.errors import ConflictError, LittoralError, NotFoundError
from littoral.node.audit.epochs import LOG
from littoral.node.backup.contents import KeptFile, LeftOut, files_of, left_out, log_of
from littoral.node.site import Site

__all__ = ["COLLECTION", "END", "ERROR", "HEAD", "SNAPSHOT", "WAIT", "End", "Head", "Packed", "sent"]

HEAD, WAIT, ERROR, END = "head.json", "wait", "error.json", "end.json"
COLLECTION, SNAPSHOT = "collections/", ".snapshot"
STAGING = "backup.part"
PART_BYTES = 1 << 18
WAIT_S = 5.0


class Head(msgspec.Struct, frozen=True):
    """at: Unix time. site_file: its name. data: the data folder, relative to it where it lies below. is_sealed: whether
    the node seals what it writes for later. outside: where files lay that did not lie below, by their names."""

    node: str
    at: float
    site_file: str
    data: str
    is_sealed: bool
    outside: dict[str, str]
    version: str = littoral.__version__
    format: Literal[1] = 1


class End(msgspec.Struct, frozen=True):
    """entries: how many came before it, but for `wait`. left_out: what the node has and the stream does not."""

    entries: int
    left_out: list[LeftOut]


class Packed(Protocol):
    """The collections of a node, running or not."""

    def names(self) -> list[str]:
        """Of those that lie here as a whole, and of shards of others."""
        ...

    def left_out(self) -> Iterator[LeftOut]:
        """The others."""
        ...

    async def pack(self, name: str, target: Path) -> list[KeptFile]:
        """One as a snapshot, in a file that is not there yet; what belongs to it, in files beside that, which are the
        caller's. Raises NotFoundError if it is gone by now.
        """
        ...


async def sent(site: Site, packed: Packed, clock: Clock, *, with_tokens: bool = False) -> AsyncIterator[bytes]:
    """Errors are told in the stream: whoever reads it must see `end.json`."""
    staging = site.data / STAGING
    try:
        async for part in _entries(site, packed, staging, clock, with_tokens=with_tokens):
            yield part
    except (LittoralError, OSError) as error:
        yield _small(ERROR, msgspec.json.encode({"error": str(error)}))
    finally:
        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _entries(
    site: Site, packed: Packed, staging: Path, clock: Clock, *, with_tokens: bool
) -> AsyncIterator[bytes]:
    files = await asyncio.to_thread(files_of, site, with_tokens=with_tokens)
    home = site.file.absolute().parent
    data = site.data.absolute()
    head = Head(
        site.node.name,
        clock.wall(),
        site.file.name,
        str(data.relative_to(home)) if data.is_relative_to(home) and ".." not in data.parts else str(data),
        site.encryption is not None,
        {file.name: str(file.path) for file in files if file.name.startswith("outside/")},
    )
    yield _small(HEAD, msgspec.json.encode(head))
    count = 1
    for file in files:
        async for part in _file(file.name, file.path):
            yield part
        count += 1
    await asyncio.to_thread(_fresh, staging)
    for file in await asyncio.to_thread(log_of, site, staging / LOG):
        async for part in _file(file.name, file.path):
            yield part
        count += 1
    await asyncio.to_thread(_fresh, staging)
    gone: list[LeftOut] = []
    for name in packed.names():
        snapshot = staging / name
        packing = asyncio.create_task(packed.pack(name, snapshot))
        try:
            while not (await asyncio.wait({packing}, timeout=WAIT_S))[0]:
                yield _small(WAIT, b"")
            beside = packing.result()
        except NotFoundError:
            gone.append(LeftOut(f"collection {name}", "it was deleted meanwhile"))
            continue
        finally:
            packing.cancel()
        async for part in _file(f"{COLLECTION}{name}{SNAPSHOT}", snapshot):
            yield part
        for file in beside:
            async for part in _file(file.name, file.path):
                yield part
        count += 1 + len(beside)
        await asyncio.to_thread(_fresh, staging)
    left = [*packed.left_out(), *left_out(site, with_tokens=with_tokens), *gone]
    yield _small(END, msgspec.json.encode(End(count, left)))


def _fresh(staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)


async def _file(name: str, path: Path) -> AsyncIterator[bytes]:
    """Raises ConflictError for one that is written meanwhile."""
    stream = await asyncio.to_thread(path.open, "rb")
    try:
        before = os.fstat(stream.fileno())
        yield _entry(name, before.st_size, before.st_mode & 0o777)
        left = before.st_size
        while left and (part := await asyncio.to_thread(stream.read, min(PART_BYTES, left))):
            left -= len(part)
            yield part
        _check_same(before, stream, path, left)
        yield bytes(-before.st_size % tarfile.BLOCKSIZE)
    finally:
        stream.close()


def _check_same(before: os.stat_result, stream: BinaryIO, path: Path, left: int) -> None:
    after = os.fstat(stream.fileno())
    if left or (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        raise ConflictError(
            f"`{path}` was written while it was read", hint="replace files by renaming, and make the backup again"
        )


def _small(name: str, data: bytes) -> bytes:
    return _entry(name, len(data), 0o600) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _entry(name: str, size: int, mode: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
