"""The other half of the door to Qdrant Edge: our points and updates as its classes, its records and errors as ours."""

import contextlib
from array import array
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from littoral.errors import InputError, LittoralError, NotFoundError, ShardError
from littoral.vectors.edge_filters import filter_
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import Hit, Multi, PointBatch, PointId, PointVectors, Record, Sparse, Vector

__all__ = [
    "errors_of_store",
    "hit",
    "id_order",
    "payload_update",
    "plain_id",
    "point_vectors",
    "points",
    "record",
    "selector",
    "vector_of",
]

CALLERS_FAULT = (
    "Vector dimension error",
    "Not existing vector name error",
    "Wrong input",
    "Validation",
    "No range index",
    "No appropriate index",
    "No text index",
    "Inference",
    "Expected",
    "Unable to",
    "Missing",
    "Bad request",
    "Service runtime error: vector data config",
    "Service runtime error: BM25 over a text index",
)
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
        if text.startswith("No point with id"):
            raise NotFoundError(f"{what}: {text}") from error
        raise (InputError if text.startswith(CALLERS_FAULT) else ShardError)(f"{what}: {text}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the store's, which no except clause can name
            raise
        raise ShardError(f"{what}: the store failed: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:500]


def vector_of(own: Vector) -> Any:
    """A vector as the store takes it; the numbers of a plain one are not copied here."""
    if isinstance(own, Sparse):
        pairs = sorted(zip(memoryview(own.indices).cast("I"), memoryview(own.values).cast("f"), strict=True))
        return edge.SparseVector([index for index, _ in pairs], [value for _, value in pairs])
    if isinstance(own, Multi):
        numbers = memoryview(own.numbers).cast("f").tolist()
        size = len(numbers) // own.count
        return [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return memoryview(own).cast("f")


def point_vectors(own: PointVectors) -> Any:
    """All vectors of a point."""
    if isinstance(own, dict):
        return {name: vector_of(vector) for name, vector in own.items()}
    return vector_of(own)


def points(batch: PointBatch, size: int, rows: range) -> list[Any]:
    """The store copies the numbers out of the buffer; no list is made. size: of the one vector, where it is that."""
    payloads = batch.payloads
    columns: Any = memoryview(batch.vectors).cast("f") if isinstance(batch.vectors, bytes) else None
    return [
        edge.Point(
            batch.ids[row],
            point_vectors(batch.vectors[row])  # type: ignore[arg-type]
            if columns is None
            else columns[row * size : (row + 1) * size],
            payloads[row] if payloads else None,
        )
        for row in rows
    ]


def payload_update(change: PayloadChange) -> Any:
    """The operation on ids or on what the filter finds."""
    by_ids = change.ids is not None
    make = getattr(edge.UpdateOperation, f"{_PAYLOAD_VERBS[change.how]}_payload{'' if by_ids else '_by_filter'}")
    arguments = {"payload": change.payload, "keys": change.keys, "key": change.key}
    given = {name: value for name, value in arguments.items() if value is not None}
    return make(change.ids if by_ids else filter_(change.filter), **given)


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


def hit(point: Any, *, with_vector: bool) -> Hit:
    """with_vector: whether vectors were asked for; some queries of the store bring them unasked."""
    vector = _own_vectors(point.vector) if with_vector else None
    return Hit(plain_id(point.id), point.score, point.version, point.payload, vector, point.order_value)


def record(point: Any) -> Record:
    return Record(plain_id(point.id), point.payload, _own_vectors(point.vector), point.order_value)


def _own_vectors(found: Any) -> PointVectors | None:
    if found is None:
        return None
    if isinstance(found, dict):
        return {name: _own_vector(vector) for name, vector in found.items()}
    return _own_vector(found)


def _own_vector(found: Any) -> Vector:
    if isinstance(found, edge.SparseVector):
        return Sparse(array("I", found.indices).tobytes(), array("f", found.values).tobytes())
    if found and isinstance(found[0], list):
        return Multi(len(found), b"".join(array("f", row).tobytes() for row in found))
    return array("f", found).tobytes()
