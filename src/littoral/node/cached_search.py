"""Searches through the caches: the same question, a near one with proof, else the shard."""

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.node.caches import Caches, Use
from littoral.node.near_filler import LIST_MAX, Asked
from littoral.vectors.checks import NORM_MAX, NORM_MIN
from littoral.vectors.collection import Collection, QueryOptions
from littoral.vectors.near import METRICS
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import CollectionConfig, Distance, Hit, VectorParams
from littoral.vectors.result_cache import NearHits, question_key

__all__ = ["FoundHits", "NearQuestion", "near_question", "search_through"]

WANTED_MAX = LIST_MAX // 4

_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode_hits = msgspec.msgpack.Decoder(list[Hit]).decode


class FoundHits(NamedTuple):
    """cache: exact, near, or None for an answer of the shard."""

    hits: list[Hit]
    cache: str | None


class NearQuestion(NamedTuple):
    """A query that lists may answer. shape: what must be the same; options: what the shard is asked beside it."""

    vector: npt.NDArray[np.float32]
    distance: Distance
    shape: bytes
    options: QueryOptions
    limit: int
    offset: int
    threshold: float | None

    def find(self, collection: Collection, caches: Caches, tenant: str = "") -> NearHits | None:
        """The answer with proof. Without one the filler is told what was missing."""
        if (scope := caches.results.scope(collection, tenant)) is None:
            return None
        wanted = self.offset + self.limit
        hits = caches.results.find_near(scope, self.shape, self.vector, self.distance, wanted, self.threshold)
        if hits is None:
            caches.filler.offer(Asked(collection, scope, self.shape, self.vector, self.distance, self.options, wanted))
            return None
        return hits._replace(rows=hits.rows[self.offset :], scores=hits.scores[self.offset :]) if self.offset else hits


def near_question(
    collection: Collection, caches: Caches, vector: npt.NDArray[np.float32], options: QueryOptions
) -> NearQuestion | None:
    """None for what has no certificate: other metrics, vectors with names, vectors among the hits, long pages, what a
    search refuses."""
    if not caches.results.has_near or (params := _plain(collection.config)) is None:
        return None
    if options.get("using") or options.get("with_vector"):
        return None
    limit, offset = options.get("limit", 10), options.get("offset", 0)
    threshold = options.get("score_threshold")
    if options.get("params", SearchParams()).indexed_only or threshold != threshold:
        return None
    if vector.shape != (params.size,) or limit < 1 or offset < 0 or offset + limit > WANTED_MAX:
        return None
    wide = vector.astype(np.float64)
    length = math.sqrt(wide @ wide)
    if not NORM_MIN <= length <= NORM_MAX:
        return None
    asked: QueryOptions = {
        "matching": options.get("matching"),
        "with_payload": options.get("with_payload", True),
    }
    return NearQuestion(vector, params.distance, _told(asked), asked, limit, offset, threshold)


def _plain(config: CollectionConfig) -> VectorParams | None:
    """The vector without a name, where its points are kept as they are and their distance has a certificate."""
    found = config.vectors
    if found is None or found.distance not in METRICS or found.multivector_config is not None:
        return None
    is_whole = found.datatype in (None, "float32") and not (found.quantization_config or config.quantization)
    return found if is_whole else None


async def search_through(
    caches: Caches, collection: Collection, vector: npt.NDArray[np.float32], options: QueryOptions, use: Use
) -> FoundHits:
    """vector: float32[size]. Raises what `Collection.search` raises."""
    scope = caches.results.scope(collection)
    key = None if scope is None else question_key(scope, _question(vector, options))
    if use.find and key is not None:
        if (known := caches.results.find(key)) is not None:
            return FoundHits(_decode_hits(known), "exact")
        near = near_question(collection, caches, vector, options)
        if near is not None and (proven := near.find(collection, caches)) is not None:
            return FoundHits(proven.hits(), "near")
    hits = await collection.search(vector, **options)
    if use.keep and key is not None and caches.results.scope(collection) == scope:
        caches.results.keep(key, _encode(hits))
    return FoundHits(hits, None)


def _question(vector: npt.NDArray[np.float32], options: QueryOptions) -> bytes:
    return b"hits" + _told(options) + vector.tobytes()


def _told(options: QueryOptions) -> bytes:
    """Raises InputError for what no shard could be asked either."""
    try:
        return _encode(options)
    except OverflowError as error:
        raise InputError(f"search cannot be asked: {error}", hint="numbers of a filter have 64 bits") from error
