"""Bodies of Qdrant's REST API, as structs: a field that we lack is refused by name, never ignored."""

from typing import Annotated, Any

import msgspec

from littoral.errors import InputError, NotOfferedError
from littoral.vectors.collection import Vectors
from littoral.vectors.records import FieldSchema, Payload, VectorParams

__all__ = [
    "Batch",
    "CountBody",
    "CreateBody",
    "DeleteBody",
    "IndexBody",
    "PayloadBody",
    "PointBody",
    "QueriesBody",
    "QueryBody",
    "RetrieveBody",
    "ScrollBody",
    "SearchBody",
    "UpdatesBody",
    "UpsertBody",
    "check_offered",
    "plain_vector",
]


_Count = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
"""A size or number of things; what range makes sense is checked where it is used."""


class _Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Root: unknown fields are an error that names them."""


class _PointsBody(_Body, kw_only=True):
    """What any request to points may have, and we lack."""

    shard_key: Any = None


class CreateBody(_Body):
    """`PUT /collections/{c}`. Only `vectors` is offered; the rest is Qdrant's."""

    vectors: Any
    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    on_disk_payload: bool | None = None
    sharding_method: Any = None
    hnsw_config: Any = None
    wal_config: Any = None
    optimizers_config: Any = None
    init_from: Any = None
    quantization_config: Any = None
    sparse_vectors: Any = None
    strict_mode_config: Any = None
    metadata: Any = None


class VectorsBody(_Body):
    """The one vector of a point; `on_disk` and the like are not offered."""

    size: int
    distance: str
    hnsw_config: Any = None
    quantization_config: Any = None
    on_disk: bool | None = None
    datatype: str | None = None
    multivector_config: Any = None


class PointBody(_Body):
    id: Any
    vector: Any
    payload: Payload | None = None


class Batch(_Body):
    """Points in columns."""

    ids: list[Any]
    vectors: Any
    payloads: list[Payload | None] | None = None


class UpsertBody(_PointsBody):
    """Exactly one of points, batch."""

    points: list[PointBody] | None = None
    batch: Batch | None = None
    update_filter: Any = None
    update_mode: Any = None


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
    limit: _Count | None = None
    filter: dict[str, Any] | None = None
    with_payload: Any = True
    with_vector: Any = None
    order_by: Any = None


class CountBody(_PointsBody):
    filter: dict[str, Any] | None = None
    exact: bool | None = None


class _AskBody(_PointsBody, kw_only=True):
    filter: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    limit: _Count | None = None
    offset: _Count | None = None
    with_payload: Any = None
    with_vector: Any = None
    score_threshold: float | None = None


class SearchBody(_AskBody):
    """`POST …/points/search`, which newer clients no longer use."""

    vector: Any


class QueryBody(_AskBody):
    """query: a vector, `{"nearest": vector or id}`, an id, or nothing (points in the order of ids)."""

    query: Any = None
    prefetch: Any = None
    using: str | None = None
    lookup_from: Any = None


class QueriesBody(_Body):
    searches: list[QueryBody]


class IndexBody(_Body):
    field_name: str
    field_schema: FieldSchema | dict[str, Any] | None = None


class UpdatesBody(_Body):
    """Each operation is an object with one key, its name."""

    operations: list[dict[str, msgspec.Raw]]


NOT_OFFERED = (
    "shard_key",
    "sharding_method",
    "hnsw_config",
    "wal_config",
    "optimizers_config",
    "init_from",
    "quantization_config",
    "sparse_vectors",
    "strict_mode_config",
    "metadata",
    "multivector_config",
    "update_filter",
    "update_mode",
    "order_by",
    "prefetch",
    "lookup_from",
)
_ONE = ("shard_number", "replication_factor", "write_consistency_factor")


def check_offered(body: _Body, what: str = "body") -> None:
    """Raises NotOfferedError for a field of Qdrant's that has a value and no meaning here."""
    for name in NOT_OFFERED:
        if getattr(body, name, None):
            raise NotOfferedError(f"{what}: `{name}` is not offered")
    for name in _ONE:
        if getattr(body, name, None) not in (None, 1):
            raise NotOfferedError(f"{what}: `{name}` is {getattr(body, name)}, only 1 is offered")
    if getattr(body, "using", None):
        raise NotOfferedError(f"{what}: `using` is not offered, a point has one vector without a name")
    if getattr(body, "datatype", None) not in (None, "float32"):
        raise NotOfferedError(f"{what}: `datatype` must be float32")


def vector_params(vectors: Any) -> VectorParams:
    """`vectors` of a new collection. Raises InputError, NotOfferedError for named vectors."""
    try:
        body = msgspec.convert(vectors, VectorsBody)
        check_offered(body, "vectors")
        return msgspec.convert({"size": body.size, "distance": body.distance}, VectorParams)
    except msgspec.ValidationError as error:
        if isinstance(vectors, dict) and vectors and all(isinstance(v, dict) for v in vectors.values()):
            raise NotOfferedError("vectors: named vectors are not offered, give `size` and `distance`") from error
        raise InputError(f"vectors: {error}") from error


def plain_vector(vector: Any, what: str) -> Vectors:
    """A list of numbers, or Qdrant's `{"": list}`. Raises InputError, NotOfferedError for vectors of other kinds."""
    if isinstance(vector, dict):
        if list(vector) == [""]:
            vector = vector[""]
        else:
            raise NotOfferedError(f"{what}: named and sparse vectors are not offered")
    if not isinstance(vector, list):
        raise InputError(f"{what}: vector must be a list of numbers")
    return vector
