"""One node of a simulated site: the real federation, on a network, a disk and a clock that are simulated."""

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from littoral.clock import Clock
from littoral.errors import LittoralError, UnavailableError
from littoral.mesh.facts import decode_fact
from littoral.node.federation.federation import FOLDER, Federation
from littoral.node.federation.replicas import FOLDER as JOURNALS
from littoral.node.federation.signed_site import SignedSite
from littoral.node.mesh_tables import MeshTable
from littoral.node.site_tables import CollectionTable
from littoral.testing.mesh.disks import DISK
from littoral.testing.mesh.models import SimulatedMigrations
from littoral.testing.mesh.roster import KeptNode
from littoral.testing.mesh.stores import Disk, SimulatedCollections
from littoral.testing.mesh.trace import Trace
from littoral.testing.mesh.watched import Heard, Saw, WatchedTransport
from littoral.testing.processes import Process
from littoral.transport import Transport
from littoral.transport.fake import Network
from littoral.vectors.collection import Collection

__all__ = ["NodeClock", "SimulatedNode"]

decode_once = lru_cache(100_000)(decode_fact)
"""What a thousand nodes are told is one object here."""

AGAIN_S = 1.0
TORN_BYTES_MAX = 2_000

T = TypeVar("T")


class NodeClock:
    """Of one node: `monotonic` is that of the simulation, `wall` may be set."""

    def __init__(self, clock: Clock) -> None:
        self.offset_s = 0.0
        self._clock = clock
        self.monotonic = clock.monotonic

    def wall(self) -> float:
        return max(0.0, self._clock.wall() + self.offset_s)


