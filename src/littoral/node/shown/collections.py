"""`/api/collections/{collection}/recall` and `…/map`: how good its index is, and how its points lie."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from littoral.clock import Clock
from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.node import Node
from littoral.node.shown.numbers import number
from littoral.tensors import Array
from littoral.vectors.asks import Nearest, Sample
from littoral.vectors.collection import Collection
from littoral.vectors.queries import PayloadSelector, SearchParams, SearchQuery
from littoral.vectors.records import Hit, PointId, Record, vectors_by_id
from littoral.web import Answer, Request, Route, json_answer

__all__ = ["Asked", "RecallBody", "collection_routes", "flat", "map_of", "recall_of"]

DEADLINE_S = 20.0
EXACT = SearchParams(exact=True)
KEY_CHARACTERS_MAX = 256
LABEL_CHARACTERS_MAX = 80
DRAWN_FROM_MAX = 20_000
SCROLLED, RETRIEVED = 2000, 200
"""Points of a spread collection, in one request."""
MAPPED, MAPPED_MAX = 500, 1000
VALUES_MAX = 1 << 22
"""Numbers of all vectors that are laid flat."""


class RecallBody(msgspec.Struct, forbid_unknown_fields=True):
    """queries: points at random that are asked with. k: hits of each. using: the vector's name."""

    queries: Annotated[int, Meta(ge=1, le=100)] = 25
    k: Annotated[int, Meta(ge=1, le=100)] = 10
    using: str = ""


def collection_routes(node: Node) -> list[Route]:
    """`using`: the name of a vector; default: the one without a name."""

    async def recall(request: Request) -> Answer:
        collection = node.collections.get(request.names["collection"])
        body = await request.json(RecallBody)
        return json_answer(await recall_of(collection, body, node.clock))

    async def points_map(request: Request) -> Answer:
        collection = node.collections.get(request.names["collection"])
        sample, by = number(request.query, "sample", MAPPED, MAPPED_MAX), request.query.get("by", "")
        if len(by) > KEY_CHARACTERS_MAX:
            raise InputError(f"parameter `by` has {len(by)} characters, at most {KEY_CHARACTERS_MAX}")
        asked = Asked(max(sample, 1), request.query.get("using", ""), by)
        return json_answer(await map_of(collection, asked))

    at = "/api/collections/{collection}"
    return [Route("POST", f"{at}/recall", recall), Route("GET", f"{at}/map", points_map)]


class Asked(NamedTuple):
    """most: points at most. using: name of the vector. by: payload key whose value comes along."""

    most: int
    using: str = ""
    by: str = ""


async def _sampled(collection: Collection, asked: Asked) -> list[Record]:
    """Points at random that have the vector. Raises NotFoundError for a vector that there is not."""
    if asked.using not in (dense := collection.config.dense):
        named = f"`{asked.using[:80]}`" if asked.using else "without a name"
        known = ", ".join(f"`{name}`" if name else "one without a name" for name in dense) or "none"
        raise NotFoundError(f"collection `{collection.name}` has no dense vector {named}, it has: {known}")
    if dense[asked.using].multivector_config is not None:
        raise NotOfferedError(f"vector `{asked.using}` holds several vectors a point: neither map nor recall is told")
    payload: bool | PayloadSelector = PayloadSelector(include=[asked.by]) if asked.by else False
    vectors: bool | list[str] = [asked.using] if asked.using else True
    if isinstance(collection, SpreadCollection):
        found = await _spread_sample(collection, asked.most, payload, vectors)
    else:
        query = SearchQuery(ask=Sample(), limit=asked.most, with_vector=vectors, with_payload=payload)
        (hits,) = await collection.search_batch([query], deadline_s=DEADLINE_S)
        found = [Record(hit.id, hit.payload, hit.vector) for hit in hits]
    own = vectors_by_id(found, asked.using)
    return [Record(one.id, one.payload, own[one.id]) for one in found if isinstance(own.get(one.id), bytes)]


async def _spread_sample(
    collection: Collection, count: int, payload: bool | PayloadSelector, vectors: bool | list[str]
) -> list[Record]:
    """Shards cannot draw together: ids are read, up to a bound, and drawn from here."""
    ids: list[PointId] = []
    offset: PointId | None = None
    while len(ids) < DRAWN_FROM_MAX:
        records, offset = await collection.scroll(
            limit=SCROLLED, offset=offset, with_payload=False, deadline_s=DEADLINE_S
        )
        ids += [record.id for record in records]
        if offset is None:
            break
    chosen = np.random.default_rng().choice(len(ids), min(count, len(ids)), replace=False)
    drawn = [ids[index] for index in chosen]
    found: list[Record] = []
    for at in range(0, len(drawn), RETRIEVED):
        part = drawn[at : at + RETRIEVED]
        found += await collection.retrieve(part, with_payload=payload, with_vector=vectors, deadline_s=DEADLINE_S)
    return found


