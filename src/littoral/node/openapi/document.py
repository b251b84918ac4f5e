"""The OpenAPI document, put together: every route of the table of roles, with what it takes, gives and needs."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from littoral.node.access.roles import HTTP_ROLES, Role
from littoral.node.openapi.gateway_operations import GATEWAY
from littoral.node.openapi.operations import OWN, Operation
from littoral.node.openapi.qdrant_operations import QDRANT
from littoral.node.openapi.shapes import Schemas, Shape
from littoral.web.access.rights import Needed

__all__ = ["document"]

VERSION = "3.1.0"
JSON = "application/json"
REASONS: Mapping[int, str] = {
    101: "It is a WebSocket now",
    200: "Done",
    202: "Begun",
    206: "A part of it",
    304: "It is what the caller has",
    400: "The request is wrong: body, field, name, header",
    401: "No token, nobody's, or one that has expired",
    403: "The token lacks the role; or a page of another origin asks",
    404: "There is no such thing",
    405: "Another method is wanted",
    408: "The body did not come in time",
    409: "It does not fit what is there",
    413: "Over a limit",
    416: "No such part of it",
    422: "An agent refuses its input",
    426: "A WebSocket is to be asked for",
    429: "Too many wrong tokens came from this address",
    431: "The head of the request is too large",
    500: "A guest, a shard or the node failed",
    501: "Known, and not offered here",
    502: "Another node failed",
    503: "Busy, not ready, or stopping",
    504: "The deadline passed",
}
ALWAYS = (400, 403, 431, 500, 503)
OF_BODIES = (408, 413, 501)
"""A body is bounded in size and time, and may be compressed in a way that is not offered."""

PLAIN: Shape = {"error": str}
STATUS: Shape = {"status": {"error": str}, "time": float}
OPENAI: Shape = {"error": {"message": str, "type": str, "param": str | None, "code": str | None}}
ERRORS: Mapping[str, Shape] = {"PlainError": PLAIN, "StatusError": STATUS, "OpenAiError": OPENAI}
QDRANT_PATHS = ("collections", "aliases", "cluster", "snapshots", "telemetry", "locks", "issues", "quotas")
SHAPE_OF = {"v1": "OpenAiError"} | dict.fromkeys(("pipelines", *QDRANT_PATHS), "StatusError")
"""By the first part of the path; of others `PlainError`."""

BEFORE_ROUTES = (400, 403, 431)
"""May be said before it is known whose route it is."""

BYTES = {"type": "string", "format": "binary", "minLength": 1}
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token that `littoral tokens new` made"},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "api-key",
        "description": "The same token, as Qdrant's clients send it",
    },
}
NAMES: Mapping[str, Mapping[str, Any]] = {
    "collection": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,255}$"},
    "index": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "id": {
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, {"type": "string", "format": "uuid"}],
    },
}
"""Schemas of named places in paths; others are `TEXT`."""

TEXT = {"type": "string", "minLength": 1}
ANY_NAME = ("GET /collections/{collection}/exists", "DELETE /collections/{collection}")
"""Where a name that no collection can have is answered as one that none has."""


@functools.cache
def document() -> Mapping[str, Any]:
    """The same for every node of this version."""
    operations = OWN | GATEWAY | dict(QDRANT)
    shapes = [*(shape for found in operations.values() for shape in _shapes(found)), *ERRORS.values()]
    schemas = Schemas(shapes)
    paths: dict[str, dict[str, Any]] = {}
    for route, needed in HTTP_ROLES.items():
        method, _, path = route.partition(" ")
        told = _operation(method, path, operations.get(route, Operation("")), needed, schemas)
        paths.setdefault(path, {})[method.lower()] = told
    return {
        "openapi": VERSION,
        "info": {
            "title": "Littoral node",
            "version": "1",
            "description": "What a node answers over HTTP. Errors and limits: docs/reference/http.md",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "paths": paths,
        "components": {
            "securitySchemes": SECURITY,
            "responses": dict(_shared_responses()),
            "schemas": {name: schemas.of(shape) for name, shape in ERRORS.items()} | dict(schemas.components),
        },
    }


def _shapes(found: Operation) -> Iterator[Shape]:
    for bodies in (found.takes, found.gives):
        yield from (shape for shape in bodies.values() if shape is not None)
    yield from found.query.values()
    yield from found.headers.values()


def _operation(method: str, path: str, found: Operation, needed: Needed, schemas: Schemas) -> dict[str, Any]:
    route = f"{method} {path}"
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _name(route, name)}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    for place, params in (("query", found.query), ("header", found.headers)):
        parameters += [{"name": name, "in": place, "schema": schemas.of(kind)} for name, kind in params.items()]
    told: dict[str, Any] = {"operationId": _id(method, path), "summary": found.summary, "tags": [_tag(path)]}
    if parameters:
        told["parameters"] = parameters
    if found.takes:
        told["requestBody"] = {"required": found.is_body_needed, "content": _content(found.takes, schemas)}
    if not isinstance(needed, str):
        told["x-littoral-roles"] = [role.value for role in Role if role in needed]
    elif needed == "open" or needed == "probes":
        told["security"] = []
    told["responses"] = {str(status): told for status, told in _responses(path, found, needed, schemas)}
    return told


def _responses(
    path: str, found: Operation, needed: Needed, schemas: Schemas
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if found.gives:
        yield found.status, {"description": REASONS[found.status], "content": _content(found.gives, schemas)}
    statuses = {*ALWAYS, *found.statuses} | (set(OF_BODIES) if found.takes else set())
    statuses |= set() if needed == "open" else {401, 429}
    statuses |= {404} if "{" in path else set()
    for status in sorted(statuses):
        if status == 503 and path.endswith(("/ready", "/readyz")):
            options = [{"$ref": "#/components/schemas/PlainError"}, schemas.of(found.gives[JSON])]
            yield status, {"description": REASONS[status], "content": {JSON: {"schema": {"anyOf": options}}}}
        else:
            yield status, {"$ref": f"#/components/responses/{_shape_of(path) if status >= 400 else 'Done'}{status}"}


def _shape_of(path: str) -> str:
    return SHAPE_OF.get(path.split("/")[1], "PlainError")


def _shared_responses() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of errors, by shape and status; and those without a body."""
    for status, reason in REASONS.items():
        if status < 400:
            yield f"Done{status}", {"description": reason}
            continue
        for shape in ERRORS:
            named = [shape, "PlainError"] if status in BEFORE_ROUTES and shape != "PlainError" else [shape]
            options: list[Any] = [{"$ref": f"#/components/schemas/{name}"} for name in named]
            options += [{"type": "object"}] if status == 426 else []
            schema = options[0] if len(options) == 1 else {"anyOf": options}
            yield f"{shape}{status}", {"description": reason, "content": {JSON: {"schema": schema}}}


def _content(bodies: Mapping[str, Shape | None], schemas: Schemas) -> dict[str, Any]:
    return {kind: {"schema": BYTES if shape is None else schemas.of(shape)} for kind, shape in bodies.items()}


def _name(route: str, name: str) -> Mapping[str, Any]:
    return TEXT if route in ANY_NAME else NAMES.get(name, TEXT)


def _id(method: str, path: str) -> str:
    """Such as `get_api_models_name`."""
    return "_".join([method.lower(), *re.findall(r"\w+", path)]) or method.lower()


def _tag(path: str) -> str:
    first = path.split("/")[1]
    return first if first in ("api", "pipelines", "v1", "v2") else "qdrant" if first in QDRANT_PATHS else "node"
