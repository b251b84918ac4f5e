"""Writes to a collection that lies on several nodes: what each shard is to do, and in which order.

Where the shard of a point may change, a write first brings it to its new shards and only then takes it from all
others: at every moment it is in one of them.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random

import msgspec

from littoral.errors import InputError, NotFoundError, NotOfferedError, UnavailableError
from littoral.node.federation import splitting
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.copies import check_unmarked
from littoral.node.federation.placing import Placing, placing_of
from littoral.node.federation.points_by_id import located, lost, need_all
from littoral.node.federation.residency import pinned_to
from littoral.node.federation.splitting import Parts
from littoral.vectors import frames
from littoral.vectors.checks import check_columns, check_points, checked_ids
from littoral.vectors.filters import Condition, Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointId
from littoral.vectors.replication.journal import LateError
from littoral.vectors.replication.replica import At

__all__ = ["SpreadWrites"]

LATE_MAX = 8
LATE_PAUSE_S = 0.002
"""At most, after the first time; twice as long after each other. Two who write the same points part by chance."""
LEFT_S_MIN = 0.001
MOVED_MAX = 8
"""So often points are looked for that went to other shards before the write came."""


class SpreadWrites:
    """Of one collection."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._rng = Random(asking.here)  # noqa: S311  when it writes again is no secret

    async def write(self, whole: Target, seen: Target, request: frames.Request, deadline_s: float) -> frames.Written:
        """whole: with all shards. seen: with those that may be read from here; what goes by filters or changes points
        in place is for these alone.
        """
        check_unmarked(request)
        if isinstance(request, frames.UpdateVectors):
            return await self._update_where_it_is(whole, seen, request, deadline_s)
        return await self._write(whole, seen, request, deadline_s)

    async def _update_where_it_is(
        self, whole: Target, seen: Target, request: frames.UpdateVectors, deadline_s: float
    ) -> frames.Written:
        """Once more where a shard does not know a point that was in it a moment ago: it went to another."""
        clock = self._asking.clock
        give_up = clock.monotonic() + deadline_s
        for _ in range(MOVED_MAX):
            left_s = max(LEFT_S_MIN, give_up - clock.monotonic())
            parts = await self._update_vectors(seen, placing_of(whole.spread, whole.config), request, left_s)
            with contextlib.suppress(NotFoundError):
                return await self._asking.write(whole, parts, max(LEFT_S_MIN, give_up - clock.monotonic()))
        raise UnavailableError(
            f"collection `{whole.name}`: the points go to other shards all the time", hint="try again"
        )

    async def _write(self, whole: Target, seen: Target, request: frames.Request, deadline_s: float) -> frames.Written:
        steps = [parts for parts in await self._steps(whole, seen, request, deadline_s) if parts]
        if not steps:
            return frames.Written(call=0, epoch=0, changed=False)
        if len(steps) == 1:
            return await self._asking.write(whole, steps[0], deadline_s)
        return await self._moving(whole, steps, deadline_s)

    async def _moving(self, whole: Target, steps: Sequence[Parts], deadline_s: float) -> frames.Written:
        """Points come to their shards at one time, and leave all others a moment before it: whoever hears of both in
        any order knows where they are. Where something later is known, all of it at a later time.
        """
        clock = self._asking.clock
        give_up = clock.monotonic() + deadline_s
        for times in range(LATE_MAX):
            at = self._asking.new_time()
            with contextlib.suppress(LateError):
                written = await self._asking.write(whole, steps[0], max(LEFT_S_MIN, give_up - clock.monotonic()), at=at)
                for parts in steps[1:]:
                    left_s = max(LEFT_S_MIN, give_up - clock.monotonic())
                    await self._asking.write(whole, parts, left_s, at=At(at.time - 1, is_told=False))
                return written
            pause_s = self._rng.random() * LATE_PAUSE_S * 2**times
            await asyncio.sleep(max(0.0, min(pause_s, give_up - clock.monotonic())))
        raise UnavailableError(
            f"collection `{whole.name}`: the points are written by others at the same time", hint="try again"
        )

    async def _steps(self, whole: Target, seen: Target, request: frames.Request, deadline_s: float) -> Sequence[Parts]:
        """What each shard is to do, one after the other."""
        placing = placing_of(whole.spread, whole.config, whole.region)
        match request:
            case frames.Upsert():
                return self._upsert(whole, placing, request)
            case frames.Delete(ids=list() as ids, filter=None):
                if placing.is_by_id:
                    return [splitting.by_ids(request, ids, placing.of_ids(ids))]
                return [splitting.everywhere(request, whole.spread.shards)]
            case frames.DeleteVectors(names=names) if placing.goes_by(names):
                raise _decides(whole, placing)
            case frames.DeleteVectors(ids=list() as ids, filter=None) if placing.is_by_id:
                return [splitting.by_ids(request, ids, placing.of_ids(ids))]
            case frames.DeleteVectors(ids=list() as ids, filter=None):
                return [await self._delete_vectors(seen, request, ids, deadline_s)]
            case frames.ChangePayload():
                return [await self._payload(seen, placing, request, deadline_s)]
            case frames.Delete() | frames.DeleteVectors():
                return [splitting.everywhere(request, seen.spread.shards)]
            case frames.CreateIndex() | frames.DeleteIndex() | frames.Optimize():
                return [splitting.everywhere(request, whole.spread.shards)]
        raise InputError(f"{type(request).__name__} is no write")

    def _upsert(self, whole: Target, placing: Placing, request: frames.Upsert) -> Sequence[Parts]:
        points = request.points
        check_columns(points, whole.config)
        points.ids = checked_ids(points.ids)
        check_points(points, whole.config, range(len(points.ids)))
        if not placing.is_by_id and (request.mode != "upsert" or request.condition is not None):
            raise NotOfferedError("upsert: a mode or a filter is not offered where a point's shard may change")
        places = placing.of_points(points)
        steps = [splitting.upsert(request, places, whole.config)]
        if not placing.is_by_id:
            steps.append(splitting.deletions(request, places, whole.spread.shards))
        self._asking.need_writers(whole, {shard for parts in steps for shard in parts})
        return steps

    async def _update_vectors(
        self, seen: Target, placing: Placing, request: frames.UpdateVectors, deadline_s: float
    ) -> Parts:
        if any(placing.goes_by(row if isinstance(row, dict) else [""]) for row in request.points.vectors):
            raise _decides(seen, placing)
        ids = request.points.ids
        check_columns(request.points, seen.config)
        found = await located(self._asking, seen, ids, deadline_s)
        need_all(ids, found)
        return splitting.by_points(request, [found[point] for point in checked_ids(ids)], seen.config)

    async def _delete_vectors(
        self, seen: Target, request: frames.DeleteVectors, ids: Sequence[PointId], deadline_s: float
    ) -> Parts:
        """From shards that have the points: another would not know them."""
        found = await located(self._asking, seen, ids, deadline_s)
        need_all(ids, found)
        return {
            shard: [msgspec.structs.replace(request, ids=None, filter=_these(some))]
            for shard, some in _by_shard(found).items()
        }

    async def _payload(self, seen: Target, placing: Placing, request: frames.ChangePayload, deadline_s: float) -> Parts:
        """To shards that have points it is for, and to no others: what it sets may be pinned."""
        change = request.change
        if (key := placing.payload_key) is not None and _touches(change, key):
            raise NotOfferedError(f"payload: `{key}` decides where a point lies, upsert it")
        if change.ids is not None:
            found = await located(self._asking, seen, change.ids, deadline_s)
            need_all(change.ids, found)
            if placing.is_by_id:
                return splitting.change_by_ids(request, change.ids, placing.of_ids(change.ids))
            return {
                shard: [msgspec.structs.replace(request, change=_for(change, ids))]
                for shard, ids in _by_shard(found).items()
            }
        shards = seen.spread.shards
        if pinned_to(seen.spread):
            shards = await self._matching(seen, change.filter, deadline_s)
        return splitting.everywhere(request, shards)

    async def _matching(self, seen: Target, matching: Filter | None, deadline_s: float) -> list[int]:
        """Shards that have a point of these. Raises UnavailableError where one of them cannot be asked."""
        counted = await self._asking.read(seen, frames.Count(call=0, filter=matching), deadline_s, apart=True)
        if counted.lost:
            raise lost(seen, counted)
        told = [(shards, one) for shards, one in counted.told if isinstance(one, frames.Counted)]
        return [shard for shards, one in told for shard in shards if one.count]


def _decides(target: Target, placing: Placing) -> NotOfferedError:
    what = f"vector `{placing.vector}` decides" if placing.vector else "vectors decide"
    return NotOfferedError(f"collection `{target.name}`: {what} where a point lies, upsert it")


def _touches(change: PayloadChange, key: str) -> bool:
    """Whether it may change what is at the key."""
    named = [*(change.payload or {}), *(change.keys or [])] if change.key is None else [change.key]
    is_whole = change.how == "clear" or (change.how == "replace" and change.key is None)
    return is_whole or any(one.partition(".")[0].partition("[")[0] == key for one in named)


def _for(change: PayloadChange, ids: list[PointId]) -> PayloadChange:
    return msgspec.structs.replace(change, ids=None, filter=_these(ids))


def _these(ids: list[PointId]) -> Filter:
    """A shard that a point has left meanwhile leaves it alone."""
    return Filter(must=[Condition(has_id=ids)])


def _by_shard(found: dict[PointId, list[int]]) -> dict[int, list[PointId]]:
    ids: dict[int, list[PointId]] = {}
    for point, shards in found.items():
        for shard in shards:
            ids.setdefault(shard, []).append(point)
    return ids
