"""Replicas here that lack nearly everything: a snapshot of a peer's takes their place, with what only they have.

A shard that lost its disk, or that is new here, is empty at first, and takes writes. When a comparison finds that it
lacks most of what a peer has, and the log does not reach back so far, the peer's snapshot is fetched beside it. What
is here and not there is brought over by the rules of any comparison; then one name in a file changes, and the shard is
that one. Whatever goes wrong before, it stays as it is, and is repaired point by point.
"""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import LittoralError, PeerError, ShardError, UnavailableError
from littoral.mesh.snapshot_shipping import Pace, SnapshotOffers, fetch_snapshot
from littoral.node.federation.replicas import Replicas
from littoral.settings import number
from littoral.telemetry import Reading
from littoral.transport import Transport
from littoral.vault import KeyRing
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.seeding import ARCHIVE, JOURNAL, bring_over, pack_replica
from littoral.vectors.replication.shared_log import SharedLog

__all__ = ["Seeding"]

OFFERS = "offers"
DIFFERING_MIN = 2048
"""Half of the buckets: some 2840 points, or more."""

OWN_COUNT_MAX = 4096
EXCHANGE_S = 300.0
TRIES_MAX = 3
LATER_S = 600.0

Say = Callable[[str], None]


class Seeding:
    """Of one node, for one event loop. folder: for snapshots that others fetch."""

    def __init__(
        self,
        transport: Transport,
        replicas: Replicas,
        collections: Collections,
        folder: Path,
        holders: Callable[[str], Sequence[str]],
        reopen: Callable[[str], Awaitable[None]],
        *,
        pace: Pace,
        clock: Clock,
        say: Say,
    ) -> None:
        """holders: of a shard of this node; none while its collection goes to another layout. reopen: told when other
        points took the place of a shard's. pace: of all that is fetched.
        """
        self._transport = transport
        self._replicas = replicas
        self._collections = collections
        self._folder = folder
        self._holders = holders
        self._reopen = reopen
        self._pace = pace
        self._clock = clock
        self._say = say
        self._offers = SnapshotOffers(transport, folder / OFFERS, self._pack, self._may_have, clock=clock)
        self._task: asyncio.Task[None] | None = None
        self._under_way = ""
        self._tries: Counter[tuple[str, str]] = Counter()
        self._not_before_s: dict[tuple[str, str], float] = {}
        self._fetched_bytes: Counter[str] = Counter()

    async def open(self) -> None:
        """From now on other holders get snapshots."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True, mode=0o700)
        await self._offers.start()

    async def tidy(self) -> None:
        """To be called now and then."""
        await self._offers.tidy()

    async def close(self) -> None:
        """What is under way ends; what was fetched stays for the next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for name in self._replicas.names():
            yield Reading("littoral_replica_snapshot_bytes_total", (name,), self._fetched_bytes[name])

    async def _pack(self, name: str, folder: Path) -> list[Path]:
        return await pack_replica(self._replicas.of(name), folder)

    def _may_have(self, peer: str, name: str) -> bool:
        return peer in self._holders(name)

    async def takes(self, shard: str, peer: str, differing_count: int) -> bool:
        """As `mesh.replica_log.Seeds`; one shard at a time."""
        if differing_count < DIFFERING_MIN or peer not in self._holders(shard):
            return False
        if self._clock.monotonic() < self._not_before_s.get((shard, peer), 0.0):
            return False
        replica = self._replicas.of(shard)
        count, _ = await replica.pipeline.read(Journal.count)
        if count > OWN_COUNT_MAX:
            return False
        if self._task is None or self._task.done():
            self._under_way = shard
            self._task = asyncio.create_task(self._seed(shard, peer), name="littoral-seeding")
        return True

    async def _seed(self, name: str, peer: str) -> None:
        try:
            await self._fetch_and_exchange(name, peer)
        except (LittoralError, OSError) as error:
            self._say(f"mesh: shard `{name}`: snapshot of `{peer}`: {error}")
            self._tries[name, peer] += 1
            if not isinstance(error, PeerError) or self._tries[name, peer] >= TRIES_MAX:
                self._not_before_s[name, peer] = self._clock.monotonic() + LATER_S
                await self._clear(name)

    async def _fetch_and_exchange(self, name: str, peer: str) -> None:
        before = self._fetched_bytes[name]
        folder = self._replicas.seed_folder(name)
        fetched = await fetch_snapshot(self._transport, peer, name, folder, pace=self, room_bytes=self._room_bytes)
        await self._exchange(name, fetched.files)
        await self._clear(name)
        self._tries.pop((name, peer), None)
        self._say(f"mesh: shard `{name}` is that of `{peer}` now: {self._fetched_bytes[name] - before} bytes fetched")

    async def _clear(self, name: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._replicas.seed_folder(name), ignore_errors=True)

    def now(self) -> float:
        """As `Pace`."""
        return self._pace.now()

    async def spent(self, bytes_sent: int, began_s: float) -> None:
        """As `Pace`; counts."""
        self._fetched_bytes[self._under_way] += bytes_sent
        await self._pace.spent(bytes_sent, began_s)

    def _room_bytes(self) -> int:
        """It is there twice for a while: packed, and unpacked."""
        reserve = number("LITTORAL_DISK_RESERVE_MB") << 20
        return max(0, shutil.disk_usage(self._folder).free - reserve) // 2

    async def _exchange(self, name: str, files: Mapping[str, Path]) -> None:
        former = self._replicas.of(name)
        if not self._holders(name):
            raise UnavailableError(f"shard `{name}` is about to go elsewhere")
        async with contextlib.AsyncExitStack() as still:

            async def ready(fresh: Collection) -> None:
                async with _opened(
                    files[JOURNAL], fresh, self._transport.name, self._clock, self._replicas.keys
                ) as replica:
                    await _check_whole(fresh, replica)
                    logs = SharedLog(name, former), SharedLog(name, replica)
                    await bring_over(*logs)
                    await still.enter_async_context(former.still())
                    if not await bring_over(*logs):
                        raise ShardError(f"shard `{name}`: points that are here cannot be read")

            await self._collections.recover_part(name, files[ARCHIVE], ready, deadline_s=EXCHANGE_S)
            former.pipeline.end(UnavailableError(f"shard `{name}` was exchanged for a snapshot", hint="try again"))
        await self._reopen(name)


@contextlib.asynccontextmanager
async def _opened(
    journal: Path, shard: Collection, node: str, clock: Clock, keys: KeyRing | None
) -> AsyncIterator[Replica]:
    replica = await Replica.open(journal, shard, node, clock=clock, shard_life=shard.life, keys=keys)
    try:
        yield replica
    finally:
        await replica.close()


async def _check_whole(shard: Collection, replica: Replica) -> None:
    told, _ = await replica.pipeline.read(Journal.count)
    if (found := await shard.count()) != told:
        raise ShardError(f"snapshot of `{shard.name}` has {found} points, its journal knows of {told}")
