"""Replicas without processes: a shard in memory, journals that tell each other everything, in any order."""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy as np

from littoral.errors import NotFoundError, UnavailableError
from littoral.vectors.records import CollectionConfig, PointBatch, PointId, Record, VectorParams
from littoral.vectors.replication.digests import FIRST_BUCKET, below, differing
from littoral.vectors.replication.entries import Change, State, decode_entry, id_of, key_of, upserts
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.repair import Knowledge, plan
from littoral.vectors.replication.stamps import Stamp

SIZE = 2
CONFIG = CollectionConfig(VectorParams(SIZE, "Dot"))


def vector(value: float) -> bytes:
    return np.full(SIZE, value, "<f4").tobytes()


def point(point_id: int, value: float) -> Change:
    return Change(point_id, vector(value), {"value": value})


class Holder:
    """A journal in memory, and the points as its shard would have them."""

    def __init__(self, name: str) -> None:
        self.journal = Journal(":memory:", name, "a")
        self.points: dict[PointId, Change] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.vectors is None:
                self.points.pop(change.id, None)
            else:
                self.points[change.id] = change

    def write(self, changes: Sequence[Change], wall: float) -> Stamp:
        with self.journal.transaction():
            stamp = self.journal.write(changes, wall)
        self.apply(changes)
        return stamp

    def take(self, bodies: Iterable[bytes]) -> None:
        with self.journal.transaction():
            for body in bodies:
                self.apply(self.journal.take(decode_entry(body), body))

    def pull(self, other: "Holder", bytes_max: int = 1 << 20) -> bool:
        """What the other's log has; false if some of it is gone there."""
        bodies, is_gapped = other.journal.entries_after(self.journal.vector, bytes_max)
        self.take(bodies)
        return not is_gapped

    def repair(self, other: "Holder") -> None:
        """As `mesh.replica_link` does it, in one go."""
        vector, floor = other.journal.vector, other.journal.floor
        buckets = self._differing(other)
        theirs = other.journal.versions(buckets)
        here = Knowledge(self.journal.vector, self.journal.floor)
        found = plan(self.journal.versions(buckets), theirs, here, Knowledge(vector, floor))
        told = [
            State(v.time, v.origin, v.number, Change(id_of(key)) if v.is_gone else other.points[id_of(key)])
            for key, v in theirs.items()
            if key in set(found.wanted)
        ]
        told += [State(v.time, v.origin, v.number, Change(id_of(key))) for key, v in found.dropped.items()]
        with self.journal.transaction():
            self.apply(self.journal.take_states(told))
            self.journal.learn(vector, floor)

    def _differing(self, other: "Holder") -> list[int]:
        own, theirs, nodes = self.journal.digests(), other.journal.digests(), [0]
        while under := below(differing(own, dict(zip(nodes, theirs.of(nodes), strict=True)))):
            nodes = under
        return [node - FIRST_BUCKET for node in differing(own, dict(zip(nodes, theirs.of(nodes), strict=True))) if node]

    def root(self) -> bytes:
        return self.journal.digests().of([0])[0]

    def fresh_root(self) -> bytes:
        """The digest as one would read it from the file."""
        self.journal._digests = None
        return self.root()


class MemoryShard:
    """A shard as a replica needs it: slow, and after a power cut as it was when someone last asked for `durable`."""

    def __init__(self, rng: Random, name: str = "frames") -> None:
        self.name = name
        self.config = CONFIG
        self.points: dict[PointId, Change] = {}
        self.failures = 0.0
        self.life = f"{rng.random()}"
        self._durable: dict[PointId, Change] = {}
        self._rng = rng

    def cut_power(self) -> None:
        self.points = dict(self._durable)

    async def _work(self) -> None:
        await asyncio.sleep(self._rng.random() * 0.01)
        if self._rng.random() < self.failures:
            raise UnavailableError("the shard is restarting")

    async def upsert_points(self, batch: PointBatch, **options: Any) -> int:
        await self._work()
        for change in upserts(batch):
            if options.get("mode", "upsert") == "upsert" or change.id not in self.points:
                self.points[change.id] = change
        return 1

    async def delete(self, ids: Sequence[PointId], *, acknowledge: str = "durable", **_: Any) -> int:
        await self._work()
        for point_id in ids:
            self.points.pop(point_id, None)
        if acknowledge == "durable":
            self._durable = dict(self.points)
        return 1

    async def change_payload(self, change: Any, **_: Any) -> int:
        await self._work()
        if missing := [one for one in change.ids if one not in self.points]:
            raise NotFoundError(f"no point {missing}")
        for one in change.ids:
            kept = self.points[one]
            self.points[one] = Change(one, kept.vectors, {**(kept.payload or {}), **change.payload})
        await asyncio.sleep(self._rng.random() * 0.01)
        return 1

    async def update_vectors(self, ids: Sequence[PointId], vectors: Any, **_: Any) -> int:
        await self._work()
        for one, row in zip(ids, vectors, strict=True):
            self.points[one] = Change(one, row, self.points[one].payload)
        return 1

    async def delete_vectors(self, names: Sequence[str], **_: Any) -> int:
        raise NotImplementedError

    async def retrieve(self, ids: Sequence[PointId], **_: Any) -> list[Record]:
        await self._work()
        found = [self.points[one] for one in ids if one in self.points]
        return [Record(change.id, change.payload or {}, change.vectors) for change in found]

    async def scroll(self, **_: Any) -> tuple[list[Record], PointId | None]:
        await self._work()
        return [Record(one) for one in sorted(self.points, key=key_of)], None

    async def pack(self, target: str, **_: Any) -> int:
        raise NotImplementedError
