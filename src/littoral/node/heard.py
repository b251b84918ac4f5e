"""Which plain searches a request turned out to ask: noted where they have run, so that nobody reads its body twice."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple

from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchQuery

__all__ = ["HEARD", "Heard"]


class Heard(NamedTuple):
    collection: Collection
    asked: Sequence[SearchQuery]


HEARD: ContextVar[Heard | None] = ContextVar("littoral_heard", default=None)
