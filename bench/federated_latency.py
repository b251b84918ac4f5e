"""What other nodes add to a search: three peers over QUIC with mutual TLS on this machine, each with a shard.

This process is the node that is asked, without HTTP. Queries are such that no shard can be ruled out, so that all three
peers are asked for every one. `added` is a search of the whole collection less the same search of the shard here.
"""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop

from bench.mesh_sites import until_here, until_whole, write_sites
from bench.rows import Row, row
from littoral.node.beside import RunningNode, running_node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.vectors import asks
from littoral.vectors.collection import Collection
from littoral.vectors.queries import Prefetch, SearchParams, SearchQuery

__all__ = ["run"]

NAMES = ("a", "b", "c", "d")
POINTS, SIZE, QUERIES, WARM = 4000, 128, 600, 100
P50_MS_MAX, P95_MS_MAX = 2.0, 4.0
EXACT = SearchParams(exact=True)
COLLECTION = f"""
[collections.points]
vectors = {{ size = {SIZE}, distance = "Euclid" }}
spread = {{ shards = {len(NAMES)}, replicas = 1, recall = 1.0 }}
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        files = write_sites(folder, NAMES, COLLECTION)
        peers = [opened.enter_context(running_node(files[peer])) for peer in NAMES[1:]]
        local, whole, fused, asked = uvloop.run(measured(files["a"], peers))
    added = np.sort(whole - local)
    return [
        row("search of the shard here, p50", float(np.median(local)), "ms"),
        row("search of four shards on four nodes, p50", float(np.median(whole)), "ms"),
        row("search of four shards on four nodes, p95", quantile(np.sort(whole), 0.95), "ms"),
        row("added by three peers, p50", quantile(added, 0.5), "ms", limit=P50_MS_MAX),
        row("added by three peers, p95", quantile(added, 0.95), "ms", limit=P95_MS_MAX),
        row("peers asked a query", asked / QUERIES, ""),
        row("two such searches fused by rank, p50", float(np.median(fused)), "ms"),
        row("two such searches fused, of one of them, p50", float(np.median(fused) / np.median(whole)), "x"),
    ]


def quantile(ordered: np.ndarray, share: float) -> float:
    return float(ordered[int(share * len(ordered))])


async def measured(file: Path, peers: list[RunningNode]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Milliseconds of each query on the shard here, on all, and of two fused on all; how many peers were asked in all
    for one on all.
    """
    site = read_site(file)
    rng = np.random.default_rng(1)
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            federation = node.federation
            assert federation is not None
            await until_here(federation)
            whole = node.collections.get("points")
            for peer in peers:
                await until_whole(peer)
            await whole.upsert(range(POINTS), rng.standard_normal((POINTS, SIZE)).astype("<f4"))
            await asyncio.sleep(3)  # summaries are made, and told
            here = node.collections.part(node.collections.parts()[0])
            assert here is not None
            queries = rng.standard_normal((WARM + QUERIES, SIZE)).astype("<f4")
            times = np.zeros((len(queries), 2))
            for at, query in enumerate(queries):
                if at == WARM:
                    before = federation.asking.counts.remote_asks
                times[at] = await timed(here, query), await timed(whole, query)
            asked = federation.asking.counts.remote_asks - before
            pairs = zip(queries[WARM:], queries[:-WARM], strict=True)
            fused = np.array([await timed_fusion(whole, one, other) for one, other in pairs])
    return times[WARM:, 0], times[WARM:, 1], fused, asked


async def timed_fusion(collection: Collection, one: np.ndarray, other: np.ndarray) -> float:
    """Of the 50 best of each."""
    leaves = [Prefetch(ask=asks.Nearest(vector.tobytes()), limit=50, params=EXACT) for vector in (one, other)]
    began = time.perf_counter()
    await collection.search_batch([SearchQuery(asks.Fusion("rrf"), limit=10, prefetch=leaves)])
    return (time.perf_counter() - began) * 1000


async def timed(collection: Collection, query: np.ndarray) -> float:
    began = time.perf_counter()
    await collection.search(query, limit=10, params=EXACT, with_payload=False)
    return (time.perf_counter() - began) * 1000
