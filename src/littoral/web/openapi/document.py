"""The OpenAPI document, put together: every route of a table of roles, with what it takes, gives and needs."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from littoral.web.access.rights import Needed
from littoral.web.openapi.operations import JSON, Operation
from littoral.web.openapi.shapes import Schemas, Shape

__all__ = ["BEARER", "NAMES", "PLAIN_ERROR", "REASONS", "TEXT_NAME", "Api", "document_of"]

VERSION = "3.1.0"
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
    426: "A WebSocket is to be asked for",
    429: "Too many wrong tokens came from this address",
    431: "The head of the request is too large",
    500: "It failed here",
    501: "Known, and not offered here",
    503: "Busy, not ready, or stopping",
    504: "The deadline passed",
    507: "The disk has no room for it",
}
ALWAYS = (400, 403, 431, 500, 503, 507)
OF_BODIES = (408, 413, 501)
"""A body is bounded in size and time, and may be compressed in a way that is not offered."""

BEFORE_ROUTES = (400, 403, 431)
"""May be said before it is known whose route it is."""

PLAIN_ERROR = "PlainError"
PLAIN: Shape = {"error": str}
BYTES = {"type": "string", "format": "binary", "minLength": 1}
BEARER = {"type": "http", "scheme": "bearer", "description": "A token that `littoral tokens new` made"}
TEXT_NAME: Mapping[str, Any] = {"type": "string", "minLength": 1}
NAMES: Mapping[str, Mapping[str, Any]] = {}


def _plain(_: str) -> str:
    return PLAIN_ERROR


def _untagged(path: str) -> str:
    return path.split("/")[1] or "pages"


class Api(NamedTuple):
    """needed: who may ask, by `METHOD /path`. roles: the lowest first. security: schemes of the tokens of people,
    schemes: of others too. errors: shapes by name, beside PlainError; error_of: the name, by the path. reasons: words
    of this API for statuses. name_of: schema of a name in a path, by route and name. tag_of: by the path.
    """

    title: str
    description: str
    operations: Mapping[str, Operation]
    needed: Mapping[str, Needed]
    roles: Sequence[str]
    security: Mapping[str, Any] = {"bearer": BEARER}
    schemes: Mapping[str, Any] = {}
    errors: Mapping[str, Shape] = {}
    error_of: Callable[[str], str] = _plain
    reasons: Mapping[int, str] = {}
    name_of: Callable[[str, str], Mapping[str, Any]] = lambda _, name: NAMES.get(name, TEXT_NAME)
    tag_of: Callable[[str], str] = _untagged


def document_of(api: Api) -> Mapping[str, Any]:
    """The same wherever this version runs."""
    return _Document(api).text


class _Document:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._errors: Mapping[str, Shape] = {PLAIN_ERROR: PLAIN} | dict(api.errors)
        self._reasons = dict(sorted({**REASONS, **api.reasons}.items()))
        shapes = [*(shape for found in api.operations.values() for shape in _shapes(found)), *self._errors.values()]
        self._schemas = Schemas(shapes)

    @property
    def text(self) -> Mapping[str, Any]:
        api, paths = self._api, dict[str, dict[str, Any]]()
        for route, needed in api.needed.items():
            method, _, path = route.partition(" ")
            told = self._operation(method, path, api.operations.get(route, Operation("")), needed)
            paths.setdefault(path, {})[method.lower()] = told
        return {
            "openapi": VERSION,
            "info": {
                "title": api.title,
                "version": "1",
                "description": api.description,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{name: []} for name in api.security],
            "paths": paths,
            "components": {
                "securitySchemes": dict(api.security) | dict(api.schemes),
                "responses": dict(self._shared_responses()),
                "schemas": {name: self._schemas.of(shape) for name, shape in self._errors.items()}
                | dict(self._schemas.components),
            },
        }

    def _operation(self, method: str, path: str, found: Operation, needed: Needed) -> dict[str, Any]:
        route = f"{method} {path}"
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": self._api.name_of(route, name)}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        for place, params in (("query", found.query), ("header", found.headers)):
            parameters += [
                {"name": name, "in": place, "schema": self._schemas.of(kind)} for name, kind in params.items()
            ]
        told: dict[str, Any] = {
            "operationId": _id(method, path),
            "summary": found.summary,
            "tags": [self._api.tag_of(path)],
        }
        if parameters:
            told["parameters"] = parameters
        if found.takes:
            told["requestBody"] = {"required": found.is_body_needed, "content": self._content(found.takes)}
        if not isinstance(needed, str):
            told["x-littoral-roles"] = [str(role) for role in self._api.roles if role in needed]
        elif found.token_of:
            told["security"] = [{found.token_of: []}]
        elif needed == "open" or needed == "probes":
            told["security"] = []
        told["responses"] = {str(status): told for status, told in self._responses(path, found, needed)}
        return told

    def _responses(self, path: str, found: Operation, needed: Needed) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if found.gives:
            yield found.status, {"description": self._reasons[found.status], "content": self._content(found.gives)}
        statuses = {*ALWAYS, *found.statuses, *found.others} | (set(OF_BODIES) if found.takes else set())
        statuses |= set() if needed == "open" and not found.token_of else {401, 429}
        statuses |= {404} if "{" in path else set()
        for status in sorted(statuses):
            if (other := found.others.get(status)) is not None:
                yield status, {"description": self._reasons[status], "content": self._other(path, status, other)}
            else:
                shape = self._api.error_of(path) if status >= 400 else "Done"
                yield status, {"$ref": f"#/components/responses/{shape}{status}"}

    def _other(self, path: str, status: int, other: Mapping[str, Shape | None]) -> dict[str, Any]:
        """An answer of its own, or, where the request failed, an error."""
        content = self._content(other)
        if status < 400:
            return content
        error = {"$ref": f"#/components/schemas/{self._api.error_of(path)}"}
        schema = {"anyOf": [error, content[JSON]["schema"]]} if JSON in content else error
        return content | {JSON: {"schema": schema}}

    def _shared_responses(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Of errors, by shape and status; and those without a body."""
        for status, reason in self._reasons.items():
            if status < 400:
                yield f"Done{status}", {"description": reason}
                continue
            for shape in self._errors:
                named = [shape, PLAIN_ERROR] if status in BEFORE_ROUTES and shape != PLAIN_ERROR else [shape]
                options: list[Any] = [{"$ref": f"#/components/schemas/{name}"} for name in named]
                options += [{"type": "object"}] if status == 426 else []
                schema = options[0] if len(options) == 1 else {"anyOf": options}
                yield f"{shape}{status}", {"description": reason, "content": {JSON: {"schema": schema}}}

    def _content(self, bodies: Mapping[str, Shape | None]) -> dict[str, Any]:
        return {kind: {"schema": BYTES if shape is None else self._schemas.of(shape)} for kind, shape in bodies.items()}


def _shapes(found: Operation) -> Iterator[Shape]:
    for bodies in (found.takes, found.gives, *found.others.values()):
        yield from (shape for shape in bodies.values() if shape is not None)
    yield from found.query.values()
    yield from found.headers.values()


def _id(method: str, path: str) -> str:
    """Such as `get_api_models_name`."""
    return "_".join([method.lower(), *re.findall(r"\w+", path)]) or method.lower()
