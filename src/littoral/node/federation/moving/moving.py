"""One node's part in changes of layout: what it owes, what it tells the others of, what it gives up, and when."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from littoral.errors import ConflictError, LittoralError, UnavailableError
from littoral.mesh.facts import Known
from littoral.mesh.shard_map import ShardMap, Spread
from littoral.node.federation.asking import Target
from littoral.node.federation.local_shards import LocalShards, part_name
from littoral.node.federation.moving.handing import Handing, Owed
from littoral.node.federation.moving.pacing import GAITS, Pace
from littoral.node.federation.moving.steps import (
    Progress,
    coming,
    going,
    is_done,
    name_ahead,
    name_back,
    name_of,
    next_step,
)
from littoral.node.federation.replicas import Replicas
from littoral.telemetry import Endured, Reading
from littoral.transport import Transport
from littoral.vectors.collections import Collections
from littoral.vectors.replication.entries import id_of
from littoral.vectors.replication.hybrid_clock import TIME_MAX
from littoral.vectors.replication.owing import LEAVING

__all__ = ["Moving"]

PAUSE_S = 0.5
AWAY_PAUSE_S = 2.0
TELL_S_MIN = 0.001

Say = Callable[[str], None]


class _Source(NamedTuple):
    """A shard of this node whose points go to others. before: holders that go first. goal: by which layout.

    among: those that are told.
    """

    collection: str
    shard: int
    before: list[str]
    goal: Spread
    among: list[int]
    is_left: bool


class Moving:
    """Of one node. target: a collection by its name; map_now: that this node goes by."""

    def __init__(
        self,
        transport: Transport,
        local: LocalShards,
        replicas: Replicas,
        collections: Collections,
        handing: Handing,
        target: Callable[[str], Target],
        map_now: Callable[[], ShardMap],
        facts: Callable[[], Mapping[str, Known]],
        *,
        pace: Pace,
        say: Say,
        changed: Callable[[], None],
    ) -> None:
        """changed: told when there is something to tell the others."""
        self._transport = transport
        self._local = local
        self._replicas = replicas
        self._collections = collections
        self._handing = handing
        self._target = target
        self._map = map_now
        self._facts = facts
        self._pace = pace
        self._say = say
        self._endured = Endured(say)
        self._changed = changed
        self._work = asyncio.Event()
        self._under_way: dict[str, list[int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.older_s: Callable[[], float] = lambda: 0.0
        """For how long others may hold an older map for the newest, and answer by that alone."""
        self.settled = 0
        self.owed: dict[str, dict[int, int]] = {}
        self.unready: dict[str, str] = {}
        """Collections that go to another model, and why this node does not go along yet."""
        local.after_write = self._tell

    @property
    def pace(self) -> Pace:
        """Of all points that are moved."""
        return self._pace

    async def open(self) -> None:
        """From now on points are taken, and handed over."""
        await self._handing.open()
        self._task = asyncio.create_task(self._run(), name="littoral-moving")

    async def close(self) -> None:
        """What is under way ends; it goes on from there after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def away_point_count(self) -> int:
        """Points that were sent to other nodes."""
        return self._handing.away_point_count

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for collection, shards in self.owed.items():
            yield Reading("littoral_mesh_moving_left", (collection,), sum(shards.values()))
        yield Reading("littoral_mesh_moved_points_total", (), self._handing.points_count)
        yield Reading("littoral_mesh_moved_bytes_total", (), self._handing.bytes_count)

    def next_map(self, members: Iterable[str]) -> dict[str, Spread]:
        """As the writer of the map: spreads that go a step further."""
        shard_map = self._map()
        here = self._here(members)
        is_older_held = not here.issuperset(members) and self.older_s() > 0
        return {
            name: following
            for name, spread in shard_map.spreads.items()
            if (following := next_step(spread, self.progress(name, here), number=shard_map.number + 1)) is not None
            and not (is_older_held and _is_flipping(spread))
        }

    def _here(self, members: Iterable[str]) -> set[str]:
        return (set(self._transport.alive()) | {self._transport.name}) & set(members)

    def progress(self, collection: str, here: Iterable[str]) -> dict[str, Progress]:
        """Of these nodes, as far as they have told."""
        facts = self._facts()
        found: dict[str, Progress] = {}
        for node in here:
            fact = facts[node].fact if node in facts else None
            settled = 0 if fact is None or collection in fact.unready else fact.settled
            found[node] = Progress(settled, {} if fact is None else fact.owed.get(collection, {}))
        if (own := self._transport.name) in found:
            settled = 0 if collection in self.unready else self.settled
            found[own] = Progress(settled, self.owed.get(collection, {}))
        return found

    def is_owed(self, collection: str, members: Iterable[str]) -> bool:
        """Whether a node that is here has points of shards that are given up to hand over."""
        spread = self._map().spreads[collection]
        found = self.progress(collection, self._here(members))
        return any(one.owed.get(shard, 0) for one in found.values() for shard in going(spread))

    async def settle(self, spreads: Mapping[str, Spread], number: int) -> None:
        """Shards of these spreads that this node has to have are there, by map `number`: what they owe is noted from
        now on.
        """
        for name, spread in spreads.items():
            own = set(spread.kept_by(self._transport.name))
            change = spread.change
            step = None if change is None else change.step
            for shard in own:
                owed = self._replicas.owed(part_name(name, shard))
                towards = await owed.towards()
                if step is not None and shard in going(spread):
                    if step == "making":
                        await owed.begin(name_ahead(spread), is_whole=False)
                    else:
                        await owed.begin(name_of(spread), is_whole=True, ahead=name_ahead(spread))
                elif step is not None and shard in coming(spread):
                    await owed.begin(name_back(spread), is_whole=False)
                elif towards:
                    await owed.end()
        await self._count()
        self.settled = max(self.settled, number)
        self._work.set()

    async def _count(self) -> None:
        owed: dict[str, dict[int, int]] = {}
        for source in [*self._sources(), *self.left_shards()]:
            left = owed.setdefault(source.collection, {})
            left[source.shard] = 1
            with contextlib.suppress(LittoralError):
                standing, noted = await self._replicas.owed(part_name(source.collection, source.shard)).counts()
                left[source.shard] = noted if source.is_left else standing
        if owed != self.owed:
            is_worth_telling = _unfinished(owed) != _unfinished(self.owed)
            self.owed = owed
            if is_worth_telling:
                self._changed()

    def _sources(self) -> list[_Source]:
        """Shards here whose points go elsewhere, by the map as it is."""
        found: list[_Source] = []
        for name in self._map().spreads:
            if (spread := self._spread(name)) is None:
                continue
            change = spread.change
            if change is not None and change.step != "making":
                goal = spread if change.is_flipped else spread.by(change.other)
                for shard in going(spread):
                    nodes = spread.all_places[shard]
                    if self._transport.name in nodes:
                        before = nodes[: nodes.index(self._transport.name)]
                        found.append(_Source(name, shard, before, goal, coming(spread), is_left=False))
        return found

    def left_shards(self) -> list[_Source]:
        """Shards that lie here and have no place in the map any more."""
        found: list[_Source] = []
        shard_map = self._map()
        for part in {*self._collections.parts(), *self._replicas.kept()}:
            name, _, number = part.rpartition(".")
            if (spread := shard_map.spreads.get(name)) is None or not number.isdigit():
                continue
            if shard_map.is_over(name, int(number)):
                continue
            if int(number) not in spread.kept_by(self._transport.name) and (own := self._spread(name)) is not None:
                found.append(_Source(name, int(number), [], own, own.shards, is_left=True))
        return sorted(found, key=lambda source: (source.collection, source.shard))

    def _spread(self, name: str) -> Spread | None:
        """As this node's requests go by it; None for a collection that it has not."""
        with contextlib.suppress(LittoralError):
            return self._target(name).spread
        return None

    async def _tell(self, collection: str, shard: int, time: int, deadline_s: float) -> None:
        """A write that is on the disk here is told to the shards of the other layout, before it is acknowledged.

        Those that nobody here holds get it later. Raises UnavailableError where one that is here did not take it.
        """
        target = self._target(collection)
        change = target.spread.change
        if change is None or change.step == "making":
            return
        goal, among = self._other_side(target.spread, shard)
        if not among:
            return
        owed = self._replicas.owed(part_name(collection, shard))
        under_way = self._under_way.setdefault(part_name(collection, shard), [])
        under_way.append(time)
        end_s = self._pace.now() + deadline_s
        try:
            while some := await owed.at(time):
                outcome = await self._handing.hand(target, shard, some, goal, among, is_asked_first=False, end_s=end_s)
                await owed.settle(outcome.told)
                await owed.stand(outcome.away)
                await owed.refuse(outcome.refused)
                if outcome.failed is not None:
                    raise _untold(collection, shard, outcome.failed)
                if outcome.refused and change.is_flipped and shard in going(target.spread):
                    raise _not_embedded(collection, outcome.refused)
                if outcome.away and _is_flipping(target.spread):
                    await self._outlast(collection, shard, max(TELL_S_MIN, end_s - self._pace.now()))
        finally:
            under_way.remove(time)
            self._work.set()

    async def _outlast(self, collection: str, shard: int, deadline_s: float) -> None:
        """Until no holder by the layout of before, which is away, may say that it has everything."""
        left_s = self.older_s()
        await asyncio.sleep(min(left_s, deadline_s))
        if left_s > deadline_s:
            away = UnavailableError("a holder is away that may still go by the map of before")
            raise _untold(collection, shard, away)

    def _other_side(self, spread: Spread, shard: int) -> tuple[Spread, list[int]]:
        """By which layout, and to which shards, the points of this one are told."""
        assert spread.change is not None
        by_other = spread.by(spread.change.other)
        old, new = (by_other, spread) if spread.change.is_flipped else (spread, by_other)
        if shard in going(spread):
            return new, coming(spread)
        return (old, going(spread)) if shard in coming(spread) else (old, [])

    async def _run(self) -> None:
        while True:
            self._work.clear()
            pause_s = PAUSE_S
            with self._endured.round("mesh: moving points"):
                pause_s = await self._hand_all()
            if pause_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._work.wait()

    async def _hand_all(self) -> float:
        """After how many seconds it is looked at again."""
        pause_s = AWAY_PAUSE_S
        for source in [*self._sources(), *self.left_shards()]:
            pause_s = min(pause_s, await self._handed(source))
        await self._count()
        return pause_s

    async def _handed(self, source: _Source) -> float:
        """After how many seconds it is looked at again. What goes wrong with one shard does not hold up the others."""
        try:
            return AWAY_PAUSE_S if await self._hand_some(source) else 0.0
        except (LittoralError, OSError) as error:
            self._say(f"mesh: moving points: {error}")
            return PAUSE_S

    async def _hand_some(self, source: _Source) -> bool:
        """Whether there was nothing to do. Raises LittoralError."""
        name = part_name(source.collection, source.shard)
        if source.is_left:
            if not await self._open_left(source):
                return True
        elif name not in self._replicas or self._waits_for_another(source):
            return True
        owed, began_s = self._replicas.owed(name), self._pace.now()
        if not await owed.towards():
            return True
        count = GAITS[self._pace.level].points
        some: Owed = await owed.some(min(self._under_way.get(name) or [TIME_MAX]), count)
        if not some:
            # A write that is being told still looks into what is given up.
            if source.is_left and not self._under_way.get(name):
                await self._let_go(source)
            return True
        target = self._target(source.collection)
        with self._pace.at_work():
            outcome = await self._handing.hand(
                target, source.shard, some, source.goal, source.among, is_asked_first=True
            )
            await owed.settle(outcome.told)
            await owed.refuse(outcome.refused)
        if outcome.failed is not None:
            raise outcome.failed
        await self._handing.embedders.rest(source.collection, outcome.embedded, began_s)
        await self._pace.spent(outcome.bytes + sum(len(key) for key, _ in some), began_s, level=outcome.level)
        return not outcome.told

    def _waits_for_another(self, source: _Source) -> bool:
        """The first holder that is here goes first, what it has handed over the others need only compare."""
        alive, facts = self._transport.alive(), self._facts()
        for node in source.before:
            if node in alive and node in facts:
                owed = facts[node].fact.owed.get(source.collection, {}).get(source.shard, 1)
                if owed:
                    return True
        return False

    async def _open_left(self, source: _Source) -> bool:
        """A shard without a place here: nobody may ask for it, and all of it is owed. False if it is gone already."""
        name = part_name(source.collection, source.shard)
        self._local.close_to_callers(source.collection, source.shard)
        if name in self._collections.damaged:
            return False
        if self._collections.part(name) is None:
            await self._let_go(source)
            return False
        await self._local.open_left(source.collection, source.shard)
        owed = self._replicas.owed(name)
        if (towards := await owed.towards()) != LEAVING:
            await owed.begin(LEAVING, is_whole=not is_done(source.goal, towards))
        return True

    async def _let_go(self, source: _Source) -> None:
        await self._local.let_go(source.collection, source.shard)
        self._say(f"mesh: shard {source.shard} of `{source.collection}` is handed over and gone from here")
        self._changed()


def _is_flipping(spread: Spread) -> bool:
    return spread.change is not None and spread.change.is_flipped


def _unfinished(owed: Mapping[str, Mapping[int, int]]) -> dict[str, dict[int, bool]]:
    return {name: {shard: bool(count) for shard, count in shards.items()} for name, shards in owed.items()}


def _untold(collection: str, shard: int, why: LittoralError) -> UnavailableError:
    return UnavailableError(
        f"collection `{collection}`: shard {shard} has the write, those that come in its place do not: {why.message}",
        hint="it is kept and handed over; it can be repeated",
    )


def _not_embedded(collection: str, refused: Sequence[tuple[bytes, int]]) -> ConflictError:
    return ConflictError(
        f"collection `{collection}` holds embeddings of another model by now, by which point `{id_of(refused[0][0])}` "
        f"cannot be embedded",
        hint="ask again: this node has heard of it",
    )
