"""The tree of a few nodes as one archive, for those that no network reaches."""

import asyncio
import contextlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from littoral.errors import InputError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.signing import Signing
from littoral.updates.metadata.export import export
from littoral.web import Protocol, Request, Route, Stream

__all__ = ["export_protocol"]

NODE_COUNT_MAX = 64
CHUNK_BYTES = 1 << 18
TAR = "application/x-tar"


def export_protocol(fleet: Fleet, signing: Signing, objects: Objects, coming: Path) -> Protocol:
    """coming: where the archive is put together."""

    async def exported(request: Request) -> Stream:
        nodes = [fleet.node(name).name for name in request.query.values()]
        if not 1 <= len(nodes) <= NODE_COUNT_MAX:
            raise InputError(f"{len(nodes)} nodes, must be 1 to {NODE_COUNT_MAX}", hint="`?n0=NODE&n1=NODE`")
        signing.check()
        archive = await asyncio.to_thread(_archive, nodes, signing, objects, coming)
        return Stream(_chunks(archive), TAR, length=archive.stat().st_size)

    return Protocol(("/api/fleet",), (Route("GET", "/api/fleet/export", exported),))


def _archive(nodes: list[str], signing: Signing, objects: Objects, coming: Path) -> Path:
    def open_target(path: str) -> BinaryIO:
        return io.BufferedReader(_ObjectReader(objects, path))

    folder = Path(tempfile.mkdtemp(dir=coming))
    archive = coming / f"{folder.name}.tar"
    try:
        export(signing.store, signing.image, signing.director, nodes, open_target, folder)
        with tarfile.open(archive, "w") as tar:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    tar.add(file, file.relative_to(folder).as_posix())
    except BaseException:
        archive.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return archive


async def _chunks(archive: Path) -> AsyncIterator[bytes]:
    try:
        with contextlib.closing(await asyncio.to_thread(archive.open, "rb")) as stream:
            while data := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                yield data
    finally:
        await asyncio.to_thread(archive.unlink, missing_ok=True)


class _ObjectReader(io.RawIOBase):
    """An object as a file. Raises NotFoundError where there is none."""

    def __init__(self, objects: Objects, path: str) -> None:
        self._objects = objects
        self._path = path
        self._at = 0
        objects.read(path, 0, 1)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self._objects.read(self._path, self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
