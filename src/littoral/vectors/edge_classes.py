"""The other half of the door to Qdrant Edge: our structs as its classes, its errors as ours."""

import contextlib
from array import array
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from littoral.errors import InputError, LittoralError, ShardError
from littoral.vectors.checks import check_vector
from littoral.vectors.filters import (
    Condition,
    Filter,
    GeoPoint,
    GeoRing,
    Match,
    Range,
    ValuesCount,
    check_filter,
    clause,
)
from littoral.vectors.queries import PayloadChange, PayloadSelector, SearchQuery, check_query
from littoral.vectors.records import CollectionConfig, FieldSchema, Hit, PointBatch, PointId, Record, VectorParams

__all__ = [
    "config",
    "errors_of_store",
    "filter_",
    "hit",
    "id_order",
    "index_creation",
    "payload_update",
    "plain_id",
    "points",
    "query_request",
    "record",
    "selector",
]

CALLERS_FAULT = ("Vector dimension error", "Not existing vector name error", "Wrong input", "Validation")


class _Bool:
    """The store's converter tries integers before booleans, so that `True` would match 1. It knows numpy's booleans by
    the name of their class, and takes those for nothing else.
    """

    __module__ = "numpy"

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Bool.__name__ = "bool"


def _match_value(value: bool | int | str) -> Any:
    return edge.MatchValue(_Bool(value) if isinstance(value, bool) else value)  # type: ignore[arg-type]


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": _match_value,
    "any": edge.MatchAny,
    "except_": edge.MatchExcept,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
}
_PAYLOAD_VERBS = {"merge": "set", "replace": "overwrite", "remove": "delete", "clear": "clear"}


