"""How the newest version of a model was quantised, kept for the next: layers that are the same keep their bytes."""

import asyncio
import mmap
from pathlib import Path

from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.store.rows import ArtifactRow
from littoral.updates import tree
from littoral.updates.artifacts import Kind
from littoral.updates.blocks import BlockList

__all__ = ["Fits"]

FOLDER = "fits/"
PART_BYTES = 1 << 20


class Fits:
    """One for a name at most, and none is given to nodes."""

    def __init__(self, fleet: Fleet, objects: Objects) -> None:
        self._fleet = fleet
        self._objects = objects

    async def newest(self, name: str) -> ArtifactRow | None:
        """The newest version of this model whose fit is here."""
        rows = [row for row in self._fleet.artifacts.values() if (row.kind, row.name) == (Kind.MODEL.value, name)]
        for row in sorted(rows, key=lambda row: -row.version):
            if row.state != "withdrawn" and await asyncio.to_thread(self._objects.length, _object(row)) is not None:
                return row
        return None

    async def copy(self, row: ArtifactRow, file: Path) -> None:
        """Raises NotFoundError, UnavailableError."""
        await asyncio.to_thread(self._copy, _object(row), file)

    def _copy(self, name: str, file: Path) -> None:
        with file.open("wb") as stream:
            while data := self._objects.read(name, stream.tell(), PART_BYTES):
                stream.write(data)

    async def keep(self, row: ArtifactRow, file: Path, before: ArtifactRow | None) -> None:
        """In the place of the fit before; the file is taken away."""
        await asyncio.to_thread(self._objects.put_file, _object(row), file)
        if before is not None and before.sha256 != row.sha256:
            await asyncio.to_thread(self._objects.delete, _object(before))

    async def changed_bytes(self, file: Path, before: ArtifactRow) -> int:
        """Of a file, those that a node with the version before has not."""
        return await asyncio.to_thread(self._changed_bytes, file, before)

    def _changed_bytes(self, file: Path, before: ArtifactRow) -> int:
        packed = self._objects.get(tree.block_list_file(before.sha256))
        there = set() if packed is None else set(BlockList.read(packed, before.length).blocks)
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return sum(block.length for block in BlockList.of(data).blocks if block not in there)


def _object(row: ArtifactRow) -> str:
    return f"{FOLDER}{row.sha256}"
