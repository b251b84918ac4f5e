"""A simulated site: its nodes, their network, and what is true of them."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from littoral.mesh.shard_map import ShardMap, Spread
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.residency import pinned_to
from littoral.node.mesh_tables import MeshTable, SpreadTable
from littoral.node.site_tables import CollectionTable, VectorTable
from littoral.testing.clock import SimulatedClock
from littoral.testing.mesh import several
from littoral.testing.mesh.ledger import Ledger, apart
from littoral.testing.mesh.models import MIGRATE, TEXT, embedded, told_model
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.plan import Plan
from littoral.testing.mesh.regions import REGION, TEXT_MARK, is_marked, marked, region_of
from littoral.testing.mesh.roster import SimulatedRoster
from littoral.testing.mesh.stores import Store, Stored
from littoral.testing.mesh.trace import Trace
from littoral.testing.weather import Weather
from littoral.transport.fake import LEASE_S, Network
from littoral.vectors.records import Payload, PointBatch, PointId

__all__ = ["COLLECTION", "SIZE", "SimulatedSite"]

COLLECTION = "points"
MODEL = "model 1"
SIZE = 4
CLUSTERS = 12
SAMPLE_ROWS = 400
DELAY_S, JITTER_S = 0.004, 0.003
SPREAD = 0.25
CLOSED_MAX = 50
TEXT_BYTES = 8
LAST_S = 0.1
"""So long may take what is cancelled."""


class SimulatedSite:
    """folder: for the files of its nodes, on a disk where a sync costs nothing."""

    def __init__(
        self, plan: Plan, folder: Path, clock: SimulatedClock, *, show: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.rng = Random(plan.seed)  # noqa: S311
        self.trace = Trace(clock, folder, show)
        self.weather = Weather(plan.seed, delay_s=DELAY_S, jitter_s=JITTER_S, loss=plan.loss)
        self.network = Network(self.weather, told=self.trace.message)
        skews = any(fault.kind == "clock" for fault in plan.faults)
        is_by_vector = plan.strategy == "metric" or any(fault.kind == "layout" for fault in plan.faults)
        self.ledger = Ledger(is_by_vector=is_by_vector, is_by_clock=skews)
        self.broken: list[str] = []
        self.rows = np.random.default_rng(plan.seed)
        self.centres = self.rows.standard_normal((CLUSTERS, SIZE))
        self.is_roster_known = False
        """Whether every member has the newest roster, those too that are down: who is not in it is heard by nobody."""
        self._starting: set[asyncio.Task[None]] = set()
        samples = self._samples(folder)
        table = self._table()
        self.roster = self._founded(folder) if "roster" in plan.worlds else None
        is_watched = bool(plan.worlds)
        everybody = dict.fromkeys(plan.names, "127.0.0.1:1")
        self.nodes = {
            name: SimulatedNode(
                name,
                MeshTable(
                    site="shop",
                    peers={one: at for one, at in everybody.items() if one != name},
                    region=plan.regions.get(name, ""),
                    regions={one: region for one, region in plan.regions.items() if one != name},
                ),
                {COLLECTION: table},
                samples,
                folder / name,
                network=self.network,
                clock=clock,
                rng=Random(self.rng.random()),  # noqa: S311
                trace=self.trace,
                saw=self._saw if is_watched else None,
                heard=self._heard if is_watched else None,
                is_kept=self.roster is not None,
            )
            for name in plan.names
        }
        for node in self.nodes.values():
            node.disk.saw = partial(self._stored, node.name)

    def _table(self) -> CollectionTable:
        plan = self.plan
        spread = SpreadTable(
            strategy=plan.strategy,
            shards=plan.shards,
            replicas=plan.replicas,
            holders=plan.holders,
            model=told_model(0) if self.has_models else MODEL,
            sample="sample.npy" if plan.strategy == "metric" else None,
            regions=sorted(set(plan.regions.values())),
            pinned=list(plan.pinned),
            region=REGION if plan.regions else None,
        )
        migrate = MIGRATE if self.has_models else None
        if self.is_named:
            return CollectionTable(named=several.TABLES, spread=spread)
        return CollectionTable(vectors=VectorTable(size=SIZE, distance="Euclid"), spread=spread, migrate=migrate)

    @property
    def has_models(self) -> bool:
        """Whether points keep a text, of which each of two models makes another vector."""
        return "models" in self.plan.worlds

    @property
    def is_named(self) -> bool:
        """Whether points have two vectors, or lack one of these."""
        return "named" in self.plan.worlds

    def _founded(self, folder: Path) -> SimulatedRoster:
        names = [name for name in self.plan.names if name not in self.plan.joining]
        return SimulatedRoster("shop", names, folder, self.clock, self.plan.regions)

    def is_member(self, name: str) -> bool:
        """Whether it belongs to the site, by the newest roster."""
        return self.roster is None or name in self.roster.names

    def _has_member(self, node: SimulatedNode) -> bool:
        return self.is_member(node.name)

    def region_of(self, point: PointId) -> str:
        """Of a client's point; empty where there are no regions."""
        return region_of(point, self.plan.regions)

    def may_see(self, name: str, point: PointId) -> bool:
        """Whether a node may get to know a point: those that are pinned only nodes of their region."""
        region = self.region_of(point)
        return region not in self.plan.pinned or self.plan.regions[name] == region

    def _stored(self, name: str, point: PointId) -> None:
        if not self.may_see(name, point):
            self.breaks(f"{name}: has point {point}, which is pinned to `{self.region_of(point)}`")

    def _saw(self, origin: str, target: str, what: str, body: bytes) -> None:
        if self.plan.regions.get(target, "") not in self.plan.pinned and is_marked(body):
            self.breaks(f"{origin}: what is pinned goes to {target}, by `{what}`")

    def _heard(self, origin: str, target: str, what: str) -> None:
        kept = self.nodes[target].kept
        roster = None if kept is None else kept.identity.roster()
        if roster is not None and roster.find(origin) is None:
            self.breaks(f"{target}: hears `{what}` of {origin}, which its roster does not have")

    def _samples(self, folder: Path) -> dict[str, Path]:
        if self.plan.strategy != "metric":
            return {}
        file = folder / "sample.npy"
        np.save(file, np.frombuffer(b"".join(self.vector() for _ in range(SAMPLE_ROWS)), "<f4").reshape(-1, SIZE))
        return {COLLECTION: file}

    def vector(self) -> bytes:
        """Near to one of a few places."""
        centre = self.centres[self.rows.integers(CLUSTERS)]
        row: bytes = (centre + SPREAD * self.rows.standard_normal(SIZE)).astype("<f4").tobytes()
        return row

    def question(self) -> bytes:
        """What a client looks for: a vector, or a text."""
        if self.is_named:
            told = several.vectors_of(several.row_of(self.vector(), self.rows))
            return told[sorted(told)[int(self.rows.integers(len(told)))]]
        return self._text() if self.has_models else self.vector()

    def _text(self) -> bytes:
        return self.rows.bytes(TEXT_BYTES).hex().encode()

    def as_seen(self, model: str, told: bytes) -> bytes:
        """The vector by which a collection of this model has what a client wrote, or looks for."""
        return embedded(model, told) if self.has_models else told

    def batch(
        self, model: str, points: list[int], told: list[bytes], payloads: list[Payload | None] | None
    ) -> PointBatch:
        """Of what clients write, as a collection of this model has it."""
        if self.is_named:
            return PointBatch(list(points), [dict(several.vectors_of(one)) for one in told], payloads)
        return PointBatch(list(points), b"".join(self.as_seen(model, one) for one in told), payloads)

    def apart(self, model: str, told: bytes, query: npt.NDArray[np.float32]) -> float:
        """How far a point that was written so is from what somebody looks for; ∞ where it has no such vector."""
        if not self.is_named:
            return apart(self.as_seen(model, told), query)
        found = several.vectors_of(told).get(several.using_of(query))
        return np.inf if found is None else apart(found, query)

    def as_told(self, stored: Stored) -> bytes:
        """What a client wrote."""
        if self.is_named:
            return several.told_of(stored.vector)
        return str((stored.payload or {}).get(TEXT, "")).encode() if self.has_models else stored.of("") or b""

    def vector_of(self, point: PointId) -> bytes:
        """For a client's point: marked where it must not leave its region; or a text."""
        is_pinned = self.region_of(point) in self.plan.pinned
        if self.has_models:
            return TEXT_MARK + self._text() if is_pinned else self._text()
        vector = self.vector()
        if self.is_named:
            return several.row_of(vector, self.rows)
        return marked(vector) if is_pinned else vector

    def up(self) -> list[SimulatedNode]:
        """Members that work."""
        return [node for node in self.nodes.values() if node.is_up and self.is_member(node.name)]

    def asked(self) -> list[SimulatedNode]:
        """Nodes that clients write at: some do not know that they do not belong to the site any more."""
        return [node for node in self.nodes.values() if node.is_up]

    def start(self, name: str, in_s: float = 0.0) -> None:
        """From now on it is on its way up."""

        async def run() -> None:
            await asyncio.sleep(in_s)
            await self.nodes[name].start()

        task = asyncio.create_task(run())
        self._starting.add(task)
        task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.breaks(f"a node does not start: {error!r}")

    async def all_started(self, within_s: float) -> None:
        """Returns when nobody is on its way up any more; who still is after that time breaks what a site promises."""
        end_s = self.clock.monotonic() + within_s
        while self._starting and (left_s := end_s - self.clock.monotonic()) > 0:
            await asyncio.wait(self._starting, timeout=left_s)
        if self._starting:
            self.breaks(f"{len(self._starting)} nodes have not started in {within_s:.0f} s")

    def breaks(self, what: str) -> None:
        """An invariant does not hold."""
        self.broken.append(f"{self.clock.monotonic():.3f} {what}")
        self.trace.note(f"BROKEN: {what}")

    def newest(self) -> ShardMap:
        """Of the maps that nodes go by."""
        maps = [node.federation.map for node in self.nodes.values() if node.federation is not None]
        return max(maps, key=lambda one: one.number, default=ShardMap())

    def spread(self) -> Spread | None:
        """Where the shards lie, by the newest map of all."""
        return self.newest().spreads.get(COLLECTION)

    def holders(self) -> dict[int, list[SimulatedNode]]:
        """Of each shard."""
        if (spread := self.spread()) is None:
            return {}
        return {shard: [self.nodes[name] for name in names] for shard, names in spread.places.items()}

    def stores(self) -> Iterator[tuple[int, SimulatedNode, Store]]:
        """Shard, holder that is a member, and what it has; where it has something."""
        for shard, nodes in self.holders().items():
            for node in filter(self._has_member, nodes):
                if (store := node.disk.by_part().get(part_name(COLLECTION, shard))) is not None:
                    yield shard, node, store

    def dark(self, asked: SimulatedNode, map_number: int) -> set[int]:
        """Shards whose holders are all down, for so long that everybody knows; none for who goes by an older map.

        asked: the node that is to say so; of regions that let it see nothing it says nothing.
        """
        since = self.clock.monotonic() - LEASE_S - 1.0
        return {
            shard
            for shard, nodes in self.holders().items()
            if all(node.down_since_s is not None and node.down_since_s < since for node in nodes)
            and map_number == self.newest().number
            and not self._is_hidden(shard, asked.name)
        }

    def _is_hidden(self, shard: int, name: str) -> bool:
        spread = self.spread()
        return spread is not None and pinned_to(spread).get(shard, own := self.plan.regions.get(name, "")) != own

    async def close(self) -> None:
        """They end as they should, of a large site some; what goes on after that is a leak."""
        for node in self.rng.sample(list(self.nodes.values()), min(CLOSED_MAX, len(self.nodes))):
            await node.close()
        await asyncio.sleep(LAST_S)
        for node in self.nodes.values():
            for process in node.dead:
                if process.tasks and not process.is_dead:
                    told = ", ".join(
                        getattr(task.get_coro(), "__qualname__", task.get_name()) for task in process.tasks
                    )
                    self.breaks(f"{node.name}: tasks go on after its end: {told}")

    async def bury(self) -> None:
        """Nothing goes on after this, whatever happened."""
        for node in self.nodes.values():
            node.crash(power=False)
        for node in self.nodes.values():
            for process in node.dead:
                await process.bury()
