"""What an operator of the fleet asks of a node: how it is, what its log says, and both in one archive."""

import asyncio
import base64
import io
import tarfile
from typing import Any

import msgspec

from littoral.errors import LittoralError
from littoral.node.node import Node
from littoral.node.shown.doctor import Doctor
from littoral.node.site import Site
from littoral.updates.calls import Calls
from littoral.updates.wire import Answered, Ask

__all__ = ["answer"]

LINES_MAX = 2000
BUNDLE_BYTES_MAX = 512 << 10


async def answer(ask: Ask, node: Node, site: Site, calls: Calls) -> None:
    """Tells the orchestrator, once; it asks again where it does not hear."""
    try:
        body, problem = await _body(ask, node, site), ""
    except (LittoralError, OSError) as error:
        body, problem = None, str(error)
    try:
        await asyncio.to_thread(calls.answer, ask.id, Answered(kind=ask.kind, body=body, problem=problem))
    except LittoralError:
        return


async def _body(ask: Ask, node: Node, site: Site) -> Any:
    match ask.kind:
        case "doctor":
            return await Doctor(node).look()
        case "logs":
            return _lines(node, ask.lines)
        case "bundle":
            files = {
                "doctor.json": msgspec.json.encode(await Doctor(node).look()),
                "log.json": msgspec.json.encode(_lines(node, LINES_MAX)),
                "site.sha256": _digest(site).encode(),
            }
            if node.updates is not None:
                files["updates.json"] = msgspec.json.encode(node.updates.told())
            return base64.b64encode(await asyncio.to_thread(_archive, files)).decode()


def _lines(node: Node, count: int) -> list[Any]:
    """The newest ones. Tokens, payloads and vectors never stand in a log."""
    if node.log is None:
        return []
    told = node.log.told(level="debug", part="", since=0, count_max=LINES_MAX)
    return [msgspec.to_builtins(line) for line in told.lines[-max(1, min(count, LINES_MAX)) :]]


def _digest(site: Site) -> str:
    """Of the site file: it may hold names of people, which are nobody's business elsewhere."""
    import hashlib

    return hashlib.sha256(site.file.read_bytes()).hexdigest()


def _archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()[:BUNDLE_BYTES_MAX]
