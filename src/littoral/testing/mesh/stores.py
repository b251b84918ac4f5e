"""Shards in the memory of a simulation: what is on their disk, and what answers for it as a shard host does."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.clock import Clock
from littoral.errors import NotFoundError, NotOfferedError, UnavailableError
from littoral.vectors import asks, frames
from littoral.vectors.client import ShardClient
from littoral.vectors.collections import Collections
from littoral.vectors.filters import Condition, Filter, PayloadField
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import Hit, Payload, PointBatch, PointId, PointVectors, Record, ShardInfo, UpdateMode

__all__ = ["Disk", "SimulatedCollections", "Stored"]

ANSWER_S_MAX = 0.004
BOOT_EPOCHS = 1_000


class Stored(NamedTuple):
    """One point on the disk of one shard."""

    vector: PointVectors
    payload: Payload | None

    def of(self, name: str) -> bytes | None:
        """The vector of that name."""
        found = self.vector.get(name) if isinstance(self.vector, dict) else self.vector
        return found if isinstance(found, bytes) else None


class Store:
    """The points of a shard, and which of them a power cut leaves: everything up to the last sync, and then some."""

    def __init__(self) -> None:
        self.points: dict[PointId, Stored] = {}
        self.epoch = 1
        self.since_s: dict[PointId, float] = {}
        self._durable: dict[PointId, Stored] = {}
        self._unsynced: list[tuple[PointId, Stored | None]] = []
        self._tables: dict[str, tuple[int, list[PointId], npt.NDArray[np.float64]]] = {}

    def put(self, point: PointId, stored: Stored | None) -> None:
        """None: it is deleted. since_s: when each point became what it is."""
        self.since_s[point] = asyncio.get_running_loop().time()
        _put(self.points, point, stored)
        self._unsynced.append((point, stored))

    def wrote(self) -> None:
        """After one message."""
        self.epoch += 1

    def sync(self) -> None:
        for point, stored in self._unsynced:
            _put(self._durable, point, stored)
        self._unsynced.clear()

    def cut_power(self, rng: Random) -> None:
        """Of what was not synced a beginning is there, of any length."""
        kept = self._unsynced[: rng.randrange(len(self._unsynced) + 1)]
        for point, stored in kept:
            _put(self._durable, point, stored)
        self._unsynced.clear()
        self.points = dict(self._durable)

    def boot(self) -> None:
        """A host opens it: epochs of its former life do not come again."""
        self.epoch += BOOT_EPOCHS
        self._tables.clear()

    def ids(self) -> list[PointId]:
        """Of all points, in one order."""
        return sorted(self.points, key=str)

    def table(self, name: str) -> tuple[list[PointId], npt.NDArray[np.float64]]:
        """Ids, and float64[n, size], of the points that have the vector of that name."""
        known = self._tables.get(name)
        if known is None or known[0] != self.epoch:
            found = {one: row for one in self.ids() if (row := self.points[one].of(name)) is not None}
            rows = np.frombuffer(b"".join(found.values()), "<f4").astype(np.float64)
            known = self._tables[name] = (self.epoch, list(found), rows.reshape(len(found), -1 if found else 0))
        return known[1], known[2]


def _put(points: dict[PointId, Stored], point: PointId, stored: Stored | None) -> None:
    if stored is None:
        points.pop(point, None)
    else:
        points[point] = stored


class Disk:
    """Of one node: stores of its shards by folder, and whether there is room. It outlives the node's processes."""

    def __init__(self) -> None:
        self.stores: dict[str, Store] = {}
        self.is_full = False
        self.saw: Callable[[PointId], None] = lambda _point: None
        """Told of each point that is written."""

    def by_part(self) -> dict[str, Store]:
        """The stores that are there, by the name of their part."""
        return {Path(folder).parent.name: store for folder, store in self.stores.items()}