class SimulatedNode:
    """process, federation and collections are those of its present life; None while it is down.

    folder: for its files. They are real ones, so that what reads and writes them is; a crash keeps what was synced.
    """

    def __init__(
        self,
        name: str,
        mesh: MeshTable,
        tables: dict[str, CollectionTable],
        samples: dict[str, Path],
        folder: Path,
        *,
        network: Network,
        clock: Clock,
        rng: Random,
        trace: Trace,
        saw: Saw | None = None,
        heard: Heard | None = None,
        is_kept: bool = False,
    ) -> None:
        """saw, heard: told of every body that goes out or is let in. is_kept: it has an identity, and follows the
        roster.
        """
        self.name = name
        self.mesh = mesh
        self.tables = tables
        self.disk = Disk()
        self.clock = NodeClock(clock)
        self.boots = 0
        self.process: Process | None = None
        self.federation: Federation | None = None
        self.collections: SimulatedCollections | None = None
        self.down_since_s: float | None = 0.0
        self.woke_s = 0.0
        self._samples = samples
        self._folder = folder
        self._network = network
        self._rng = rng
        self._trace = trace
        self._watching = None if saw is None or heard is None else (saw, heard)
        self._is_kept = is_kept
        self.kept: KeptNode | None = None
        self.migrations: SimulatedMigrations | None = None
        self.dead: list[Process] = []
        self._is_closing = False
        self._calls: dict[asyncio.Task[Any], None] = {}
        """Of clients, of the present life."""

    @property
    def is_up(self) -> bool:
        """Whether it works: started, and neither dead, frozen, nor about to end."""
        is_there = self.federation is not None and self.process is not None and not self.process.is_frozen
        return is_there and not self._is_closing

    def is_down(self) -> bool:
        """Neither up, nor frozen, nor on its way up."""
        return self.process is None

    async def start(self) -> None:
        """Returns when it is open, or has died meanwhile. A start that fails is made again, as a supervisor would."""
        while True:
            process = self.process = Process(self.name)
            process.context.run(DISK.set, self.disk)
            opening = process.begin(self._open())
            awaited: set[asyncio.Future[None]] = {opening, process.ended}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if process.is_dead:
                return
            if (error := opening.exception()) is None:
                return
            if not isinstance(error, LittoralError):
                raise error
            self._trace.note(f"{self.name}: does not start: {error}")
            self.crash(power=False)
            await asyncio.sleep(AGAIN_S)

    async def _open(self) -> None:
        transport = await self._transport()
        collections = await SimulatedCollections.on(self._folder, self.disk, self._rng, self.clock)
        federation = Federation(
            self.mesh,
            self.tables,
            collections,
            transport,
            self._folder,
            clock=self.clock,
            say=self._say,
            samples=self._samples,
            signed=None if self.kept is None else SignedSite(self.kept.identity),
        )
        self.boots = federation._boot
        federation.fact_exchange.decode = decode_once
        await federation.open()
        if any(table.migrate is not None for table in self.tables.values()):
            await self._migrating(federation, collections)
        self.collections, self.federation = collections, federation
        self.down_since_s = None

    async def _migrating(self, federation: Federation, collections: SimulatedCollections) -> None:
        rng = Random(self._rng.random())  # noqa: S311
        made = SimulatedMigrations(self.tables, collections, federation, clock=self.clock, say=self._say, rng=rng)
        await made.open()
        self.migrations = made

    async def _transport(self) -> Transport:
        """To the other nodes, as `littoral up` makes it."""
        transport: Transport = self._network.join(self.name)
        if self._is_kept:
            rng = Random(self._rng.random())  # noqa: S311
            kept = self.kept = KeptNode(self._folder, transport, self.clock, say=self._say, rng=rng)
            await kept.open()
            transport = kept.transport
        return transport if self._watching is None else WatchedTransport(transport, *self._watching)

    def _say(self, line: str) -> None:
        self._trace.note(f"{self.name}: {line}")

    def crash(self, *, power: bool) -> None:
        """Its process ends at once. power: and so does the machine: what was not synced is gone."""
        if (process := self.process) is None:
            return
        process.kill()
        self._calls.clear()
        if self.down_since_s is None:
            self.down_since_s = self.clock.monotonic()
        self.dead.append(process)
        self._network.kill(self.name)
        self._end_life()
        if power:
            for store in self.disk.stores.values():
                store.cut_power(self._rng)
        for journal in sorted((self._folder / FOLDER / JOURNALS).glob("*.sqlite")):
            self._leave_behind(journal, power=power)

    def _leave_behind(self, journal: Path, *, power: bool) -> None:
        """The files as the next life finds them: of this one, which has them open, nothing reaches them any more.

        Every transaction was synced; a power cut leaves half a page of the next one behind the last.
        """
        log = journal.with_name(f"{journal.name}-wal")
        files = {file: file.read_bytes() for file in (journal, log) if file.exists()}
        if power and log in files:
            files[log] += self._rng.randbytes(self._rng.randrange(TORN_BYTES_MAX))
        for file in journal.parent.glob(f"{journal.name}*"):
            file.unlink()
        for file, data in files.items():
            file.write_bytes(data)

    def freeze(self) -> None:
        """It stands still, and what it is sent waits."""
        if self.process is not None:
            self.process.freeze()
            self._network.freeze(self.name)

    def thaw(self) -> None:
        """It goes on where it was."""
        if self.process is not None:
            self.woke_s = self.clock.monotonic()
            self.process.thaw()
            self._network.thaw(self.name)

    async def call(self, work: Coroutine[Any, Any, T], wait_s: float) -> T:
        """What a client at this node gets of it. Raises what the work does; UnavailableError if the node dies or does
        not answer in time.
        """
        assert self.process is not None
        process, task = self.process, self.process.begin(work)
        self._calls[task] = None
        task.add_done_callback(self._heard)
        awaited: set[asyncio.Future[Any]] = {task, process.ended}
        await asyncio.wait(awaited, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if task.cancelled():
            raise UnavailableError(f"node `{self.name}` ends")
        if task.done():
            return task.result()
        raise UnavailableError(f"node `{self.name}` {'died' if process.is_dead else 'does not answer'}")

    def collection(self, name: str) -> Collection:
        """As its HTTP interface sees it."""
        assert self.collections is not None
        return self.collections.get(name)

    async def close(self) -> None:
        """The node ends as it should: first what clients asked of it, then its part of the mesh."""
        if (process := self.process) is None or (federation := self.federation) is None:
            return
        self._is_closing = True
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self.migrations is not None:
            await process.begin(self.migrations.close())
        await process.begin(federation.close())
        if self.kept is not None:
            await process.begin(self.kept.close())
        await federation.transport.close()
        self.dead.append(process)
        self._end_life()

    def _end_life(self) -> None:
        self.process = self.federation = self.collections = self.kept = self.migrations = None
        self._is_closing = False

    def _heard(self, call: asyncio.Task[Any]) -> None:
        """What came of it, whether or not its client still waits."""
        self._calls.pop(call, None)
        if not call.cancelled():
            call.exception()
