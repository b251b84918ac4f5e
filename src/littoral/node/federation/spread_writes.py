"""Writes to a collection that lies on several nodes: what each shard is to do, and in which order.

Where the shard of a point may change, a write first brings it to its new shards and only then takes it from all
others: at every moment it is in one of them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from random import Random

import msgspec

from littoral.errors import InputError, NotFoundError, NotOfferedError, UnavailableError
from littoral.node.federation import splitting
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.copies import check_unmarked
from littoral.node.federation.homing import Homing, Lying
from littoral.node.federation.merging import merge
from littoral.node.federation.placing import Placing, placing_of
from littoral.node.federation.points_by_id import located, lost, need_all
from littoral.node.federation.residency import pinned_to
from littoral.node.federation.splitting import ByPoints, Parts
from littoral.vectors import frames
from littoral.vectors.checks import check_columns, check_points, checked_ids
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import CollectionConfig, PointBatch, PointId
from littoral.vectors.replication.stamps import At, LateError

__all__ = ["SpreadWrites"]

LATE_MAX = 8
LATE_PAUSE_S = 0.002
"""At most, after the first time; twice as long after each other. Two who write the same points part by chance."""
LEFT_S_MIN = 0.001
MOVED_MAX = 8
"""So often points are looked for that went to other shards before the write came."""
PAGE_COUNT = 256


class SpreadWrites:
    """Of one collection."""

    def __init__(self, asking: Asking, homing: Homing) -> None:
        self._asking = asking
        self._homing = homing
        self._rng = Random(asking.here)  # noqa: S311  when it writes again is no secret

    async def write(self, whole: Target, seen: Target, request: frames.Request, deadline_s: float) -> frames.Written:
        """whole: with all shards. seen: with those that may be read from here; what goes by filters or changes points
        in place is for these alone.
        """
        check_unmarked(request)
        placing = placing_of(whole.spread, whole.config, whole.region)
        end_s = self._asking.clock.monotonic() + deadline_s
        match request:
            case frames.UpdateVectors(points=points):
                check_columns(points, seen.config)
                check_points(points, seen.config, range(len(points.ids)))
                return await self._where_they_are(seen, placing, request, points.ids, end_s)
            case frames.DeleteVectors(ids=list() as ids, filter=None):
                return await self._where_they_are(seen, placing, request, ids, end_s)
            case frames.ChangePayload(change=change):
                _check_stays(change, placing.payload_key)
                if change.ids is not None:
                    return await self._where_they_are(seen, placing, request, change.ids, end_s)
                return await self._all_found(
                    seen, placing, partial(self._payload, seen, placing, request, end_s), end_s
                )
            case frames.DeleteVectors(names=names) if placing.goes_by(names):
                return await self._all_found(seen, placing, partial(self._strip, seen, placing, request, end_s), end_s)
            case frames.Upsert() if _has_terms(request) and not placing.is_by_id:
                return await self._on_terms(whole, seen, placing, request, end_s)
            case frames.DeleteVectors() | frames.Delete(ids=None):
                parts = splitting.everywhere(request, seen.spread.shards)
                written = partial(self._in_place, whole, placing, parts, end_s)
                return await self._all_found(seen, placing, written, end_s)
        return await self._write(whole, request, placing, end_s)

    def _left_s(self, end_s: float) -> float:
        return max(LEFT_S_MIN, end_s - self._asking.clock.monotonic())

    async def _in_place(
        self, target: Target, placing: Placing, parts: Parts, end_s: float, *, may_stray: bool = False
    ) -> frames.Written:
        """At one time in all shards, where a point may be in several."""
        if not parts:
            return frames.Written(call=0, epoch=0, changed=False)
        if placing.is_by_id:
            return await self._asking.write(target, parts, self._left_s(end_s))
        return await self._at_one_time(target, [parts], end_s, may_stray=may_stray)

    async def _write(self, whole: Target, request: frames.Request, placing: Placing, end_s: float) -> frames.Written:
        steps = [parts for parts in self._steps(whole, request, placing) if parts]
        if not steps:
            return frames.Written(call=0, epoch=0, changed=False)
        if len(steps) > 1 or (isinstance(request, frames.Delete) and not placing.is_by_id):
            return await self._at_one_time(whole, steps, end_s)
        return await self._asking.write(whole, steps[0], self._left_s(end_s))

    async def _at_one_time(
        self, whole: Target, steps: Sequence[Parts], end_s: float, *, may_stray: bool = False
    ) -> frames.Written:
        """Points come to their shards at one time, and leave all others a moment before it: whoever hears of both in
        any order knows where they are. Where something later is known, all of it at a later time.
        """
        clock = self._asking.clock
        for times in range(LATE_MAX):
            at = self._asking.new_time()._replace(may_stray=may_stray)
            with contextlib.suppress(LateError):
                written = await self._asking.write(whole, steps[0], self._left_s(end_s), at=at)
                for parts in steps[1:]:
                    await self._asking.write(whole, parts, self._left_s(end_s), at=At(at.time - 1, is_told=False))
                return written
            pause_s = self._rng.random() * LATE_PAUSE_S * 2**times
            await asyncio.sleep(max(0.0, min(pause_s, end_s - clock.monotonic())))
        raise _contended(whole)

    def _steps(self, whole: Target, request: frames.Request, placing: Placing) -> Sequence[Parts]:
        """What each shard is to do, one after the other."""
        match request:
            case frames.Upsert():
                return self._upsert(whole, placing, request)
            case frames.Delete(ids=list() as ids, filter=None):
                if placing.is_by_id:
                    return [splitting.by_ids(request, ids, placing.of_ids(ids))]
                return [splitting.everywhere(request, whole.spread.shards)]
            case frames.CreateIndex() | frames.DeleteIndex() | frames.Optimize():
                return [splitting.everywhere(request, whole.spread.shards)]
        raise InputError(f"{type(request).__name__} is no write")

    def _upsert(self, whole: Target, placing: Placing, request: frames.Upsert) -> Sequence[Parts]:
        _check_whole(request.points, whole.config)
        places = placing.of_points(request.points)
        steps = [splitting.upsert(request, places, whole.config)]
        if not placing.is_by_id:
            steps.append(splitting.deletions(request, places, whole.spread.shards))
        self._asking.need_writers(whole, {shard for parts in steps for shard in parts})
        return steps

    async def _on_terms(
        self, whole: Target, seen: Target, placing: Placing, request: frames.Upsert, end_s: float
    ) -> frames.Written:
        """By a mode or a condition: what is there is changed where it lies, and goes home; what is nowhere is brought
        where it belongs, unless somebody else just did. Of two who bring one point at one moment the later counts.
        """
        if whole.spread.places != seen.spread.places or pinned_to(whole.spread):
            raise NotOfferedError("upsert: a mode or a filter is not offered where regions are pinned")
        _check_whole(request.points, whole.config)
        rows = {point: row for row, point in enumerate(request.points.ids)}
        written = frames.Written(call=0, epoch=0, changed=False)
        for _ in range(MOVED_MAX):
            homes = {point: one.homes[0] for point, one in (await self._lying(seen, list(rows), end_s)).items()}
            fresh = [row for point, row in rows.items() if point not in homes and request.mode != "update_only"]
            there = {} if request.mode == "insert_only" else homes
            try:
                if fresh:
                    written = await self._bring(whole, placing, splitting.some(request, fresh, whole.config), end_s)
                if there:
                    at_home = {rows[point]: home for point, home in there.items()}
                    parts = splitting.updates(request, at_home, seen.config)
                    written = await self._in_place(seen, placing, parts, end_s, may_stray=True)
            except LateError:
                continue
            if await self._were_at_home(seen, there, end_s):
                await self._homing.home(seen, list(rows), self._left_s(end_s))
                return written
        raise _contended(whole)

    async def _bring(self, whole: Target, placing: Placing, request: frames.Upsert, end_s: float) -> frames.Written:
        """Points that were nowhere a moment ago. Raises LateError where one has come meanwhile."""
        request = msgspec.structs.replace(request, mode="insert_only", condition=None)
        first, *more = self._upsert(whole, placing, request)
        at = self._asking.new_time()
        written = await self._asking.write(whole, first, self._left_s(end_s), at=at)
        for parts in more:
            if parts:
                await self._asking.write(whole, parts, self._left_s(end_s), at=At(at.time - 1, is_told=False))
        return written

    async def _where_they_are(
        self,
        seen: Target,
        placing: Placing,
        request: ByPoints,
        ids: Sequence[PointId],
        end_s: float,
        *,
        may_be_gone: bool = False,
    ) -> frames.Written:
        """Of points by their ids: in the shards that have them, and once more where one does not know a point that was
        in it a moment ago, or is not its home any more: it went to another. What may belong to another afterwards is
        brought there. may_be_gone: one that is in none is left out.
        """
        ids, strays = checked_ids(ids), placing.goes_by(_names(request))
        with_homes = strays or placing.has_copies
        for _ in range(MOVED_MAX):
            began_s, homes = self._asking.clock.monotonic(), dict[PointId, int]()
            if with_homes:
                lying = await self._lying(seen, ids, end_s)
                found = {point: sorted(one.states) for point, one in lying.items()}
                homes = {point: one.homes[0] for point, one in lying.items()}
            else:
                found = await located(self._asking, seen, ids, self._left_s(end_s))
                is_short = len(found) < len(set(ids)) and self._has_left(seen, began_s, end_s)
                if not placing.is_by_id and (is_short or any(len(shards) > 1 for shards in found.values())):
                    with_homes = True
                    continue
            if not may_be_gone:
                need_all(ids, found)
            if not (parts := splitting.of_found(request, ids, found, seen.config)):
                break
            try:
                written = await self._in_place(seen, placing, parts, end_s, may_stray=strays)
            except NotFoundError:
                if placing.is_by_id:
                    raise
                continue
            if homes and not await self._were_at_home(seen, homes, end_s):
                continue
            if strays:
                await self._homing.home(seen, list(found), self._left_s(end_s))
            return written
        else:
            raise _contended(seen)
        return frames.Written(call=0, epoch=0, changed=False)

    async def _were_at_home(self, seen: Target, homes: Mapping[PointId, int], end_s: float) -> bool:
        """Whether points that were just changed are nowhere else at home: what was changed of a copy alone, since its
        home was not seen, is changed nowhere.
        """
        now = await self._homing.lying(seen, list(homes), self._left_s(end_s), what="outlines")
        return all(set(now[point].homes) <= {home} for point, home in homes.items() if point in now)

    def _has_left(self, seen: Target, began_s: float, end_s: float) -> bool:
        """Whether a point may have gone from one shard to another since then, and there is time to look again."""
        now_s = self._asking.clock.monotonic()
        return now_s < end_s and self._asking.departures.is_since(seen.name, began_s)

    async def _lying(self, seen: Target, ids: Sequence[PointId], end_s: float) -> dict[PointId, Lying]:
        """What lies in two shards is brought to one first."""
        for _ in range(MOVED_MAX):
            found = await self._homing.lying(seen, list(dict.fromkeys(ids)), self._left_s(end_s), what="outlines")
            there = {point: one for point, one in found.items() if one.states or one.is_busy}
            unclear = [point for point, one in there.items() if one.is_busy or len(one.homes) != 1]
            if not unclear:
                return there
            await self._homing.home(seen, unclear, self._left_s(end_s))
        raise _contended(seen)

    async def _all_found(
        self, seen: Target, placing: Placing, write: Callable[[], Awaitable[frames.Written]], end_s: float
    ) -> frames.Written:
        """What a filter finds, once more where a point went to another shard meanwhile, so that it may have been found
        in neither. Twice is the same as once.
        """
        for _ in range(MOVED_MAX):
            began_s = self._asking.clock.monotonic()
            written = await write()
            if placing.is_by_id or not self._has_left(seen, began_s, end_s):
                break
        return written

    async def _payload(
        self, seen: Target, placing: Placing, request: frames.ChangePayload, end_s: float
    ) -> frames.Written:
        """To shards that have points it is for, and to no others: what it sets may be pinned."""
        shards = seen.spread.shards
        if pinned_to(seen.spread):
            shards = await self._matching(seen, request.change.filter, self._left_s(end_s))
        return await self._in_place(seen, placing, splitting.everywhere(request, shards), end_s)

    async def _strip(
        self, seen: Target, placing: Placing, request: frames.DeleteVectors, end_s: float
    ) -> frames.Written:
        """Of what a filter finds, vectors that say where a point lies."""
        written = frames.Written(call=0, epoch=0, changed=False)
        page = frames.Scroll(call=0, limit=PAGE_COUNT, filter=request.filter, with_payload=False)
        while True:
            gathered = await self._asking.read(seen, page, self._left_s(end_s))
            if gathered.lost or not gathered.answers:
                raise lost(seen, gathered)
            found = merge(page, gathered.answers, seen.config)
            assert isinstance(found, frames.Records)
            if ids := [record.id for record in found.records]:
                one = msgspec.structs.replace(request, ids=ids, filter=None)
                written = await self._where_they_are(seen, placing, one, ids, end_s, may_be_gone=True)
            if found.following is None:
                return written
            page = msgspec.structs.replace(page, offset=found.following)

    async def _matching(self, seen: Target, matching: Filter | None, deadline_s: float) -> list[int]:
        """Shards that have a point of these. Raises UnavailableError where one of them cannot be asked."""
        counted = await self._asking.read(seen, frames.Count(call=0, filter=matching), deadline_s, apart=True)
        if counted.lost:
            raise lost(seen, counted)
        told = [(shards, one) for shards, one in counted.told if isinstance(one, frames.Counted)]
        return [shard for shards, one in told for shard in shards if one.count]


def _has_terms(request: frames.Upsert) -> bool:
    return request.mode != "upsert" or request.condition is not None


def _check_whole(points: PointBatch, config: CollectionConfig) -> None:
    check_columns(points, config)
    points.ids = checked_ids(points.ids)
    check_points(points, config, range(len(points.ids)))


def _contended(target: Target) -> UnavailableError:
    return UnavailableError(
        f"collection `{target.name}`: the points are written by others at the same time", hint="try again"
    )


def _names(request: ByPoints) -> list[str]:
    """Of the vectors that are changed."""
    match request:
        case frames.UpdateVectors(points=points):
            return sorted({name for row in points.vectors for name in (row if isinstance(row, dict) else [""])})
        case frames.DeleteVectors(names=names):
            return names
    return []


def _check_stays(change: PayloadChange, key: str | None) -> None:
    """key: of the payload, which says where a point lies. Raises NotOfferedError."""
    if key is not None and _touches(change, key):
        raise NotOfferedError(f"payload: `{key}` decides where a point lies, upsert it")


def _touches(change: PayloadChange, key: str) -> bool:
    """Whether it may change what is at the key."""
    named = [*(change.payload or {}), *(change.keys or [])] if change.key is None else [change.key]
    is_whole = change.how == "clear" or (change.how == "replace" and change.key is None)
    return is_whole or any(one.partition(".")[0].partition("[")[0] == key for one in named)
