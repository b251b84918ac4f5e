"""This node's replicas of shards that others hold too: written here, shipped to them, and kept alike (`mesh.sync`)."""

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import UnavailableError
from littoral.mesh.sync import Copies, Lag, Sync
from littoral.node.federation.copies import MARK
from littoral.node.federation.leases import Grants
from littoral.telemetry import Reading
from littoral.vault import KeyRing
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.entries import State
from littoral.vectors.replication.owed_points import OwedPoints
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.requests import write_to
from littoral.vectors.replication.seeding import JOURNAL, install_left_journal, remove_journal
from littoral.vectors.replication.shared_log import SharedLog
from littoral.vectors.replication.stamps import At, Stamp
from littoral.vectors.replication.stray_points import StrayPoints

__all__ = ["FOLDER", "Replicas", "Watched"]

FOLDER = "replicas"
JOURNAL_SUFFIX = ".sqlite"
SEEDS = "seeds"

Wrote = Callable[[frames.Upsert | frames.UpdateVectors | frames.ChangePayload, int], Awaitable[None]]
"""The write, and the shard's epoch after it."""


_lives = itertools.count()


class Watched:
    """A shard that tells of every point written to it or taken from it, whoever did so."""

    def __init__(self, part: Collection, wrote: Wrote, left: Callable[[], None]) -> None:
        self._part = part
        self._wrote = wrote
        self._left = left
        self._write_count = 0
        self._life = next(_lives)

    @property
    def written(self) -> tuple[int, int]:
        """Another after every write, those among them whose outcome nobody knows, and in every life of the shard."""
        return self._life, self._write_count

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        if isinstance(request, frames.Read):
            return await self._part.ask(request, deadline_s=deadline_s)
        try:
            return await self._changed(request, deadline_s)
        finally:
            self._write_count += 1

    async def _changed(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        if isinstance(request, frames.Delete) and await self._has_some(request, deadline_s):
            try:
                return await self._part.ask(request, deadline_s=deadline_s)
            finally:
                self._left()
        answer = await self._part.ask(request, deadline_s=deadline_s)
        if isinstance(answer, frames.Written):
            match request:
                case frames.Upsert() | frames.UpdateVectors() | frames.ChangePayload():
                    await self._wrote(request, answer.epoch)
        return answer

    async def _has_some(self, request: frames.Delete, deadline_s: float) -> bool:
        if request.ids is None:
            return True
        asked = frames.Retrieve(call=0, ids=request.ids, with_payload=False)
        found = await self._part.ask(asked, deadline_s=deadline_s)
        return isinstance(found, frames.Records) and bool(found.records)


class Replicas:
    """For one event loop. folder: of the mesh's files. grants: which peers may hold their replica to be complete.

    keys: that seal journals; None: they are plain.
    """

    def __init__(
        self, sync: Sync, folder: Path, node: str, clock: Clock, grants: Grants, keys: KeyRing | None = None
    ) -> None:
        self._sync = sync
        self._folder = folder / FOLDER
        self._seeds = folder / SEEDS
        self._node = node
        self._clock = clock
        self._replicas: dict[str, Replica] = {}
        self._grants = grants
        self.keys = keys
        self._awaited: Counter[tuple[str, str]] = Counter()
        """Replicas and peers that a write waits for, because they may be believed to have it."""
        self._promised: dict[tuple[str, str], Mapping[str, int]] = {}
        """By replica and peer, what was here when the last promise was given."""
        self.behind_count = 0

    def names(self) -> list[str]:
        """Of the shards that are open here."""
        return list(self._replicas)

    def __contains__(self, name: str) -> bool:
        return name in self._replicas

    async def keep(self, name: str, shard: Collection, nodes: Sequence[str], life: str) -> None:
        """From now on like those of these nodes. Raises ShardError for a journal that cannot be read.

        life: of the shard that lies here (`Collection.life`).
        """
        if name in self._replicas:
            await self._sync.set_peers(name, [node for node in nodes if node != self._node])
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(name)
        seed = self.seed_folder(name)
        if await asyncio.to_thread(install_left_journal, seed / JOURNAL, path, life):
            await asyncio.to_thread(shutil.rmtree, seed, ignore_errors=True)
        replica = await Replica.open(path, shard, self._node, clock=self._clock, shard_life=life, keys=self.keys)
        replica.kept_key = MARK
        if not replica.vector and (await shard.info()).points_count:
            await replica.adopt()
        self._replicas[name] = replica
        self._sync.add(SharedLog(name, replica), [node for node in nodes if node != self._node])

    async def write(
        self, name: str, request: frames.PointWrite, deadline_s: float, *, here: int, least: int, wait_s: float, at: At
    ) -> Stamp:
        """A write that is on the disk here, and on those of all holders that are `here`, as far as they are quick.

        Raises UnavailableError where fewer than `least` have it in time; it is kept and shipped all the same.
        """
        began = self._clock.monotonic()
        stamp = await write_to(self.of(name), request, deadline_s=deadline_s, at=at)
        await self._see_copies(name, stamp, deadline_s - (self._clock.monotonic() - began), here, least, wait_s)
        return stamp

    async def take_over(
        self, name: str, states: list[State], deadline_s: float, *, here: int, least: int, wait_s: float
    ) -> None:
        """As `write`, for points that lay in other shards, with the versions that they have."""
        began = self._clock.monotonic()
        stamp = await self.of(name).take_over(states, deadline_s)
        await self._see_copies(name, stamp, deadline_s - (self._clock.monotonic() - began), here, least, wait_s)

    async def _see_copies(
        self, name: str, stamp: Stamp, deadline_s: float, here: int, least: int, wait_s: float
    ) -> None:
        began = self._clock.monotonic()
        copies = await self._sync.copies(
            name, stamp.origin, stamp.number, count=max(here, least), deadline_s=min(wait_s, deadline_s), least=least
        )
        left_s = deadline_s - (self._clock.monotonic() - began)
        if len(copies.have) < least and left_s > 0:
            copies = await self._sync.copies(name, stamp.origin, stamp.number, count=least, deadline_s=left_s)
        self.behind_count += len(copies.missing)
        if len(copies.have) < least:
            missing = ", ".join(f"`{node}`" for node in copies.missing)
            raise UnavailableError(
                f"shard `{name}`: {len(copies.have)} nodes have the write, at least {least} must; not yet: {missing}",
                hint="it is kept here and shipped to them; it can be repeated",
            )
        await self._outlast(name, stamp, copies, began + deadline_s)

    def config(self, name: str) -> CollectionConfig:
        """Of the shard that lies here, the model among it."""
        return self.of(name).shard.config

    def owed(self, name: str) -> OwedPoints:
        """What this replica has to hand over."""
        return OwedPoints(self.of(name))

    def strays(self, name: str) -> StrayPoints:
        """What this replica has that may belong to another shard."""
        return StrayPoints(self.of(name))

    async def let_go(self, name: str) -> None:
        """This node has no replica of it any more; its journal stays."""
        if (replica := self._replicas.pop(name, None)) is not None:
            await self._sync.remove(name)
            await replica.close()

    async def remove_journal(self, name: str) -> None:
        """From the disk; the shard must be gone already."""
        await asyncio.to_thread(shutil.rmtree, self.seed_folder(name), ignore_errors=True)
        await asyncio.to_thread(remove_journal, self._path(name))

    def kept(self) -> list[str]:
        """Names of shards whose journals lie here."""
        return sorted(path.stem for path in self._folder.glob(f"*{JOURNAL_SUFFIX}")) if self._folder.is_dir() else []

    def of(self, name: str) -> Replica:
        """Raises UnavailableError."""
        if (replica := self._replicas.get(name)) is None:
            raise UnavailableError(f"shard `{name}` is not on this node")
        return replica

    def seed_folder(self, name: str) -> Path:
        """Where a snapshot of a peer's lies until it takes the place of this one."""
        return self._seeds / name

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{JOURNAL_SUFFIX}"

    async def _outlast(self, name: str, stamp: Stamp, copies: Copies, end_s: float) -> None:
        """Until nobody who lacks the write may believe that its replica is complete. Raises UnavailableError."""
        while pending := self._believers(name, copies):
            now_s = self._clock.monotonic()
            if now_s >= end_s:
                raise UnavailableError(
                    f"shard `{name}`: {', '.join(f'`{node}`' for node in pending)} may still tell others to have all",
                    hint="it is kept here and shipped to them; it can be repeated",
                )
            awaited = [(name, peer) for peer in pending]
            self._awaited.update(awaited)
            try:
                wait_s = min(end_s, *pending.values()) - now_s
                if not copies.missing:  # it holds the shard no more, and may not know that yet
                    await asyncio.sleep(wait_s)
                    continue
                count = len(copies.have) + 1
                copies = await self._sync.copies(name, stamp.origin, stamp.number, count=count, deadline_s=wait_s)
            finally:
                self._awaited.subtract(awaited)

    def _believers(self, name: str, copies: Copies) -> dict[str, float]:
        holders = self._grants.holders((name, 0), [*copies.have, *copies.missing])
        return {peer: until_s for peer, until_s in holders.items() if peer not in copies.have}

    def promise(self, name: str, peer: str) -> Mapping[str, int] | None:
        """What is here; from now on `write` waits for this peer. None where it has not got what a write waits for, or
        what was here when it asked last: it would hold up everything, and believe nothing.
        """
        if (replica := self._replicas.get(name)) is None or self._awaited[name, peer] > 0:
            return None
        if not self._sync.has(name, peer, self._promised.get((name, peer), {})):
            return None
        self._promised[name, peer] = dict(replica.vector)
        # First the promise: a write that the vector does not tell of finds it.
        self._grants.grant((name, 0), peer)
        return dict(replica.vector)

    async def reached(self, name: str, vector: Mapping[str, int], deadline_s: float) -> bool:
        """Whether everything up to there is in the shard here by then."""
        if (replica := self._replicas.get(name)) is None:
            return False
        try:
            async with asyncio.timeout(deadline_s):
                await replica.reach(vector)
        except TimeoutError:
            return False
        return True

    def is_whole(self, name: str) -> bool:
        """Whether nothing is missing there of the time before it was made, or made anew."""
        return name in self._replicas and self._replicas[name].is_whole

    async def become_whole(self, name: str) -> None:
        """From now on it is. Raises UnavailableError, ShardError."""
        await self.of(name).become_whole()

    def lags(self) -> list[Lag]:
        """Of each peer's replica of each shard."""
        return self._sync.lags()

    def lags_s(self) -> dict[str, float]:
        """By peer, of the shard that is furthest behind it."""
        found: dict[str, float] = {}
        for lag in self.lags():
            behind_s = lag.since_s if lag.entry_count else 0.0
            found[lag.peer] = max(found.get(lag.peer, 0.0), behind_s)
        return found

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        yield from self._sync.readings()
        for name, replica in self._replicas.items():
            state = replica.state()
            yield Reading("littoral_replica_log_bytes", (name,), state.log_bytes)
            yield Reading("littoral_replica_refused_total", (name,), state.refused_count)

    async def close(self) -> None:
        await self._sync.close()
        for replica in self._replicas.values():
            await replica.close()
