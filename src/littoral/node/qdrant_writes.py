"""Writes of Qdrant's REST API: points, payloads, and several of them in one request."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.node.qdrant_bodies import (
    DeleteBody,
    PayloadBody,
    UpdatesBody,
    UpsertBody,
    check_offered,
    plain_vector,
)
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import Acknowledge

__all__ = ["WRITES", "Terms", "apply_updates"]

OPERATION_COUNT_MAX = 256


class Terms(NamedTuple):
    """What a write is to wait for, and how long."""

    acknowledge: Acknowledge
    deadline_s: float


async def upsert(collection: Collection, body: UpsertBody, terms: Terms) -> int:
    check_offered(body)
    if (body.points is None) == (body.batch is None):
        raise InputError("body: needs exactly one of `points`, `batch`")
    if body.batch is not None:
        ids, vectors, payloads = body.batch.ids, body.batch.vectors, body.batch.payloads
        if isinstance(vectors, dict):
            vectors = plain_vector(vectors, "batch")
        if not isinstance(vectors, list):
            raise InputError("batch: vectors must be a list of vectors")
        return await collection.upsert(ids, vectors, payloads, **terms._asdict())
    points = body.points or []
    rows = [plain_vector(point.vector, f"point `{str(point.id)[:80]}`") for point in points]
    return await collection.upsert(
        [point.id for point in points], rows, [point.payload for point in points], **terms._asdict()
    )


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
