"""Where answers are kept: a collection for the long, memory for those of a moment ago."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from littoral.answers.asked import Asked
from littoral.answers.entries import (
    UNPLACED,
    Entry,
    Near,
    check_entry,
    entry_of,
    id_of,
    payload_of,
    point_id,
)
from littoral.answers.eviction import row_of
from littoral.answers.hot import Hot
from littoral.answers.labels import FIELDS, Labels
from littoral.answers.points import Points
from littoral.answers.purges import Purge, Purges
from littoral.answers.room import Room
from littoral.artifact.disk import Disk, FolderDisk
from littoral.clock import Clock
from littoral.errors import LittoralError, NotFoundError
from littoral.vectors.byte_lru import CacheStatistics
from littoral.vectors.filters import Condition, Filter, Match, Range
from littoral.vectors.packing import Vectors
from littoral.vectors.queries import PayloadChange, PayloadSelector, SearchParams
from littoral.vectors.records import Payload, PointId

__all__ = ["AnswerStore", "Points", "StoreBounds", "StoreStatistics"]

TEND_S = 30.0
IDS_PAGE = 8192
PAGE = 1000
EQUAL = 1e-3
ELSEWHERE = 64
"""Similarities that differ by no more are equal: half precision, as vectors are stored, tells no finer."""
SPARE = 1
"""Hits beyond those asked for, in the place of expired ones; where these are more, a second search leaves them out."""
BESIDE = ("exact", "tier", "expires_at", *FIELDS)


class StoreBounds(msgspec.Struct, frozen=True, kw_only=True):
    """entries_max, bytes_max: of all that is kept. hot_bytes_max, hot_age_max_s: of what is in memory.

    stale_s: how long an expired entry stays, for callers whose upstream is gone.
    """

    entries_max: int = 200_000
    bytes_max: int = 2 << 30
    hot_bytes_max: int = 32 << 20
    hot_age_max_s: float = 60.0
    stale_s: int = 3600


class StoreStatistics(NamedTuple):
    """entries, bytes: now, of an entry its question, answer and about what lies around it. The others since the start.

    refused: that could not be kept (no room on the disk, no host, too large). purged: that were being kept during a
    purge which takes them. outranked: learned ones in the place of which a curated one stands. lost: observations of
    entries that were gone. is_behind: entries are being looked through, `entries` and `bytes` may be too low.
    """

    entries: int
    bytes: int
    is_behind: bool
    hot: CacheStatistics
    kept: int = 0
    refused: int = 0
    purged: int = 0
    outranked: int = 0
    evicted: int = 0
    expired: int = 0
    observed: int = 0
    lost: int = 0


class AnswerStore:
    """Made by `AnswerStore.open`. For one event loop.

    last_refusal: why the last answer that was refused could not be kept; empty where none was.
    """

    def __init__(self, points: Points, disk: Disk, bounds: StoreBounds, clock: Clock) -> None:
        self.hot = Hot(bounds.hot_bytes_max, bounds.hot_age_max_s, clock)
        self.last_refusal = ""
        self._points = points
        self._bounds = bounds
        self._clock = clock
        self._purges = Purges()
        self._locks: dict[bytes, _Turn] = {}
        self._room = Room(points, disk, bounds.entries_max, bounds.bytes_max)
        self._counts: Counter[str] = Counter()
        self._tending: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, points: Points, folder: Path, bounds: StoreBounds, clock: Clock, *, disk: Disk | None = None
    ) -> "AnswerStore":
        """What is in the collection. folder: for what is remembered beside it; made where it is missing."""
        store = cls(points, disk or FolderDisk(folder), bounds, clock)
        await store._room.open()
        store._tending = asyncio.create_task(store._tend_on())
        return store

    async def _tend_on(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            await self.tend()

    async def close(self) -> None:
        """Ends what runs beside requests, and remembers what it counted."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        await self._room.close()

    async def tend(self) -> None:
        """Drops what has expired, and remembers what it counted; by itself every half minute.

        Raises nothing: what cannot be done now is done the next time.
        """
        await self._room.tend(self._clock.wall() - self._bounds.stale_s)

    @property
    def bounds(self) -> StoreBounds:
        return self._bounds

    @property
    def mark(self) -> int:
        """Taken before an upstream is asked, and given to `keep`: a purge in between takes the answer, too."""
        return self._purges.mark

    async def exact(self, asked: Asked) -> Entry | None:
        """The answer to the very same request; None where there is none, or it has expired."""
        if (hot := self.hot.find_exact(asked.exact)) is not None and hot.is_of(asked):
            self._room.table.used(hot.id)
            return hot
        mark = self.mark
        found = await self._exact(asked)
        if found is None or found.is_expired(self._clock.wall()):
            return None
        self._room.table.used(found.id)
        if not self._purges.takes(found, mark):
            self.hot.keep_exact(found)
        return found

    def used(self, entry: Entry) -> None:
        """Its answer was told again, by what `nearest` or `hot` gave; `exact` counts by itself."""
        self._room.table.used(entry.id)

    async def stale(self, asked: Asked, max_age_s: float) -> Entry | None:
        """As `exact`, where it has expired no longer ago than that."""
        found = await self._exact(asked)
        return None if found is None or found.is_expired(self._clock.wall() - max_age_s) else found

    async def _exact(self, asked: Asked) -> Entry | None:
        records = await self._points.retrieve([point_id(asked.exact[:16])])
        if not records:
            return None
        found = entry_of(records[0].payload or {})
        return found if found.is_of(asked) else None

    async def nearest(self, asked: Asked, vector: Vectors, limit: int = 3, *, stale_s: float = 0.0) -> list[Near]:
        """The nearest entries of the same partition, curated ones first where they are equally near.

        vector: float32[size], of `asked.question`. stale_s: how long ago they may have expired.
        """
        now_s = self._clock.wall() - stale_s
        must = [_equals("partition", asked.partition.hex())]
        found, is_cut = await self._near(vector, limit + SPARE, must, now_s)
        if is_cut and len(found) < limit:
            found, _ = await self._near(vector, limit, [*must, _not_expired(now_s)], now_s)
        found = [near for near in found if near.entry.tenant == asked.tenant]
        nearest = found[0].similarity if found else 0.0
        found.sort(key=lambda near: near.entry.tier != "curated" if near.similarity >= nearest - EQUAL else 2)
        return found[:limit]

    async def elsewhere(self, asked: Asked, vector: Vectors, limit: int = 5) -> list[Near]:
        """The nearest entry of each other partition of the same tenant and model, nearest first: for people. Looks at
        the `ELSEWHERE` nearest of them.
        """
        same = [_equals("tenant", asked.tenant), _equals("model", asked.model)]
        matching = Filter(must=same, must_not=[_equals("partition", asked.partition.hex())])
        params = SearchParams(exact=True)  # graphs are of one partition each
        hits = await self._points.search(vector, limit=ELSEWHERE, matching=matching, params=params)
        found: dict[bytes, Near] = {}
        for near in (_near(hit.payload, hit.score) for hit in hits):
            if not near.entry.is_expired(self._clock.wall()):
                found.setdefault(near.entry.partition, near)
        return list(found.values())[:limit]

    async def _near(self, vector: Vectors, limit: int, must: list[Condition], now_s: float) -> tuple[list[Near], bool]:
        """Those that have not expired, and whether there may be more."""
        hits = await self._points.search(vector, limit=limit, matching=Filter(must=must))
        nears = [_near(hit.payload, hit.score) for hit in hits]
        return [near for near in nears if not near.entry.is_expired(now_s)], len(hits) == limit

    async def keep(
        self, entry: Entry, vector: Vectors, *, mark: int | None = None, labels: Labels | None = None
    ) -> bool:
        """As `put`, where nobody waits for an error: whether it was kept. What was refused is counted."""
        try:
            return await self.put(entry, vector, mark=mark, labels=labels)
        except LittoralError as error:
            self._counts["refused"] += 1
            self.last_refusal = error.message
            return False

    async def put(
        self, entry: Entry, vector: Vectors, *, mark: int | None = None, labels: Labels | None = None
    ) -> bool:
        """Durable when it returns true. What was observed of an entry that is there stays.

        False where a purge took it, or a learned entry would take the place of a curated one. mark: `mark` from before
        the upstream was asked. vector: float32[size]; zeros: it is found by its request alone. labels: what was
        observed of it elsewhere, for one of which nothing was observed here.

        Raises InputError and TooLargeError for what is no entry, ShardError where the disk is
        full, UnavailableError where the collection does not answer: then it may have been kept or not.
        """
        check_entry(entry)
        mark = self.mark if mark is None else mark
        await self._room.make()
        async with self._turn(entry.id):
            if self._purges.takes(entry, mark):
                self._counts["purged"] += 1
                return False
            async with self._purges.keeping(entry):
                return await self._put(entry, vector, labels)

    async def _put(self, entry: Entry, vector: Vectors, brought: Labels | None) -> bool:
        point = point_id(entry.id)
        there = await self._points.retrieve([point], with_payload=PayloadSelector(include=list(BESIDE)))
        before = (there[0].payload if there else None) or {}
        if before.get("exact") != entry.exact.hex():
            before = {}
        if before.get("tier") == "curated" != entry.tier and not 0 < before["expires_at"] <= self._clock.wall():
            self._counts["outranked"] += 1
            return False
        labels = Labels.of(before)
        labels = brought if brought is not None and not len(labels.observations) else labels
        await self._points.upsert([point], _rows(vector), [payload_of(entry, labels)])
        self._room.table.put(entry.id, row_of(entry))
        self._counts["kept"] += 1
        if entry.tier == "curated":
            self.hot.drop(lambda one: one.exact == entry.exact)
        self.hot.forget(entry)
        return True

    async def observe(self, entry_id: bytes, similarity: float, is_correct: bool, *, author: bytes = b"") -> bool:
        """Durable when it returns true; false where the entry is gone. Raises as `put`.

        author: digest of whose question it was, whoever judged it; nothing where nobody is known.
        """
        point = point_id(entry_id)
        async with self._turn(entry_id):
            records = await self._points.retrieve([point], with_payload=PayloadSelector(include=list(FIELDS)))
            if not records:
                self._counts["lost"] += 1
                return False
            labels = Labels.of(records[0].payload).added(similarity, is_correct, author)
            try:
                await self._points.change_payload(PayloadChange("merge", ids=[point], payload={**labels.told()}))
            except NotFoundError:
                self._counts["lost"] += 1
                return False
        self._counts["observed"] += 1
        return True

    async def purge(
        self,
        *,
        id: bytes | None = None,  # noqa: A002
        tags: Iterable[str] = (),
        model: str | None = None,
        policy_version: str | None = None,
        tenant: str | None = None,
        everything: bool = False,
    ) -> int:
        """Takes out every entry that meets all that is given (of tags: one of them); how many these were.

        Durable when it returns: none of them is told after it, nor those that were being kept meanwhile, nor those
        whose `mark` is from before. Raises InputError where nothing is given.
        """
        purge = Purge.of(id, tuple(tags), model, policy_version, tenant, everything=everything)
        async with self._purges.purging(purge):
            self.hot.drop(purge.matches)
            doomed = await self._ids(purge.filter)
            await self._points.delete_matching(purge.filter)
            self._room.forget(doomed)
            self.hot.drop(purge.matches)
        return len(doomed)

    async def _ids(self, matching: Filter) -> list[bytes]:
        found: list[bytes] = []
        offset: PointId | None = None
        while True:
            records, offset = await self._points.scroll(
                limit=IDS_PAGE, offset=offset, matching=matching, with_payload=False
            )
            found += [id_of(record.id) for record in records]
            if offset is None:
                return found

    async def holds(self, asked: Asked) -> bool:
        """Whether there is anything to compare a question with: an entry of its partition."""
        matching = Filter(must=[_equals("partition", asked.partition.hex())])
        records, _ = await self._points.scroll(limit=1, matching=matching, with_payload=False)
        return bool(records)

    async def unplaced(self, asked: Asked, limit: int, *, is_elsewhere: bool = False) -> list[Entry]:
        """Entries of its partition that have no vector yet; is_elsewhere: of its tenant and model, in any."""
        where = {"tenant": asked.tenant, "model": asked.model} if is_elsewhere else {"partition": asked.partition.hex()}
        must = [*(_equals(key, value) for key, value in where.items()), _IS_UNPLACED]
        records, _ = await self._points.scroll(limit=limit, matching=Filter(must=must))
        return [entry_of(record.payload or {}) for record in records]

    async def place(self, entry: Entry, vector: Vectors) -> bool:
        """Gives it its vector, float32[size]; durable when it returns true. False where the entry is gone. Raises as
        `put`.
        """
        point = point_id(entry.id)
        async with self._turn(entry.id):
            try:
                await self._points.update_vectors([point], [np.asarray(vector, "<f4").tobytes()])
                await self._points.change_payload(PayloadChange("remove", ids=[point], keys=[UNPLACED]))
            except NotFoundError:
                return False
        return True

    async def missing(self, entries: Collection[bytes]) -> frozenset[bytes]:
        """Those that are not kept."""
        records = await self._points.retrieve([point_id(one) for one in entries], with_payload=False) if entries else []
        return frozenset(entries) - {id_of(record.id) for record in records}

    async def entry(self, entry_id: bytes) -> Near | None:
        """One entry with what was observed of it; expired ones, too. Its similarity is 1."""
        records = await self._points.retrieve([point_id(entry_id)])
        if not records:
            return None
        return _near(records[0].payload, 1.0)

    async def scroll(
        self, *, offset: bytes | None = None, limit: int = 100, tag: str | None = None, tenant: str | None = None
    ) -> tuple[list[Near], bytes | None]:
        """Entries in the order of ids from `offset` on, expired ones, too; the id to go on from, None at the end."""
        must = [_equals(key, value) for key, value in (("tags", tag), ("tenant", tenant)) if value is not None]
        records, following = await self._points.scroll(
            limit=min(limit, PAGE),
            offset=None if offset is None else point_id(offset),
            matching=Filter(must=must) if must else None,
        )
        nears = [_near(record.payload, 1.0) for record in records]
        return nears, None if following is None else id_of(following)

    def stats(self) -> StoreStatistics:
        room = self._room
        told = {**self._counts, "evicted": room.evicted, "expired": room.expired}
        return StoreStatistics(room.table.count, room.table.bytes, room.is_behind, self.hot.statistics(), **told)

    @asynccontextmanager
    async def _turn(self, entry_id: bytes) -> AsyncIterator[None]:
        """One change of an entry at a time."""
        turn = self._locks.setdefault(entry_id, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._locks[entry_id]


class _Turn:
    """waiting: who holds it, and who wants to."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


def _rows(vector: Vectors) -> Vectors:
    rows = np.array([vector], "<f4")
    if not rows.any():
        rows[0, 0] = 1.0
    return rows


def _equals(key: str, value: str) -> Condition:
    return Condition(key=key, match=Match(value=value))


_IS_UNPLACED = Condition(key=UNPLACED, match=Match(value=True))


def _not_expired(now_s: float) -> Condition:
    never, later = Condition(key="expires_at", match=Match(value=0)), Condition(key="expires_at", range=Range(gt=now_s))
    return Condition(should=[never, later])


def _near(payload: Payload | None, similarity: float) -> Near:
    labels = Labels.of(payload)
    return Near(entry_of(payload or {}), similarity, labels.observations, labels)
