"""What the fleet may run: artifacts come in as bytes, are known by their content, and wait for their signatures."""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from littoral.errors import ConflictError, InputError, NotFoundError, TooLargeError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.store import Add
from littoral.orchestrator.store.rows import ArtifactRow
from littoral.updates.artifacts import ArtifactName, Custom, Kind

__all__ = ["Registry", "object_of"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


def object_of(sha256: str) -> str:
    """Where the bytes are."""
    return f"targets/{sha256[:2]}/{sha256}"


class Registry:
    """coming: a folder on the same disk as the data, for what is not there whole yet."""

    def __init__(self, fleet: Fleet, objects: Objects, coming: Path, bytes_max: int) -> None:
        self._fleet = fleet
        self._objects = objects
        self._coming = coming
        self._bytes_max = bytes_max
        coming.mkdir(parents=True, exist_ok=True)
        for left in coming.iterdir():
            left.unlink()

    def find(self, kind: str, name: str, version: str) -> ArtifactRow:
        """Raises NotFoundError."""
        found = [
            row
            for row in self._fleet.artifacts.values()
            if (row.kind, row.name, str(row.version)) == (kind, name, version)
        ]
        if not found:
            raise NotFoundError(f"no artifact `{kind[:20]}/{name[:64]}/{version[:20]}`")
        return found[0]

    def next_version(self, kind: Kind, name: str) -> int:
        held = [row.version for row in self._fleet.artifacts.values() if (row.kind, row.name) == (kind.value, name)]
        return max(held, default=0) + 1

    async def take(
        self, kind: Kind, name: str, version: int | None, chunks: AsyncIterator[bytes], by: str, custom: Custom
    ) -> ArtifactRow:
        """version: None = the next. Raises ConflictError for one that is there, TooLargeError, InputError."""
        target = ArtifactName.parse(str(ArtifactName(kind, name, version or 1)))
        file = self._coming / secrets.token_hex(8)
        try:
            sha256, length = await self._receive(file, chunks)
            if not length:
                raise InputError("an artifact without a byte")
            await asyncio.to_thread(self._objects.put_file, object_of(sha256), file)
        finally:
            file.unlink(missing_ok=True)
        async with self._fleet.changing:
            number = version or self.next_version(kind, name)
            target = ArtifactName.parse(str(target._replace(version=number)))
            if str(target) in self._fleet.artifacts:
                raise ConflictError(f"artifact `{target}` is there", hint="versions are never changed: take the next")
            row = ArtifactRow(
                target=str(target),
                kind=kind.value,
                name=name,
                version=number,
                length=length,
                sha256=sha256,
                state="pending",
                at_s=self._fleet.clock.wall(),
                by=by,
                custom=custom,
            )
            await self._fleet.write(Add(row), self._fleet.event("artifact", row.target, sha256=sha256, by=by))
        return row

    async def read(self, sha256: str, start: int, length: int) -> bytes:
        return await asyncio.to_thread(self._objects.read, object_of(sha256), start, length)

    async def _receive(self, file: Path, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        hashed, length = hashlib.sha256(), 0
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            async for data in chunks:
                length += len(data)
                if length > self._bytes_max:
                    raise TooLargeError(f"artifact has more than {self._bytes_max} bytes")
                await asyncio.to_thread(_take, handle, hashed, data)
        finally:
            os.close(handle)
        return hashed.hexdigest(), length


def _take(handle: int, hashed: "hashlib._Hash", data: bytes) -> None:
    hashed.update(data)
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
