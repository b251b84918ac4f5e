"""The registry: artifacts, their bytes and who signed them."""

from typing import Any

import msgspec

from littoral.errors import InputError
from littoral.orchestrator.downloads import BINARY, Part, chunks_of
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.store.rows import ArtifactRow
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom, Kind
from littoral.web import Answer, Protocol, Request, Route, Stream, json_answer
from littoral.web.caller import CALLER

__all__ = ["artifacts_protocol", "told_artifact"]

ARTIFACTS = "/api/fleet/artifacts"
ARTIFACT = f"{ARTIFACTS}/{{kind}}/{{name}}/{{version}}"
PAUSE_S = 30.0
CUSTOM = "littoral-custom"


def artifacts_protocol(fleet: Fleet, registry: Registry) -> Protocol:
    async def listed(request: Request) -> Answer:
        kind, name = request.query.get("kind"), request.query.get("name")
        found = sorted(fleet.artifacts.values(), key=lambda row: (row.kind, row.name, -row.version))
        wanted = [row for row in found if kind in (None, row.kind) and name in (None, row.name)]
        return json_answer([told_artifact(row) for row in wanted])

    async def one(request: Request) -> Answer:
        row = _found(request)
        return json_answer(told_artifact(row) | {"lineage": _lineage(fleet, row)})

    async def withdraw(request: Request) -> Answer:
        row = _found(request)
        await registry.withdraw(row, CALLER.get())
        return json_answer(told_artifact(fleet.artifacts[row.target]))

    async def content(request: Request) -> Stream:
        row = _found(request)
        path = tree.target_file(ArtifactName.parse(row.target), row.sha256)
        return Stream(chunks_of(registry, path, Part(0, row.length)), BINARY, length=row.length)

    async def add(request: Request) -> Answer:
        query = request.query
        kind, version = _kind(query.get("kind", "")), _version(query.get("version"))
        custom = _custom(request.headers.get(CUSTOM))
        row = await registry.take(
            kind, query.get("name", ""), version, request.body.chunks(PAUSE_S), CALLER.get(), custom
        )
        return json_answer(told_artifact(row), 201)

    def _found(request: Request) -> ArtifactRow:
        return registry.find(request.names["kind"], request.names["name"], request.names["version"])

    routes = (
        Route("GET", ARTIFACTS, listed),
        Route("POST", ARTIFACTS, add),
        Route("GET", ARTIFACT, one),
        Route("DELETE", ARTIFACT, withdraw),
        Route("GET", f"{ARTIFACT}/bytes", content),
    )
    return Protocol(("/api/fleet",), routes)


def told_artifact(row: ArtifactRow) -> dict[str, Any]:
    """As `GET /api/fleet/artifacts` has it."""
    custom = msgspec.to_builtins(row.custom)
    return {
        "target": row.target,
        "kind": row.kind,
        "name": row.name,
        "version": row.version,
        "length": row.length,
        "sha256": row.sha256,
        "state": row.state,
        "signatures": row.signatures,
        "wanted": row.wanted,
        "provenance": custom.get("provenance", {}),
        "custom": custom,
        "at": row.at_s,
        "by": row.by,
    }


def _lineage(fleet: Fleet, row: ArtifactRow) -> dict[str, Any]:
    """What was made of the same source, who is to run it, and who does."""
    source = row.custom.provenance.source_sha256
    running = {name: found.running for name in fleet.nodes if (found := fleet.checkin_of(name))}
    return {
        "siblings": [
            one.target
            for one in fleet.artifacts.values()
            if source and one is not row and one.custom.provenance.source_sha256 == source
        ],
        "groups": [name for name, group in fleet.groups.items() if row.target in group.assigned.targets.values()],
        "rollouts": [one.id for one in fleet.rollouts.values() if row.target in one.plan.set.targets.values()],
        "nodes": sorted(name for name, targets in running.items() if row.target in targets.values()),
    }


def _kind(text: str) -> Kind:
    found = next((one for one in Kind if one.value == text), None)
    if found is None:
        raise InputError(f"`kind` is `{text[:40]}`, must be one of {', '.join(one.value for one in Kind)}")
    return found


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) > 0):
        raise InputError(f"`version` is `{text[:40]}`, must be a whole number from 1 on")
    return int(text)


def _custom(header: str | None) -> Custom:
    """JSON in the header `littoral-custom`."""
    if header is None:
        return Custom()
    try:
        return msgspec.json.decode(header, type=Custom)
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"header `{CUSTOM}`: {error}") from error
