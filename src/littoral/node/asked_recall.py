"""The recall that a request asks for, on its way from its header to the searches of spread collections."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from littoral.errors import InputError
from littoral.web import Request

__all__ = ["RECALL_HEADER", "RECALL_LEAST", "asked_recall", "asking_recall", "request_recall"]

RECALL_HEADER = "littoral-recall"
RECALL_LEAST = 0.5
TEXT_CHARACTERS_MAX = 16

_ASKED: ContextVar[float | None] = ContextVar("littoral recall", default=None)


def request_recall(request: Request) -> float | None:
    """Of `littoral-recall` or `?recall=`; 1 = certain. None without one. Raises InputError."""
    text, what = request.headers.get(RECALL_HEADER), f"header `{RECALL_HEADER}`"
    if text is None and request.query_text:
        text, what = request.query.get("recall"), "parameter `recall`"
    if text is None:
        return None
    try:
        recall = float(text[:TEXT_CHARACTERS_MAX])
    except ValueError:
        recall = 0.0
    if not RECALL_LEAST <= recall <= 1:
        raise InputError(f"{what} is `{text[:40]}`, must be {RECALL_LEAST}..1")
    return recall


def asked_recall() -> float | None:
    """What the request at hand asks for; None: whatever the collection is to have."""
    return _ASKED.get()


@contextlib.contextmanager
def asking_recall(recall: float | None) -> Iterator[None]:
    """Around searches. What a request has asked for already goes before this."""
    before = _ASKED.get()
    _ASKED.set(recall if before is None else before)
    try:
        yield
    finally:
        _ASKED.set(before)
