"""What other nodes add to a search: three peers over QUIC with mutual TLS on this machine, each with a shard.

This process is the node that is asked, without HTTP. Queries are such that no shard can be ruled out, so that all three
peers are asked for every one. `added` is a search of the whole collection less the same search of the shard here.
"""

import asyncio
import contextlib
import socket
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.rows import Row, row
from littoral.mesh.trust.certificates import issue, make_issuing, make_request, make_root, pem_of_chain, read_request
from littoral.mesh.trust.keys import new_issuing_key, new_node_key, pem_of
from littoral.node.beside import RunningNode, running_node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchParams

__all__ = ["run"]

NAMES = ("a", "b", "c", "d")
POINTS, SIZE, QUERIES, WARM = 4000, 128, 600, 100
P50_MS_MAX, P95_MS_MAX = 2.0, 4.0
EXACT = SearchParams(exact=True)
SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
[mesh]
site = "bench"
listen = "127.0.0.1:{port}"
peers = {{ {peers} }}
authority = "../ca.pem"
certificate = "../{name}.pem"
key = "../{name}.key"
[collections.points]
vectors = {{ size = {size}, distance = "Euclid" }}
spread = {{ shards = {shards}, replicas = 1, recall = 1.0 }}
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        files = write_sites(folder)
        peers = [opened.enter_context(running_node(files[peer])) for peer in NAMES[1:]]
        local, whole, asked = asyncio.run(measured(files["a"], peers))
    added = np.sort(whole - local)
    return [
        row("search of the shard here, p50", float(np.median(local)), "ms"),
        row("search of four shards on four nodes, p50", float(np.median(whole)), "ms"),
        row("search of four shards on four nodes, p95", quantile(np.sort(whole), 0.95), "ms"),
        row("added by three peers, p50", quantile(added, 0.5), "ms", limit=P50_MS_MAX),
        row("added by three peers, p95", quantile(added, 0.95), "ms", limit=P95_MS_MAX),
        row("peers asked a query", asked / QUERIES, ""),
    ]


def quantile(ordered: np.ndarray, share: float) -> float:
    return float(ordered[int(share * len(ordered))])


def write_sites(folder: Path) -> dict[str, Path]:
    certify(folder)
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in NAMES]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = {name: one.getsockname()[1] for name, one in zip(NAMES, sockets, strict=True)}
    for one in sockets:
        one.close()
    files = {}
    for name in NAMES:
        peers = ", ".join(f'{peer} = "127.0.0.1:{ports[peer]}"' for peer in NAMES if peer != name)
        (folder / name).mkdir()
        files[name] = folder / name / "site.toml"
        files[name].write_text(SITE.format(name=name, port=ports[name], peers=peers, size=SIZE, shards=len(NAMES)))
    return files


def certify(folder: Path) -> None:
    """Files of PEM, of one site."""
    now_s = time.time()  # noqa: TID251
    root_key, issuing_key = new_issuing_key(), new_issuing_key()
    root = make_root("bench", root_key, now_s)
    issuing = make_issuing("bench", issuing_key.public_key(), root, root_key, now_s)
    (folder / "ca.pem").write_bytes(pem_of_chain([root]))
    for name in NAMES:
        key = new_node_key()
        request = read_request(make_request(name, key))
        node = issue(request, issuing, issuing_key, now_s=now_s, life_s=86400, hosts=["127.0.0.1"])
        (folder / f"{name}.pem").write_bytes(pem_of_chain([node, issuing]))
        (folder / f"{name}.key").write_bytes(pem_of(key))


async def measured(file: Path, peers: list[RunningNode]) -> tuple[np.ndarray, np.ndarray, int]:
    """Milliseconds of each query on the shard here, and on all; how many peers were asked in all."""
    site = read_site(file)
    rng = np.random.default_rng(1)
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            federation = node.federation
            assert federation is not None
            while federation.lacking() or len(federation.asking.alive()) < len(NAMES):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.1)
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
    return times[WARM:, 0], times[WARM:, 1], asked


async def until_whole(peer: RunningNode) -> None:
    with contextlib.closing(peer.client()) as client:
        while (await asyncio.to_thread(client.call, "GET", "/api/mesh"))["lacking"]:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.1)


async def timed(collection: Collection, query: np.ndarray) -> float:
    began = time.perf_counter()
    await collection.search(query, limit=10, params=EXACT, with_payload=False)
    return (time.perf_counter() - began) * 1000