@contextlib.contextmanager
def errors_of_store(what: str) -> Iterator[None]:
    """The store raises bare exceptions: those of its converters are the caller's fault, the others mostly its own."""
    try:
        yield
    except LittoralError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what}: {_first_line(error)}") from error
    except Exception as error:
        text = _first_line(error)
        raise (InputError if text.startswith(CALLERS_FAULT) else ShardError)(f"{what}: {text}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:500]


def config(own: CollectionConfig) -> Any:
    """One search thread: the other cores are for inference."""
    vectors = edge.EdgeVectorParams(size=own.vectors.size, distance=getattr(edge.Distance, own.vectors.distance))
    return edge.EdgeConfig(vectors=vectors, max_search_threads=1)


def points(batch: PointBatch, size: int, rows: range) -> list[Any]:
    """The store copies the numbers out of the buffer; no list is made."""
    vectors: Any = memoryview(batch.vectors).cast("f")
    payloads = batch.payloads
    return [
        edge.Point(batch.ids[row], vectors[row * size : (row + 1) * size], payloads[row] if payloads else None)
        for row in rows
    ]


def query_request(query: SearchQuery, params: VectorParams, limit: int) -> Any:
    """The checked query, from the first hit on and up to `limit`."""
    check_query(query)
    if len(query.vector) % 4:
        raise InputError(f"query: vector has {len(query.vector)} bytes, expected {params.size} float32")
    vector: Any = memoryview(query.vector).cast("f")
    check_vector(vector, params, "query")
    return edge.QueryRequest(
        limit=limit,
        query=edge.Query.Nearest(vector),
        filter=filter_(query.filter),
        score_threshold=query.score_threshold,
        with_payload=selector(query.with_payload),
        with_vector=query.with_vector,
        params=edge.SearchParams(
            hnsw_ef=query.params.hnsw_ef, exact=query.params.exact, indexed_only=query.params.indexed_only
        ),
    )


def payload_update(change: PayloadChange) -> Any:
    """The operation on ids or on what the filter finds."""
    by_ids = change.ids is not None
    make = getattr(edge.UpdateOperation, f"{_PAYLOAD_VERBS[change.how]}_payload{'' if by_ids else '_by_filter'}")
    arguments = {"payload": change.payload, "keys": change.keys, "key": change.key}
    given = {name: value for name, value in arguments.items() if value is not None}
    return make(change.ids if by_ids else filter_(change.filter), **given)


def index_creation(field: str, schema: FieldSchema) -> Any:
    return edge.UpdateOperation.create_field_index(field, getattr(edge.PayloadSchemaType, schema.capitalize()))


def selector(own: bool | PayloadSelector) -> Any:
    if isinstance(own, bool):
        return own
    if own.include is not None:
        return edge.PayloadSelector.Include(own.include)
    return edge.PayloadSelector.Exclude(own.exclude or [])


def plain_id(value: int | UUID) -> PointId:
    return value if isinstance(value, int) else str(value)


def id_order(value: int | UUID) -> tuple[bool, int]:
    """Numbers before UUIDs, as the store scrolls."""
    return (True, value.int) if isinstance(value, UUID) else (False, value)


def hit(point: Any) -> Hit:
    return Hit(plain_id(point.id), point.score, point.version, point.payload, _vector_bytes(point.vector))


def record(point: Any) -> Record:
    return Record(plain_id(point.id), point.payload, _vector_bytes(point.vector))


def _vector_bytes(vector: list[float] | None) -> bytes | None:
    return None if vector is None else array("f", vector).tobytes()


def filter_(own: Filter | None) -> Any:
    """Checked, so that a filter that came by another way than `parse_filter` is bounded too."""
    if own is None:
        return None
    check_filter(own)
    return _filter(own)


def _filter(own: Filter | Condition) -> Any:
    clauses: dict[str, Any] = {
        name: [_condition(condition) for condition in conditions]
        for name in ("must", "should", "must_not")
        if (conditions := clause(getattr(own, name))) is not None
    }
    if own.min_should is not None:
        some = [_condition(condition) for condition in own.min_should.conditions]
        clauses["min_should"] = edge.MinShould(some, own.min_should.min_count)
    return edge.Filter(**clauses)


def _condition(own: Condition) -> Any:
    if own.key is not None:
        return edge.FieldCondition(own.key, **_field_test(own))
    if own.has_id is not None:
        return edge.HasIdCondition(set(own.has_id))
    if own.has_vector is not None:
        return edge.HasVectorCondition(own.has_vector)
    if own.nested is not None:
        return edge.NestedCondition(own.nested.key, _filter(own.nested.filter))
    if own.is_empty is not None and not isinstance(own.is_empty, bool):
        return edge.IsEmptyCondition(own.is_empty.key)
    if own.is_null is not None and not isinstance(own.is_null, bool):
        return edge.IsNullCondition(own.is_null.key)
    return _filter(own)


def _field_test(own: Condition) -> dict[str, Any]:
    """`check_filter` has made sure that there is exactly one."""
    tests: dict[str, Callable[[Any], Any]] = {
        "match": _match,
        "range": _range,
        "values_count": _values_count,
        "geo_bounding_box": lambda box: edge.GeoBoundingBox(_geo_point(box.top_left), _geo_point(box.bottom_right)),
        "geo_radius": lambda circle: edge.GeoRadius(_geo_point(circle.center), circle.radius),
        "geo_polygon": lambda area: edge.GeoPolygon(_ring(area.exterior), [_ring(hole) for hole in area.interiors]),
        "is_empty": bool,
        "is_null": bool,
    }
    return {name: make(value) for name, make in tests.items() if (value := getattr(own, name)) is not None}


def _match(own: Match) -> Any:
    return next(make(value) for name, make in _MATCHES.items() if (value := getattr(own, name)) is not None)


def _range(own: Range) -> Any:
    bounds = {name: getattr(own, name) for name in ("gt", "gte", "lt", "lte")}
    timed = any(isinstance(bound, str) for bound in bounds.values())
    return (edge.RangeDateTime if timed else edge.RangeFloat)(**bounds)


def _values_count(own: ValuesCount) -> Any:
    return edge.ValuesCount(gt=own.gt, gte=own.gte, lt=own.lt, lte=own.lte)


def _geo_point(own: GeoPoint) -> Any:
    return edge.GeoPoint(own.lon, own.lat)


def _ring(own: GeoRing) -> list[Any]:
    return [_geo_point(point) for point in own.points]


def schema_name(index: Any) -> FieldSchema:
    """`PayloadSchemaType.Integer` is no Python enum: its name is only in its text."""
    return str(index.data_type).rpartition(".")[2].lower()  # type: ignore[return-value]
