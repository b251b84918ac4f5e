"""A simulated site: its nodes, their network, and what is true of them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

from littoral.mesh.shard_map import ShardMap, Spread
from littoral.node.federation.local_shards import part_name
from littoral.node.mesh_tables import MeshTable, SpreadTable
from littoral.node.site_tables import CollectionTable, VectorTable
from littoral.testing.clock import SimulatedClock
from littoral.testing.mesh.ledger import Ledger
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.plan import Plan
from littoral.testing.mesh.stores import Store
from littoral.testing.mesh.trace import Trace
from littoral.testing.weather import Weather
from littoral.transport.fake import LEASE_S, Network

__all__ = ["COLLECTION", "SIZE", "SimulatedSite"]

COLLECTION = "points"
MODEL = "model 1"
SIZE = 4
CLUSTERS = 12
SAMPLE_ROWS = 400
DELAY_S, JITTER_S = 0.004, 0.003
SPREAD = 0.25
CLOSED_MAX = 50


class SimulatedSite:
    """folder: for the files of its nodes, on a disk where a sync costs nothing."""

    def __init__(
        self, plan: Plan, folder: Path, clock: SimulatedClock, *, show: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.rng = Random(plan.seed)  # noqa: S311
        self.trace = Trace(clock, show)
        self.weather = Weather(plan.seed, delay_s=DELAY_S, jitter_s=JITTER_S, loss=plan.loss)
        self.network = Network(self.weather, told=self.trace.message)
        skews = any(fault.kind == "clock" for fault in plan.faults)
        is_by_vector = plan.strategy == "metric" or any(fault.kind == "layout" for fault in plan.faults)
        self.ledger = Ledger(is_by_vector=is_by_vector, is_by_clock=skews)
        self.broken: list[str] = []
        self.rows = np.random.default_rng(plan.seed)
        self.centres = self.rows.standard_normal((CLUSTERS, SIZE))
        self.gone: set[str] = set()
        self._starting: set[asyncio.Task[None]] = set()
        samples = self._samples(folder)
        table = CollectionTable(
            vectors=VectorTable(size=SIZE, distance="Euclid"),
            spread=SpreadTable(
                strategy=plan.strategy,
                shards=plan.shards,
                replicas=plan.replicas,
                holders=plan.holders,
                model=MODEL,
                sample=None if plan.strategy == "hash" else "sample.npy",
            ),
        )
        everybody = dict.fromkeys(plan.names, "127.0.0.1:1")
        self.nodes = {
            name: SimulatedNode(
                name,
                MeshTable(site="shop", peers={one: at for one, at in everybody.items() if one != name}),
                {COLLECTION: table},
                samples,
                folder / name,
                network=self.network,
                clock=clock,
                rng=Random(self.rng.random()),  # noqa: S311
                trace=self.trace,
            )
            for name in plan.names
        }

    def _samples(self, folder: Path) -> dict[str, Path]:
        if self.plan.strategy == "hash":
            return {}
        file = folder / "sample.npy"
        np.save(file, np.frombuffer(b"".join(self.vector() for _ in range(SAMPLE_ROWS)), "<f4").reshape(-1, SIZE))
        return {COLLECTION: file}

    def vector(self) -> bytes:
        """Near to one of a few places."""
        centre = self.centres[self.rows.integers(CLUSTERS)]
        row: bytes = (centre + SPREAD * self.rows.standard_normal(SIZE)).astype("<f4").tobytes()
        return row

    def up(self) -> list[SimulatedNode]:
        """Nodes that work."""
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

    async def all_started(self) -> None:
        """Returns when nobody is on its way up any more."""
        while self._starting:
            await asyncio.wait(self._starting)

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
        """Shard, holder, and what it has; where it has something."""
        for shard, nodes in self.holders().items():
            for node in nodes:
                if (store := node.disk.by_part().get(part_name(COLLECTION, shard))) is not None:
                    yield shard, node, store

    def dark(self, map_number: int) -> set[int]:
        """Shards whose holders are all down, for so long that everybody knows; none for who goes by an older map."""
        since = self.clock.monotonic() - LEASE_S - 1.0
        return {
            shard
            for shard, nodes in self.holders().items()
            if all(node.down_since_s is not None and node.down_since_s < since for node in nodes)
            and map_number == self.newest().number
        }

    async def close(self) -> None:
        """They end as they should, of a large site some; what goes on after that is a leak."""
        for node in self.rng.sample(list(self.nodes.values()), min(CLOSED_MAX, len(self.nodes))):
            await node.close()
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
