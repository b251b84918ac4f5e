"""What a request may say of itself in a header or, where headers cannot be set, as a parameter of the query."""

from littoral.errors import InputError
from littoral.runtime.call import PRIORITY_MAX
from littoral.web import Request

__all__ = [
    "DEADLINE_HEADER",
    "DEADLINE_MS",
    "DEADLINE_MS_MAX",
    "PRIORITY_HEADER",
    "request_deadline_ms",
    "request_priority",
]

DEADLINE_HEADER = "littoral-deadline-ms"
PRIORITY_HEADER = "littoral-priority"
DEADLINE_MS = 30_000
DEADLINE_MS_MAX = 300_000


def request_deadline_ms(request: Request) -> float:
    """Of `littoral-deadline-ms` or `?timeout_ms=`, else the default. Raises InputError."""
    found = _number(request, DEADLINE_HEADER, "timeout_ms", 1, DEADLINE_MS_MAX)
    return DEADLINE_MS if found is None else found


def request_priority(request: Request) -> int:
    """Of `littoral-priority` or `?priority=`, else 0. Raises InputError."""
    return _number(request, PRIORITY_HEADER, "priority", 0, PRIORITY_MAX) or 0


def _number(request: Request, header: str, parameter: str, least: int, most: int) -> int | None:
    text, what = request.headers.get(header), f"header `{header}`"
    if text is None and request.query_text:
        text, what = request.query.get(parameter), f"parameter `{parameter}`"
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise InputError(f"{what} is `{text[:40]}`, must be {least}..{most}")
    return int(text)
