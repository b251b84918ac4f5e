"""Which vectors the bodies of Qdrant's REST API bring, by their names; "" is the one without."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from littoral.node.qdrant_bodies import (
    PrefetchBody,
    QueryBody,
    QueryGroupsBody,
    UpdatesBody,
    UpsertBody,
    VectorsBody,
)
from littoral.node.qdrant_older import as_groups, as_query
from littoral.node.qdrant_writes import WRITES

__all__ = ["asked_names", "written_names"]

COMPARES_NONE = frozenset({"formula", "fusion", "order_by", "rrf", "sample"})
"""Kinds of queries."""

Query = QueryBody | QueryGroupsBody | PrefetchBody


def asked_names(body: Any) -> Iterator[str]:
    """Of the vectors that are compared, by the body of any search route. Raises InputError."""
    for one in getattr(body, "searches", [body]):
        yield from _compared([_as_query(one)])


def _as_query(body: Any) -> QueryBody | QueryGroupsBody:
    if isinstance(body, QueryBody | QueryGroupsBody):
        return body
    return as_groups(body) if hasattr(body, "group_by") else as_query(body)


def _compared(queries: Iterable[Query]) -> Iterator[str]:
    for query in queries:
        inner = query.prefetch if isinstance(query.prefetch, list) else [query.prefetch] if query.prefetch else []
        yield from _compared(inner)
        compares_none = isinstance(query.query, dict) and not COMPARES_NONE.isdisjoint(query.query)
        if not compares_none and (query.query is not None or not inner):
            yield query.using or ""


def written_names(body: object) -> Iterator[str]:
    """Of the vectors that are written; what a body does wrong is found where it is read."""
    match body:
        case UpsertBody():
            for point in body.points or []:
                yield from _named(point.vector)
            if body.batch is not None:
                rows = body.batch.vectors
                for row in [rows] if isinstance(rows, dict) else rows if isinstance(rows, list) else []:
                    yield from _named(row)
        case VectorsBody():
            for one in body.points:
                yield from _named(one.vector)
        case UpdatesBody():
            for operation in body.operations:
                for name, raw in operation.items():
                    yield from _of_operation(name, raw)


def _named(vector: Any) -> Iterable[str]:
    """A sparse vector without a name is an object too, of indices and values."""
    return vector if isinstance(vector, dict) and "indices" not in vector else ("",)


def _of_operation(name: str, raw: msgspec.Raw) -> Iterator[str]:
    if (write := WRITES.get(name)) is None:
        return
    try:
        body = msgspec.json.decode(raw, type=write.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    yield from written_names(body)
