"""`/api/updates`: what deployment a node runs, how the next one does, and the way back. `/api/dashboards`: its own."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from littoral.errors import InputError, NotFoundError
from littoral.node.node import Node
from littoral.web import Answer, Protocol, Request, Route, Stream, json_answer

if TYPE_CHECKING:  # a node without the table `updates` has nothing of it
    from littoral.node.updates.service import Updates

__all__ = ["updates_protocol"]


class From(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """folder: on the machine of the node."""

    folder: str


def updates_protocol(node: Node) -> Protocol:
    """For administrators, but for how it stands."""

    async def state(_: Request) -> Answer:
        return json_answer({"updates": False} if node.updates is None else {"updates": True} | node.updates.told())

    async def back(_: Request) -> Answer:
        return json_answer(await _of(node).back())

    async def now(_: Request) -> Answer:
        return json_answer(await _of(node).now())

    async def begin_again(_: Request) -> Answer:
        return json_answer(await _of(node).begin_again())

    async def take_from(request: Request) -> Answer:
        updates = _of(node)
        try:
            asked = msgspec.json.decode(await request.body.read(), type=From)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"body: {error}", hint='such as `{"folder": "/media/stick"}`') from error
        return json_answer(await updates.take_from(Path(asked.folder)))

    async def dashboards(_: Request) -> Answer:
        found = [] if node.updates is None else await asyncio.to_thread(node.updates.dashboards)
        return json_answer({"dashboards": found})

    async def dashboard(request: Request) -> Answer:
        data = await asyncio.to_thread(_of(node).dashboard, name := request.names["name"])
        return Answer(data, headers=(("content-disposition", f'attachment; filename="{name}.json"'),))

    async def file(request: Request) -> Answer | Stream:
        if node.updates is None or not node.updates.serves_peers:
            raise NotFoundError("this node hands nothing on", hint="`updates.serve_peers` in its site file")
        return await node.updates.handed_on(request)

    routes = (
        Route("GET", "/fleet/v1/image/targets/{file}", file),
        Route("GET", "/api/dashboards", dashboards),
        Route("GET", "/api/dashboards/{name}", dashboard),
        Route("GET", "/api/updates", state),
        Route("POST", "/api/updates/back", back),
        Route("POST", "/api/updates/begin-again", begin_again),
        Route("POST", "/api/updates/now", now),
        Route("POST", "/api/updates/from", take_from),
    )
    return Protocol(("/api/updates", "/api/dashboards", "/fleet"), routes)


def _of(node: Node) -> "Updates":
    if node.updates is None:
        raise NotFoundError("this node is in no fleet", hint="the table `updates` of its site file names one")
    return node.updates
