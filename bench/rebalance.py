"""Three tenths of a collection go to other nodes while it is searched and written: recall and times, moment by moment.

Four nodes over QUIC with mutual TLS on this machine; this process is the one that is asked, and writes the shard map.
Ten shards by vector, each on one node. Searches and writes come at a fixed rate, before, during and after. Points that
are written lie far from all queries, so that the true answers stay those of the beginning.
"""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.federated_latency import NAMES
from bench.mesh_sites import until_here, until_whole, write_sites
from bench.rows import Row, row
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.beside import running_node
from littoral.node.federation.federation import Federation
from littoral.node.federation.moving import planning
from littoral.node.search_how import noting
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchParams

__all__ = ["run"]

POINTS, SIZE, SHARDS, CLUSTERS, K = 200_000, 64, 10, 60, 10
QUERIES, SEARCHES_S, WRITES_S, WRITE_POINTS = 200, 20.0, 5.0, 10
STEADY_S, WARM_S, MOVED_SHARE, FILL_POINTS = 20.0, 15.0, 0.3, 1000
MOVE_BYTES_S = 1 << 20
RECALL, RATIO_MAX = 0.95, 2.0
EXACT = SearchParams(exact=True)
REST = f"""
move_bytes_s = {MOVE_BYTES_S}
[collections.points]
vectors = {{ size = {SIZE}, distance = "Euclid" }}
spread = {{ strategy = "metric", shards = {SHARDS}, replicas = 1, recall = {RECALL}, sample = "../sample.npy" }}
"""


class Searched(NamedTuple):
    """One search: when it began, how long it took, its recall, and whether it said that something is missing."""

    at_s: float
    took_s: float
    recall: float
    is_short: bool


class Moved(NamedTuple):
    searched: list[Searched]
    began_s: float
    flipped_s: float
    ended_s: float
    points: int
    refused: int


