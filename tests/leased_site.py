"""Nodes in simulated time that hold shards, promise each other what they know, and say when they know everything."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

from littoral.errors import LittoralError
from littoral.mesh.shard_map import Spread
from littoral.mesh.sync import Sync
from littoral.node.federation.completeness import Completeness, Holding
from littoral.node.federation.leases import LEASE_S, Grants
from littoral.node.federation.links import Links
from littoral.node.federation.replicas import Replicas
from littoral.node.federation.summaries import Summaries
from littoral.node.federation.summary_exchange import SummaryExchange
from littoral.testing.clock import SimulatedClock
from littoral.transport.fake import Conditions, Network
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig, PointBatch, Record, VectorParams
from littoral.vectors.replication.stamps import ANY
from replica_models import MemoryShard, vector
from replica_site import TIMES

CONFIG = CollectionConfig(vectors=VectorParams(2, "Euclid"))
DEADLINE_S = 20.0


class Told:
    """A holder of one shard `frames.0` of its own, and those who hear of it."""

    def __init__(self, network: Network, name: str, names: Sequence[str], clock: SimulatedClock) -> None:
        self.name, self.clock = name, clock
        self.summaries = Summaries(clock)
        self.vectors: list[bytes] = []
        self.epoch = 1
        members = dict.fromkeys(names, "")
        spread = Spread("hash", {0: [names[0]]})
        self.exchange = SummaryExchange(
            self.summaries,
            SimpleNamespace(part=lambda _: self),  # type: ignore[arg-type]
            network.join(name),
            Links(clock),
            lambda: members,
            lambda _: {"frames": spread},
            clock=clock,
            grants=Grants(clock, is_first_life=True),
            complete_s=lambda *_: LEASE_S,
        )

    config = CONFIG

    async def info(self, **_: Any) -> Any:
        return SimpleNamespace(epoch=self.epoch, points_count=len(self.vectors), payload_schema={})

    async def scroll(self, **_: Any) -> tuple[list[Record], None]:
        return [Record(i, None, one) for i, one in enumerate(self.vectors)], None

    async def start(self) -> "asyncio.Task[None]":
        await self.exchange.open()
        self.summaries.use("frames")
        return asyncio.create_task(self.exchange.keep())

    async def write(self, place: Sequence[float]) -> None:
        """Returns when it is acknowledged."""
        row = np.array([place], "<f4").tobytes()
        self.vectors.append(row)
        self.epoch += 1
        stale = self.summaries.wrote("frames", 0, PointBatch([self.epoch], row), CONFIG, self.epoch)
        if stale is not None:
            await self.exchange.tell_stale("frames", 0, stale)


class NewShard(MemoryShard):
    """It is empty when its replica is made."""

    async def info(self, **_: Any) -> Any:
        return SimpleNamespace(points_count=0)


class ReplicaOf:
    """A node with a replica of the shard `frames.0`, all of whose holders take writes."""

    def __init__(self, site: "LeasedSite", name: str) -> None:
        self.name, self._site = name, site
        self.shard = NewShard(site.rng)
        transport = site.network.join(name)
        self._sync = Sync(transport, clock=site.clock, rng=Random(site.rng.random()), times=TIMES)
        self.replicas = Replicas(
            self._sync, site.folder / name, name, site.clock, Grants(site.clock, is_first_life=True)
        )
        holding = Holding("frames", 0, site.names, 1)
        self.completeness = Completeness(
            transport, self.replicas, lambda *_: holding, lambda: dict.fromkeys(site.names, ""), site.clock
        )
        self._holding = holding

    async def start(self) -> None:
        await self._sync.start()
        await self.replicas.keep("frames.0", self.shard, self._site.names, self.shard.life)  # type: ignore[arg-type]
        await self.completeness.open()
        self._site.tasks.append(asyncio.create_task(self.completeness.keep(lambda: [self._holding])))

    async def write(self, point: int) -> None:
        request = frames.Upsert(call=0, points=PointBatch([point], vector(point)))
        await self.replicas.write("frames.0", request, DEADLINE_S, here=1, least=1, wait_s=0.0, at=ANY)

    def read(self) -> set[int] | None:
        """The points here; None where some may be missing."""
        if self.completeness.left_s("frames", 0) <= 0:
            return None
        return {int(point) for point in self.shard.points}


class LeasedSite:
    """Acknowledged by one node alone, whoever the others are: what keeps readers right are leases."""

    def __init__(self, seed: int, folder: Path, clock: SimulatedClock, conditions: Conditions) -> None:
        self.rng, self.folder, self.clock = Random(seed), folder, clock
        self.names = ("a", "b", "c")
        self.network = Network(conditions)
        self.tasks: list[asyncio.Task[None]] = []
        self.nodes: Mapping[str, ReplicaOf] = {name: ReplicaOf(self, name) for name in self.names}
        self.acknowledged: set[int] = set()
        self.refused = self.certain = self.uncertain = 0

    async def start(self) -> None:
        for node in self.nodes.values():
            await node.start()

    async def keep_writing(self, count: int) -> None:
        for point in range(count):
            await asyncio.sleep(self.rng.random() * 0.4)
            self.tasks.append(asyncio.create_task(self._write(self.nodes[self.rng.choice(self.names)], point)))

    async def _write(self, node: ReplicaOf, point: int) -> None:
        try:
            await node.write(point)
            self.acknowledged.add(point)
        except LittoralError:
            self.refused += 1

    def look(self) -> None:
        """At every node: what says that it has everything has everything."""
        for node in self.nodes.values():
            if (found := node.read()) is None:
                self.uncertain += 1
                continue
            self.certain += 1
            assert self.acknowledged <= found, f"`{node.name}` lacks {self.acknowledged - found}"

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for node in self.nodes.values():
            await node.replicas.close()
