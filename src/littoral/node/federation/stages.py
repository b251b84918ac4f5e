"""Queries over what other queries have found, in a collection that is spread: each stage over all nodes, then the next.

A stage has the answers that one shard with all the points would have. Qdrant's cluster lets each shard go on with what
it has found itself; then what a fusion or a second comparison sees depends on how points are spread.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.node.federation import formulas
from littoral.node.federation.asking import Gathered, Target
from littoral.node.federation.copies import at_home
from littoral.node.federation.merging import merge
from littoral.node.federation.placing import placing_of
from littoral.vectors import asks, frames
from littoral.vectors.checks import check_named
from littoral.vectors.diversity import most_diverse
from littoral.vectors.filters import LIST_COUNT_MAX, Condition, Filter, as_condition
from littoral.vectors.fusion import fused
from littoral.vectors.grouping import are_full, check_groups, first_count, grouped, next_count, widened
from littoral.vectors.queries import QUERY_COUNT_MAX, Prefetch, SearchQuery, candidates_of, check_pairs
from littoral.vectors.records import Hit, HitGroup, PointId, Record, ScoredPair, VectorsById, vectors_by_id

__all__ = ["Stages", "is_staged"]

STAGED = (asks.Mmr, asks.Fusion, asks.Formula, asks.Sample)
VECTOR_BYTES_MAX = 8 << 20
"""Of the candidates that are compared with each other: they come here."""

_T = TypeVar("_T")

Search = Callable[[SearchQuery], Awaitable[list[Hit]]]
Read = Callable[[frames.Read, Iterable[int] | None, bool], Awaitable[Gathered]]


def is_staged(query: SearchQuery) -> bool:
    """Whether its answer depends on what else was found."""
    return bool(query.prefetch) or isinstance(query.ask, STAGED)


class Stages:
    """Of one request. search: the nearest of all nodes, as for any query. read: what shards answer, all of them or
    these, one answer a shard or one a node.
    """

    def __init__(self, target: Target, search: Search, read: Read, rng: random.Random) -> None:
        self._target = target
        self._search = search
        self._read = read
        self._rng = rng

    async def hits(self, query: SearchQuery) -> list[Hit]:
        """The page, as one shard would answer. Raises InputError, TooLargeError as a shard does."""
        ask = asks.Nearest(query.ask) if isinstance(query.ask, bytes) else query.ask
        root = Prefetch(
            ask=ask,
            using=query.using,
            limit=query.limit + query.offset,
            filter=query.filter,
            score_threshold=query.score_threshold,
            params=query.params,
            prefetch=query.prefetch,
        )
        return await self._filled((await self._stage(root, None))[query.offset :], query)

    async def groups(self, query: SearchQuery, by: str, size: int) -> list[HitGroup]:
        """As one shard would: what comes after the best 16384 hits belongs to no group."""
        check_groups(query, size)
        count = first_count(query, size)
        while True:
            hits = await self.hits(widened(query, by, count))
            found = grouped(hits, by, query.limit, size)
            if are_full(found, query, size) or len(hits) < count or next_count(count) == count:
                break
            count = next_count(count)
        whole = await self._filled(list({hit.id: hit for group in found.values() for hit in group}.values()), query)
        by_id = {hit.id: hit for hit in whole}
        return [
            HitGroup(name, [_scored(by_id[hit.id], hit) for hit in group if hit.id in by_id])
            for name, group in found.items()
        ]

    async def pairs(self, request: frames.Pairs) -> list[ScoredPair]:
        """For each of `sample` points at random its `limit` nearest among them."""
        check_pairs(request.sample, request.limit)
        has_vector = _both(request.filter, Filter(must=[Condition(has_vector=request.using)]))
        chosen = [hit.id for hit in await self._sample(request.sample, has_vector)]
        vectors = await self._vectors(chosen, request.using)
        among = _among(chosen)
        queries = [
            SearchQuery(asks.Nearest(vectors[a]), limit=request.limit + 1, filter=among, using=request.using)
            for a in chosen
            if a in vectors
        ]
        found: list[list[Hit]] = []
        for at in range(0, len(queries), QUERY_COUNT_MAX):
            found += await self._everywhere(queries[at : at + QUERY_COUNT_MAX], chosen)
        return [
            ScoredPair(a, hit.id, hit.score)
            for a, hits in zip((a for a in chosen if a in vectors), found, strict=True)
            for hit in [hit for hit in hits if hit.id != a][: request.limit]
        ]

    async def _stage(self, prefetch: Prefetch, outer: Filter | None) -> list[Hit]:
        """Without payloads. outer: filter of what this is a prefetch of."""
        matching = _both(outer, prefetch.filter)
        if not prefetch.prefetch:
            return await self._leaf(prefetch, matching)
        sources = await _all(self._stage(inner, matching) for inner in prefetch.prefetch)
        if isinstance(prefetch.ask, asks.Fusion):
            return fused(prefetch.ask, sources, prefetch.score_threshold)[: prefetch.limit]
        return await self._rescored(prefetch, sources)

    async def _leaf(self, prefetch: Prefetch, matching: Filter | None) -> list[Hit]:
        match prefetch.ask:
            case asks.Fusion() | asks.Formula():
                raise InputError("query: a fusion or a formula needs a `prefetch`")
            case asks.Sample():
                return await self._sample(prefetch.limit, matching)
            case asks.Mmr():
                return await self._diverse(prefetch.ask, prefetch, matching, None)
        return await self._search(_query(prefetch, prefetch.ask, matching))

    async def _rescored(self, prefetch: Prefetch, sources: list[list[Hit]]) -> list[Hit]:
        """Candidates by another measure; all of them are compared."""
        ids = list({hit.id: None for source in sources for hit in source})
        among = _among(ids)
        if not ids:
            return []
        match prefetch.ask:
            case asks.Sample():
                chosen = set(self._rng.sample(ids, min(prefetch.limit, len(ids))))
                first = {hit.id: hit for source in sources for hit in source if hit.id in chosen}
                return [msgspec.structs.replace(first[one], score=0.0) for one in chosen]
            case asks.Mmr():
                return await self._diverse(prefetch.ask, prefetch, among, ids)
            case asks.Formula():
                query = _query(prefetch, formulas.with_scores(prefetch.ask, sources), None)
                query.prefetch = [Prefetch(limit=len(ids), filter=among)]
            case _:
                query = _query(prefetch, prefetch.ask, among)
        return (await self._everywhere([query], ids))[0]

    async def _diverse(
        self, ask: asks.Mmr, prefetch: Prefetch, matching: Filter | None, ids: list[PointId] | None
    ) -> list[Hit]:
        """ids: candidates; None: the nearest of all points."""
        config, using = self._target.config, prefetch.using
        if (params := config.dense.get(using)) is None:
            raise InputError(f"query: `mmr` needs a dense vector, `{using}` is none of the collection")
        assert not isinstance(ask.target, asks.Of), "ids have been replaced"
        check_named(ask.target, using, config, "query")
        count = candidates_of(ask, prefetch.limit)
        if count * params.size * 4 > VECTOR_BYTES_MAX:
            raise TooLargeError(
                f"query: vectors of {count} candidates are more than {VECTOR_BYTES_MAX >> 20} MiB",
                hint="lower `candidates_limit`; in a collection that is spread over nodes they go to one of them",
            )
        query = _query(prefetch, asks.Nearest(ask.target), matching)
        query = msgspec.structs.replace(query, limit=count, with_vector=[using])
        hits = await self._search(query) if ids is None else (await self._everywhere([query], ids))[0]
        vectors = vectors_by_id(hits, using)
        hits = [hit for hit in hits if hit.id in vectors]
        found = [vectors[hit.id] for hit in hits]
        chosen = await asyncio.to_thread(
            most_diverse, ask.target, found, params, diversity=ask.diversity, count=prefetch.limit
        )
        return [msgspec.structs.replace(hits[at], vector=None) for at in chosen]

    async def _sample(self, count: int, matching: Filter | None) -> list[Hit]:
        """Each point is as likely as any other, wherever it lies and however often."""
        home = at_home(matching)
        wanted = frames.Search(call=0, queries=[SearchQuery(asks.Sample(), limit=count, filter=home)])
        counting = frames.Count(call=0, filter=matching)
        drawn, counted = await _all((self._read(wanted, None, True), self._read(counting, None, True)))
        counts = {shard: answer.count for (shard, *_), answer in counted.told if isinstance(answer, frames.Counted)}
        drawers = [
            _Drawer(answer.hits[0], max(len(answer.hits[0]), counts.get(shard, 0)))
            for (shard, *_), answer in drawn.told
            if isinstance(answer, frames.Found)
        ]
        return _drawn(drawers, count, self._rng)

    async def _everywhere(self, queries: Sequence[SearchQuery], ids: Sequence[PointId]) -> list[list[Hit]]:
        """Of candidates: on all shards that may have one, whatever recall is asked for."""
        wanted = frames.Search(call=0, queries=list(queries))
        gathered = await self._read(wanted, self._shards_of(ids), False)
        if not gathered.answers:
            return [[] for _ in queries]
        merged = merge(wanted, gathered.answers, self._target.config)
        assert isinstance(merged, frames.Found)
        return merged.hits

    async def _filled(self, hits: list[Hit], query: SearchQuery) -> list[Hit]:
        """With payloads and vectors. A point that has gone meanwhile is no answer."""
        if not hits or (query.with_payload is False and query.with_vector is False):
            return [msgspec.structs.replace(hit, payload=None, vector=None) for hit in hits]
        records = await self._records([hit.id for hit in hits], query.with_payload, query.with_vector)
        return [
            msgspec.structs.replace(hit, payload=records[hit.id].payload, vector=records[hit.id].vector)
            for hit in hits
            if hit.id in records
        ]

    async def _vectors(self, ids: list[PointId], using: str) -> VectorsById:
        return vectors_by_id((await self._records(ids, False, [using])).values(), using)

    async def _records(
        self, ids: list[PointId], with_payload: object, with_vector: bool | list[str]
    ) -> dict[PointId, Record]:
        wanted = frames.Retrieve(call=0, ids=ids, with_payload=with_payload, with_vector=with_vector)  # type: ignore[arg-type]
        gathered = await self._read(wanted, self._shards_of(ids), False)
        if not gathered.answers:
            return {}
        merged = merge(wanted, gathered.answers, self._target.config)
        assert isinstance(merged, frames.Records)
        return {record.id: record for record in merged.records}

    def _shards_of(self, ids: Sequence[PointId]) -> list[int] | None:
        placing = placing_of(self._target.spread, self._target.config)
        return sorted(set(placing.of_ids(ids))) if ids and placing.is_by_id else None


@dataclass
class _Drawer:
    """Of one shard. hits: at random, in the order in which they are drawn. count: of all it could have drawn."""

    hits: list[Hit]
    count: int


def _drawn(drawers: Sequence[_Drawer], count: int, rng: random.Random) -> list[Hit]:
    left = [drawer.count if drawer.hits else 0 for drawer in drawers]
    ends = [iter(drawer.hits) for drawer in drawers]
    found: dict[PointId, Hit] = {}
    while len(found) < count and any(left):
        (at,) = rng.choices(range(len(left)), left)
        left[at] -= 1
        if (hit := next(ends[at], None)) is None:
            left[at] = 0
        else:
            found.setdefault(hit.id, hit)
    return list(found.values())


async def _all(parts: Iterable[Awaitable[_T]]) -> list[_T]:
    """At the same time; raises what the first of them raises, when all have ended."""
    found = await asyncio.gather(*parts, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def _query(prefetch: Prefetch, ask: asks.Ask | None, matching: Filter | None) -> SearchQuery:
    return SearchQuery(
        ask,
        limit=prefetch.limit,
        filter=matching,
        score_threshold=prefetch.score_threshold,
        params=prefetch.params,
        using=prefetch.using,
    )


def _among(ids: Sequence[PointId]) -> Filter:
    parts = range(0, len(ids), LIST_COUNT_MAX)
    return Filter(should=[Condition(has_id=list(ids[at : at + LIST_COUNT_MAX])) for at in parts])


def _both(one: Filter | None, other: Filter | None) -> Filter | None:
    if one is None or other is None:
        return other if one is None else one
    return Filter(must=[as_condition(one), as_condition(other)])


def _scored(whole: Hit, hit: Hit) -> Hit:
    return msgspec.structs.replace(whole, score=hit.score, order_value=hit.order_value)
