"""Whether an answer is what an OpenAPI document says of its route."""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from raw_http import Reply

__all__ = ["Document", "misfit", "route_of"]

Document = Mapping[str, Any]

JSON = "application/json"
TILE = re.compile(r"(/api/audit/tile/\{level\})/.*")
"""Described as one route, whatever its number is divided into."""


def misfit(document: Document, route: tuple[str, str], reply: Reply) -> str | None:
    """What is other than described; None for nothing."""
    method, pattern = route
    pattern = TILE.sub(r"\1/{number}", pattern)
    told = document["paths"][pattern][method.lower()]["responses"]
    if str(reply.status) not in told:
        return f"status {reply.status} is not described"
    content = _resolved(document, told[str(reply.status)]).get("content")
    if content is None:
        return None
    kind = reply.headers.get("content-type", "").partition(";")[0]
    if kind not in content and "*/*" not in content:
        return f"media type `{kind}` is not described"
    if kind != JSON or "schema" not in content.get(kind, {}):
        return None
    schema = {"components": document["components"], **content[kind]["schema"]}
    errors = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in _errors(schema, reply.json)]
    return errors[0][:300] if errors else None


def _errors(schema: Mapping[str, Any], value: Any) -> Any:
    return jsonschema_rs.iter_errors(schema, value)


def route_of(document: Document, method: str, path: str) -> tuple[str, str] | None:
    """Whose request this is, as the document has it; None for nobody's."""
    parts = path.partition("?")[0].split("/")
    for pattern, methods in document["paths"].items():
        wanted = pattern.split("/")
        if method.lower() not in methods or len(wanted) != len(parts):
            continue
        if all(want == part or want.startswith("{") for want, part in zip(wanted, parts, strict=True)):
            return method, pattern
    return None


def _resolved(document: Document, found: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in found:
        target: Any = document
        for part in found["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        found = target
    return found
