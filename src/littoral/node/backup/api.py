"""`GET /api/backup`: this node as a stream, for `littoral backup`."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

from littoral.errors import ConflictError, InputError, NotOfferedError
from littoral.node.backup.contents import DATA, MESH, KeptFile, LeftOut
from littoral.node.backup.sending import Packed, sent
from littoral.node.backup.together import Together
from littoral.node.federation.replicas import FOLDER as REPLICAS
from littoral.node.federation.replicas import JOURNAL_SUFFIX, Replicas
from littoral.node.node import Node
from littoral.node.site import Site, read_site
from littoral.vectors.collections import Collections
from littoral.web import Protocol, Request, Route, Stream

__all__ = ["Running", "backup_protocol"]

TAR = "application/x-tar"
PACK_DEADLINE_S = 3600.0


class Running:
    """The collections of a node that runs: reads go on while one is packed, its writes wait.

    replicas: of the shards of spread collections that lie here. A shard is packed with its journal, which knows when
    each point was written, and what was deleted: so who has it again becomes like the others, and brings nothing back.
    """

    def __init__(self, collections: Collections, replicas: Replicas | None = None) -> None:
        self._collections = collections
        self._replicas = replicas

    def names(self) -> list[str]:
        whole = [name for name in self._collections.names() if self._collections.part(name) is not None]
        return [*whole, *self._shards()]

    def _shards(self) -> list[str]:
        return [] if self._replicas is None else sorted(self._replicas.names())

    def left_out(self) -> Iterator[LeftOut]:
        for name, error in sorted(self._collections.damaged.items()):
            yield LeftOut(f"collection {name}", error.message)
        for name in self._collections.names():
            if self._collections.part(name) is None:
                yield LeftOut(f"shards of {name} on other nodes", "each node's backup has its own")
            elif self._collections.file_of(name).other is not None:
                yield LeftOut(f"second generation of {name}", "its migration begins anew")

    async def pack(self, name: str, target: Path) -> list[KeptFile]:
        if self._replicas is None or name not in self._replicas:
            await self._collections.get(name).pack(str(target), deadline_s=PACK_DEADLINE_S)
            return []
        journal = target.with_name(f"{name}{JOURNAL_SUFFIX}")
        await self._replicas.of(name).pack(target, journal, deadline_s=PACK_DEADLINE_S)
        return [KeptFile(f"{DATA}/{MESH}/{REPLICAS}/{journal.name}", journal)]


def backup_protocol(node: Node) -> Protocol:
    """`?tokens=1`: with the digests of tokens. One at a time: ConflictError for a second."""
    is_busy = asyncio.Lock()

    async def backup(request: Request) -> Stream:
        if node.site is None:
            raise NotOfferedError("this node has no site file to go by")
        if (tokens := request.query.get("tokens", "0")) not in ("0", "1"):
            raise InputError(f"parameter `tokens` is `{tokens[:40]}`, must be 0 or 1")
        if is_busy.locked():
            raise ConflictError("a backup of this node is being made", hint="wait for it to end")
        site = await asyncio.to_thread(read_site, node.site.file)
        replicas = None if node.federation is None else node.federation.replicas
        owners: dict[str, Packed] = {name: Running(one.node.collections) for name, one in node.tenants.items()}
        packed = Together({"": Running(node.collections, replicas)} | owners)
        chunks = sent(_as_it_runs(site, node.site), packed, node.clock, with_tokens=tokens == "1")
        return Stream(_alone(is_busy, chunks), TAR)

    return Protocol(("/api/backup",), [Route("GET", "/api/backup", backup)])


def _as_it_runs(site: Site, running: Site) -> Site:
    """The file as it lies there now, but for the data folder and tenants, which are those of now."""
    return site._replace(node=running.node, tenants=running.tenants)


async def _alone(is_busy: asyncio.Lock, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async with is_busy, contextlib.aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            yield chunk
