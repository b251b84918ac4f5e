"""Vectors: writes and searches through a shard host, beside the store in this process; and coming back from kill -9.

Data have the low intrinsic dimension of embeddings (16), with 5 % noise; searches are exact unless `graph` is named.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from bench.rows import Row, row
from littoral.node.supervisor import embedded
from littoral.node.supervisor_link import SupervisorLink
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig, VectorParams

NODE = """
import asyncio, sys
from pathlib import Path
import numpy as np
from littoral.node.supervisor_link import SupervisorLink
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig, VectorParams

async def main(data):
    async with SupervisorLink.from_environment() as link:
        collections = await Collections.open(data, link)
        if "bench" not in collections:
            await collections.create("bench", CollectionConfig(VectorParams(1280, "Cosine")))
        collection = collections.get("bench")
        await collection.search(np.ones(1280))
        print("answered", flush=True)
        link.ready()
        for turn in range(10**9):
            start = turn * 256 % 20480
            rows = np.random.default_rng(turn).standard_normal((256, 1280))
            await collection.upsert(list(range(start, start + 256)), rows, acknowledge="applied")

asyncio.run(main(Path(sys.argv[1])))
"""
SUPERVISOR = """
import sys
from pathlib import Path
from littoral.node.supervisor import Supervisor
Supervisor(Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2], sys.argv[1]]).run_until_signal()
"""
SUPERVISOR_KILLS = 5
SETS = {"20k × 1280": (20_000, 1280), "100k × 128": (100_000, 128)}
INTRINSIC = 16
BATCH = 256
QUERIES = 150
SINGLE_WRITERS = 16
SINGLE_WRITES = 30
KILLS = 10
RESTART_MS_MAX = 2000.0
START_MS_MAX = 500.0

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def run() -> list[Row]:
    rows: list[Row] = []
    for name, (count, size) in SETS.items():
        vectors = embeddings(count, size)
        with tempfile.TemporaryDirectory() as folder:
            peer = in_process(Path(folder), vectors)
        with tempfile.TemporaryDirectory() as folder:
            rows += asyncio.run(through_a_host(Path(folder), name, vectors, peer))
    with tempfile.TemporaryDirectory() as folder:
        rows += asyncio.run(coming_back(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(supervisor_coming_back(folder))
    return rows


def embeddings(count: int, size: int) -> Vectors:
    rng = np.random.default_rng(7)
    basis = rng.standard_normal((INTRINSIC, size)).astype("<f4")
    rows = rng.standard_normal((count, INTRINSIC)).astype("<f4") @ basis
    return (rows + 0.05 * rng.standard_normal((count, size))).astype("<f4")


def percentiles(times_s: list[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    return statistics.median(times_s) * 1000, statistics.quantiles(times_s, n=20)[18] * 1000


def in_process(folder: Path, vectors: Vectors) -> dict[str, float]:
    """The store alone: what a shard host adds to."""
    params = edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(folder / "s"), edge.EdgeConfig(vectors=params, max_search_threads=1))
    found: dict[str, float] = {}

    def write(*, flush: bool) -> float:
        began = time.perf_counter()
        for start in range(0, len(vectors), BATCH):
            points = [edge.Point(i, vectors[i], {"n": i}) for i in range(start, min(start + BATCH, len(vectors)))]
            shard.update(edge.UpdateOperation.upsert_points(points))
            if flush:
                shard.flush()
        return len(vectors) / (time.perf_counter() - began)

    def search() -> tuple[float, float]:
        times = []
        for i in range(QUERIES):
            began = time.perf_counter()
            request = edge.QueryRequest(limit=5, query=edge.Query.Nearest(vectors[i * 7]), with_payload=True)
            shard.query(request)
            times.append(time.perf_counter() - began)
        return percentiles(times)

    found["applied"], found["durable"] = write(flush=False), write(flush=True)
    found["p50"], found["p95"] = search()
    shard.optimize()
    found["graph p50"], found["graph p95"] = search()
    shard.close()
    return found


async def through_a_host(folder: Path, name: str, vectors: Vectors, peer: dict[str, float]) -> list[Row]:
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            config = CollectionConfig(VectorParams(vectors.shape[1], "Cosine"))
            collection = await collections.create("bench", config)
            rows = await writes(collection, name, vectors, peer)
            rows += await searches(collection, f"{name}: search", vectors, peer, "p50", "p95")
            await collection.optimize()
            rows += await searches(collection, f"{name}: graph search", vectors, peer, "graph p50", "graph p95")
            rows.append(row(f"{name}: private memory of the host", private_mb(link), "MB"))
            await collections.close()
    return rows


async def writes(collection: Collection, name: str, vectors: Vectors, peer: dict[str, float]) -> list[Row]:
    count = len(vectors)

    async def write(acknowledge: Any) -> float:
        began = time.perf_counter()
        for start in range(0, count, BATCH):
            ids = list(range(start, min(start + BATCH, count)))
            await collection.upsert(
                ids, vectors[start : start + BATCH], [{"n": i} for i in ids], acknowledge=acknowledge
            )
        return count / (time.perf_counter() - began)

    async def one_by_one(writer: int) -> None:
        for i in range(SINGLE_WRITES):
            at = writer * 1000 + i
            await collection.upsert([at], vectors[at : at + 1], acknowledge="durable")

    rows = []
    for acknowledge in ("applied", "durable"):
        speed = await write(acknowledge)
        key = f"{name}: upsert, {acknowledge}, {BATCH} at a time"
        rows.append(row(key, speed, "points/s", peer="Edge in process", peer_value=peer[acknowledge]))
    before = (await collection.statistics()).flush_count
    began = time.perf_counter()
    await asyncio.gather(*(one_by_one(writer) for writer in range(SINGLE_WRITERS)))
    took = time.perf_counter() - began
    flushes = (await collection.statistics()).flush_count - before
    rows.append(
        row(f"{name}: upsert, durable, 1 at a time, {SINGLE_WRITERS} writers", SINGLE_WRITERS * 30 / took, "points/s")
    )
    rows.append(row(f"{name}: points per flush then", SINGLE_WRITERS * 30 / flushes, "points"))
    return rows


async def searches(
    collection: Collection, name: str, vectors: Vectors, peer: dict[str, float], p50: str, p95: str
) -> list[Row]:
    async def search(i: int) -> float:
        began = time.perf_counter()
        await collection.search(vectors[i * 7], limit=5)
        return time.perf_counter() - began

    alone = percentiles([await search(i) for i in range(QUERIES)])
    began = time.perf_counter()
    await in_lanes(search, 8)
    speed = QUERIES / (time.perf_counter() - began)
    return [
        row(f"{name}, p50", alone[0], "ms", peer="Edge in process", peer_value=peer[p50]),
        row(f"{name}, p95", alone[1], "ms", peer="Edge in process", peer_value=peer[p95]),
        row(f"{name}, 8 at once", speed, "queries/s", peer="Edge in process", peer_value=1000 / peer[p50]),
    ]


async def in_lanes(work: Callable[[int], Awaitable[float]], lanes: int) -> None:
    async def lane(first: int) -> None:
        for i in range(first, QUERIES, lanes):
            await work(i)

    await asyncio.gather(*(lane(first) for first in range(lanes)))


def private_mb(link: SupervisorLink) -> float:
    (state,) = link.states.values()
    lines = Path(f"/proc/{state.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1000


async def coming_back(folder: Path) -> list[Row]:
    """kill -9 of a host while it indexes, until a search is answered; and from nothing."""
    vectors = embeddings(20_000, 1280)
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            began = time.perf_counter()
            collection = await collections.create("bench", CollectionConfig(VectorParams(1280, "Cosine")))
            created_ms = (time.perf_counter() - began) * 1000
            idle_mb = private_mb(link)
            with writing(collection, vectors):
                times = [await killed(collection, link, vectors[0]) for _ in range(KILLS)]
            await collections.close()
        began = time.perf_counter()
    stopped_ms = (time.perf_counter() - began) * 1000
    with embedded(folder) as link:
        async with link:
            began = time.perf_counter()
            collections = await Collections.open(folder, link)
            await collections.get("bench").search(vectors[0])
            started_ms = (time.perf_counter() - began) * 1000
            await collections.close()
    return [
        row("host: create, until it answers", created_ms, "ms", limit=START_MS_MAX),
        row("host: start with its points, until it answers", started_ms, "ms", limit=RESTART_MS_MAX),
        row("host: kill -9 while indexing, until it answers, median", statistics.median(times) * 1000, "ms"),
        row("host: kill -9 while indexing, until it answers, slowest", max(times) * 1000, "ms", limit=RESTART_MS_MAX),
        row("host: private memory, idle", idle_mb, "MB"),
        row("host: stop in order", stopped_ms, "ms", limit=RESTART_MS_MAX),
    ]


@contextmanager
def writing(collection: Collection, vectors: Vectors) -> Iterator[None]:
    async def write() -> None:
        while True:
            for start in range(0, len(vectors), BATCH):
                ids = list(range(start, start + len(vectors[start : start + BATCH])))
                await collection.upsert(ids, vectors[start : start + BATCH], acknowledge="applied", deadline_s=30)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()


async def killed(collection: Collection, link: SupervisorLink, vector: Vectors) -> float:
    await asyncio.sleep(1.0)
    (state,) = link.states.values()
    os.kill(state.pid or 0, signal.SIGKILL)
    began = time.perf_counter()
    while link.states and next(iter(link.states.values())).pid == state.pid:
        await link.next_states()
    await collection.search(vector)
    return time.perf_counter() - began


def supervisor_coming_back(folder: str) -> Row:
    """kill -9 of a supervisor over a node that indexes; from the start of the next one until a search is answered."""
    command = [sys.executable, "-c", SUPERVISOR, folder, NODE]
    times = []
    for _ in range(SUPERVISOR_KILLS + 1):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline() == b"answered\n"
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(1.0)
            supervisor.kill()
    key = "supervisor: kill -9 while indexing, from the next start until it answers, slowest"
    return row(key, max(times[1:]), "ms", limit=RESTART_MS_MAX)
