"""What nodes fetch: metadata, and targets in parts (RFC 9110 §14: one range, entity tags)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from littoral.errors import InputError, NotFoundError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.node_api import NodeSide
from littoral.orchestrator.pacing import FLEET, Cap, Pacer
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.signing import Signing
from littoral.updates import tree
from littoral.web import Answer, Protocol, Request, Route, Stream

__all__ = ["BINARY", "Part", "caps_of", "chunks_of", "downloads_protocol", "range_of"]

CHUNK_BYTES = 1 << 18
BINARY, JSON = "application/octet-stream", "application/json"
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
NODE = "/fleet/v1/director/{node}/metadata/{file}"


class Part(NamedTuple):
    """Bytes from `start` up to `end`, which is not among them."""

    start: int
    end: int


def downloads_protocol(side: NodeSide, registry: Registry, signing: Signing, pacer: Pacer) -> Protocol:
    """For nodes by their tokens. What is for one node alone, no other gets."""

    async def image_metadata(request: Request) -> Stream:
        node = side.caller(request).name
        return await _metadata(signing, pacer, node, tree.image_metadata(request.names["file"]))

    async def director_metadata(request: Request) -> Stream:
        node = side.caller(request).name
        if request.names["node"] != node:
            raise NotFoundError(f"node `{node}` is told what it is to run, and no other's")
        return await _metadata(signing, pacer, node, tree.director_metadata(node, request.names["file"]))

    async def target(request: Request) -> Answer | Stream:
        node = side.caller(request).name
        file = request.names["file"]
        path = f"{tree.TARGETS}/{file}"
        if not tree.is_public(path):
            raise NotFoundError(f"`{file[:120]}` is no target")
        tag = f'"{file.partition(".")[0]}"'
        if request.headers.get("if-none-match") == tag:
            return Answer(b"", 304, BINARY, (("etag", tag),))
        length = await registry.length(path)
        headers = [("etag", tag), ("accept-ranges", "bytes")]
        asked = str(request.headers.get("range", "")) if request.headers.get("if-range", tag) == tag else ""
        try:
            part = range_of(asked, length)
        except InputError:
            return Answer(b"", 416, BINARY, (*headers, ("content-range", f"bytes */{length}")))
        status = 200
        if part is None:
            part = Part(0, length)
        else:
            status = 206
            headers.append(("content-range", f"bytes {part.start}-{part.end - 1}/{length}"))
        pacer.check(node)
        chunks = _paced(pacer, node, chunks_of(registry, path, part))
        return Stream(chunks, BINARY, status=status, headers=tuple(headers), length=part.end - part.start)

    routes = (
        Route("GET", "/fleet/v1/image/metadata/{file}", image_metadata),
        Route("GET", NODE, director_metadata),
        Route("GET", "/fleet/v1/image/targets/{file}", target),
    )
    return Protocol(("/fleet/v1",), routes)


def range_of(header: str, length: int) -> Part | None:
    """None for no range, or one that is not understood. Raises InputError for one that is not there."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, length - int(last)), length
    else:
        start, end = int(first), min(length, int(last) + 1 if last else length)
    if start >= end:
        if last and first and int(last) < int(first):
            return None
        raise InputError(f"range `{header[:60]}` of {length} bytes")
    return Part(start, end)


async def _metadata(signing: Signing, pacer: Pacer, node: str, path: str) -> Stream:
    if not tree.is_public(path):
        raise NotFoundError(f"`{path[:120]}` is no metadata")
    pacer.check_metadata(node)
    data = await asyncio.to_thread(signing.store.read, path)
    if data is None:
        raise NotFoundError(f"`{path}` is not there")
    return Stream(_answered(pacer, node, data), JSON, length=len(data))


async def chunks_of(registry: Registry, path: str, part: Part) -> AsyncGenerator[bytes, None]:
    """Of a file of the tree below `image/targets`."""
    at = part.start
    while at < part.end:
        data = await registry.read(path, at, min(CHUNK_BYTES, part.end - at))
        if not data:
            raise NotFoundError(f"`{path}` ends at {at}, {part.end} bytes were there")
        yield data
        at += len(data)


def caps_of(fleet: Fleet, bytes_per_s_max: int | None) -> Callable[[str], Sequence[Cap]]:
    """What a node's downloads are under: caps of the fleet, its group, and the rollout that tells it what it runs."""

    def of(name: str) -> Sequence[Cap]:
        caps = [Cap(FLEET, bytes_per_s_max)]
        if (node := fleet.nodes.get(name)) is None:
            return caps
        if (group := fleet.group_of(node)) is not None and group.total_bytes_per_s_max is not None:
            caps.append(Cap(f"group/{group.name}", group.total_bytes_per_s_max))
        for rollout in reversed(fleet.rollouts.values()):
            member = fleet.members[rollout.id].get(name)
            if member is not None:
                if member.deployment == node.deployment:
                    caps.append(Cap(f"rollout/{rollout.id}", rollout.plan.total_bytes_per_s_max))
                break
        return caps

    return of


async def _paced(pacer: Pacer, node: str, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    with pacer.downloading(node) as download:
        async with contextlib.aclosing(chunks):
            async for data in chunks:
                async with contextlib.aclosing(download.parts(data)) as parts:
                    async for part in parts:
                        yield part


async def _answered(pacer: Pacer, node: str, data: bytes) -> AsyncGenerator[bytes, None]:
    with pacer.answering(node) as answer:
        async with contextlib.aclosing(answer.parts(data)) as parts:
            async for part in parts:
                yield part
