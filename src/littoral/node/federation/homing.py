"""Points go to the shards that they belong to, by what their vectors have become, and lie nowhere else.

A point that is found in a shard that is not its own is written there anew, as it is; comes to its own a moment later;
and leaves all others in between. Each step is done only if nothing else was written to it there since it was looked at,
and all begins again where something was. So it can be found at every moment. Of a point that is at home in two shards
the newer counts: who changed it in both did so at one time, who found it only where it was is later than what came to
the other shard (`stamps.APART`), and what goes with it has his change.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from littoral.errors import UnavailableError
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.copies import as_copy, is_copy, without_mark
from littoral.node.federation.moving.handing import Handing
from littoral.node.federation.moving.messages import Asked
from littoral.node.federation.moving.routes import region_of
from littoral.node.federation.placing import placing_of
from littoral.telemetry import Reading
from littoral.vectors import frames
from littoral.vectors.records import PointId
from littoral.vectors.replication.entries import Change, State, batch_of, key_of
from littoral.vectors.replication.stamps import APART, At, LateError

__all__ = ["Homing", "Lying", "is_settled", "places_of"]

AT_ONCE = 8
TRIES_MAX = 8
PAUSE_S, DOUBLED_MAX = 0.002, 4
"""At least, after the first time; twice as long after each other."""
LEFT_S_MIN = 0.001
LOOK_COUNT = 64


class Lying(NamedTuple):
    """Where one point lies. times: by shard, as `Offered` tells them. states: as it is there."""

    times: Mapping[int, int]
    states: Mapping[int, State]

    @property
    def is_busy(self) -> bool:
        """Whether it is just being written somewhere."""
        return any(time > 0 and shard not in self.states for shard, time in self.times.items())

    @property
    def homes(self) -> list[int]:
        """Shards that have it not as a copy."""
        return [shard for shard, state in self.states.items() if not is_copy(state.change.payload)]

    @property
    def gone(self) -> int:
        """When it was taken away last, from wherever."""
        return max((-time for time in self.times.values() if time < 0), default=0)

    @property
    def latest(self) -> int:
        """Of the times that are known of it."""
        return max(map(abs, self.times.values()))

    def stale(self) -> dict[int, int]:
        """Shards that have it though it was taken away later elsewhere, with the time that it has there."""
        return {shard: state.time for shard, state in self.states.items() if state.time < self.gone}


class Homing:
    """Of one node."""

    def __init__(self, asking: Asking, handing: Handing) -> None:
        self._asking = asking
        self._handing = handing
        self._rng = Random(asking.here)  # noqa: S311  when it tries again is no secret
        self.moved_count = 0

    async def lying(
        self, target: Target, points: Sequence[PointId], deadline_s: float, *, what: Asked = "states"
    ) -> dict[PointId, Lying]:
        """Of those that are there, or were. what: is told of each. Raises UnavailableError where a shard cannot be
        asked, or not in time.

        Shards are not looked into at one moment, and a point that goes from one to the other may be seen in neither:
        that it is nowhere holds where nothing has changed from one look to the next.
        """
        found: dict[PointId, Lying] = {}
        try:
            async with asyncio.timeout(deadline_s):
                for at in range(0, len(points), LOOK_COUNT):
                    found |= await self._lying(target, points[at : at + LOOK_COUNT], what)
                for busy in [point for point, one in found.items() if one.is_busy]:  # or too large for one answer
                    found |= await self._lying(target, [busy], what)
                times = 0
                while nowhere := [point for point, one in found.items() if not one.states]:
                    again = await self._lying(target, nowhere, what)
                    if all(again.get(point) == found[point] for point in nowhere):
                        break
                    found |= again
                    await self._pause(PAUSE_S, times := times + 1, deadline_s)
        except TimeoutError as error:
            raise UnavailableError(f"collection `{target.name}`: where points lie is not known in time") from error
        return found

    async def _lying(self, target: Target, points: Sequence[PointId], what: Asked) -> dict[PointId, Lying]:
        told = await self._handing.look(target, [key_of(point) for point in points], what)
        by_shard = {shard: {one.change.id: one for one in states} for shard, (_, states) in told.items()}
        found: dict[PointId, Lying] = {}
        for row, point in enumerate(points):
            times = {shard: told_times[row] for shard, (told_times, _) in told.items() if told_times[row]}
            states = {shard: own[point] for shard, own in by_shard.items() if point in own}
            if times:
                found[point] = Lying(times, states)
        return found

    async def home(self, target: Target, points: Sequence[PointId], deadline_s: float) -> None:
        """All of them lie where they belong. Raises UnavailableError where that is not so in time; and what a shard
        says that refuses one of them, as soon as nothing is under way for the others.
        """
        clock, left = self._asking.clock, list(points)
        end_s = clock.monotonic() + deadline_s
        at_once = asyncio.Semaphore(AT_ONCE)

        async def settled(point: PointId, lying: Lying) -> bool:
            async with at_once:
                return await self._settled(target, point, lying, end_s)

        for times in range(TRIES_MAX):
            began_s = clock.monotonic()
            found = await self.lying(target, left, max(LEFT_S_MIN, end_s - clock.monotonic()))
            told = await asyncio.gather(*(settled(point, one) for point, one in found.items()), return_exceptions=True)
            if failed := next((one for one in told if isinstance(one, BaseException)), None):
                raise failed
            left = [point for point, is_settled in zip(found, told, strict=True) if not is_settled]
            if not left:
                return
            now_s = clock.monotonic()
            if now_s >= end_s:
                break
            await self._pause(max(PAUSE_S, now_s - began_s), times, end_s - now_s)
        raise UnavailableError(
            f"collection `{target.name}`: {len(left)} points are written by others at the same time",
            hint="they have the write, and go to their shards by and by; it can be repeated",
        )

    async def _pause(self, once_s: float, times: int, left_s: float) -> None:
        """By chance, and of the length of what is done again: two who write the same points meet no more."""
        await asyncio.sleep(min(left_s, self._rng.random() * once_s * 2 ** min(times, DOUBLED_MAX)))

    async def _settled(self, target: Target, point: PointId, lying: Lying, end_s: float) -> bool:
        """Whether it lies where it belongs by now; False where it is to be looked at again."""
        if lying.is_busy:
            return False
        if not lying.states:
            return True
        try:
            if stale := lying.stale():
                await self._take_away(target, point, stale, At(lying.gone), end_s)
                return False
            here = _base(target, lying)
            places = places_of(target, here, lying.states[here])
            if is_settled(lying, places):
                return True
            if here == places[0]:
                return await self._stays(target, lying, here, places, end_s)
            return await self._goes(target, lying, here, places, end_s)
        except LateError:
            return False

    async def _stays(self, target: Target, lying: Lying, here: int, places: Sequence[int], end_s: float) -> bool:
        """It is at home where it belongs; other homes are given up first, copies brought and taken away."""
        state = lying.states[here]
        point, plain, copy = state.change.id, *_as_home_and_copy(state.change)
        if homes := {shard: lying.states[shard].time for shard in lying.homes if shard != here}:
            if max(homes.values()) >= state.time - 1:  # by chance: from now on this is the newer
                (now,) = self._asking.new_times(lying.latest + APART, 1)
                await self._put(target, plain, [here], At(now, seen=state.time), end_s)
                return False
            await self._take_away(target, point, homes, At(state.time - 1, is_told=False), end_s)
            return False
        before, first, second, third = self._asking.new_times(lying.latest + APART, 4)
        await self._put(target, plain, [here], At(first, seen=state.time), end_s)
        await self._put(target, copy, places[1:], At(second, apart=0), end_s)
        leaving = {shard: one.time for shard, one in lying.states.items() if shard not in places}
        await self._take_away(target, point, leaving, At(before, is_told=False), end_s)
        await self._put(target, plain, [here], At(third, seen=first), end_s)
        return True

    async def _goes(self, target: Target, lying: Lying, here: int, places: Sequence[int], end_s: float) -> bool:
        """To another home. Who changes it here after the first step is later than the third."""
        state = lying.states[here]
        point, plain, copy = state.change.id, *_as_home_and_copy(state.change)
        before, first, second, third, fourth = self._asking.new_times(lying.latest + APART, 5)
        await self._put(target, plain, [here], At(first, seen=state.time), end_s)
        await self._put(target, plain, places[:1], At(third, apart=0), end_s)
        await self._put(target, copy, set(places[1:]) - {here}, At(third, apart=0), end_s)
        leaving = {shard: one.time for shard, one in lying.states.items() if shard not in {*places, here}}
        await self._take_away(target, point, leaving, At(before, is_told=False), end_s)
        await self._take_away(target, point, {here: first}, At(second, is_told=False), end_s)
        if here in places:
            await self._put(target, copy, [here], At(fourth, apart=0), end_s)
        self.moved_count += 1
        return True

    async def _put(self, target: Target, change: Change, shards: Iterable[int], at: At, end_s: float) -> None:
        parts = {shard: [frames.Upsert(call=0, points=batch_of([change]))] for shard in shards}
        if parts:
            await self._write(target, parts, at, end_s)

    async def _take_away(self, target: Target, point: PointId, shards: Mapping[int, int], at: At, end_s: float) -> None:
        """shards: with the time that it has there."""
        for shard, time in shards.items():
            request = frames.Delete(call=0, ids=[point])
            await self._write(target, {shard: [request]}, at._replace(seen=time), end_s)

    async def _write(self, target: Target, parts: Mapping[int, Sequence[frames.Write]], at: At, end_s: float) -> None:
        left_s = max(LEFT_S_MIN, end_s - self._asking.clock.monotonic())
        await self._asking.write(target, parts, left_s, at=at)

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        yield Reading("littoral_mesh_homed_points_total", (), self.moved_count)


def places_of(target: Target, shard: int, state: State) -> list[int]:
    """The shards of a point, the one that it is at home in first. shard: where it lies."""
    plain = Change(state.change.id, state.change.vectors, without_mark(state.change.payload))
    placing = placing_of(target.spread, target.config, region_of(target.spread, shard))
    return placing.of_points(batch_of([plain]))[0]


def _base(target: Target, lying: Lying) -> int:
    """The shard whose state of a point counts: of its homes the newest, of several at one time that which it is to
    leave, for who changed it in both may have been the second to do so there; where it has only copies, the newest.
    """
    homes = lying.homes or list(lying.states)
    newest = max(lying.states[shard].time for shard in homes)
    last = [shard for shard in homes if lying.states[shard].time == newest]
    return next((shard for shard in last if places_of(target, shard, lying.states[shard])[0] != shard), last[0])


def _as_home_and_copy(change: Change) -> tuple[Change, Change]:
    payload = without_mark(change.payload) or None
    return Change(change.id, change.vectors, payload), Change(change.id, change.vectors, as_copy(payload))


def is_settled(lying: Lying, places: Sequence[int]) -> bool:
    """Whether a point lies in these shards and in no other, at home in the first, and is the same in all."""
    if lying.homes != list(places[:1]) or lying.states.keys() != set(places):
        return False
    home, *others = (_as_home_and_copy(lying.states[shard].change)[0] for shard in places)
    return all(other == home for other in others)
