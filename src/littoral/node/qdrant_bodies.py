"""Bodies of Qdrant's REST API, as structs: a field that we lack is refused by name, never ignored."""

from typing import Annotated, Any

import msgspec

from littoral.errors import NotOfferedError
from littoral.vectors.records import Payload, UpdateMode

__all__ = [
    "AskBody",
    "Batch",
    "Body",
    "Count",
    "CountBody",
    "DeleteBody",
    "DeleteVectorsBody",
    "FacetBody",
    "IndexBody",
    "LookupBody",
    "MatrixBody",
    "PayloadBody",
    "PointBody",
    "PrefetchBody",
    "QueriesBody",
    "QueryBody",
    "QueryGroupsBody",
    "RetrieveBody",
    "ScrollBody",
    "UpdatesBody",
    "UpsertBody",
    "VectorsBody",
    "WithLookup",
    "check_offered",
]


Count = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
"""A size or number of things; what range makes sense is checked where it is used."""


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Root: unknown fields are an error that names them."""


class _PointsBody(Body, kw_only=True):
    """What any request to points may have, and we lack."""

    shard_key: Any = None


class PointBody(Body):
    id: Any
    vector: Any
    payload: Payload | None = None


class PointVectorsBody(Body):
    id: Any
    vector: Any


class Batch(Body):
    """Points in columns."""

    ids: list[Any]
    vectors: Any
    payloads: list[Payload | None] | None = None


class UpsertBody(_PointsBody):
    """Exactly one of points, batch."""

    points: list[PointBody] | None = None
    batch: Batch | None = None
    update_filter: dict[str, Any] | None = None
    update_mode: UpdateMode | None = None


class VectorsBody(_PointsBody):
    """Vectors that take the place of those of the same names."""

    points: list[PointVectorsBody]
    update_filter: dict[str, Any] | None = None


class DeleteVectorsBody(_PointsBody):
    """Exactly one of points, filter. vector: names."""

    vector: list[str]
    points: list[Any] | None = None
    filter: dict[str, Any] | None = None


class DeleteBody(_PointsBody):
    """Exactly one of points, filter."""

    points: list[Any] | None = None
    filter: dict[str, Any] | None = None


class PayloadBody(_PointsBody):
    """`payload` sets, `keys` are removed; neither clears. Exactly one of points, filter."""

    points: list[Any] | None = None
    filter: dict[str, Any] | None = None
    payload: Payload | None = None
    keys: list[str] | None = None
    key: str | None = None


class RetrieveBody(_PointsBody):
    ids: list[Any]
    with_payload: Any = None
    with_vector: Any = None


class ScrollBody(_PointsBody):
    offset: Any = None
    limit: Count | None = None
    filter: dict[str, Any] | None = None
    with_payload: Any = True
    with_vector: Any = None
    order_by: Any = None


class CountBody(_PointsBody):
    filter: dict[str, Any] | None = None
    exact: bool | None = None


class LookupBody(_PointsBody):
    """Where the vectors of the ids in a query are: another collection, another name."""

    collection: str
    vector: str | None = None


class PrefetchBody(Body):
    """A query whose answers another one orders anew."""

    query: Any = None
    prefetch: "list[PrefetchBody] | PrefetchBody | None" = None
    using: str | None = None
    filter: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    score_threshold: float | None = None
    limit: Count | None = None
    lookup_from: LookupBody | None = None


class AskBody(_PointsBody, kw_only=True):
    filter: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    limit: Count | None = None
    with_payload: Any = None
    with_vector: Any = None
    score_threshold: float | None = None
    using: str | None = None
    lookup_from: LookupBody | None = None


class QueryBody(AskBody):
    """query: a vector, an id, an object that names its kind, or nothing (points in the order of ids)."""

    query: Any = None
    prefetch: list[PrefetchBody] | PrefetchBody | None = None
    offset: Count | None = None


class QueriesBody(Body):
    searches: list[QueryBody]


class WithLookup(Body):
    """A point of another collection, with the id of the group."""

    collection: str
    with_payload: Any = None
    with_vectors: Any = None


class QueryGroupsBody(AskBody):
    group_by: str
    query: Any = None
    prefetch: list[PrefetchBody] | PrefetchBody | None = None
    group_size: Count | None = None
    with_lookup: str | WithLookup | None = None


class FacetBody(_PointsBody):
    key: str
    limit: Count | None = None
    filter: dict[str, Any] | None = None
    exact: bool | None = None


class MatrixBody(_PointsBody):
    filter: dict[str, Any] | None = None
    sample: Count | None = None
    limit: Count | None = None
    using: str | None = None


class IndexBody(Body):
    field_name: str
    field_schema: Any = None


class UpdatesBody(Body):
    """Each operation is an object with one key, its name."""

    operations: list[dict[str, msgspec.Raw]]


def check_offered(body: _PointsBody, what: str = "body") -> None:
    """Raises NotOfferedError for a shard key: a collection has one shard."""
    if body.shard_key is not None:
        raise NotOfferedError(f"{what}: `shard_key` is not offered")
