"""A node's caches: embeddings by content, answers of searches by question, lists that prove answers of near ones."""

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import NotFoundError
from littoral.node.near_filler import NearFiller
from littoral.node.site_tables import CacheTable
from littoral.telemetry import Reading
from littoral.vault import KeyRing
from littoral.vectors.byte_lru import ByteLru, CacheStatistics
from littoral.vectors.cache_journal import CacheJournal
from littoral.vectors.embedding_cache import EmbeddingCache
from littoral.vectors.result_cache import ResultCache
from littoral.web import Answer, Request

__all__ = ["USE", "Caches", "ToldEmbeddings", "Use", "use_of"]

FILE = Path("cache") / "embeddings.log"
TOLD_SHARE = 4
"""One part in so many of the bytes for embeddings holds answers as they went out."""


class Use(NamedTuple):
    """What a request lets caches do: tell what they have, keep what is found."""

    find: bool = True
    keep: bool = True


ANY, NOTHING = Use(), Use(find=False, keep=False)
USE: ContextVar[Use] = ContextVar("littoral cache use", default=ANY)
"""Of the request that is being answered; pipelines hand it to no step by hand."""


def use_of(request: Request) -> Use:
    """`Cache-Control: no-cache` asks for an answer made now, `no-store` for one that is not kept either."""
    if (text := request.headers.get("cache-control")) is None:
        return ANY
    if text == "no-store":
        return NOTHING
    words = {word.strip().lower() for word in str(text).split(",")}
    return Use(find=not words & {"no-cache", "no-store"}, keep="no-store" not in words)


class ToldEmbeddings(NamedTuple):
    """An answer made of remembered embeddings alone. source: digest of what they were made by, when they were."""

    model: str
    source: bytes
    answer: Answer
    contents: int


class Caches:
    """As the site file has them. data: the node's folder, for what is kept on disk; None = nothing is. keys: seal that.

    For one event loop. Raises nothing for a damaged file: what cannot be read is made again.
    """

    def __init__(
        self, table: CacheTable, data: Path | None = None, clock: Clock = SYSTEM, keys: KeyRing | None = None
    ) -> None:
        journal = None
        if table.disk_mb and table.embeddings_mb and data is not None:
            journal = CacheJournal(data / FILE, table.disk_mb << 20, keys)
        self.disk_bytes_max = 0 if journal is None else table.disk_mb << 20
        """For embeddings, of the file on disk."""
        told_bytes = (table.embeddings_mb << 20) // TOLD_SHARE
        self.embeddings = EmbeddingCache((table.embeddings_mb << 20) - told_bytes, journal)
        self.told_embeddings: ByteLru[tuple[str, bytes], ToldEmbeddings] = ByteLru(told_bytes)
        """By tenant and the bytes of the body."""
        self.told_again_count = 0
        self.results = ResultCache(table.results_mb << 20, table.near_mb << 20)
        self.filler = NearFiller(self.results, clock)

    async def close(self) -> None:
        """Ends what runs, and writes what is not on disk yet."""
        await self.filler.close()
        self.embeddings.close()

    def clear(self, name: str) -> None:
        """Forgets all that the cache of this name holds: `embedding`, `exact` or `near`. Raises NotFoundError."""
        ways = {
            "embedding": (self.embeddings.clear, self.told_embeddings.clear),
            "exact": (self.results.clear_exact,),
            "near": (self.results.clear_near,),
        }
        if name not in ways:
            raise NotFoundError(f"cache `{name[:80]}` is unknown, known: {', '.join(ways)}")
        for clear in ways[name]:
            clear()

    def embedding_statistics(self) -> CacheStatistics:
        """Of embeddings, and of answers that were made of them alone."""
        embeddings, told = self.embeddings.statistics(), self.told_embeddings.statistics()
        more = {"hits": embeddings.hits + self.told_again_count, "bytes": embeddings.bytes + told.bytes}
        return replace(embeddings, **more)

    def readings(self) -> Iterator[Reading]:
        """For the metrics."""
        near, tried = self.results.near_statistics()
        yield from _told("embedding", self.embedding_statistics())
        yield from _told("exact", self.results.exact_statistics())
        yield Reading("littoral_cache_hits_total", ("near",), tried.proven)
        yield Reading("littoral_cache_misses_total", ("near",), tried.asked - tried.proven)
        yield from list(_told("near", near))[2:]
        yield Reading("littoral_cache_near_share", (), tried.proven / tried.asked if tried.asked else 0.0)
        yield Reading("littoral_cache_fills_total", (), self.filler.filled_count)
        yield Reading("littoral_cache_fills_dropped_total", (), self.filler.dropped_count)


def _told(cache: str, found: CacheStatistics) -> Iterator[Reading]:
    yield Reading("littoral_cache_hits_total", (cache,), found.hits)
    yield Reading("littoral_cache_misses_total", (cache,), found.misses)
    yield Reading("littoral_cache_evictions_total", (cache,), found.evicted)
    yield Reading("littoral_cache_entries", (cache,), found.entries)
    yield Reading("littoral_cache_bytes", (cache,), found.bytes)
