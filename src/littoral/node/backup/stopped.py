"""The collections of a node that does not run: this process opens their shards, one after the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

from littoral.node.backup.contents import KeptFile, LeftOut
from littoral.vectors.collection_folders import NAME, is_part
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from littoral.vectors.shard import Shard

__all__ = ["Stopped", "one_by_one", "reader"]


class Stopped:
    """data: its folder. Raises UnavailableError, naming the process, where another one has a shard open."""

    def __init__(self, data: Path) -> None:
        self._folder = data / COLLECTIONS

    def names(self) -> list[str]:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and NAME.fullmatch(path.name))

    def left_out(self) -> Iterator[LeftOut]:
        parts = (path.name for path in self._folder.glob("*.*") if path.is_dir() and is_part(path.name))
        for name in sorted({part.partition(".")[0] for part in parts}):
            yield LeftOut(f"collection {name}", "it is spread: a backup of the node while it runs has its shards")
        for name in self.names():
            if read_collection_file(self._folder / name).other is not None:
                yield LeftOut(f"second generation of {name}", "its migration begins anew")

    async def pack(self, name: str, target: Path) -> list[KeptFile]:
        await asyncio.to_thread(self._pack, self._folder / name, target)
        return []

    def _pack(self, folder: Path, target: Path) -> None:
        file = read_collection_file(folder)
        with Shard.open(folder / file.shards[0], file.config) as shard:
            for _ in shard.pack_steps(target):
                pass


def one_by_one(chunks: AsyncIterator[bytes]) -> Generator[bytes, None, None]:
    """For whoever has no event loop."""

    async def following() -> bytes | None:
        return await anext(chunks, None)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        while (chunk := loop.run_until_complete(following())) is not None:
            yield chunk


def reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """Reads them so many bytes at most at a time; none at the end."""
    left = b""

    def read(count: int) -> bytes:
        nonlocal left
        while not left and (chunk := next(chunks, None)) is not None:
            left = chunk
        told, left = left[:count], left[count:]
        return told

    return read
