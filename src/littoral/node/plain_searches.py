"""Bodies of searches by one vector without a name: almost all there are, and those whose answers may be told again.

Whatever else a body may say makes it none of these; then the whole interface reads it (`qdrant_queries`).
"""

from array import array
from typing import Annotated, Any, Literal

import msgspec

from littoral.node.qdrant_bodies import Count
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import DEFAULT_PARAMS, SearchParams, SearchQuery, parse_selector

__all__ = ["LIMIT", "QUERY_COUNT_MAX", "plain_of"]

LIMIT = 10
QUERY_COUNT_MAX = 256
"""Of one batch."""


class _Nearest(msgspec.Struct, forbid_unknown_fields=True):
    nearest: list[float]


class PlainQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Depends on nothing but the points of its collection, and always in the same way."""

    query: list[float] | _Nearest
    limit: Count | None = None
    offset: Count | None = None
    filter: dict[str, Any] | None = None
    params: SearchParams | None = None
    with_payload: Any = None
    with_vector: Literal[False] | None = None
    score_threshold: float | None = None
    using: Literal[""] | None = None
    prefetch: None = None
    shard_key: None = None
    lookup_from: None = None

    def asked(self) -> SearchQuery:
        """Raises InputError for a filter or a selector."""
        numbers = self.query if isinstance(self.query, list) else self.query.nearest
        return SearchQuery(
            array("f", numbers).tobytes(),
            LIMIT if self.limit is None else self.limit,
            self.offset or 0,
            None if self.filter is None else parse_filter(self.filter),
            self.score_threshold,
            parse_selector(self.with_payload),
            False,
            self.params or DEFAULT_PARAMS,
        )


class PlainOlder(PlainQuery):
    """`POST …/points/search`: the vector has another name."""

    query: list[float] = msgspec.field(name="vector")


class PlainBatch(msgspec.Struct, forbid_unknown_fields=True):
    """`POST …/points/query/batch`."""

    searches: Annotated[list[PlainQuery], msgspec.Meta(max_length=QUERY_COUNT_MAX)]


_DECODERS: dict[str, msgspec.json.Decoder[PlainQuery | PlainBatch]] = {
    "query": msgspec.json.Decoder(PlainQuery),
    "search": msgspec.json.Decoder(PlainOlder),
    "query/batch": msgspec.json.Decoder(PlainBatch),
}


def plain_of(route: str, body: bytes) -> list[SearchQuery] | None:
    """What a plain body asks; None for any other. route: the end of its path, such as `query`.

    Raises InputError for a filter or a selector.
    """
    if (decoder := _DECODERS.get(route)) is None:
        return None
    try:
        plain = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return [one.asked() for one in plain.searches] if isinstance(plain, PlainBatch) else [plain.asked()]
