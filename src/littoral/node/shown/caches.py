"""`/api/caches`: what each cache holds, how often it helped, and the end of what it holds."""

from collections.abc import Mapping
from typing import Any

from littoral.node.caches import Caches
from littoral.node.node import Node
from littoral.vectors.byte_lru import CacheStatistics
from littoral.web import Answer, Request, Route, json_answer

__all__ = ["cache_routes"]

HOLDS: Mapping[str, str] = {
    "embedding": "Embeddings by their content, and answers made of them",
    "exact": "Answers to the very same search",
    "near": "Lists that prove answers to near searches",
}


def cache_routes(node: Node) -> list[Route]:
    """`GET` all; `DELETE` what one of them holds."""

    async def told(_: Request) -> Answer:
        return json_answer(_told(node.caches))

    async def clear(request: Request) -> Answer:
        name = request.names["cache"]
        before = _statistics(node.caches).get(name)
        node.caches.clear(name)
        assert before is not None
        return json_answer({"cache": name, "entries": before.entries, "bytes": before.bytes})

    return [Route("GET", "/api/caches", told), Route("DELETE", "/api/caches/{cache}", clear)]


def _statistics(caches: Caches) -> dict[str, CacheStatistics]:
    near, tried = caches.results.near_statistics()
    asked = {"hits": tried.proven, "misses": tried.asked - tried.proven}
    return {
        "embedding": caches.embedding_statistics(),
        "exact": caches.results.exact_statistics(),
        "near": CacheStatistics(near.entries, near.bytes, asked["hits"], asked["misses"], near.evicted),
    }


def _told(caches: Caches) -> dict[str, Any]:
    exact, near = caches.results.bytes_max
    bounds = {"embedding": caches.embeddings.bytes_max + caches.told_embeddings.bytes_max, "exact": exact, "near": near}
    return {
        "caches": [_cache(name, found, bounds[name]) for name, found in _statistics(caches).items()],
        "disk_bytes_max": caches.disk_bytes_max,
        "fills": caches.filler.filled_count,
        "fills_dropped": caches.filler.dropped_count,
    }


def _cache(name: str, found: CacheStatistics, bytes_max: int) -> dict[str, Any]:
    asked = found.hits + found.misses
    return {
        "name": name,
        "holds": HOLDS[name],
        "entries": found.entries,
        "bytes": found.bytes,
        "bytes_max": bytes_max,
        "hits": found.hits,
        "misses": found.misses,
        "hit_share": found.hits / asked if asked else None,
        "evicted": found.evicted,
    }