def run(points: int = POINTS) -> list[Row]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        vectors = clustered(points, seed=1)
        np.save(folder / "sample.npy", vectors[:: max(1, points // 20_000)])
        files = write_sites(folder, NAMES, REST)
        peers = [opened.enter_context(running_node(files[peer])) for peer in NAMES[1:]]
        moved = asyncio.run(measured(files["a"], peers, vectors))
    return rows_of(moved, points)


def clustered(count: int, seed: int) -> np.ndarray:
    """float32[n, SIZE]: clusters of different sizes, in one half of the space."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, SIZE)) * 3
    found = centres[rng.integers(0, CLUSTERS, count)] + rng.standard_normal((count, SIZE))
    return found.astype("<f4")


def rows_of(moved: Moved, points: int) -> list[Row]:
    before = [one for one in moved.searched if one.at_s < moved.began_s]
    during = [one for one in moved.searched if moved.began_s <= one.at_s < moved.ended_s]
    after = [one for one in moved.searched if one.at_s >= moved.ended_s]
    found = [row("points", points, ""), row("points moved", moved.points, "")]
    for name, some in (("before", before), ("while they move", during), ("after", after)):
        times_ms = np.sort([one.took_s for one in some]) * 1000
        found.append(row(f"search {name}, p50", float(np.quantile(times_ms, 0.5)), "ms"))
        found.append(row(f"search {name}, p99", float(np.quantile(times_ms, 0.99)), "ms"))
    p99 = [float(np.quantile([one.took_s for one in some], 0.99)) for some in (before, during)]
    lowest = min(seconds_of(moved.searched))
    return [
        *found,
        row("p99 while they move, against before", p99[1] / p99[0], "", limit=RATIO_MAX),
        row("recall lost in the worst second, mean", 1 - lowest, "", limit=1 - RECALL),
        row("recall, mean", float(np.mean([one.recall for one in moved.searched])), ""),
        row("searches that said something is missing", sum(one.is_short for one in moved.searched), "", limit=0),
        row("writes refused", moved.refused, "", limit=0),
        row("copied in", moved.flipped_s - moved.began_s, "s"),
        row("moved and gone where they were in", moved.ended_s - moved.began_s, "s"),
        row("points copied, a second", moved.points / (moved.flipped_s - moved.began_s), "/s"),
    ]


def seconds_of(searched: list[Searched]) -> list[float]:
    """Mean recall of each second."""
    by_second: dict[int, list[float]] = {}
    for one in searched:
        by_second.setdefault(int(one.at_s), []).append(one.recall)
    return [float(np.mean(some)) for some in by_second.values()]


async def measured(file: Path, peers: list, vectors: np.ndarray) -> Moved:  # type: ignore[type-arg]
    site = read_site(file)
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            federation = node.federation
            assert federation is not None
            await until_here(federation)
            for peer in peers:
                await until_whole(peer)
            whole = node.collections.get("points")
            for at in range(0, len(vectors), FILL_POINTS):
                await whole.upsert(range(at, min(at + FILL_POINTS, len(vectors))), vectors[at : at + FILL_POINTS])
            return await moved_under_load(federation, whole, vectors)


async def moved_under_load(federation: Federation, whole: Collection, vectors: np.ndarray) -> Moved:
    queries = clustered(len(vectors) + QUERIES, seed=1)[-QUERIES:]
    truth = await asyncio.to_thread(nearest, vectors, queries)
    searched: list[Searched] = []
    refused = [0]
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(search_all_the_time(whole, queries, truth, searched, stop)),
        asyncio.create_task(write_all_the_time(whole, len(vectors), refused, stop)),
    ]
    await asyncio.sleep(WARM_S)
    searched.clear()
    await asyncio.sleep(STEADY_S)
    spread = federation.map.spreads["points"]
    layout = thirty_percent(federation, spread)
    points = sum(
        use.points for shard, use in federation.changes.uses("points", spread).items() if shard not in layout.places
    )
    began_s, flipped_s = time.perf_counter(), 0.0
    federation.go_to("points", layout)
    while (now := federation.map.spreads["points"]).change is not None or left_in(federation):
        if not flipped_s and now.places == layout.places:
            flipped_s = time.perf_counter()
        await asyncio.sleep(0.05)
    ended_s = time.perf_counter()
    await asyncio.sleep(STEADY_S)
    stop.set()
    await asyncio.gather(*tasks)
    return Moved(searched, began_s, flipped_s, ended_s, points, refused[0])


def left_in(federation: Federation) -> bool:
    """Whether a node still has shards that have no place any more."""
    now = federation.map.spreads["points"].places
    return any(
        shard not in now for known in federation.facts.all().values() for shard in known.fact.owed.get("points", {})
    )


def thirty_percent(federation: Federation, spread: Spread) -> Layout:
    """The largest shards that have so much together, each on the next node."""
    uses = federation.changes.uses("points", spread)
    wanted = MOVED_SHARE * sum(use.points for use in uses.values())
    places = {shard: list(nodes) for shard, nodes in spread.places.items()}
    for shard in sorted(uses, key=lambda shard: -uses[shard].points):
        if uses[shard].points > 1.5 * wanted:
            continue
        wanted -= uses[shard].points
        places[shard] = [NAMES[(NAMES.index(places[shard][0]) + 1) % len(NAMES)]]
    return planning.placed(spread, places)


def nearest(vectors: np.ndarray, queries: np.ndarray) -> list[set[int]]:
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    return [
        set(np.argpartition(squares - 2 * (vectors @ query.astype(np.float64)), K)[:K].tolist()) for query in queries
    ]


async def search_all_the_time(
    whole: Collection, queries: np.ndarray, truth: list[set[int]], searched: list[Searched], stop: asyncio.Event
) -> None:
    at = 0
    running: set[asyncio.Task[None]] = set()

    async def one(index: int) -> None:
        began = time.perf_counter()
        with noting() as how:
            hits = await whole.search(queries[index], limit=K, params=EXACT, with_payload=False)
        took = time.perf_counter() - began
        recall = len(truth[index] & {int(hit.id) for hit in hits}) / K
        searched.append(Searched(began, took, recall, bool((how.told or {}).get("missing"))))

    due = time.perf_counter()
    while not stop.is_set():
        task = asyncio.create_task(one(at % len(queries)))
        running.add(task)
        task.add_done_callback(running.discard)
        at, due = at + 1, due + 1 / SEARCHES_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*running)


async def write_all_the_time(whole: Collection, first: int, refused: list[int], stop: asyncio.Event) -> None:
    rng, at = np.random.default_rng(9), first
    while not stop.is_set():
        vectors = (rng.standard_normal((WRITE_POINTS, SIZE)) * 3 + 100).astype("<f4")
        try:
            await whole.upsert(range(at, at + WRITE_POINTS), vectors)
        except Exception as error:  # noqa: BLE001 (counted, and shown)
            print(error)
            refused[0] += 1
        at += WRITE_POINTS
        await asyncio.sleep(1 / WRITES_S)
