"""Two nodes of one process that hold the same shard: one goes, loses its folder, and comes again."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from littoral.node.federation.federation import Federation
from littoral.telemetry import Reading
from littoral.vectors.replication.journal import Journal
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_node, spread_table
from waiting import until_async, until_true

NAMES = ("a", "b")
PART = "points.0"
SIZE = 8
COUNT = 6000
"""So many differ that a snapshot is worth it."""


def rows_of(ids: range, turn: int = 0) -> np.ndarray:
    return np.random.default_rng([ids.start, turn]).standard_normal((len(ids), SIZE)).astype("<f4")


class SeededSite:
    """`start` and `stop` nodes; what they keep lies in `folder`."""

    def __init__(self, folder: Path, holders: int = 1) -> None:
        self.folder = folder
        self._tables = {"points": spread_table(SIZE, shards=1, replicas=2, holders=holders)}
        self.wires = Wires()
        self.nodes: dict[str, SpreadNode] = {}
        self._running: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self, *names: str) -> None:
        for name in names:
            self.wires.dead.discard(name)
            stack = self._running[name] = contextlib.AsyncExitStack()
            node = spread_node(
                self.folder, name, NAMES, self._tables, self.wires, mesh_options={"move_bytes_s": 1 << 30}
            )
            self.nodes[name] = await stack.enter_async_context(node)
        for name in names:
            await until_async(lambda name=name: not self.nodes[name].federation.lacking())

    async def stop(self, name: str) -> None:
        self.wires.kill(name)
        del self.nodes[name]
        await self._running.pop(name).aclose()

    def lose_shard(self, name: str) -> None:
        shutil.rmtree(self.folder / name / "collections" / PART)

    def federation(self, name: str) -> Federation:
        return self.nodes[name].federation

    async def write(self, name: str, ids: range, turn: int = 0) -> None:
        payloads = [{"n": point, "turn": turn} for point in ids]
        for at in range(0, len(ids), 1000):
            some = ids[at : at + 1000]
            await self.nodes[name]["points"].upsert(some, rows_of(ids, turn)[at : at + 1000], payloads[at : at + 1000])

    async def root(self, name: str) -> bytes | None:
        """Digest of all versions; None while the shard is not open, or lacks some of them."""
        replicas = self.federation(name).replicas
        if PART not in replicas or (pipeline := replicas.of(PART).pipeline).applied_seq < pipeline.committed_seq:
            return None
        return (await pipeline.read(Journal.digests)).of([0])[0]

    async def until_alike(self) -> None:
        async def is_alike() -> bool:
            roots = [await self.root(name) for name in self.nodes]
            return roots[0] is not None and len(set(roots)) == 1

        await until_true(is_alike)

    async def until_forgotten(self) -> None:
        """Both have everything, and no log of it."""
        await self.until_alike()
        for name in self.nodes:
            replica = self.federation(name).replicas.of(PART)
            await until_async(lambda replica=replica: not replica.state().log_bytes)

    def fetched_bytes(self, name: str) -> float:
        return sum(one.value for one in self.readings(name) if one.name == "littoral_replica_snapshot_bytes_total")

    def repaired_count(self, name: str) -> float:
        return sum(one.value for one in self.readings(name) if one.name == "littoral_replica_repaired_total")

    def readings(self, name: str) -> list[Reading]:
        federation = self.federation(name)
        return [*federation.replicas.readings(), *federation.seeding.readings()]

    async def points(self, name: str) -> dict[int, tuple[int, bytes]]:
        """Those in the shard that lies there: turn and vector, by id."""
        part = self.nodes[name].collections.part(PART)
        found, offset = {}, None
        while True:
            records, offset = await part.scroll(limit=1000, offset=offset, with_vector=True)
            found |= {record.id: (record.payload["turn"], record.vector) for record in records}
            if offset is None:
                return found


@contextlib.asynccontextmanager
async def seeded_site(folder: Path, holders: int = 1) -> AsyncIterator[SeededSite]:
    site = SeededSite(folder, holders)
    try:
        yield site
    finally:
        for name in list(site.nodes):
            await site.stop(name)
