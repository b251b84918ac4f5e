"""Replication: writes through a journal beside those of the plain collection; two copies; a replica that comes back.

Shard hosts are processes; the two replicas speak through a network in this process, which takes no time itself.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.mesh.sync import ShippingTimes, Sync
from littoral.node.supervisor import embedded
from littoral.transport.fake import Network
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.shared_log import SharedLog

SIZE = 384
SHARD = "bench-0"
TURNS = 40
WRITERS = 16
BEHIND_POINTS = 20_000
BATCH = 256

Write = Callable[[PointBatch], Awaitable[object]]


def batch(start: int, count: int) -> PointBatch:
    rows = np.random.default_rng(start).standard_normal((count, SIZE)).astype("<f4")
    return PointBatch(list(range(start, start + count)), rows.tobytes())


async def alternating_ms(writes: list[Write], count: int) -> list[float]:
    """Medians of one write after the other, the ways in turn."""
    times: list[list[float]] = [[] for _ in writes]
    for turn in range(TURNS):
        for write, found in zip(writes, times, strict=True):
            points = batch(turn * count, count)
            began = time.perf_counter()
            await write(points)
            found.append(time.perf_counter() - began)
    return [statistics.median(found) * 1000 for found in times]


async def together(write: Write) -> float:
    """Writes of one point a second, from several at once."""

    async def one(writer: int) -> None:
        for turn in range(TURNS):
            await write(batch(1_000_000 + writer * TURNS + turn, 1))

    began = time.perf_counter()
    await asyncio.gather(*(one(writer) for writer in range(WRITERS)))
    return WRITERS * TURNS / (time.perf_counter() - began)


class Node:
    def __init__(self, collection: Collection, plain: Collection, replica: Replica, sync: Sync) -> None:
        self.collection = collection
        self.plain = plain
        self.replica = replica
        self.sync = sync

    async def applied(self, points: PointBatch) -> None:
        await self.plain.upsert_points(points, acknowledge="applied")

    async def durable(self, points: PointBatch) -> None:
        await self.plain.upsert_points(points, acknowledge="durable")

    async def replicated(self, points: PointBatch) -> None:
        stamp = await self.replica.upsert_points(points)
        found = await self.sync.copies(SHARD, stamp.origin, stamp.number, count=2, deadline_s=10)
        assert len(found.have) == 2


async def node(opened: AsyncExitStack, folder: Path, name: str, peer: str, network: Network) -> Node:
    link = await opened.enter_async_context(opened.enter_context(embedded(folder / name)))
    collections = await Collections.open(folder / name, link)
    opened.push_async_callback(collections.close)
    config = CollectionConfig(VectorParams(SIZE, "Cosine"))
    shared, plain = await collections.create("shared", config), await collections.create("plain", config)
    replica = await Replica.open(folder / name / "journal", shared, name)
    opened.push_async_callback(replica.close)
    sync = Sync(network.join(name), clock=SYSTEM, rng=Random(name), times=ShippingTimes())
    opened.push_async_callback(sync.close)
    await sync.start()
    sync.add(SharedLog(SHARD, replica), [peer])
    return Node(shared, plain, replica, sync)


async def catching_up_s(network: Network, one: Node, other: Node) -> float:
    """Until a replica that was cut off has what was written meanwhile."""
    network.cut({"a"}, {"b"})
    for start in range(2_000_000, 2_000_000 + BEHIND_POINTS, BATCH):
        await one.replica.upsert_points(batch(start, BATCH))
    network.heal()
    began = time.perf_counter()
    while dict(other.replica.vector) != dict(one.replica.vector):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return time.perf_counter() - began


async def measured(folder: Path) -> list[Row]:
    rows: list[Row] = []
    network = Network()
    async with AsyncExitStack() as opened:
        one, other = [await node(opened, folder, *names, network) for names in (("a", "b"), ("b", "a"))]
        ways: dict[str, Any] = {
            "applied": one.applied,
            "durable": one.durable,
            "journal": one.replica.upsert_points,
            "two copies": one.replicated,
        }
        for count in (1, 100):
            told = await alternating_ms(list(ways.values()), count)
            by_way = dict(zip(ways, told, strict=True))
            for way, value in by_way.items():
                peer = None if way in ("applied", "durable") else "durable"
                rows.append(row(f"write {count}, {way}, p50", value, "ms", peer=peer, peer_value=peer and by_way[peer]))
        durable = await together(one.durable)
        rows.append(row(f"{WRITERS} writers, durable", durable, "writes/s"))
        for way in ("journal", "two copies"):
            value = await together(ways[way])
            rows.append(row(f"{WRITERS} writers, {way}", value, "writes/s", peer="durable", peer_value=durable))
        took_s = await catching_up_s(network, one, other)
        rows.append(row(f"a replica {BEHIND_POINTS} points behind", BEHIND_POINTS / took_s, "points/s"))
    return rows


def run() -> list[Row]:
    """See the docstring of the module."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measured(Path(folder)))
