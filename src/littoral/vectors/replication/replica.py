"""One replica of a shard, as its node sees it: writes as a `Collection` takes them, kept in a log for the others.

Reads go to the shard itself. A write is acknowledged when it is in the journal, on the disk, and the shard has it.
What the shard does in its own way (payloads, single vectors, conditions, filters) is done there first, and the points
that it changed are then written down as they have become; the journal knows of which points that is so meanwhile.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError, RequestError, UnavailableError
from littoral.telemetry import Endured
from littoral.vault import KeyRing
from littoral.vectors.checks import check_columns, check_payload, checked_ids
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointBatch, PointId, PointVectors, UpdateMode
from littoral.vectors.replication.entries import Change, State, check_changes, latest, size_of, upserts
from littoral.vectors.replication.hybrid_clock import hybrid_time
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import LocalShard, found_ids, read_points
from littoral.vectors.replication.pipeline import InOrder, Pipeline, Work
from littoral.vectors.replication.repair import Knowledge
from littoral.vectors.replication.stamps import ANY, At, Stamp

__all__ = ["Replica", "ReplicaLimits", "ReplicaState"]

DEADLINE_S = 10.0
HOUSEKEEPING_S = 0.5
FORGET_EVERY_S = 3600.0
FOUND_COUNT = 1024
"""Points that a filter found are changed so many at a time: their former states are held meanwhile."""
LIFE_BYTES = 4

_log = logging.getLogger("littoral.replication")
_T = TypeVar("_T")


class ReplicaLimits(NamedTuple):
    """log_bytes: what the log may hold for replicas that are away. deletions_s: how long deletions are remembered.

    queue_bytes: writes that may wait.
    """

    log_bytes: int = 256 << 20
    deletions_s: float = 30 * 86_400.0
    queue_bytes: int = 32 << 20


DEFAULT_LIMITS = ReplicaLimits()


class ReplicaState(NamedTuple):
    """unapplied_count: entries that the shard lacks. refused_count: changes that it would not take."""

    origin: str
    vector: Mapping[str, int]
    log_bytes: int
    unapplied_count: int
    refused_count: int


class Replica:
    """Made by `Replica.open`, for one event loop.

    vector: up to which number the writes of each origin are here, on the disk. floor: up to which number of each
    origin deletions may be forgotten here.
    Writes raise what `Collection` raises, InputError before anything is changed; after UnavailableError (the deadline
    passed) they will have happened or not.
    """

    def __init__(
        self, journal: Journal, shard: LocalShard, node: str, in_order: InOrder, clock: Clock, limits: ReplicaLimits
    ) -> None:
        self.shard = shard
        self.node = node
        self.kept_key = ""
        """Of payloads, which stays where one is taken away or replaced; empty = none."""
        self.vector: Mapping[str, int] = journal.vector
        self.floor: Mapping[str, int] = journal.floor
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._known_to_all: dict[str, int] = {}
        self._forgot_at: float | None = None
        self._on_news: list[Callable[[], None]] = []
        self._is_in_doubt = bool(journal.doubted())
        self.pipeline = Pipeline(journal, shard, in_order, limits.queue_bytes, self._committed)
        self._tasks = [asyncio.create_task(self._keep_house())]

    @classmethod
    async def open(
        cls,
        path: Path,
        shard: LocalShard,
        node: str,
        *,
        clock: Clock = SYSTEM,
        limits: ReplicaLimits = DEFAULT_LIMITS,
        in_order: InOrder | None = None,
        life: str | None = None,
        shard_life: str = "",
        keys: KeyRing | None = None,
    ) -> "Replica":
        """path: of the journal, made if it is not there. node: a name that no other replica of the shard has.

        shard_life: another where the shard was made anew; then the journal begins anew too (`Collection.life`).
        keys: that seal the journal. Writes wait until the shard has what it may lack after a crash. Raises ShardError
        for an unreadable file, TrustError where its key is not there.
        """
        in_order = in_order or own_thread()
        own_life = life or secrets.token_hex(LIFE_BYTES)
        journal = await in_order(lambda: Journal(path, node, own_life, shard_life, keys))
        if journal.was_emptied:
            _log.warning("replica of `%s`: journal `%s` was of another shard, it begins anew", shard.name, path)
        return cls(journal, shard, node, in_order, clock, limits)

    async def close(self) -> None:
        """Ends; the shard stays open. What is in the journal is done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(LittoralError):
            await self.pipeline.keep()
        await self.pipeline.close()

    @property
    def origin(self) -> str:
        """Who writes here: the node, and this life of its journal."""
        return self._journal.origin

    @property
    def has_strays(self) -> bool:
        """Whether points are noted that may belong to another shard."""
        return self._journal.strays.is_any

    @property
    def is_whole(self) -> bool:
        """Whether it has once had everything that its peers had, since its shard was made or made anew."""
        return self._journal.is_whole

    async def become_whole(self) -> None:
        """From now on it is, after a restart too."""
        if not self.is_whole:
            await self.pipeline.read(Journal.become_whole)

    def state(self) -> ReplicaState:
        """For people and metrics."""
        lacking = self.pipeline.committed_seq - self.pipeline.applied_seq
        return ReplicaState(self.origin, self.vector, self._journal.log_bytes, lacking, self.pipeline.refused_count)

    async def reach(self, vector: Mapping[str, int]) -> None:
        """Returns when everything up to there is here, and the shard has it."""
        await self.pipeline.until(lambda: all(self.vector.get(one, 0) >= number for one, number in vector.items()))
        await self.pipeline.until_applied(self.pipeline.committed_seq)

    def watch(self, on_news: Callable[[], None]) -> None:
        """Called whenever `vector` has grown, in the event loop; must not wait."""
        self._on_news.append(on_news)

    def _committed(self, knowledge: Knowledge) -> None:
        self.vector, self.floor = knowledge
        for tell in self._on_news:
            tell()

    async def upsert_points(
        self,
        batch: PointBatch,
        *,
        mode: UpdateMode = "upsert",
        condition: Filter | None = None,
        deadline_s: float = DEADLINE_S,
        at: At = ANY,
    ) -> Stamp:
        """As `Collection.upsert_points`."""
        batch.ids = checked_ids(batch.ids)
        check_columns(batch, self.shard.config)
        if mode == "upsert" and condition is None:
            return await self._write(upserts(batch), deadline_s, at)
        check_changes(upserts(batch), self.shard.config)
        return await self._in_its_own_way(
            lambda: _ids(batch.ids),
            lambda _ids, _before: self.shard.upsert_points(
                batch, mode=mode, condition=condition, acknowledge="applied"
            ),
            deadline_s,
            at,
        )

    async def delete(self, ids: Sequence[PointId], *, deadline_s: float = DEADLINE_S, at: At = ANY) -> Stamp:
        """As `Collection.delete`."""
        return await self._write([Change(point) for point in checked_ids(ids)], deadline_s, at)

    async def delete_matching(self, matching: Filter, *, deadline_s: float = DEADLINE_S, at: At = ANY) -> Stamp:
        """As `Collection.delete_matching`: what the filter finds here, now."""
        async with _within(deadline_s, self.shard.name), self.pipeline.alone() as write:
            await self._settle_doubts(write)
            for some in _pages(await found_ids(self.shard, matching)):
                stamp: Stamp = await write(self._written([Change(point) for point in some], at), len(some))
            return stamp

    async def update_vectors(
        self,
        ids: Sequence[PointId],
        vectors: list[PointVectors],
        *,
        condition: Filter | None = None,
        deadline_s: float = DEADLINE_S,
        at: At = ANY,
    ) -> Stamp:
        """As `Collection.update_vectors`."""
        return await self._in_its_own_way(
            lambda: _ids(ids),
            lambda _ids, _before: self.shard.update_vectors(ids, vectors, condition=condition, acknowledge="applied"),
            deadline_s,
            at,
        )

    async def delete_vectors(
        self,
        names: Sequence[str],
        *,
        ids: Sequence[PointId] | None = None,
        matching: Filter | None = None,
        deadline_s: float = DEADLINE_S,
        at: At = ANY,
    ) -> Stamp:
        """As `Collection.delete_vectors`."""
        return await self._in_its_own_way(
            lambda: self._found(matching) if ids is None else _ids(ids),
            lambda found, _before: self.shard.delete_vectors(names, ids=found, acknowledge="applied"),
            deadline_s,
            at,
        )

    async def change_payload(self, change: PayloadChange, *, deadline_s: float = DEADLINE_S, at: At = ANY) -> Stamp:
        """As `Collection.change_payload`."""
        if change.payload is not None:
            check_payload(change.payload, "payload")
        return await self._in_its_own_way(
            lambda: self._found(change.filter) if change.ids is None else _ids(change.ids),
            lambda found, before: self._change_payload(change, found, before),
            deadline_s,
            at,
        )

    async def _change_payload(self, change: PayloadChange, ids: list[PointId], before: Mapping[PointId, Change]) -> int:
        """What takes a whole payload away leaves the mark that some have."""
        marked: list[PointId] = []
        if change.how in ("replace", "clear") and change.key is None and (mark := self.kept_key):
            marked = [point for point in ids if point in before and mark in (before[point].payload or {})]
        others = [point for point in ids if point not in set(marked)] if marked else ids
        epoch = 0
        if others or not ids:
            epoch = await self.shard.change_payload(_for_ids(change, others), acknowledge="applied")
        if marked:
            payload = {**(change.payload or {}), self.kept_key: True}
            kept = msgspec.structs.replace(change, how="replace", payload=payload)
            epoch = await self.shard.change_payload(_for_ids(kept, marked), acknowledge="applied")
        return epoch

    async def take_over(self, states: list[State], deadline_s: float) -> Stamp:
        """States of points that lay in other shards, at the times that they have; what is later here stays."""
        check_changes([state.change for state in states], self.shard.config)
        size = sum(size_of(state.change) for state in states)
        async with _within(deadline_s, self.shard.name):
            return await self.pipeline.submit(lambda journal: journal.take_over(states), size)

    async def _write(self, changes: list[Change], deadline_s: float, at: At) -> Stamp:
        changes = latest(changes)
        check_changes(changes, self.shard.config)
        async with _within(deadline_s, self.shard.name):
            return await self.pipeline.submit(self._written(changes, at), sum(map(size_of, changes)))

    def _written(self, changes: list[Change], at: At) -> Work[Stamp]:
        wall = self._clock.wall()
        return lambda journal: (changes, journal.write(changes, wall, at=at))

    async def _in_its_own_way(
        self,
        which: Callable[[], Awaitable[list[list[PointId]]]],
        operation: "Operation",
        deadline_s: float,
        at: At,
    ) -> Stamp:
        """The shard does it; what has become of the points is written down."""
        async with _within(deadline_s, self.shard.name), self.pipeline.alone() as write:
            await self._settle_doubts(write)
            for some in await which():
                stamp = await self._changed_by(write, operation, some, at)
            return stamp

    async def _changed_by(self, write: "Write", operation: "Operation", ids: list[PointId], at: At) -> Stamp:
        if at.time:
            await self.pipeline.read(lambda journal: journal.check_time(ids, at))
        before = await read_points(self.shard, ids)
        self._is_in_doubt = True
        await self.pipeline.read(lambda journal: journal.doubt(ids))
        try:
            await operation(ids, before)
        except RequestError:
            await self._write_found(write, {}, [])
            raise
        return await self._write_found(write, before, ids, at)

    async def _write_found(
        self, write: "Write", before: Mapping[PointId, Change], ids: Sequence[PointId], at: At = ANY
    ) -> Stamp:
        after = await read_points(self.shard, ids)
        changes = [after.get(point, Change(point)) for point in ids if after.get(point) != before.get(point)]
        wall = self._clock.wall()

        def work(journal: Journal) -> tuple[list[Change], Stamp]:
            journal.settle()
            return [], journal.write(changes, wall, at=at)

        stamp: Stamp = await write(work, sum(map(size_of, changes)))
        self._is_in_doubt = False
        return stamp

    async def _found(self, matching: Filter | None) -> list[list[PointId]]:
        return _pages(await found_ids(self.shard, matching))

    async def _settle_doubts(self, write: "Write") -> None:
        """After a crash, or an operation that did not end in time: the points as they are now."""
        if not self._is_in_doubt:
            return
        await self.shard.delete([], acknowledge="applied")
        ids = await self.pipeline.read(Journal.doubted)
        before: dict[PointId, Change] = {point: Change(point, None, {}) for point in ids}
        await self._write_found(write, before, ids, ANY._replace(may_stray=True))

    async def adopt(self) -> Stamp:
        """Takes points that the shard had before it had a journal for points written here, now."""
        async with self.pipeline.alone() as write:
            ids = await found_ids(self.shard)
            wall = self._clock.wall()
            stamp: Stamp = await write(lambda journal: ([], journal.adopt(ids, wall)), 0)
            return stamp

    async def pack(self, archive: Path, journal: Path, *, deadline_s: float) -> None:
        """A snapshot of the shard, and the journal that belongs to it, as files that are not there yet."""
        async with _within(deadline_s, self.shard.name), self.still():
            await self.shard.pack(str(archive), deadline_s=deadline_s)
            await self.pipeline.read(lambda own: own.copy(journal))

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing is written meanwhile; what was is in the shard, and in the journal."""
        async with self.pipeline.alone() as write:
            await self._settle_doubts(write)
            yield

    async def begin_life(self) -> None:
        """Writes made here have another origin from now on."""
        life = secrets.token_hex(LIFE_BYTES)
        async with self.pipeline.alone():
            await self.pipeline.read(lambda journal: journal.begin_life(self.node, life))

    def known_to_all(self, vector: Mapping[str, int]) -> None:
        """Every replica has this: entries up to there need not be kept for any."""
        self._known_to_all = dict(vector)

    async def _keep_house(self) -> None:
        await self.pipeline.until_open()
        endured = Endured()
        while True:
            with endured.round(f"replica of `{self.shard.name}`"):
                if self._is_in_doubt:
                    async with self.pipeline.alone() as write:
                        await self._settle_doubts(write)
                if await self.pipeline.keep() or self._known_to_all:
                    await self._forget()
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _forget(self) -> None:
        known, self._known_to_all = self._known_to_all, {}
        await self.pipeline.read(lambda journal: journal.forget(known, self._limits.log_bytes))
        now = self._clock.monotonic()
        if self._forgot_at is None or now - self._forgot_at >= FORGET_EVERY_S:
            self._forgot_at = now
            before = self._clock.wall() - self._limits.deletions_s
            before -= before % FORGET_EVERY_S
            await self.pipeline.read(lambda journal: journal.forget_deletions(hybrid_time(before)))
            self.floor = (await self.pipeline.read(lambda journal: journal.knowledge)).floor


Operation = Callable[[list[PointId], Mapping[PointId, Change]], Awaitable[int]]
"""Ids, and how those points are that are there."""
Write = Callable[[Callable[[Journal], tuple[list[Change], Stamp]], int], Awaitable[Stamp]]


@contextlib.asynccontextmanager
async def _within(deadline_s: float, name: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError as error:
        raise UnavailableError(
            f"replica of `{name}`: not done in {deadline_s:g} s",
            hint="a write may have happened or not, and can be repeated",
        ) from error


async def _ids(ids: Sequence[PointId]) -> list[list[PointId]]:
    """All at once: if one is not there, none is changed."""
    return [list(dict.fromkeys(checked_ids(ids)))]


def _pages(ids: list[PointId]) -> list[list[PointId]]:
    return [ids[at : at + FOUND_COUNT] for at in range(0, len(ids), FOUND_COUNT)] or [[]]


def _for_ids(change: PayloadChange, ids: list[PointId]) -> PayloadChange:
    return msgspec.structs.replace(change, ids=ids, filter=None)


def own_thread() -> InOrder:
    """One thread that does what it is given, in order."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="littoral-journal")

    async def in_order(call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    return in_order