class _Hosts:
    """Who runs shard hosts: here nobody, a store answers by itself. It goes when its folder is not wanted any more."""

    def __init__(self, disk: Disk, rng: Random) -> None:
        self.disk = disk
        self.rng = rng

    async def want(self, shard_folders: Iterable[str]) -> None:
        wanted = {str(Path(*Path(one).parts[-2:])) for one in shard_folders}
        for folder in self.disk.stores.keys() - wanted:
            del self.disk.stores[folder]

    def state_of(self, shard_folder: str) -> str:
        return f"simulated: {shard_folder}"

    def restart_count(self, shard_folder: str) -> int:  # noqa: ARG002
        return 0


class SimulatedCollections(Collections):
    """The collections of a node, folders and all, but for the processes that answer for them."""

    @classmethod
    async def on(cls, data: Path, disk: Disk, rng: Random, clock: Clock) -> "SimulatedCollections":
        """See `Collections.open`."""
        found = await cls.open(data, _Hosts(disk, rng), clock)
        assert isinstance(found, cls)
        return found

    def client_of(self, name: str, shard: str) -> ShardClient:
        assert isinstance(self._hosts, _Hosts)
        disk = self._hosts.disk
        store = disk.stores.setdefault(f"{name}/{shard}", Store())
        store.boot()
        return _Host(self._folder / name / shard, self._clock, disk, store, self._hosts.rng)


class _Host(ShardClient):
    """Answers for one store, after a while."""

    def __init__(self, folder: Path, clock: Clock, disk: Disk, store: Store, rng: Random) -> None:
        super().__init__(folder, clock)
        self._disk = disk
        self._store = store
        self._rng = rng

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.sleep(self._rng.random() * ANSWER_S_MAX)
                return await self._answer(request)
        except TimeoutError as error:
            raise UnavailableError(f"store `{self.life}`: no answer in {deadline_s:g} s") from error

    async def _answer(self, request: frames.Request) -> frames.Answer:
        store = self._store
        match request:
            case frames.Upsert(points=batch, condition=None):
                return await self._write(_upserted(batch, request.mode, store), request)
            case frames.UpdateVectors(points=batch, condition=None):
                return await self._write(_updated(batch, store), request)
            case frames.Delete(ids=list() as ids, filter=None):
                return await self._write([(one, None) for one in ids], request)
            case frames.CreateIndex() | frames.DeleteIndex():
                return await self._write([], request)
            case frames.Search():
                return frames.Found(call=0, epoch=store.epoch, hits=[_hits(store, one) for one in request.queries])
            case frames.Retrieve():
                found = [_record(one, store, request) for one in request.ids if one in store.points]
                return frames.Records(call=0, epoch=store.epoch, records=found)
            case frames.Scroll(order=None):
                return _page(store, request)
            case frames.Count():
                return frames.Counted(
                    call=0, epoch=store.epoch, count=len(_passing(store.ids(), store, request.filter))
                )
            case frames.Info():
                count = len(store.points)
                info = ShardInfo(count, count, 1, {}, store.epoch)
                return frames.Informed(call=0, info=info)
        raise NotOfferedError(f"simulated store: {type(request).__name__} is not offered")

    async def _write(self, changes: Sequence[tuple[PointId, Stored | None]], request: frames.Write) -> frames.Answer:
        """A disk without room takes nothing, as a shard host refuses writes then."""
        if self._disk.is_full and changes:
            raise UnavailableError("disk: no room is left", hint="make room")
        for point, stored in changes:
            self._store.put(point, stored)
            if stored is not None:
                self._disk.saw(point)
        self._store.wrote()
        if request.acknowledge == "durable":
            await asyncio.sleep(self._rng.random() * ANSWER_S_MAX)
            self._store.sync()
        return frames.Written(call=0, epoch=self._store.epoch)


def _updated(batch: PointBatch, store: Store) -> list[tuple[PointId, Stored | None]]:
    """Raises NotFoundError."""
    found: list[tuple[PointId, Stored | None]] = []
    for point, row in zip(batch.ids, batch.vectors, strict=True):
        assert not isinstance(row, int), "vectors that are changed are a list"
        if (stored := store.points.get(point)) is None:
            raise NotFoundError(f"no point has the id `{point}`")
        both = {**stored.vector, **row} if isinstance(stored.vector, dict) and isinstance(row, dict) else row
        found.append((point, Stored(both, stored.payload)))
    return found


