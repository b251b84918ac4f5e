"""Several shards on several nodes in the place of one: takes what a shard host takes, and answers as one would.

Searches go on without what is missing, and say so. Whatever cannot say so (a count, a page, a point by its id) is
refused while a shard is missing: an answer that is silently short would be a wrong one.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from littoral.errors import InputError, NotFoundError, NotOfferedError, UnavailableError
from littoral.node.federation import splitting
from littoral.node.federation.asking import Asking, Gathered, Target
from littoral.node.federation.merging import merge
from littoral.node.federation.placing import placing_of
from littoral.node.federation.routed import Routing, is_routable
from littoral.node.federation.searches import check_spread_query, for_shards, how_of
from littoral.node.search_how import note
from littoral.vectors import asks, frames
from littoral.vectors.checks import check_columns, check_points, checked_id, checked_ids
from littoral.vectors.filters import Condition, Filter, Match, as_condition
from littoral.vectors.queries import RESULT_COUNT_MAX, SearchQuery
from littoral.vectors.records import PointId, vectors_by_id
from littoral.vectors.told_hits import told

__all__ = ["SpreadShard"]

TRIES_MAX = 3
OFFERED_NOT = {
    frames.Pairs: "search/matrix",
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
    ) -> None:
        self._target = target
        self._pull = pull
        self._routing = routing
        self._asking = asking

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """Once more where shards went to other places meanwhile."""
        for _ in range(TRIES_MAX):
            target = self._target()
            try:
                return await self._ask(target, request, deadline_s)
            except UnavailableError:
                if not await self._has_moved(target):
                    raise
        return await self._ask(self._target(), request, deadline_s)

    async def _has_moved(self, target: Target) -> bool:
        """Whether there is another layout than the one that was gone by."""
        await self._pull()
        return self._target().spread != target.spread

    async def _ask(self, target: Target, request: frames.Request, deadline_s: float) -> frames.Answer:
        if (what := OFFERED_NOT.get(type(request))) is not None:
            raise NotOfferedError(f"collection `{target.name}` is spread over nodes: {what} is not offered there")
        match request:
            case frames.Search():
                return await self._search(target, request, deadline_s)
            case frames.Group():
                return await self._group(target, request, deadline_s)
            case frames.Retrieve():
                return await self._retrieve(target, request, deadline_s)
            case frames.Facet():
                wide = msgspec.structs.replace(request, limit=RESULT_COUNT_MAX)
                return await self._whole(target, wide, deadline_s, merge_as=request)
            case frames.Scroll() | frames.Count():
                return await self._whole(target, request, deadline_s)
            case frames.Info():
                gathered = await self._asking.read(target, request, deadline_s)
                if not gathered.answers:
                    raise _lost(target, gathered)
                return merge(request, gathered.answers, target.config)
        return await self._write(target, request, deadline_s)

    async def _search(self, target: Target, request: frames.Search, deadline_s: float) -> frames.Answer:
        queries = [await self._resolved(target, query, deadline_s) for query in request.queries]
        for query in queries:
            check_spread_query(query, target.config)
        found = await self._found(target, queries, deadline_s)
        hits = [hits[query.offset :] for query, hits in zip(queries, found.hits, strict=True)]
        if request.as_json:
            return frames.Told(call=0, epoch=found.epoch, hits=[told(one, _as_it_is) for one in hits])
        return frames.Found(call=0, epoch=found.epoch, hits=hits)

    async def _found(self, target: Target, queries: Sequence[SearchQuery], deadline_s: float) -> frames.Found:
        """Of each query the `offset + limit` best."""
        if all(map(is_routable, queries)):
            routed = await self._routing.search(target, queries, deadline_s)
            if routed is not None:
                if any(said["missing"] for said in routed.told) and await self._has_moved(target):
                    return await self._found(self._target(), queries, deadline_s)
                for said in routed.told:
                    note(said)
                return frames.Found(call=0, epoch=routed.epoch, hits=routed.hits)
        wanted = frames.Search(call=0, queries=[for_shards(query) for query in queries])
        gathered = await self._asking.read(target, wanted, deadline_s)
        if gathered.lost and await self._has_moved(target):
            return await self._found(self._target(), queries, deadline_s)
        note(how_of(gathered, queries))
        if not gathered.answers:
            raise _lost(target, gathered)
        merged = merge(wanted, gathered.answers, target.config)
        assert isinstance(merged, frames.Found)
        return merged

    async def _resolved(self, target: Target, query: SearchQuery, deadline_s: float) -> SearchQuery:
        """With vectors in the place of ids, whose points are not among the answers then."""
        if isinstance(query.ask, bytes) or not (ids := asks.mentioned(query.ask)):
            return query
        plain = {point_id: checked_id(point_id) for point_id in ids}
        wanted = frames.Retrieve(call=0, ids=list(plain.values()), with_payload=False, with_vector=[query.using])
        answer = await self._retrieve(target, wanted, deadline_s)
        found = vectors_by_id(answer.records, query.using)
        vectors = {point_id: found[own] for point_id, own in plain.items() if own in found}
        others = Filter(must_not=[Condition(has_id=list(plain.values()))])
        if query.filter is not None:
            others.must = [as_condition(query.filter)]
        ask = asks.with_vectors_of(query.ask, vectors, "this collection")
        return msgspec.structs.replace(query, ask=ask, filter=others)

    async def _group(self, target: Target, request: frames.Group, deadline_s: float) -> frames.Answer:
        """First which groups there are, then the best hits of these from every shard."""
        query = await self._resolved(target, request.query, deadline_s)
        check_spread_query(query, target.config)
        first = msgspec.structs.replace(request, query=query)
        gathered = await self._asking.read(target, first, deadline_s)
        note(how_of(gathered, [query]))
        if not gathered.answers:
            raise _lost(target, gathered)
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
        gathered = await self._asking.read(target, second, deadline_s)
        note(how_of(gathered, [query]))
        merged = merge(second, gathered.answers, target.config)
        assert isinstance(merged, frames.Grouped)
        groups = [group for group in merged.groups if group.id in names][: request.query.limit]
        return frames.Grouped(call=0, epoch=merged.epoch, groups=groups)

    async def _retrieve(self, target: Target, request: frames.Retrieve, deadline_s: float) -> frames.Records:
        """In the order of the ids. Refused only where a point that was not found may be on a shard that is missing."""
        placing = placing_of(target.spread, target.config)
        ids = list(dict.fromkeys(request.ids))
        shards = sorted(set(placing.of_ids(ids))) if placing.is_by_id else None
        gathered = await self._asking.read(target, request, deadline_s, shards=shards)
        records = {}
        epoch = 0
        if gathered.answers:
            merged = merge(request, gathered.answers, target.config)
            assert isinstance(merged, frames.Records)
            records, epoch = {record.id: record for record in merged.records}, merged.epoch
        unseen = [point_id for point_id in ids if point_id not in records]
        if gathered.lost and _may_be_lost(unseen, gathered.lost, placing.of_ids if placing.is_by_id else None):
            raise _lost(target, gathered)
        found = [records[point_id] for point_id in ids if point_id in records]
        return frames.Records(call=0, epoch=epoch, records=found)

    async def _whole(
        self, target: Target, request: frames.Read, deadline_s: float, *, merge_as: frames.Read | None = None
    ) -> frames.Answer:
        gathered = await self._asking.read(target, request, deadline_s)
        if gathered.lost:
            raise _lost(target, gathered)
        return merge(merge_as or request, gathered.answers, target.config)

    async def _write(self, target: Target, request: frames.Request, deadline_s: float) -> frames.Answer:
        parts = await self._parts(target, request, deadline_s)
        if not parts:
            return frames.Written(call=0, epoch=0, changed=False)
        return await self._asking.write(target, parts, deadline_s)

    async def _parts(self, target: Target, request: frames.Request, deadline_s: float) -> splitting.Parts:
        """What each shard is to do."""
        shards = target.spread.shards
        placing = placing_of(target.spread, target.config)
        match request:
            case frames.Upsert():
                check_columns(request.points, target.config)
                request.points.ids = checked_ids(request.points.ids)
                check_points(request.points, target.config, range(len(request.points.ids)))
                return splitting.upsert(request, placing, target.config, shards)
            case frames.UpdateVectors():
                if not placing.is_by_id:
                    raise NotOfferedError(f"collection `{target.name}`: vectors decide where a point lies, upsert it")
                check_columns(request.points, target.config)
                await self._located(target, request.points.ids, deadline_s)
                return splitting.by_points(request, placing.of_ids(request.points.ids), target.config)
            case frames.Delete(ids=list() as ids, filter=None) | frames.DeleteVectors(ids=list() as ids, filter=None):
                if not placing.is_by_id:
                    return splitting.everywhere(request, shards)
                return splitting.by_ids(request, ids, placing.of_ids(ids))
            case frames.ChangePayload() if request.change.ids is not None:
                return await self._payload_parts(target, request, request.change.ids, deadline_s)
            case frames.Delete() | frames.DeleteVectors() | frames.ChangePayload():
                return splitting.everywhere(request, shards)
            case frames.CreateIndex() | frames.DeleteIndex() | frames.Optimize():
                return splitting.everywhere(request, shards)
        raise InputError(f"{type(request).__name__} is no write")

    async def _payload_parts(
        self, target: Target, request: frames.ChangePayload, ids: Sequence[PointId], deadline_s: float
    ) -> splitting.Parts:
        placing = placing_of(target.spread, target.config)
        await self._located(target, ids, deadline_s)
        if placing.is_by_id:
            return splitting.change_by_ids(request, ids, placing.of_ids(ids))
        some = Filter(must=[Condition(has_id=list(ids))])
        change = msgspec.structs.replace(request.change, ids=None, filter=some)
        shards = target.spread.shards
        return splitting.everywhere(msgspec.structs.replace(request, change=change), shards)

    async def _located(self, target: Target, ids: Sequence[PointId], deadline_s: float) -> None:
        """Raises NotFoundError if one of the points is not there: shards could only say it after others had written."""
        wanted = frames.Retrieve(call=0, ids=checked_ids(ids), with_payload=False)
        found = {record.id for record in (await self._retrieve(target, wanted, deadline_s)).records}
        if unknown := [point_id for point_id in wanted.ids if point_id not in found]:
            raise NotFoundError(
                f"no point has the id `{unknown[0]}` ({len(unknown)} of {len(wanted.ids)} ids are missing)"
            )


def _as_it_is(point_id: PointId) -> PointId:
    return point_id


def _may_be_lost(
    ids: Sequence[PointId], lost: Sequence[int], of_ids: Callable[[Sequence[PointId]], list[int]] | None
) -> bool:
    return bool(ids) and (of_ids is None or not set(lost).isdisjoint(of_ids(ids)))


def _lost(target: Target, gathered: Gathered) -> UnavailableError:
    nodes = ", ".join(f"`{node}`" for node in gathered.missing)
    shards = ", ".join(map(str, gathered.lost))
    return UnavailableError(
        f"collection `{target.name}`: shards {shards} have no answer, nodes {nodes} hold them",
        hint="try again when one of these nodes is back",
    )
