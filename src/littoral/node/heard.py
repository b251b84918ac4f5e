"""Which plain searches a request turned out to ask: noted where its body is read, so that nobody reads it twice."""

from collections.abc import Sequence
from contextvars import ContextVar

from littoral.vectors.queries import SearchQuery

__all__ = ["HEARD"]

HEARD: ContextVar[Sequence[SearchQuery] | None] = ContextVar("littoral_heard", default=None)
