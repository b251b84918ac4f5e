"""What a node hands on to its peers: artifacts that it has verified, by their digest, which nobody guesses."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from littoral.errors import NotFoundError
from littoral.updates.deployment.store import ArtifactStore
from littoral.web import Answer, Request, Stream

__all__ = ["handed_on"]

FILE = re.compile(r"([0-9a-f]{64})\.[a-z]{1,16}", re.ASCII)
RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})", re.ASCII)
CHUNK_BYTES = 1 << 18
PART_BYTES_MAX = 4 << 20
OCTETS = "application/octet-stream"


async def handed_on(store: ArtifactStore, request: Request) -> Answer | Stream:
    """A whole file, or a part of it, of which at most 4 MiB are given at a time. Raises NotFoundError."""
    name = FILE.fullmatch(request.names["file"])
    path = None if name is None else store.path(name[1])
    if path is None or not await asyncio.to_thread(path.is_file):
        raise NotFoundError(f"`{request.names['file'][:80]}` is not here")
    wanted = RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None:
        return Stream(_chunks(path), OCTETS)
    first = int(wanted[1])
    last = int(wanted[2]) if wanted[2] else first + PART_BYTES_MAX - 1
    data, size = await asyncio.to_thread(_part, path, first, min(last - first + 1, PART_BYTES_MAX))
    if not data:
        return Answer(b"", 416, OCTETS, (("content-range", f"bytes */{size}"),))
    return Answer(data, 206, OCTETS, (("content-range", f"bytes {first}-{first + len(data) - 1}/{size}"),))


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    stream = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            yield chunk
    finally:
        stream.close()


def _part(path: Path, first: int, count: int) -> tuple[bytes, int]:
    with path.open("rb") as stream:
        stream.seek(first)
        return stream.read(max(0, count)), path.stat().st_size
