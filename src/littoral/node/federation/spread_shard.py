"""Several shards on several nodes in the place of one: takes what a shard host takes, and answers as one would.

Searches go on without what is missing, and say so. Whatever cannot say so (a count, a page, a point by its id) is
refused while a shard is missing: an answer that is silently short would be a wrong one.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from littoral.errors import ForbiddenError, NotOfferedError, UnavailableError
from littoral.node.asked_recall import asked_recall
from littoral.node.caches import USE
from littoral.node.federation.asking import Asking, Gathered, Target
from littoral.node.federation.homing import Homing
from littoral.node.federation.kept_answers import KeptAnswers
from littoral.node.federation.merging import merge
from littoral.node.federation.patience import Patience
from littoral.node.federation.placing import strategy_of
from littoral.node.federation.points_by_id import located, lost, retrieve
from littoral.node.federation.residency import pinned_to, seen_from, within
from littoral.node.federation.routed import Routing, is_routable
from littoral.node.federation.searches import for_shards, how_of
from littoral.node.federation.spread_writes import SpreadWrites
from littoral.node.federation.stages import Stages, is_staged
from littoral.node.search_how import note, noting
from littoral.vectors import asks, frames
from littoral.vectors.asks import Ask
from littoral.vectors.checks import checked_id
from littoral.vectors.filters import Condition, Filter, Match, as_condition
from littoral.vectors.queries import RESULT_COUNT_MAX, Prefetch, SearchQuery, check_query
from littoral.vectors.records import Hit, PointId, vectors_by_id
from littoral.vectors.told_hits import told

__all__ = ["SpreadShard"]

TRIES_MAX = 3
LEFT_S_MIN = 0.001
AGAIN_MAX = 8
OFFERED_NOT = {
    frames.AddVector: "vectors: adding one",
    frames.DropVector: "vectors: dropping one",
    frames.Configure: "changing its options",
    frames.Pack: "snapshots",
    frames.AskStatistics: "statistics of its hosts",
}


class SpreadShard:
    """`vectors.collection.ShardAnswers` over nodes. target: what is known of the collection now; raises
    UnavailableError while that is nothing. pull: takes the map of peers that were heard to have a newer one."""

    def __init__(
        self,
        target: Callable[[], Target],
        asking: Asking,
        routing: Routing,
        pull: Callable[[], Awaitable[None]],
        homing: Homing,
        kept: KeptAnswers | None = None,
    ) -> None:
        """kept: answers that may be told again."""
        self._kept = kept
        self._target = target
        self._pull = pull
        self._routing = routing
        self._asking = asking
        self._writes = SpreadWrites(asking, homing)
        self._rng = random.Random()  # noqa: S311  which points a sample has is no secret

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """As one shard would."""
        if self._kept is None or not isinstance(request, frames.Search):
            return await self._tried(request, deadline_s)
        target, use = self._target(), USE.get()
        asked = (target.map_number, target.recall if asked_recall() is None else asked_recall())
        question = self._kept.question(request, asked, self._routing.known(target))
        if use.find and (found := self._kept.find(question)) is not None:
            note(found[1])
            return found[0]
        with noting() as how:
            answer = await self._tried(request, deadline_s)
        if use.keep:
            self._kept.keep(question, answer, how.told, self._routing.known(self._target()))
        if how.told is not None:
            note(how.told)
        return answer

    async def _tried(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """Once more where shards went to other places meanwhile; all within the deadline."""
        clock = self._asking.clock
        end_s = clock.monotonic() + deadline_s
        for _ in range(TRIES_MAX):
            whole = self._target()
            try:
                return await self._settled(whole, request, max(LEFT_S_MIN, end_s - clock.monotonic()))
            except UnavailableError:
                if not await self._has_moved(whole, end_s):
                    raise
        return await self._settled(self._target(), request, max(LEFT_S_MIN, end_s - clock.monotonic()))

    async def _settled(self, whole: Target, request: frames.Request, deadline_s: float) -> frames.Answer:
        """A read during which a point left a shard is made again: the point may have been in none when looked for.

        What is told of the answer is of the one that is given.
        """
        clock, departures, patience = self._asking.clock, self._asking.departures, self._asking.patience()
        is_still = whole.spread.change is None and strategy_of(whole.spread).by_id
        if is_still or not isinstance(request, frames.Read):
            return await self._ask(whole, request, deadline_s, patience)
        end = clock.monotonic() + deadline_s
        for _ in range(AGAIN_MAX):
            began = clock.monotonic()
            with noting() as how:
                answer = await self._ask(whole, request, max(LEFT_S_MIN, end - began), patience)
            is_settled = not departures.is_since(whole.name, began)
            if is_settled or patience.is_over or clock.monotonic() >= end:
                break
        if how.told is not None:
            note(how.told if is_settled else how.told | {"certified": False, "expected_recall": None})
        return answer

    async def _has_moved(self, target: Target, end_s: float) -> bool:
        """Whether there is another map than the one that was gone by; none where it cannot be had until then."""
        if (left_s := end_s - self._asking.clock.monotonic()) < LEFT_S_MIN:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._pull()
        return self._target().map_number != target.map_number

    async def _ask(
        self, whole: Target, request: frames.Request, deadline_s: float, patience: Patience
    ) -> frames.Answer:
        target = whole.viewed(seen_from(whole.spread, whole.region))
        if (what := OFFERED_NOT.get(type(request))) is not None:
            raise NotOfferedError(f"collection `{target.name}` is spread over nodes: {what} is not offered there")
        if isinstance(request, frames.Read) and not target.spread.places:
            raise ForbiddenError(
                f"collection `{target.name}` is pinned to regions {', '.join(target.withheld)}; "
                f"this node's is `{target.region}`",
                hint="ask a node there",
            )
        match request:
            case frames.Search():
                return await self._search(target, request, deadline_s, patience)
            case frames.Group():
                return await self._group(target, request, deadline_s, patience)
            case frames.Pairs():
                stages = self._stages(_private(target), deadline_s, patience)
                return frames.Paired(call=0, epoch=0, pairs=await stages.pairs(request))
            case frames.Retrieve():
                return await retrieve(self._asking, target, request, deadline_s)
            case frames.Facet():
                wide = msgspec.structs.replace(request, limit=RESULT_COUNT_MAX)
                return await self._whole(target, wide, deadline_s, patience, merge_as=request)
            case frames.Scroll() | frames.Count():
                return await self._whole(target, request, deadline_s, patience)
            case frames.Info():
                gathered = await self._asking.read(target, request, deadline_s)
                if not gathered.answers:
                    raise lost(target, gathered)
                return merge(request, gathered.answers, target.config)
        return await self._writes.write(whole, target, request, deadline_s)

    async def _search(
        self, target: Target, request: frames.Search, deadline_s: float, patience: Patience
    ) -> frames.Answer:
        end_s = self._asking.clock.monotonic() + deadline_s
        target = await self._confined(target, request.queries, deadline_s, patience)
        queries = [await self._resolved(target, query, deadline_s, patience) for query in request.queries]
        for query in queries:
            check_query(query)
        plain = [query for query in queries if not is_staged(query)]
        left_s = max(LEFT_S_MIN, end_s - self._asking.clock.monotonic())
        found = await self._found(target, plain, left_s, patience) if plain else frames.Found(call=0, epoch=0, hits=[])
        of_plain = iter(found.hits)
        hits = [
            await self._stages(
                _private(target), max(LEFT_S_MIN, end_s - self._asking.clock.monotonic()), patience
            ).hits(query)
            if is_staged(query)
            else next(of_plain)[query.offset :]
            for query in queries
        ]
        if request.as_json:
            return frames.Told(call=0, epoch=found.epoch, hits=[told(one, _as_it_is) for one in hits])
        return frames.Found(call=0, epoch=found.epoch, hits=hits)

    def _stages(self, target: Target, deadline_s: float, patience: Patience) -> Stages:
        """For queries whose answers depend on what else is found."""
        end_s = self._asking.clock.monotonic() + deadline_s

        def left_s() -> float:
            return max(LEFT_S_MIN, end_s - self._asking.clock.monotonic())

        async def search(query: SearchQuery) -> list[Hit]:
            return (await self._found(target, [query], left_s(), patience)).hits[0]

        async def read(request: frames.Read, shards: Iterable[int] | None, apart: bool) -> Gathered:
            gathered = await self._asking.read(target, request, left_s(), shards=shards, apart=apart, patience=patience)
            if gathered.lost and await self._has_moved(target, end_s):
                raise lost(target, gathered)
            queries = request.queries if isinstance(request, frames.Search) else []
            self._tell(target, how_of(gathered, queries, target.config))
            return gathered

        return Stages(target, search, read, self._rng)

    def _tell(self, target: Target, said: dict[str, Any]) -> None:
        """What a search says of itself."""
        self._asking.counts.told(said)
        note(said | {"withheld": list(target.withheld)} if target.withheld else said)

    async def _found(
        self, target: Target, queries: Sequence[SearchQuery], deadline_s: float, patience: Patience
    ) -> frames.Found:
        """Of each query the `offset + limit` best."""
        end_s = self._asking.clock.monotonic() + deadline_s
        barren = [self._routing.barren(target, query.filter) for query in queries]
        if all(is_routable(query, target.config) for query in queries) and not target.is_confined:
            routed = await self._routing.search(target, queries, barren, deadline_s, patience)
            if routed is not None:
                if any(said["missing"] for said in routed.told) and await self._has_moved(target, end_s):
                    raise UnavailableError(f"collection `{target.name}`: shards went to other places meanwhile")
                for said in routed.told:
                    self._tell(target, said)
                return frames.Found(call=0, epoch=routed.epoch, hits=routed.hits)
        wanted = frames.Search(call=0, queries=[for_shards(query) for query in queries])
        out = frozenset.intersection(*barren) if barren else frozenset()
        gathered = await self._asking.read(
            target, wanted, deadline_s, shards=target.spread.places.keys() - out, patience=patience
        )
        if gathered.lost and await self._has_moved(target, end_s):
            raise lost(target, gathered)
        self._tell(target, how_of(gathered, queries, target.config, out))
        if not gathered.answers:
            raise lost(target, gathered)
        merged = merge(wanted, gathered.answers, target.config)
        assert isinstance(merged, frames.Found)
        return merged

    async def _confined(
        self, target: Target, queries: Sequence[SearchQuery], deadline_s: float, patience: Patience
    ) -> Target:
        """Where an example is pinned to this region, its vector stays here: nobody elsewhere is asked."""
        asked = [ask for query in queries for ask in _asks(query) if ask is not None and not isinstance(ask, bytes)]
        ids = list(dict.fromkeys(checked_id(point) for ask in asked for point in asks.mentioned(ask)))
        shards = sorted(pinned_to(target.spread).keys() & target.spread.places.keys())
        if not ids or not shards:
            return target
        is_here = await located(self._asking, target, ids, deadline_s, shards=shards, patience=patience)
        return _inside(target) if is_here else target

    async def _resolved(self, target: Target, query: SearchQuery, deadline_s: float, patience: Patience) -> SearchQuery:
        """With vectors in the place of ids, whose points are not among the answers then."""
        if not query.prefetch and (isinstance(query.ask, bytes) or not asks.mentioned(query.ask)):
            return query
        inner = [await self._resolved_prefetch(target, one, deadline_s, patience) for one in query.prefetch]
        query = msgspec.structs.replace(query, prefetch=inner)
        if not isinstance(query.ask, bytes):
            query.ask, query.filter = await self._with_vectors(target, query, deadline_s, patience)
        return query

    async def _resolved_prefetch(
        self, target: Target, prefetch: Prefetch, deadline_s: float, patience: Patience
    ) -> Prefetch:
        ask, matching = await self._with_vectors(target, prefetch, deadline_s, patience)
        inner = [await self._resolved_prefetch(target, one, deadline_s, patience) for one in prefetch.prefetch]
        return msgspec.structs.replace(prefetch, ask=ask, filter=matching, prefetch=inner)

    async def _with_vectors(
        self, target: Target, query: SearchQuery | Prefetch, deadline_s: float, patience: Patience
    ) -> tuple[Ask | None, Filter | None]:
        assert not isinstance(query.ask, bytes), "a vector is not looked up"
        if not (ids := asks.mentioned(query.ask)):
            return query.ask, query.filter
        plain = {point_id: checked_id(point_id) for point_id in ids}
        wanted = frames.Retrieve(call=0, ids=list(plain.values()), with_payload=False, with_vector=[query.using])
        answer = await retrieve(self._asking, target, wanted, deadline_s, patience)
        found = vectors_by_id(answer.records, query.using)
        vectors = {point_id: found[own] for point_id, own in plain.items() if own in found}
        others = Filter(must_not=[Condition(has_id=list(plain.values()))])
        if query.filter is not None:
            others.must = [as_condition(query.filter)]
        return asks.with_vectors_of(query.ask, vectors, "this collection"), others

    async def _group(
        self, target: Target, request: frames.Group, deadline_s: float, patience: Patience
    ) -> frames.Answer:
        """First which groups there are, then the best hits of these from every shard.

        Names of groups are payload: where some may be pinned, nobody elsewhere is asked for them.
        """
        end_s = self._asking.clock.monotonic() + deadline_s
        target = _private(target)
        query = await self._resolved(target, request.query, deadline_s, patience)
        check_query(query)
        if is_staged(query):
            groups = await self._stages(target, deadline_s, patience).groups(query, request.by, request.size)
            return frames.Grouped(call=0, epoch=0, groups=groups)
        first = msgspec.structs.replace(request, query=query)
        out = self._routing.barren(target, query.filter)
        shards = target.spread.places.keys() - out
        gathered = await self._asking.read(target, first, deadline_s, shards=shards, patience=patience)
        if gathered.lost and await self._has_moved(target, end_s):
            raise lost(target, gathered)
        self._tell(target, how_of(gathered, [query], target.config, out))
        if not gathered.answers:
            raise lost(target, gathered)
        merged = merge(first, gathered.answers, target.config)
        assert isinstance(merged, frames.Grouped)
        if len(gathered.answers) == 1 or not merged.groups:
            return merged
        names = [group.id for group in merged.groups]
        chosen = Condition(key=request.by, match=Match(any=list(names)))
        matching = Filter(must=[chosen] if query.filter is None else [chosen, as_condition(query.filter)])
        limit = RESULT_COUNT_MAX // max(1, request.size)
        second = msgspec.structs.replace(
            first, query=msgspec.structs.replace(query, filter=matching, limit=min(limit, 4 * len(names)))
        )
        more = await self._asking.read(target, second, deadline_s, shards=shards, patience=patience)
        self._tell(target, how_of(more, [query], target.config, out))
        # Who answered before and not again has told its best: nothing of that is lost.
        merged = merge(second, gathered.answers + more.answers, target.config)
        assert isinstance(merged, frames.Grouped)
        groups = [group for group in merged.groups if group.id in names][: request.query.limit]
        return frames.Grouped(call=0, epoch=merged.epoch, groups=groups)

    async def _whole(
        self,
        target: Target,
        request: frames.Scroll | frames.Count | frames.Facet,
        deadline_s: float,
        patience: Patience,
        *,
        merge_as: frames.Read | None = None,
    ) -> frames.Answer:
        """Shards that the filter rules out have nothing to add."""
        shards = target.spread.places.keys() - self._routing.barren(target, request.filter)
        gathered = await self._asking.read(target, request, deadline_s, shards=shards, patience=patience)
        if gathered.lost:
            raise lost(target, gathered)
        return merge(merge_as or request, gathered.answers, target.config)


def _asks(query: SearchQuery | Prefetch) -> Iterator[bytes | Ask | None]:
    yield query.ask
    for inner in query.prefetch:
        yield from _asks(inner)


def _private(target: Target) -> Target:
    """Where some points may be pinned to this region, what was found of them is told to nobody elsewhere."""
    return _inside(target) if pinned_to(target.spread).keys() & target.spread.places.keys() else target


def _inside(target: Target) -> Target:
    return target.viewed(within(target.spread, target.region, target.regions))._replace(is_confined=True)


def _as_it_is(point_id: PointId) -> PointId:
    return point_id