def _upserted(batch: PointBatch, mode: UpdateMode, store: Store) -> list[tuple[PointId, Stored | None]]:
    payloads = batch.payloads or [None] * len(batch.ids)
    pairs = zip(batch.ids, _rows(batch), payloads, strict=True)
    return [
        (one, Stored(row, payload))
        for one, row, payload in pairs
        if mode == "upsert" or (one in store.points) == (mode == "update_only")
    ]


def _rows(batch: PointBatch) -> Sequence[PointVectors]:
    if isinstance(batch.vectors, list):
        return batch.vectors
    size = len(batch.vectors) // max(1, len(batch.ids))
    return [batch.vectors[at * size : (at + 1) * size] for at in range(len(batch.ids))]


def _hits(store: Store, query: SearchQuery) -> list[Hit]:
    """By Euclid's distance, exact; equal ones in the order of ids."""
    ask = query.ask.target if isinstance(query.ask, asks.Nearest) else query.ask
    if not isinstance(ask, bytes):
        raise NotOfferedError("simulated store: only searches for what is near to a vector")
    ids, rows = store.table(query.using)
    if not ids:
        return []
    apart = np.sqrt(((rows - np.frombuffer(ask, "<f4").astype(np.float64)) ** 2).sum(axis=1))
    found = range(len(ids)) if query.filter is None else _passing(ids, store, query.filter)
    order = sorted(found, key=lambda at: (apart[at], str(ids[at])))
    chosen = order[query.offset : query.offset + query.limit]
    hits = [Hit(ids[at], float(apart[at]), 0, copy(store.points[ids[at]].payload)) for at in chosen]
    threshold = query.score_threshold
    return hits if threshold is None else [hit for hit in hits if hit.score <= threshold]


def _passing(ids: Sequence[PointId], store: Store, matching: Filter | None) -> list[int]:
    """Places of the points that a filter finds."""
    return [at for at, one in enumerate(ids) if matching is None or _matches(one, store.points[one], matching)]


def _matches(point: PointId, stored: Stored, matching: Filter | Condition) -> bool:
    """Of filters those that nodes make among themselves: by id, and by what is in the payload."""
    if isinstance(matching, Condition):
        if matching.has_id is not None:
            return point in matching.has_id
        if matching.key is not None and matching.match is not None and matching.match.value is not None:
            return (stored.payload or {}).get(matching.key) == matching.match.value
        if isinstance(matching.is_empty, PayloadField):
            return not (stored.payload or {}).get(matching.is_empty.key)
    if matching.should is not None or matching.min_should is not None:
        raise NotOfferedError("simulated store: filter by `should`")
    return all(_matches(point, stored, one) for one in _listed(matching.must)) and not any(
        _matches(point, stored, one) for one in _listed(matching.must_not)
    )


def _listed(conditions: list[Condition] | Condition | None) -> list[Condition]:
    if conditions is None:
        return []
    return conditions if isinstance(conditions, list) else [conditions]


def _record(point: PointId, store: Store, request: frames.Retrieve | frames.Scroll) -> Record:
    stored = store.points[point]
    return Record(
        point,
        copy(stored.payload) if request.with_payload else None,
        _vectors(stored, request.with_vector),
    )


def _vectors(stored: Stored, wanted: bool | list[str]) -> PointVectors | None:
    if isinstance(wanted, list) and isinstance(stored.vector, dict):
        return {name: vector for name, vector in stored.vector.items() if name in wanted}
    return stored.vector if wanted else None


def _page(store: Store, request: frames.Scroll) -> frames.Records:
    every = store.ids()
    ids = sorted(one for at in _passing(every, store, request.filter) if isinstance(one := every[at], int))
    start = 0 if request.offset is None else next((i for i, one in enumerate(ids) if one >= request.offset), len(ids))  # type: ignore[operator]
    page, rest = ids[start : start + request.limit], ids[start + request.limit :]
    records = [_record(one, store, request) for one in page]
    return frames.Records(call=0, epoch=store.epoch, records=records, following=rest[0] if rest else None)
