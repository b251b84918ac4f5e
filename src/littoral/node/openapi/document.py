"""The OpenAPI document of a node: its own routes, Qdrant's and those of the gateway."""

import functools
from collections.abc import Mapping
from typing import Any

from littoral.node.access.roles import HTTP_ROLES, Role
from littoral.node.openapi.gateway_operations import GATEWAY
from littoral.node.openapi.operations import OWN
from littoral.node.openapi.qdrant_operations import QDRANT
from littoral.web.openapi import Api, Shape, document_of
from littoral.web.openapi.document import BEARER, PLAIN_ERROR, TEXT_NAME

__all__ = ["document"]

REASONS: Mapping[int, str] = {
    422: "An agent refuses its input",
    500: "A guest, a shard or the node failed",
    502: "Another node failed",
}
STATUS: Shape = {"status": {"error": str}, "time": float}
OPENAI: Shape = {"error": {"message": str, "type": str, "param": str | None, "code": str | None}}
ERRORS: Mapping[str, Shape] = {"StatusError": STATUS, "OpenAiError": OPENAI}
QDRANT_PATHS = ("collections", "aliases", "cluster", "snapshots", "telemetry", "locks", "issues", "quotas")
SHAPE_OF = {"v1": "OpenAiError"} | dict.fromkeys(("pipelines", *QDRANT_PATHS), "StatusError")
"""By the first part of the path; of others `PlainError`."""

SECURITY = {
    "bearer": BEARER,
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
"""Schemas of named places in paths; others are texts."""

ANY_NAME = ("GET /collections/{collection}/exists", "DELETE /collections/{collection}")
"""Where a name that no collection can have is answered as one that none has."""


@functools.cache
def document() -> Mapping[str, Any]:
    """The same for every node of this version."""
    return document_of(
        Api(
            "Littoral node",
            "What a node answers over HTTP. Errors and limits: docs/reference/http.md",
            OWN | GATEWAY | dict(QDRANT),
            HTTP_ROLES,
            list(Role),
            security=SECURITY,
            errors=ERRORS,
            error_of=_error_of,
            reasons=REASONS,
            name_of=_name_of,
            tag_of=_tag_of,
        )
    )


def _error_of(path: str) -> str:
    return SHAPE_OF.get(path.split("/")[1], PLAIN_ERROR)


def _name_of(route: str, name: str) -> Mapping[str, Any]:
    return TEXT_NAME if route in ANY_NAME else NAMES.get(name, TEXT_NAME)


def _tag_of(path: str) -> str:
    first = path.split("/")[1]
    return first if first in ("api", "pipelines", "v1", "v2") else "qdrant" if first in QDRANT_PATHS else "node"
