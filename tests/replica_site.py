"""A site of replicas in one event loop with simulated time: nodes crash, lose power or their disk, and come again."""

import asyncio
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from littoral.clock import Clock
from littoral.mesh.sync import ShippingTimes, Sync
from littoral.transport.fake import Network
from littoral.vectors.replication.replica import Replica, ReplicaLimits
from littoral.vectors.replication.shared_log import SharedLog
from replica_models import MemoryShard

if TYPE_CHECKING:
    from littoral.mesh.replica_log import Seeds

SHARD = "frames-0"
TIMES = ShippingTimes(pull_s=2.0, compare_s=8.0, request_s=2.0, pause_max_s=2.0)


class ReplicaNode:
    """One node; `replica` and `sync` are None while it is down."""

    def __init__(self, site: "ReplicaSite", name: str) -> None:
        self.name = name
        self.shard = MemoryShard(site.rng)
        self.replica: Replica | None = None
        self.sync: Sync | None = None
        self.seeds: Seeds | None = None
        self._site = site
        self._life = 0

    @property
    def path(self) -> Path:
        return self._site.folder / f"{self.name}.journal"

    async def start(self) -> None:
        self._life += 1
        site = self._site
        replica = await Replica.open(
            self.path,
            self.shard,
            self.name,
            clock=site.clock,
            limits=site.limits,
            life=f"{self._life}",
            shard_life=self.shard.life,
        )
        transport = site.network.join(self.name)
        sync = Sync(transport, clock=site.clock, rng=Random(site.rng.random()), times=TIMES)
        sync.seeds = self.seeds
        await sync.start()
        sync.add(SharedLog(SHARD, replica), [name for name in site.nodes if name != self.name])
        self.replica, self.sync = replica, sync

    def crash(self, *, power: bool = False) -> None:
        """Nothing of it goes on from this moment. power: what the shard had not made durable is gone."""
        replica, sync = self.replica, self.sync
        assert replica is not None
        assert sync is not None
        self.replica = self.sync = None
        self._site.network.kill(self.name)
        links = [link for shared in sync._shards.values() for link in shared.links.values()]
        for task in (*replica._tasks, *replica.pipeline._tasks, *(link._task for link in links)):
            if task is not None:
                task.cancel()
        replica._journal.close()
        if power:
            self.shard.cut_power()

    def lose_disk(self) -> None:
        """After a crash: what comes again is empty."""
        self.shard = MemoryShard(self._site.rng)
        for file in self._site.folder.glob(f"{self.name}.journal*"):
            file.unlink()


class ReplicaSite:
    """Nodes `a`, `b`, … with a replica each of one shard."""

    def __init__(
        self, seed: int, folder: Path, clock: Clock, *, count: int = 3, conditions: Any = None, **limits: Any
    ) -> None:
        self.rng = Random(seed)
        self.folder = folder
        self.clock = clock
        self.limits = ReplicaLimits(**limits)
        self.network = Network(conditions)
        self.nodes = {name: ReplicaNode(self, name) for name in "abcdefgh"[:count]}

    async def __aenter__(self) -> "ReplicaSite":
        for node in self.nodes.values():
            await node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            if node.replica is not None and node.sync is not None:
                await node.sync.close()
                await node.replica.close()

    def up(self) -> list[ReplicaNode]:
        return [node for node in self.nodes.values() if node.replica is not None]

    async def mend(self) -> None:
        """Everyone is up, and hears everyone."""
        self.network.heal()
        for node in self.nodes.values():
            if node.replica is None:
                await node.start()

    def is_alike(self) -> bool:
        """Whether all replicas have the same points, and know so."""
        nodes = self.up()
        first = nodes[0].shard.points
        vectors = [node.replica.vector for node in nodes if node.replica]
        roots = {node.replica._journal.digests().of([0])[0] for node in nodes if node.replica}
        return (
            len(nodes) == len(self.nodes)
            and all(node.shard.points == first for node in nodes)
            and all(vector == vectors[0] for vector in vectors)
            and len(roots) == 1
        )

    async def until_alike(self, within_s: float) -> float:
        """Seconds that it took; as long as it may take if it does not."""
        began = self.clock.monotonic()
        while not self.is_alike() and self.clock.monotonic() < began + within_s:
            await self._moment()
        return self.clock.monotonic() - began

    async def _moment(self) -> None:
        await asyncio.sleep(0.05)
