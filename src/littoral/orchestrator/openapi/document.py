"""The OpenAPI document of an orchestrator: what operators ask, and what nodes ask."""

import functools
from collections.abc import Mapping
from typing import Any

from littoral.orchestrator.api.rollouts import ACTS
from littoral.orchestrator.openapi.operations import NODE, OPERATIONS
from littoral.orchestrator.rights import RIGHTS, Role
from littoral.orchestrator.signing import ROLES
from littoral.updates.artifacts import NAME, Kind
from littoral.web.openapi import Api, document_of
from littoral.web.openapi.document import TEXT_NAME

__all__ = ["document"]

REASONS: Mapping[int, str] = {
    201: "Made",
    204: "Done, and nothing to tell",
    422: "The log does not go on from what was seen of it",
    502: "Nobody in the data centre answered",
}
SCHEMES = {
    NODE: {"type": "http", "scheme": "bearer", "description": "The token that the node was enrolled with"},
}
NAMES: Mapping[str, Mapping[str, Any]] = {
    "act": {"type": "string", "enum": list(ACTS)},
    "group": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "kind": {"type": "string", "enum": [kind.value for kind in Kind]},
    "role": {"type": "string", "enum": list(ROLES)},
}
"""Schemas of named places in paths; others are texts."""


@functools.cache
def document() -> Mapping[str, Any]:
    """The same for every orchestrator of this version."""
    return document_of(
        Api(
            "Littoral orchestrator",
            "What an orchestrator answers over HTTP, to operators and to nodes: docs/reference/fleet-api.md",
            OPERATIONS,
            RIGHTS.http,
            list(Role),
            schemes=SCHEMES,
            reasons=REASONS,
            name_of=_name_of,
            tag_of=_tag_of,
        )
    )


def _name_of(_: str, name: str) -> Mapping[str, Any]:
    return NAMES.get(name, TEXT_NAME)


def _tag_of(path: str) -> str:
    return "operators" if path.startswith("/api/") else "nodes" if path.startswith("/fleet/") else "pages"
