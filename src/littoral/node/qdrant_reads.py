"""Reads of Qdrant's REST API: by id, by page, by filter, by nearness."""

from collections.abc import Sequence
from typing import Any

from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node.qdrant_bodies import (
    CountBody,
    QueriesBody,
    QueryBody,
    RetrieveBody,
    ScrollBody,
    SearchBody,
    check_offered,
    plain_vector,
)
from littoral.vectors.checks import checked_id
from littoral.vectors.collection import Collection, Vectors, as_array
from littoral.vectors.queries import SearchQuery, parse_params, parse_selector
from littoral.vectors.records import Hit, PointId, Record

__all__ = ["count", "query", "query_batch", "retrieve", "retrieve_one", "scroll", "search"]

LIMIT = 10
QUERY_COUNT_MAX = 256
NEAREST = "nearest"


async def retrieve(collection: Collection, body: RetrieveBody, deadline_s: float) -> object:
    check_offered(body)
    with_payload = True if body.with_payload is None else parse_selector(body.with_payload)
    records = await collection.retrieve(
        body.ids, with_payload=with_payload, with_vector=_with_vector(body.with_vector), deadline_s=deadline_s
    )
    return [_record(record) for record in records]


async def retrieve_one(collection: Collection, text: str, deadline_s: float) -> object:
    """text: the id as it stands in the path. Raises NotFoundError."""
    point_id = checked_id(int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else text)
    records = await collection.retrieve([point_id], with_vector=True, deadline_s=deadline_s)
    if not records:
        raise NotFoundError(f"point `{point_id}` does not exist in collection `{collection.name}`")
    return _record(records[0])


async def scroll(collection: Collection, body: ScrollBody, deadline_s: float) -> object:
    check_offered(body)
    records, following = await collection.scroll(
        limit=LIMIT if body.limit is None else body.limit,
        offset=body.offset,
        matching=body.filter,
        with_payload=parse_selector(body.with_payload),
        with_vector=_with_vector(body.with_vector),
        deadline_s=deadline_s,
    )
    return {"points": [_record(record) for record in records], "next_page_offset": following}


async def count(collection: Collection, body: CountBody, deadline_s: float) -> object:
    check_offered(body)
    is_exact = body.exact is not False
    return {"count": await collection.count(body.filter, exact=is_exact, deadline_s=deadline_s)}


async def search(collection: Collection, body: SearchBody, deadline_s: float) -> object:
    check_offered(body)
    wanted = _query(collection, body, plain_vector(body.vector, "query"), body.filter)
    (hits,) = await collection.search_batch([wanted], deadline_s=deadline_s)
    return [_hit(hit) for hit in hits]


async def query(collection: Collection, body: QueryBody, deadline_s: float) -> object:
    check_offered(body)
    if body.query is None:
        return {"points": await _unordered(collection, body, deadline_s)}
    wanted = await _wanted(collection, body, deadline_s)
    (hits,) = await collection.search_batch([wanted], deadline_s=deadline_s)
    return {"points": [_hit(hit) for hit in hits]}


async def query_batch(collection: Collection, body: QueriesBody, deadline_s: float) -> object:
    if len(body.searches) > QUERY_COUNT_MAX:
        raise InputError(f"body: {len(body.searches)} searches, at most {QUERY_COUNT_MAX}")
    for one in body.searches:
        check_offered(one)
        if one.query is None:
            raise NotOfferedError("searches: one without `query` is not offered here, scroll instead")
    wanted = [await _wanted(collection, one, deadline_s) for one in body.searches]
    found = await collection.search_batch(wanted, deadline_s=deadline_s)
    return [{"points": [_hit(hit) for hit in hits]} for hits in found]


async def _wanted(collection: Collection, body: QueryBody, deadline_s: float) -> SearchQuery:
    asked = body.query
    if isinstance(asked, dict):
        if set(asked) - {"mmr"} != {NEAREST} or asked.get("mmr"):
            kinds = ", ".join(f"`{str(kind)[:40]}`" for kind in asked if kind != NEAREST)
            raise NotOfferedError(f"query: {kinds or 'an empty one'} is not offered, only `nearest`")
        asked = asked[NEAREST]
    if not isinstance(asked, int | str):
        return _query(collection, body, plain_vector(asked, "query"), body.filter)
    point_id = checked_id(asked)
    others: dict[str, Any] = {"must_not": [{"has_id": [point_id]}]}
    if body.filter is not None:
        others["must"] = [body.filter]
    return _query(collection, body, await _vector_of(collection, point_id, deadline_s), others)


async def _vector_of(collection: Collection, point_id: PointId, deadline_s: float) -> Vectors:
    records = await collection.retrieve([point_id], with_payload=False, with_vector=True, deadline_s=deadline_s)
    if not records or records[0].vector is None:
        raise NotFoundError(f"point `{point_id}` does not exist in collection `{collection.name}`")
    return as_array(records[0].vector)


def _query(
    collection: Collection, body: QueryBody | SearchBody, vector: Vectors, matching: dict[str, Any] | None
) -> SearchQuery:
    return collection.query(
        vector,
        limit=LIMIT if body.limit is None else body.limit,
        offset=body.offset or 0,
        matching=matching,
        score_threshold=body.score_threshold,
        with_payload=parse_selector(body.with_payload),
        with_vector=_with_vector(body.with_vector),
        params=parse_params(body.params),
    )


async def _unordered(collection: Collection, body: QueryBody, deadline_s: float) -> Sequence[object]:
    """A query without a question: points in the order of ids."""
    offset, limit = body.offset or 0, LIMIT if body.limit is None else body.limit
    if offset < 0:
        raise InputError(f"offset is {offset}, must be at least 0")
    records, _ = await collection.scroll(
        limit=offset + limit,
        matching=body.filter,
        with_payload=parse_selector(body.with_payload),
        with_vector=_with_vector(body.with_vector),
        deadline_s=deadline_s,
    )
    return [_record(record) | {"version": 0, "score": 0.0} for record in records[offset:]]


def _with_vector(json: Any) -> bool:
    if json is None or isinstance(json, bool):
        return bool(json)
    if json in ([], [""]):
        return bool(json)
    raise NotOfferedError("with_vector: named vectors are not offered, give true or false")


def _record(record: Record) -> dict[str, Any]:
    told: dict[str, Any] = {"id": record.id}
    if record.payload is not None:
        told["payload"] = record.payload
    if record.vector is not None:
        told["vector"] = as_array(record.vector).tolist()
    return told


def _hit(hit: Hit) -> dict[str, Any]:
    return {"version": hit.version, "score": hit.score} | _record(Record(hit.id, hit.payload, hit.vector))
