"""Where answers are kept: a collection for the long, memory for those of a moment ago."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from littoral.answers.asked import Asked
from littoral.answers.entries import (
    INDEXES,
    Entry,
    Near,
    check_entry,
    entry_of,
    id_of,
    payload_of,
    point_id,
)
from littoral.answers.hot import Hot
from littoral.answers.labels import FIELDS, Labels
from littoral.answers.purges import Purge, Purges
from littoral.clock import Clock
from littoral.errors import NotFoundError
from littoral.vectors.filters import Condition, Filter, Match
from littoral.vectors.indexes import IndexParams
from littoral.vectors.packing import Vectors
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import FieldSchema, Hit, Payload, PointId, Record

__all__ = ["AnswerStore", "Points", "StoreBounds", "StoreStatistics"]

DEADLINE_S = 10.0
PAGE = 1000
EQUAL = 1e-3
"""Similarities that differ by no more are equal: half precision, as vectors are stored, tells no finer."""
SPARE = 4
"""Hits beyond those asked for, in the place of expired ones."""


class Points(Protocol):
    """What of a `vectors.collection.Collection` is used: a plain one, or one that is spread over nodes."""

    async def upsert(
        self, ids: Sequence[PointId], vectors: Vectors, payloads: Sequence[Payload | None] | None = None
    ) -> int: ...
    async def delete(self, ids: Sequence[PointId]) -> int: ...
    async def delete_matching(self, matching: Filter | Mapping[str, Any]) -> int: ...
    async def change_payload(self, change: PayloadChange) -> int: ...
    async def create_index(self, field: str, schema: FieldSchema | IndexParams) -> int: ...
    async def search(self, vector: Vectors, **options: Any) -> list[Hit]: ...
    async def retrieve(
        self, ids: Sequence[PointId], *, with_payload: bool | PayloadSelector = True, with_vector: bool = False
    ) -> list[Record]: ...
    async def scroll(
        self,
        *,
        limit: int = 10,
        offset: PointId | None = None,
        matching: Filter | Mapping[str, Any] | None = None,
        with_payload: bool | PayloadSelector = True,
        with_vector: bool | list[str] = False,
    ) -> tuple[list[Record], PointId | None]: ...
    async def count(self, matching: Filter | Mapping[str, Any] | None = None) -> int: ...


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
    """entries, bytes: now. The others since the start.

    refused: that could not be kept (no room on the disk, too large, no host). purged: that were being kept during a
    purge which takes them. lost_observations: of entries that were gone.
    """

    entries: int
    bytes: int
    kept: int
    refused: int
    purged: int
    evicted: int
    expired: int
    observed: int
    lost_observations: int
    hot_entries: int
    hot_bytes: int
    hot_hits: int
    hot_misses: int


class AnswerStore:
    """Made by `AnswerStore.open`. For one event loop."""

    def __init__(self, points: Points, folder: Path, bounds: StoreBounds, clock: Clock) -> None:
        self.hot = Hot(bounds.hot_bytes_max, bounds.hot_age_max_s, clock)
        self._points = points
        self._folder = folder
        self._bounds = bounds
        self._clock = clock
        self._purges = Purges()
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._counts = dict.fromkeys(("kept", "refused", "purged", "observed", "lost"), 0)
        self._entry_count = 0

    @classmethod
    async def open(cls, points: Points, folder: Path, bounds: StoreBounds, clock: Clock) -> "AnswerStore":
        """What is in the collection. folder: for what is remembered beside it; made where it is missing."""
        store = cls(points, folder, bounds, clock)
        for field, schema in INDEXES.items():
            await points.create_index(field, schema)
        store._entry_count = await points.count()
        return store

    async def close(self) -> None:
        """Ends what runs beside requests."""

    @property
    def mark(self) -> int:
        """Taken before an upstream is asked, and given to `keep`: a purge in between takes the answer, too."""
        return self._purges.mark

    async def exact(self, asked: Asked) -> Entry | None:
        """The answer to the very same request; None where there is none, or it has expired."""
        if (found := self.hot.find_exact(asked.exact)) is not None and found.is_of(asked):
            return found
        mark = self.mark
        found = await self._exact(asked)
        if found is None or found.is_expired(self._clock.wall()):
            return None
        if not self._purges.takes(found, mark):
            self.hot.keep_exact(found)
        return found

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
        wanted = [_equals("partition", asked.partition.hex()), _equals("tenant", asked.tenant)]
        found = await self._near(vector, limit + SPARE, Filter(must=wanted), now_s)
        best = found[0].similarity if found else 0.0
        found.sort(key=lambda near: near.entry.tier != "curated" if near.similarity >= best - EQUAL else 2)
        return found[:limit]

    async def _near(self, vector: Vectors, limit: int, matching: Filter, now_s: float) -> list[Near]:
        hits = await self._points.search(vector, limit=limit, matching=matching)
        nears = [_near(hit.payload, hit.score) for hit in hits]
        return [near for near in nears if not near.entry.is_expired(now_s)]

    async def keep(self, entry: Entry, vector: Vectors, *, mark: int | None = None) -> None:
        """Durable when it returns. What was observed of an entry that is there stays."""
        check_entry(entry)
        mark = self.mark if mark is None else mark
        async with self._one(entry.id):
            if self._purges.takes(entry, mark):
                self._counts["purged"] += 1
                return
            async with self._purges.keeping(entry):
                is_new = await self._keep(entry, vector)
        self._entry_count += is_new
        self._counts["kept"] += 1
        self.hot.drop(lambda one: one.exact == entry.exact)

    async def _keep(self, entry: Entry, vector: Vectors) -> bool:
        """Whether there was none of its id."""
        there = await self._points.retrieve([point_id(entry.id)])
        payload = payload_of(entry, Labels.of(there[0].payload if there else None))
        await self._points.upsert([point_id(entry.id)], np.asarray([vector], "<f4"), [payload])
        return not there

    async def observe(self, entry_id: bytes, similarity: float, is_correct: bool, *, author: bytes = b"") -> None:
        """Durable when it returns. An entry that is gone is no error.

        author: digest of whose question it was, whoever judged it; nothing where nobody is known.
        """
        point = point_id(entry_id)
        async with self._one(entry_id):
            records = await self._points.retrieve([point], with_payload=PayloadSelector(include=list(FIELDS)))
            if not records:
                self._counts["lost"] += 1
                return
            labels = Labels.of(records[0].payload).added(similarity, is_correct, author)
            try:
                await self._points.change_payload(PayloadChange("merge", ids=[point], payload={**labels.told()}))
            except NotFoundError:
                self._counts["lost"] += 1
                return
        self._counts["observed"] += 1

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
            count = await self._points.count(purge.filter)
            await self._points.delete_matching(purge.filter)
            self.hot.drop(purge.matches)
        self._entry_count = await self._points.count()
        return count

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
        nears = [
            Near(entry_of(record.payload or {}), 1.0, Labels.of(record.payload).observations) for record in records
        ]
        return nears, None if following is None else id_of(following)

    def stats(self) -> StoreStatistics:
        hot = self.hot.statistics()
        counts = self._counts
        return StoreStatistics(
            entries=self._entry_count,
            bytes=0,
            kept=counts["kept"],
            refused=counts["refused"],
            purged=counts["purged"],
            evicted=0,
            expired=0,
            observed=counts["observed"],
            lost_observations=counts["lost"],
            hot_entries=hot.entries,
            hot_bytes=hot.bytes,
            hot_hits=hot.hits,
            hot_misses=hot.misses,
        )

    @asynccontextmanager
    async def _one(self, entry_id: bytes) -> AsyncIterator[None]:
        """One change of an entry at a time."""
        lock = self._locks.setdefault(entry_id, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not getattr(lock, "_waiters", None):
                self._locks.pop(entry_id, None)


def _equals(key: str, value: str) -> Condition:
    return Condition(key=key, match=Match(value=value))


def _near(payload: Payload | None, similarity: float) -> Near:
    labels = Labels.of(payload)
    return Near(entry_of(payload or {}), similarity, labels.observations, labels)
