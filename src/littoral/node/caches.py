"""A node's caches: embeddings by content, answers of searches by question, lists that prove answers of near ones."""

import asyncio
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


class _Sizes(NamedTuple):
    """Bytes; 0: nothing is kept there."""

    embeddings: int
    told: int
    disk: int
    exact: int
    near: int


class Caches:
    """As the site file has them. data: the node's folder, for what is kept on disk; None = nothing is. keys: seal that.

    For one event loop. Raises nothing for a damaged file: what cannot be read is made again.
    """

    def __init__(
        self, table: CacheTable, data: Path | None = None, clock: Clock = SYSTEM, keys: KeyRing | None = None
    ) -> None:
        self._data, self._keys = data, keys
        sizes = self._sizes(table)
        self.disk_bytes_max = sizes.disk
        """For embeddings, of the file on disk."""
        self.embeddings = EmbeddingCache(sizes.embeddings, self._journal(sizes) if sizes.disk else None)
        self.told_embeddings: ByteLru[tuple[str, bytes], ToldEmbeddings] = ByteLru(sizes.told)
        """By tenant and the bytes of the body."""
        self.told_again_count = 0
        self.results = ResultCache(sizes.exact, sizes.near)
        self.filler = NearFiller(self.results, clock)

    def _sizes(self, table: CacheTable) -> "_Sizes":
        told = (table.embeddings_mb << 20) // TOLD_SHARE
        disk = table.disk_mb << 20 if table.embeddings_mb and self._data is not None else 0
        return _Sizes((table.embeddings_mb << 20) - told, told, disk, table.results_mb << 20, table.near_mb << 20)

    def _journal(self, sizes: "_Sizes") -> CacheJournal:
        assert self._data is not None, "nothing has a size on a disk that is not there"
        return CacheJournal(self._data / FILE, sizes.disk, self._keys)

    async def limit(self, table: CacheTable) -> None:
        """Other sizes from now on; what was not asked for the longest leaves where there is less room."""
        sizes = self._sizes(table)
        self.embeddings.limit(sizes.embeddings, sizes.disk)
        if sizes.disk and not self.embeddings.is_on_disk:
            journal = self._journal(sizes)
            self.embeddings.keep_on(journal, await asyncio.to_thread(lambda: list(journal.read())))
        self.disk_bytes_max = sizes.disk
        self.told_embeddings.limit(sizes.told)
        self.results.limit(sizes.exact, sizes.near)

    async def close(self) -> None:
        """Ends what runs, and writes what is not on disk yet."""
        await self.filler.close()
        await asyncio.to_thread(self.embeddings.close)

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
