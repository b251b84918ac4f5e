"""`/api/collections/{collection}/recall` and `…/map`: how good its index is, and how its points lie."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from littoral.errors import InputError, NotOfferedError
from littoral.node.node import Node
from littoral.node.shown.numbers import number
from littoral.tensors import Array
from littoral.vectors.asks import Sample
from littoral.vectors.collection import Collection
from littoral.vectors.queries import PayloadSelector, SearchParams, SearchQuery
from littoral.vectors.records import Hit
from littoral.web import Answer, Request, Route, json_answer

__all__ = ["RecallBody", "collection_routes", "flat"]

DEADLINE_S = 20.0
EXACT = SearchParams(exact=True)
KEY_CHARACTERS_MAX = 256
LABEL_CHARACTERS_MAX = 80
MAPPED, MAPPED_MAX = 500, 1000
VALUES_MAX = 1 << 22
"""Numbers of all vectors that are laid flat."""


class RecallBody(msgspec.Struct, forbid_unknown_fields=True):
    """queries: points at random that are asked with. k: hits of each."""

    queries: Annotated[int, Meta(ge=1, le=100)] = 25
    k: Annotated[int, Meta(ge=1, le=100)] = 10


def collection_routes(node: Node) -> list[Route]:
    """Of collections that have a vector without a name."""

    async def recall(request: Request) -> Answer:
        collection = node.collections.get(request.names["collection"])
        body = await request.json(RecallBody)
        return json_answer(await _recall(collection, body, node))

    async def points_map(request: Request) -> Answer:
        collection = node.collections.get(request.names["collection"])
        sample, by = number(request.query, "sample", MAPPED, MAPPED_MAX), request.query.get("by", "")
        if len(by) > KEY_CHARACTERS_MAX:
            raise InputError(f"parameter `by` has {len(by)} characters, at most {KEY_CHARACTERS_MAX}")
        return json_answer(await _map(collection, max(sample, 1), by))

    at = "/api/collections/{collection}"
    return [Route("POST", f"{at}/recall", recall), Route("GET", f"{at}/map", points_map)]


async def _sampled(collection: Collection, count: int, by: str = "") -> list[Hit]:
    """Points at random, each with its vector, and with the payload's value at `by`."""
    selector: bool | PayloadSelector = PayloadSelector(include=[by]) if by else False
    query = SearchQuery(ask=Sample(), limit=count, with_vector=True, with_payload=selector)
    (hits,) = await collection.search_batch([query], deadline_s=DEADLINE_S)
    if any(not isinstance(hit.vector, bytes) for hit in hits):
        raise NotOfferedError(f"collection `{collection.name}` has no dense vector without a name")
    return hits


async def _recall(collection: Collection, body: RecallBody, node: Node) -> dict[str, Any]:
    """Each point is asked with twice, as every search is and by comparison with all; it is no hit of its own."""
    sampled = await _sampled(collection, body.queries)
    rows: list[dict[str, Any]] = []
    times_ms: dict[str, list[float]] = {"search": [], "exact": []}
    for point in sampled:
        found: dict[str, list[Hit]] = {}
        for name, params in (("search", SearchParams()), ("exact", EXACT)):
            query = SearchQuery(ask=point.vector, limit=body.k + 1, params=params)  # type: ignore[arg-type]
            began = node.clock.monotonic()
            (found[name],) = await collection.search_batch([query], deadline_s=DEADLINE_S)
            times_ms[name].append((node.clock.monotonic() - began) * 1000)
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


def _shared(found: Sequence[Hit], true: Sequence[Hit], asked: Hit, k: int) -> float:
    """Share of the true hits that were found; one of the same score as the last true one is as good."""
    wanted = [hit for hit in true if hit.id != asked.id][:k]
    if not wanted:
        return 1.0
    ids, last = {hit.id for hit in wanted}, wanted[-1].score
    got = [hit for hit in found if hit.id != asked.id][:k]
    return min(1.0, sum(hit.id in ids or hit.score == last for hit in got) / len(wanted))


async def _map(collection: Collection, count: int, by: str) -> dict[str, Any]:
    hits = await _sampled(collection, count, by)
    hits.sort(key=lambda hit: (isinstance(hit.id, str), hit.id))
    size = len(hits[0].vector) // 4 if hits else 0  # type: ignore[arg-type]
    hits = hits[: max(2, VALUES_MAX // max(1, size))]
    vectors = np.frombuffer(b"".join(hit.vector for hit in hits), "<f4")  # type: ignore[misc]
    places, shares = await asyncio.to_thread(flat, vectors.reshape(len(hits), size))
    points = [
        {"id": hit.id, "x": float(x), "y": float(y), "label": _label(hit, by)}
        for hit, (x, y) in zip(hits, places, strict=True)
    ]
    return {"collection": collection.name, "by": by or None, "size": size, "explained": shares, "points": points}


def _label(hit: Hit, by: str) -> str | None:
    value: Any = hit.payload if by else None
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
