"""Reads of Qdrant's REST API: by id, by page, by filter, by nearness, in groups."""

from typing import Any

from littoral.errors import InputError, NotFoundError
from littoral.node.plain_searches import QUERY_COUNT_MAX
from littoral.node.qdrant_bodies import (
    CountBody,
    FacetBody,
    MatrixBody,
    QueriesBody,
    QueryBody,
    QueryGroupsBody,
    RetrieveBody,
    ScrollBody,
    WithLookup,
    check_offered,
)
from littoral.node.qdrant_queries import LIMIT, Find, parse_order, parse_with_vector, query_of
from littoral.vectors.checks import checked_id
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import as_json
from littoral.vectors.queries import parse_selector
from littoral.vectors.records import Hit, HitGroup, PointId, Record, ScoredPair

__all__ = [
    "count",
    "facet",
    "hits_of",
    "matrix_offsets",
    "matrix_pairs",
    "query",
    "query_batch",
    "query_groups",
    "retrieve",
    "retrieve_one",
    "scroll",
]

GROUP_SIZE = 3
PAIR_SAMPLE = 10
PAIR_SAMPLE_MIN = 2
PAIR_LIMIT = 3


async def retrieve(collection: Collection, body: RetrieveBody, deadline_s: float) -> object:
    check_offered(body)
    with_payload = True if body.with_payload is None else parse_selector(body.with_payload)
    records = await collection.retrieve(
        body.ids, with_payload=with_payload, with_vector=parse_with_vector(body.with_vector), deadline_s=deadline_s
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
        with_vector=parse_with_vector(body.with_vector),
        order=None if body.order_by is None else parse_order(body.order_by),
        deadline_s=deadline_s,
    )
    return {"points": [_record(record) for record in records], "next_page_offset": following}


async def count(collection: Collection, body: CountBody, deadline_s: float) -> object:
    check_offered(body)
    is_exact = body.exact is not False
    return {"count": await collection.count(body.filter, exact=is_exact, deadline_s=deadline_s)}


async def facet(collection: Collection, body: FacetBody, deadline_s: float) -> object:
    check_offered(body)
    values = await collection.facet(
        body.key,
        limit=LIMIT if body.limit is None else body.limit,
        exact=bool(body.exact),
        matching=parse_filter(body.filter),
        deadline_s=deadline_s,
    )
    return {"hits": [{"value": one.value, "count": one.count} for one in values]}


async def query(collection: Collection, body: QueryBody, find: Find, deadline_s: float) -> list[Hit]:
    check_offered(body)
    wanted = await query_of(collection, body, find, deadline_s)
    (hits,) = await collection.search_batch([wanted], deadline_s=deadline_s)
    return hits


async def query_batch(collection: Collection, body: QueriesBody, find: Find, deadline_s: float) -> list[list[Hit]]:
    if len(body.searches) > QUERY_COUNT_MAX:
        raise InputError(f"body: {len(body.searches)} searches, at most {QUERY_COUNT_MAX}")
    for one in body.searches:
        check_offered(one)
    wanted = [await query_of(collection, one, find, deadline_s) for one in body.searches]
    return await collection.search_batch(wanted, deadline_s=deadline_s)


async def query_groups(collection: Collection, body: QueryGroupsBody, find: Find, deadline_s: float) -> object:
    check_offered(body)
    wanted = await query_of(collection, body, find, deadline_s)
    size = GROUP_SIZE if body.group_size is None else body.group_size
    groups = await collection.group(wanted, body.group_by, size=size, deadline_s=deadline_s)
    told: list[dict[str, Any]] = [{"id": group.id, "hits": hits_of(group.hits)} for group in groups]
    if body.with_lookup is not None:
        lookup = WithLookup(collection=body.with_lookup) if isinstance(body.with_lookup, str) else body.with_lookup
        records = await _of_groups(groups, lookup, find, deadline_s)
        told = [one | {"lookup": records.get(group.id)} for one, group in zip(told, groups, strict=True)]
    return {"groups": told}


async def _of_groups(
    groups: list[HitGroup], lookup: WithLookup, find: Find, deadline_s: float
) -> dict[PointId, dict[str, Any]]:
    """The points whose ids are those of groups. A group whose value can be no id has none."""
    plain: dict[PointId, PointId] = {}
    for group in groups:
        try:
            plain[group.id] = checked_id(group.id)
        except InputError:
            continue
    records = await find(lookup.collection).retrieve(
        list(plain.values()),
        with_payload=True if lookup.with_payload is None else parse_selector(lookup.with_payload),
        with_vector=parse_with_vector(lookup.with_vectors),
        deadline_s=deadline_s,
    )
    by_id = {record.id: _record(record) for record in records}
    return {group_id: by_id[point_id] for group_id, point_id in plain.items() if point_id in by_id}


async def matrix_pairs(collection: Collection, body: MatrixBody, deadline_s: float) -> object:
    pairs = await _pairs(collection, body, deadline_s)
    return {"pairs": [{"a": pair.a, "b": pair.b, "score": pair.score} for pair in pairs]}


async def matrix_offsets(collection: Collection, body: MatrixBody, deadline_s: float) -> object:
    pairs = await _pairs(collection, body, deadline_s)
    ids = list(dict.fromkeys(point_id for pair in pairs for point_id in (pair.a, pair.b)))
    offsets = {point_id: offset for offset, point_id in enumerate(ids)}
    return {
        "offsets_row": [offsets[pair.a] for pair in pairs],
        "offsets_col": [offsets[pair.b] for pair in pairs],
        "scores": [pair.score for pair in pairs],
        "ids": ids,
    }


async def _pairs(collection: Collection, body: MatrixBody, deadline_s: float) -> list[ScoredPair]:
    check_offered(body)
    sample = PAIR_SAMPLE if body.sample is None else body.sample
    if sample < PAIR_SAMPLE_MIN:
        raise InputError(f"sample is {sample}, must be at least {PAIR_SAMPLE_MIN}")
    return await collection.pairs(
        sample=sample,
        limit=PAIR_LIMIT if body.limit is None else body.limit,
        using=body.using or "",
        matching=parse_filter(body.filter),
        deadline_s=deadline_s,
    )


def hits_of(hits: list[Hit]) -> list[dict[str, Any]]:
    """As Qdrant tells them."""
    return [_hit(hit) for hit in hits]


def _record(record: Record | Hit) -> dict[str, Any]:
    told: dict[str, Any] = {"id": record.id}
    if record.payload is not None:
        told["payload"] = record.payload
    if record.vector is not None:
        told["vector"] = as_json(record.vector)
    if record.order_value is not None:
        told["order_value"] = record.order_value
    return told


def _hit(hit: Hit) -> dict[str, Any]:
    return _record(hit) | {"version": hit.version, "score": hit.score}
