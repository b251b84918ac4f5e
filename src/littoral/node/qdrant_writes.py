"""Writes of Qdrant's REST API: points, payloads, and several of them in one request."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.node.qdrant_bodies import (
    Batch,
    DeleteBody,
    DeleteVectorsBody,
    PayloadBody,
    PointBody,
    UpdatesBody,
    UpsertBody,
    VectorsBody,
    check_offered,
)
from littoral.vectors.checks import checked_ids
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed_point, packed_rows
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import Acknowledge, Payload, PointBatch, PointVectors, UpdateMode

__all__ = ["WRITES", "Terms", "apply_updates"]

OPERATION_COUNT_MAX = 256

_Columns = tuple[list[Any], list[Any], list[Payload | None] | None]
"""Ids, vectors as JSON, payloads."""


class Terms(NamedTuple):
    """What a write is to wait for, and how long."""

    acknowledge: Acknowledge
    deadline_s: float


async def upsert(collection: Collection, body: UpsertBody, terms: Terms) -> int:
    check_offered(body)
    if (body.points is None) == (body.batch is None):
        raise InputError("body: needs exactly one of `points`, `batch`")
    ids, vectors, payloads = _columns(body.batch) if body.batch is not None else _rows(body.points or [])
    _check_some(ids)
    batch = PointBatch(checked_ids(ids), _packed(collection, ids, vectors), payloads)
    condition = parse_filter(body.update_filter)
    mode: UpdateMode = body.update_mode or "upsert"
    return await collection.upsert_points(batch, mode=mode, condition=condition, **terms._asdict())


def _check_some(points: list[Any]) -> None:
    if not points:
        raise InputError("body: no point is given")


def _rows(points: list[PointBody]) -> _Columns:
    return [point.id for point in points], [point.vector for point in points], [point.payload for point in points]


def _columns(batch: Batch) -> _Columns:
    """`vectors` is a list, or an object of names with a list for each."""
    vectors = batch.vectors
    if isinstance(vectors, dict):
        for name, column in vectors.items():
            if not isinstance(column, list) or len(column) != len(batch.ids):
                raise InputError(f"batch: vectors of `{name[:80]}` must be a list of {len(batch.ids)}")
        vectors = [
            {name: column[row] for name, column in vectors.items() if column[row] is not None}
            for row in range(len(batch.ids))
        ]
    if not isinstance(vectors, list):
        raise InputError("batch: vectors must be a list of vectors")
    if len(vectors) != len(batch.ids):
        raise InputError(f"batch: {len(batch.ids)} ids, {len(vectors)} vectors")
    if batch.payloads is not None and len(batch.payloads) != len(batch.ids):
        raise InputError(f"batch: {len(batch.ids)} ids, {len(batch.payloads)} payloads")
    return batch.ids, vectors, batch.payloads


def _packed(collection: Collection, ids: list[Any], vectors: list[Any]) -> bytes | list[PointVectors]:
    """One matrix where a collection has one plain vector without a name, which is the way of most."""
    params = collection.config.vectors
    is_plain = params is not None and params.multivector_config is None and len(collection.config.dense) == 1
    if params is not None and is_plain and not collection.config.sparse:
        rows = [_unnamed(vector) for vector in vectors]
        if all(isinstance(row, list) for row in rows):
            return packed_rows(rows, params.size, ids)
    return [
        packed_point(vector, f"point `{str(point_id)[:80]}`") for point_id, vector in zip(ids, vectors, strict=True)
    ]


def _unnamed(vector: Any) -> Any:
    """The vector itself where it has the name of none."""
    return vector[""] if isinstance(vector, dict) and list(vector) == [""] else vector


async def update_vectors(collection: Collection, body: VectorsBody, terms: Terms) -> int:
    check_offered(body)
    _check_some(body.points)
    ids = [point.id for point in body.points]
    vectors = [packed_point(point.vector, f"point `{str(point.id)[:80]}`") for point in body.points]
    condition = parse_filter(body.update_filter)
    return await collection.update_vectors(ids, vectors, condition=condition, **terms._asdict())


async def delete_vectors(collection: Collection, body: DeleteVectorsBody, terms: Terms) -> int:
    check_offered(body)
    matching = parse_filter(body.filter)
    return await collection.delete_vectors(body.vector, ids=body.points, matching=matching, **terms._asdict())


async def delete(collection: Collection, body: DeleteBody, terms: Terms) -> int:
    check_offered(body)
    if (body.points is None) == (body.filter is None):
        raise InputError("body: needs exactly one of `points`, `filter`")
    if body.points is not None:
        return await collection.delete(body.points, **terms._asdict())
    return await collection.delete_matching(body.filter or {}, **terms._asdict())


_How = Literal["merge", "replace", "remove", "clear"]


def _payload(how: _How) -> Callable[[Collection, PayloadBody, Terms], Awaitable[int]]:
    async def change(collection: Collection, body: PayloadBody, terms: Terms) -> int:
        check_offered(body)
        matching = None if body.filter is None else parse_filter(body.filter)
        wanted = PayloadChange(
            how, ids=body.points, filter=matching, payload=body.payload, keys=body.keys, key=body.key
        )
        return await collection.change_payload(wanted, **terms._asdict())

    return change


class Write(NamedTuple):
    """body: its struct. run: gives the epoch after it."""

    body: type[Any]
    run: Callable[[Collection, Any, Terms], Awaitable[int]]


WRITES = {
    "upsert": Write(UpsertBody, upsert),
    "delete": Write(DeleteBody, delete),
    "set_payload": Write(PayloadBody, _payload("merge")),
    "overwrite_payload": Write(PayloadBody, _payload("replace")),
    "delete_payload": Write(PayloadBody, _payload("remove")),
    "clear_payload": Write(PayloadBody, _payload("clear")),
    "update_vectors": Write(VectorsBody, update_vectors),
    "delete_vectors": Write(DeleteVectorsBody, delete_vectors),
}
"""By the name that `POST …/points/batch` gives them."""


async def apply_updates(collection: Collection, body: UpdatesBody, terms: Terms) -> list[int]:
    """All are read before the first is done. One that fails ends the row; those before it are done."""
    if len(body.operations) > OPERATION_COUNT_MAX:
        raise TooLargeError(f"body: {len(body.operations)} operations, at most {OPERATION_COUNT_MAX}")
    known = ", ".join(f"`{name}`" for name in WRITES)
    writes = []
    for i, operation in enumerate(body.operations):
        if len(operation) != 1 or (write := WRITES.get(name := next(iter(operation)))) is None:
            raise InputError(f"operations[{i}]: needs exactly one of {known}")
        try:
            writes.append((write, msgspec.json.decode(operation[name], type=write.body)))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InputError(f"operations[{i}]: `{name}`: {error}") from error
    return [await write.run(collection, found, terms) for write, found in writes]