async def recall_of(collection: Collection, body: RecallBody, clock: Clock) -> dict[str, Any]:
    """Each point is asked with twice, as every search is and by comparison with all; it is no hit of its own."""
    sampled = await _sampled(collection, Asked(body.queries, body.using))
    rows: list[dict[str, Any]] = []
    times_ms: dict[str, list[float]] = {"search": [], "exact": []}
    for point in sampled:
        found: dict[str, list[Hit]] = {}
        for name, params in (("search", SearchParams()), ("exact", EXACT)):
            ask = Nearest(point.vector)  # type: ignore[arg-type]
            query = SearchQuery(ask=ask, limit=body.k + 1, params=params, using=body.using)
            began = clock.monotonic()
            (found[name],) = await collection.search_batch([query], deadline_s=DEADLINE_S)
            times_ms[name].append((clock.monotonic() - began) * 1000)
        rows.append({"id": point.id, "recall": _shared(found["search"], found["exact"], point, body.k)})
    shares = [row["recall"] for row in rows]
    medians = {f"{name}_p50_ms": float(np.median(times)) if times else None for name, times in times_ms.items()}
    return {
        "collection": collection.name,
        "queries": len(rows),
        "k": body.k,
        "recall": sum(shares) / len(shares) if shares else None,
        "recall_min": min(shares, default=None),
        "worst": sorted(rows, key=lambda row: row["recall"])[:5],
        **medians,
    }


def _shared(found: Sequence[Hit], true: Sequence[Hit], asked: Record, k: int) -> float:
    """Share of the true hits that were found; one of the same score as the last true one is as good."""
    wanted = [hit for hit in true if hit.id != asked.id][:k]
    if not wanted:
        return 1.0
    ids, last = {hit.id for hit in wanted}, wanted[-1].score
    got = [hit for hit in found if hit.id != asked.id][:k]
    return min(1.0, sum(hit.id in ids or hit.score == last for hit in got) / len(wanted))


async def map_of(collection: Collection, asked: Asked) -> dict[str, Any]:
    """Points at random on the two directions in which they differ most. Raises as `_sampled`."""
    records = await _sampled(collection, asked)
    records.sort(key=lambda one: (isinstance(one.id, str), one.id))
    size = collection.config.dense[asked.using].size
    records = records[: max(2, VALUES_MAX // max(1, size))]
    vectors = np.frombuffer(b"".join(one.vector for one in records), "<f4")  # type: ignore[misc]
    places, shares = await asyncio.to_thread(flat, vectors.reshape(len(records), size))
    points = [
        {"id": one.id, "x": float(x), "y": float(y), "label": _label(one, asked.by)}
        for one, (x, y) in zip(records, places, strict=True)
    ]
    told = {"collection": collection.name, "using": asked.using, "by": asked.by or None, "size": size}
    return told | {"explained": shares, "points": points}


def _label(point: Record, by: str) -> str | None:
    value: Any = point.payload if by else None
    for key in by.split(".") if by else ():
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None or isinstance(value, dict | list) else str(value)[:LABEL_CHARACTERS_MAX]


def flat(vectors: Array) -> tuple[Array, list[float]]:
    """The two directions in which points differ most: float64[n, 2], and the share of all differences in each.

    vectors: float32[n, d]. The sign of a direction makes its farthest point positive, so that the same points lie the
    same way. Principal components by the products of the points with each other, which are fewer than dimensions².
    """
    if len(vectors) < 2 or vectors.shape[1] == 0:
        return np.zeros((len(vectors), 2)), [0.0, 0.0]
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, directions = np.linalg.eigh(centred @ centred.T)
    whole = float(np.trace(centred @ centred.T)) or 1.0
    first = np.maximum(values[:-3:-1], 0.0)
    places = directions[:, :-3:-1] * np.sqrt(first)
    signs = np.sign(places[np.abs(places).argmax(axis=0), np.arange(places.shape[1])])
    return places * np.where(signs == 0, 1.0, signs), [float(value) / whole for value in first]
