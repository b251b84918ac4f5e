"""Two generations of one collection: every write goes to the one that the name means, and from there to the other.

Payloads are the same in both, and so are all vectors but those that are embedded anew, which follow from the payload.
So a point is up to date in the other generation if payload and other vectors are the same there: no log is needed to go
on after a crash, both are compared. A write marks its points before it is done and again after it; one task at a time
carries marked points over, reading each anew.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec

from littoral.errors import ConflictError, InputError, NodeError, UnavailableError
from littoral.node.migration.gate import WriteGate
from littoral.node.migration.sources import Source
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.filters import Filter
from littoral.vectors.records import Multi, Payload, PointBatch, PointId, Record, Sparse, Vector, vectors_of

__all__ = ["BATCH", "Pair", "Side"]

BATCH = 16
PAGE = 64
IDS_PAGE = 1000
BEHIND_MAX = 20_000
"""Points that may wait to be carried over; beyond that both generations are compared again instead."""

REFUSED_MAX = 100
EMBEDDED_AT_ONCE = 4

WRITE_BYTES = 4 << 20
"""Of vectors that are carried over in one write."""

_Made = tuple[Record, dict[str, Vector]]
Embed = Callable[[Payload | None], Awaitable[bytes]]
"""The vector of a point, float32, by one model. Raises InputError where it cannot be had."""


class Side(NamedTuple):
    """embeds: by vector, those that are embedded anew."""

    collection: Collection
    embeds: Mapping[str, Embed]


class Pair:
    """current: what the name means. sources: by vector. For one event loop; `sync` and `scan` are for one task."""

    def __init__(self, current: Side, other: Side, sources: Mapping[str, Source]) -> None:
        self.current = current
        self.other = other
        self.gate = WriteGate(f"collection `{current.collection.name}`")
        self.refused: dict[PointId, str] = {}
        """Points that could not be embedded, with the reason; no more than `REFUSED_MAX` are told."""
        self.needs_scan = True
        self.carried_count = 0
        self.work = asyncio.Event()
        self._sources = sources
        self._is_single = current.collection.config.is_single
        self._marks: dict[PointId, int] = {}
        self._numbers = itertools.count(1)

    @property
    def behind(self) -> int:
        """Points that are to be carried over."""
        return len(self._marks)

    def take_writes(self) -> None:
        """From now on writes to either go through this."""
        for side in (self.current, self.other):
            side.collection.instead = self._instead(side.collection)

    def leave(self) -> None:
        """Writes go where they went before."""
        for side in (self.current, self.other):
            side.collection.instead = None

    def swap(self) -> None:
        """The name means the other one."""
        self.current, self.other = self.other, self.current

    def _instead(self, into: Collection) -> Callable[[frames.Write, float], Awaitable[int]]:
        async def write(request: frames.Write, deadline_s: float) -> int:
            return await self._write(into, request, deadline_s)

        return write

    async def _write(self, into: Collection, request: frames.Write, deadline_s: float) -> int:
        """into: the generation that the caller means; after a flip he may still mean the one before."""
        match request:
            case frames.Optimize():
                return await into.write_here(request, deadline_s)
            case frames.Pack():  # a snapshot says whose vectors it holds, as the file does that a flip replaces
                async with self.gate.write(deadline_s):
                    return await into.write_here(request, deadline_s)
            case frames.CreateIndex() | frames.DeleteIndex():
                await self.other.collection.write_here(_again(request), deadline_s)
                return await self.current.collection.write_here(request, deadline_s)
            case frames.Upsert():
                return await self._upsert(into, request, deadline_s)
            case frames.Delete(ids=list() as ids):
                return await self._marked(ids, request, deadline_s)
            case frames.ChangePayload() if request.change.ids is not None:
                return await self._marked(request.change.ids, request, deadline_s)
            case frames.UpdateVectors() if self._are_others(request.points):
                return await self._marked(request.points.ids, request, deadline_s)
            case frames.DeleteVectors(ids=list() as ids) if not self._is_single:
                return await self._marked(ids, request, deadline_s)
            case frames.DeleteVectors() if self._is_single:
                pass
            case frames.Delete() | frames.ChangePayload() | frames.DeleteVectors():
                return await self._alone(request, deadline_s)
        raise ConflictError(
            f"collection `{into.name}` has two generations: `{type(request).__name__}` would change one of them alone",
            hint="upsert whole points, or let the migration end: `littoral collections migrate NAME --drop`",
        )

    def _are_others(self, points: PointBatch) -> bool:
        """Whether none of these vectors is one that is embedded anew."""
        return all(vector is None for name in self._sources for vector in vectors_of(points, name))

    async def _upsert(self, into: Collection, request: frames.Upsert, deadline_s: float) -> int:
        for source in self._sources.values():
            source.check(request.points, into.name)
        async with self.gate.write(deadline_s):
            if into is not self.current.collection:
                request = await self._made_anew(request)
            return await self._write_marked(request.points.ids, request, deadline_s)

    async def _marked(self, ids: list[PointId], request: frames.Write, deadline_s: float) -> int:
        async with self.gate.write(deadline_s):
            return await self._write_marked(ids, request, deadline_s)

    async def _write_marked(self, ids: Iterable[PointId], request: frames.Write, deadline_s: float) -> int:
        self._mark(ids)
        try:
            return await self.current.collection.write_here(request, deadline_s)
        finally:
            self._mark(ids)

    async def _alone(
        self, request: frames.Delete | frames.ChangePayload | frames.DeleteVectors, deadline_s: float
    ) -> int:
        """Points that a filter finds: which they are is looked up while no other write is under way."""
        matching = request.change.filter if isinstance(request, frames.ChangePayload) else request.filter
        async with self.gate.alone():
            ids = await self._matching(matching, deadline_s)
            if ids is None:
                self.needs_scan = True
            return await self._write_marked(ids or [], request, deadline_s)

    async def _matching(self, matching: Filter | None, deadline_s: float) -> list[PointId] | None:
        """None for more than may be marked."""
        found: list[PointId] = []
        collection, offset = self.current.collection, None
        while True:
            records, offset = await collection.scroll(
                limit=IDS_PAGE, offset=offset, matching=matching, with_payload=False, deadline_s=deadline_s
            )
            found += [record.id for record in records]
            if len(found) > BEHIND_MAX:
                return None
            if offset is None:
                return found

    async def _made_anew(self, request: frames.Upsert) -> frames.Upsert:
        """With the vectors of the current models, for who embedded by those before."""
        points = request.points
        rows = _rows(points)
        for row, payload in zip(rows, points.payloads or [None] * len(rows), strict=True):
            row |= {name: await embed(payload) for name, embed in self.current.embeds.items() if name in row}
        return msgspec.structs.replace(request, points=self._batch(points.ids, rows, points.payloads))

    def _batch(
        self, ids: list[PointId], rows: Sequence[dict[str, Vector]], payloads: list[Payload | None] | None
    ) -> PointBatch:
        if self._is_single:
            return PointBatch(ids, b"".join(cast(bytes, row[""]) for row in rows), payloads)
        return PointBatch(ids, [*rows], payloads)

    def _mark(self, ids: Iterable[PointId]) -> None:
        for point in ids:
            self._marks[point] = next(self._numbers)
        if self.behind > BEHIND_MAX:
            self._marks.clear()
            self.needs_scan = True
        self.work.set()

    async def sync(self, most: int = BATCH) -> int:
        """Carries over as many points that are marked; how many it were."""
        taken = dict(itertools.islice(self._marks.items(), most))
        await self._carry(list(taken))
        for point, number in taken.items():
            if self._marks.get(point) == number:
                del self._marks[point]
        return len(taken)

    async def scan(self) -> AsyncIterator[tuple[int, int]]:
        """Compares both, page by page, and carries over what differs; after each page how many points were compared,
        and how many of them were embedded."""
        self.needs_scan = False
        self.refused.clear()
        offset: PointId | None = None
        while True:
            records, offset = await self.current.collection.scroll(
                limit=PAGE, offset=offset, with_vector=not self._is_single
            )
            stale = await self._stale(records)
            for start in range(0, len(stale), BATCH):
                await self._carry(stale[start : start + BATCH])
                yield 0, len(stale[start : start + BATCH])
            yield len(records), 0
            if offset is None:
                break
        async for _ in self._left_over():
            yield 0, 0

    async def _stale(self, records: list[Record]) -> list[PointId]:
        ids = [record.id for record in records]
        there = {record.id: record for record in await self._read(self.other, ids)}
        return [record.id for record in records if not self._is_alike(record, there.get(record.id))]

    def _is_alike(self, here: Record, there: Record | None) -> bool:
        """Whether payloads and vectors are the same, but for what stands in those that are embedded anew."""
        if there is None or (here.payload or {}) != (there.payload or {}):
            return False
        ours, theirs = _vectors(here), _vectors(there)
        anew = self._sources.keys()
        return ours.keys() == theirs.keys() and all(ours[name] == theirs[name] for name in ours.keys() - anew)

    async def _read(self, side: Side, ids: list[PointId]) -> list[Record]:
        return await side.collection.retrieve(ids, with_vector=not self._is_single)

    async def _left_over(self) -> AsyncIterator[None]:
        """Points of the other generation that are gone here."""
        offset: PointId | None = None
        while True:
            records, offset = await self.other.collection.scroll(limit=IDS_PAGE, offset=offset, with_payload=False)
            ids = [record.id for record in records]
            here = {record.id for record in await self.current.collection.retrieve(ids, with_payload=False)}
            if gone := [point for point in ids if point not in here]:
                await self.other.collection.write_here(frames.Delete(call=0, ids=gone))
            yield
            if offset is None:
                return

    async def _carry(self, ids: list[PointId]) -> None:
        """Makes these points in the other generation what they are here now."""
        if not ids:
            return
        records = await self._read(self.current, ids)
        here = {record.id for record in records}
        if gone := [point for point in ids if point not in here]:
            await self.other.collection.write_here(frames.Delete(call=0, ids=gone))
        at_once = asyncio.Semaphore(EMBEDDED_AT_ONCE)
        rows = await asyncio.gather(*(self._embedded(record, at_once) for record in records))
        made = [(record, row) for record, row in zip(records, rows, strict=True) if row is not None]
        for some in _of_some_bytes(made):
            points = self._batch(
                [record.id for record, _ in some], [row for _, row in some], [record.payload for record, _ in some]
            )
            await self.other.collection.write_here(frames.Upsert(call=0, points=points))
        self.carried_count += len(made)
        for point in {*gone, *(record.id for record, _ in made)}:
            self.refused.pop(point, None)

    async def _embedded(self, record: Record, at_once: asyncio.Semaphore) -> dict[str, Vector] | None:
        """Its vectors in the other generation; None for a point that cannot be embedded, which is noted."""
        row, embeds = _vectors(record), self.other.embeds
        wanted = embeds.keys() if self._is_single else embeds.keys() & row.keys()
        async with at_once:
            try:
                return row | {name: await embeds[name](record.payload) for name in sorted(wanted)}
            except UnavailableError:
                raise
            except (InputError, NodeError) as error:
                if len(self.refused) < REFUSED_MAX or record.id in self.refused:
                    self.refused[record.id] = error.message
                else:
                    self.needs_scan = True
                return None


def _rows(points: PointBatch) -> list[dict[str, Vector]]:
    """The vectors of each point by name."""
    if isinstance(points.vectors, bytes):
        return [{"": vector} for vector in vectors_of(points, "") if vector is not None]
    return [dict(row) if isinstance(row, dict) else {"": row} for row in points.vectors]


def _vectors(record: Record) -> dict[str, Vector]:
    """By name, those that it has and that were asked for."""
    if record.vector is None:
        return {}
    return dict(record.vector) if isinstance(record.vector, dict) else {"": record.vector}


def _of_some_bytes(made: Sequence[_Made]) -> Iterator[Sequence[_Made]]:
    """In parts that one write takes."""
    start = size = 0
    for at, (_, row) in enumerate(made):
        grown = sum(_bytes_of(vector) for vector in row.values())
        if at > start and size + grown > WRITE_BYTES:
            yield made[start:at]
            start, size = at, 0
        size += grown
    if made:
        yield made[start:]


def _bytes_of(vector: Vector) -> int:
    match vector:
        case Multi():
            return len(vector.numbers)
        case Sparse():
            return len(vector.indices) + len(vector.values)
    return len(vector)


def _again(request: frames.CreateIndex | frames.DeleteIndex) -> frames.Write:
    """For another host: each call has a number of its own."""
    return msgspec.structs.replace(request)
