"""`GET /api/backup`: this node as a stream, for `littoral backup`."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

from littoral.errors import ConflictError, InputError, NotOfferedError
from littoral.node.backup.contents import LeftOut
from littoral.node.backup.sending import sent
from littoral.node.backup.together import Together
from littoral.node.node import Node
from littoral.node.site import Site, read_site
from littoral.vectors.collections import Collections
from littoral.web import Protocol, Request, Route, Stream

__all__ = ["Running", "backup_protocol"]

TAR = "application/x-tar"
PACK_DEADLINE_S = 3600.0


class Running:
    """The collections of a node that runs: reads go on while one is packed, its writes wait."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def names(self) -> list[str]:
        return [name for name in self._collections.names() if self._collections.part(name) is not None]

    def left_out(self) -> Iterator[LeftOut]:
        for name, error in sorted(self._collections.damaged.items()):
            yield LeftOut(f"collection {name}", error.message)
        for name in self._collections.names():
            if self._collections.part(name) is None:
                yield LeftOut(f"collection {name}", "it is spread: the nodes of the mesh hold its replicas")
            elif self._collections.file_of(name).other is not None:
                yield LeftOut(f"second generation of {name}", "its migration begins anew")

    async def pack(self, name: str, target: Path) -> None:
        await self._collections.get(name).pack(str(target), deadline_s=PACK_DEADLINE_S)


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
        owners = {"": node, **{name: tenant.node for name, tenant in node.tenants.items()}}
        together = Together({name: Running(owner.collections) for name, owner in owners.items()})
        chunks = sent(_as_it_runs(site, node.site), together, node.clock, with_tokens=tokens == "1")
        return Stream(_alone(is_busy, chunks), TAR)

    return Protocol(("/api/backup",), [Route("GET", "/api/backup", backup)])


def _as_it_runs(site: Site, running: Site) -> Site:
    """The file as it lies there now, but for the data folder and tenants, which a node changes at a start only."""
    return site._replace(node=running.node, tenants=running.tenants)


async def _alone(is_busy: asyncio.Lock, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async with is_busy, contextlib.aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            yield chunk
