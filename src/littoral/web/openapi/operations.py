"""What a route takes and gives, in words and shapes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from littoral.web.openapi.shapes import Shape

__all__ = ["ANY", "EVENTS", "HTML", "JSON", "OCTETS", "TEXT", "Operation", "Params", "operation", "streamed"]

JSON = "application/json"
OCTETS = "application/octet-stream"
EVENTS = "text/event-stream"
HTML = "text/html"
TEXT = "text/plain"
ANY = "*/*"

Params = Mapping[str, Any]
"""Type by name."""

NO_PARAMS: Params = {}


class Operation(NamedTuple):
    """takes: shapes, or None for bytes, by media type; none: no body. gives: the same, of `status`; none: no answer
    but an error. statuses: of errors, beside those that every route may answer with, and further answers without one.
    others: what statuses give instead of an error's shape, or beside it. token_of: the scheme of a token that the
    route looks at itself.
    """

    summary: str
    takes: Mapping[str, Shape | None] = {}
    gives: Mapping[str, Shape | None] = {}
    query: Params = NO_PARAMS
    headers: Params = NO_PARAMS
    statuses: tuple[int, ...] = ()
    is_body_needed: bool = True
    status: int = 200
    others: Mapping[int, Mapping[str, Shape | None]] = {}
    token_of: str = ""


def operation(summary: str, gives: Shape, takes: Shape | None = None, **more: Any) -> Operation:
    """With JSON on both sides."""
    return Operation(summary, {} if takes is None else {JSON: takes}, {JSON: gives}, **more)


def streamed(summary: str, media_type: str, **more: Any) -> Operation:
    """Gives bytes."""
    return Operation(summary, gives={media_type: None}, **more)
