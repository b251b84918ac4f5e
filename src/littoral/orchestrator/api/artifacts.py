"""The registry: artifacts, their bytes and who signed them."""

from typing import Any

import msgspec

from littoral.errors import InputError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.lineage import lineage_of
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.store.rows import ArtifactRow
from littoral.updates.artifacts import Custom, Kind
from littoral.web import Answer, Protocol, Request, Route, json_answer
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
        return json_answer(told_artifact(_found(request)))

    async def lineage(request: Request) -> Answer:
        return json_answer(lineage_of(fleet, _found(request)))

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
        Route("GET", f"{ARTIFACT}/lineage", lineage),
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
