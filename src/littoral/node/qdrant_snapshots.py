"""Snapshots in Qdrant's REST API: made, listed, downloaded, uploaded, recovered, deleted."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node.node import Node
from littoral.node.qdrant_bodies import Body
from littoral.vectors.snapshots import SnapshotFile, SnapshotFolder
from littoral.web import Request, Stream

__all__ = ["RecoverBody", "Snapshots"]

PRIORITIES = ("snapshot", "replica", "no_sync")
DEADLINE_S = 300.0
TAR = "application/x-tar"


class RecoverBody(Body):
    """location: `file://` below the node's snapshots, or the address of a snapshot of this node."""

    location: str
    priority: str | None = None
    checksum: str | None = None
    api_key: str | None = None


class Snapshots:
    """The work of each route."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._folder = SnapshotFolder(node.data, node.clock, node.keys)

    async def list(self, request: Request) -> object:
        name = self._node.collections.get(request.names["collection"]).name
        return [_told(found) for found in await asyncio.to_thread(self._folder.all, name)]

    async def create(self, request: Request) -> object:
        collection = self._node.collections.get(request.names["collection"])
        part = await asyncio.to_thread(self._folder.new, collection.name)
        try:
            await collection.pack(str(part), deadline_s=DEADLINE_S)
            return _told(await asyncio.to_thread(self._folder.keep, part))
        finally:
            part.unlink(missing_ok=True)

    async def delete(self, request: Request) -> object:
        name = self._node.collections.get(request.names["collection"]).name
        await asyncio.to_thread(self._folder.delete, name, request.names["snapshot"])
        return True

    async def download(self, request: Request) -> Stream:
        name = self._node.collections.get(request.names["collection"]).name
        return Stream(_parts(self._folder.parts(self._folder.path(name, request.names["snapshot"]))), TAR)

    async def recover(self, request: Request) -> object:
        """A collection that is not there is made."""
        body = await request.json(RecoverBody)
        _check_priority(body.priority)
        archive = await asyncio.to_thread(self._located, body.location, request)
        plain = await asyncio.to_thread(self._folder.unsealed, archive)
        try:
            await self._recover(request, plain or archive, body.checksum)
        finally:
            if plain is not None:
                plain.unlink(missing_ok=True)
        return True

    async def upload(self, request: Request) -> object:
        """The file is in the field `snapshot` of a form."""
        _check_priority(request.query.get("priority"))
        data = _file_in_form(await request.body.read(), str(request.headers.get("content-type", "")))
        archive = await asyncio.to_thread(self._folder.received, data)
        try:
            await self._recover(request, archive, request.query.get("checksum"))
        finally:
            archive.unlink(missing_ok=True)
        return True

    async def _recover(self, request: Request, archive: Path, sha256: str | None) -> None:
        await self._node.collections.recover(request.names["collection"], archive, sha256=sha256, deadline_s=DEADLINE_S)

    def _located(self, location: str, request: Request) -> Path:
        """Raises ForbiddenError-like refusals: files elsewhere are none of a client's business."""
        address = urlsplit(location)
        if address.scheme == "file":
            return self._below(Path(unquote(address.path)))
        if address.scheme in ("http", "https") and address.netloc == request.headers.get("host"):
            match address.path.split("/"):
                case ["", "collections", collection, "snapshots", snapshot]:
                    return self._folder.path(self._node.collections.get(collection).name, unquote(snapshot))
        raise NotOfferedError(
            f"location: `{location[:80]}` is not offered", hint="upload the file, or name a snapshot of this node"
        )

    def _below(self, path: Path) -> Path:
        folder = self._folder.folder.resolve()
        found = path.resolve()
        if not found.is_relative_to(folder) or not found.is_file():
            raise NotFoundError(f"location: no snapshot `{path.name[:80]}` lies in the node's snapshots")
        return found


def _check_priority(priority: Any) -> None:
    """There is one shard and no replica: all mean the same."""
    if priority is not None and priority not in PRIORITIES:
        raise InputError(f"priority: must be one of {', '.join(PRIORITIES)}")


def _told(found: SnapshotFile) -> dict[str, Any]:
    made = dt.datetime.fromtimestamp(found.created_at, dt.UTC)
    return {
        "name": found.name,
        "creation_time": made.strftime("%Y-%m-%dT%H:%M:%S"),
        "size": found.size_bytes,
        "checksum": found.sha256,
    }


async def _parts(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part


def _file_in_form(data: bytes, content_type: str) -> bytes:
    """The part named `snapshot` of a multipart form (RFC 7578). Raises InputError."""
    parameters = dict(_parameters(content_type))
    if not content_type.lower().startswith("multipart/form-data") or not (boundary := parameters.get("boundary")):
        raise InputError("body: must be a form (multipart/form-data) with the file in `snapshot`")
    for part in data.split(b"--" + boundary.encode())[1:]:
        head, blank, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if blank and b'name="snapshot"' in head:
            return content.removesuffix(b"\r\n")
    raise InputError("body: the form has no field `snapshot`")


def _parameters(content_type: str) -> Iterator[tuple[str, str]]:
    for piece in content_type.split(";")[1:]:
        name, _, value = piece.strip().partition("=")
        yield name.lower(), value.strip('"')
