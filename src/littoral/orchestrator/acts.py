"""The orchestrator's audit log: every act of an operator, every node that enrols, and what rollouts do by themselves.

As a node's: a Merkle tree in files that `littoral audit verify` reads, and others may witness.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from littoral.artifact.ed25519 import KEY_BYTES_MAX, SecretKey, read_secret_key
from littoral.artifact.model import write_atomically
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import Entry
from littoral.audit.log import TreeLog
from littoral.audit.recorder import Recorder, Terms
from littoral.clock import Clock
from littoral.errors import InputError, LittoralError, NotFoundError, SettingError
from littoral.orchestrator.api.paging import COUNT_MAX, whole_number
from littoral.web import Answer, Handler, Protocol, Request, Route, Stream, Upgrade, json_answer
from littoral.web.caller import CALLER

__all__ = ["Acts", "audit_protocol", "kept_key", "opened_acts"]

LOG, KEY = "audit", "audit.key"
COMMIT_S = 0.2
CHARACTERS_MAX = 200
ENROL = "/fleet/v1/enrol"
STREAMED = ("/api/fleet/artifacts", "/api/fleet/uploads", "/feeds")
"""What ends so has bodies that are written down as they come."""


class Acts:
    """Around routes. An answer to an act is given once its entry is on the disk."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self.recorder = recorder
        self._clock = clock

    def protocols(self, found: Sequence[Protocol]) -> list[Protocol]:
        """The same, with what they change told."""
        return [one._replace(routes=[self._route(route) for route in one.routes]) for one in found]

    async def told(self, did: str, on: str, who: str, **more: Any) -> None:
        """On the disk when it returns. Raises UnavailableError."""
        await self.recorder.changed(Entry(self._clock.wall(), did, who, on, **more))

    def _route(self, route: Route) -> Route:
        if route.method == "GET" or not route.pattern.startswith(("/api/fleet", ENROL)):
            return route

        async def answer(request: Request) -> Answer | Stream | Upgrade:
            return await self._act(route.handler, request, f"{route.method} {route.pattern}")

        return route._replace(handler=answer)

    async def _act(self, handler: Handler, request: Request, did: str) -> Answer | Stream | Upgrade:
        self.recorder.check()
        on = "/".join(request.names.values())[:CHARACTERS_MAX]
        who = f"claim from {request.peer}" if request.path == ENROL else CALLER.get()
        detail = {"request": f"{request.method} {request.path[:CHARACTERS_MAX]}"}
        if request.query_text:
            detail["query"] = request.query_text[:CHARACTERS_MAX]
        try:
            found = await handler(request)
        except LittoralError as error:
            if request.path == ENROL:  # by anybody: what is refused is counted, and fills no log
                raise
            await self.told(did, on, who, failed=type(error).__name__, detail=detail)
            raise
        await self.told(did, on, who, detail=detail, **await _body_of(request))
        return found


@contextlib.asynccontextmanager
async def opened_acts(data: Path, name: str, clock: Clock) -> AsyncIterator[Acts]:
    """Below the data folder. Raises SettingError for a key that is none."""
    folder = data / LOG
    recorder = Recorder(
        lambda: FolderDisk(folder), f"littoral/{name}", kept_key(data / KEY), Terms(COMMIT_S, waits=True), clock
    )
    await recorder.open({"of": "orchestrator"})
    try:
        yield Acts(recorder, clock)
    finally:
        await recorder.close()


def audit_protocol(acts: Acts) -> Protocol:
    async def listed(request: Request) -> Answer:
        query = request.query
        count = min(whole_number(query.get("count"), 100, "count"), COUNT_MAX)
        before = whole_number(query["before"], 0, "before") if "before" in query else None
        return json_answer(await acts.recorder.reading(lambda log: _newest(log, count, before)))

    async def checkpoint(_: Request) -> Answer:
        return Answer(str(acts.recorder.log.note).encode(), media_type="text/plain; charset=utf-8")

    async def key(_: Request) -> Answer:
        return Answer(f"{acts.recorder.log.verifier}\n".encode(), media_type="text/plain; charset=utf-8")

    routes = (
        Route("GET", "/api/fleet/audit", listed),
        Route("GET", "/api/fleet/audit/checkpoint", checkpoint),
        Route("GET", "/api/fleet/audit/key", key),
    )
    return Protocol(("/api/fleet",), routes)


async def _body_of(request: Request) -> dict[str, Any]:
    """Digest of a body that was read as a whole."""
    if request.method == "DELETE" or request.path.endswith(STREAMED):
        return {}
    try:
        data = await request.body.read()
    except LittoralError:
        return {}
    return {"digest": sha256(data).hexdigest(), "of": "body"} if data else {}


def _newest(log: TreeLog, count: int, before: int | None) -> list[dict[str, Any]]:
    end = log.size if before is None else min(before, log.size)
    found = []
    for index in range(end - 1, max(-1, end - 1 - count), -1):
        try:
            entry = msgspec.json.decode(log.entry(index), type=Entry)
        except NotFoundError:
            break
        detail = dict(entry.detail) | ({"failed": entry.failed} if entry.failed else {})
        told = {"index": index, "at": entry.at_s, "by": entry.who, "act": entry.did, "subject": entry.on}
        found.append(told | {"detail": detail, "digest": entry.digest})
    return found


def kept_key(path: Path) -> SecretKey:
    """Made when it is first asked for. Raises SettingError."""
    try:
        if not path.exists():
            write_atomically(path, SecretKey.new().pem, mode=0o600)
        with path.open("rb") as stream:
            return read_secret_key(stream.read(KEY_BYTES_MAX))
    except (OSError, InputError) as error:
        raise SettingError(f"key `{path}`: {error}") from error
