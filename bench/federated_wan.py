"""What other nodes add to a search over a wide-area network: four nodes in a lab, 20 ms ± 2 ms each way, 50 Mbit/s.

For root on Linux, with `ip` and TUN devices. This process starts the lab and three of the nodes; the fourth, that is
asked, is `python -m bench.federated_wan SITE` in the namespace of its own. Queries are such that no shard can be ruled
out. `added` is a search of the whole collection less the same search of the shard here; a request alone is the smallest
that one node asks of another over the same links, a datagram what the links themselves take there and back.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench.fault_site import has_lab, running_lab
from bench.federated_latency import quantile, timed
from bench.mesh_sites import until_here
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.lab.namespaces import address_of
from littoral.lab.nodes import LabNodes, places_of, write_sites
from littoral.lab.shape import WAN, Shape
from littoral.node.federation.federation import Federation
from littoral.node.federation.map_keeper import MAP
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node

__all__ = ["run"]

NODES, POINTS, SIZE, QUERIES, WARM = 4, 2000, 64, 160, 30
SPARE_MS = 4.0
LOSS = 0.01
SETTLED_S = 4.0
COLLECTIONS = """
[collections.points]
vectors = { size = {size}, distance = "Euclid" }
spread = { shards = {shards}, replicas = 1, recall = 1.0 }
"""


ECHO_PORT = 7
ECHO = f"""
import socket
echo = socket.socket(type=socket.SOCK_DGRAM)
echo.bind(("0.0.0.0", {ECHO_PORT}))
while True:
    echo.sendto(*echo.recvfrom(64))
"""


def run() -> list[Row]:
    if not has_lab():
        return []
    return [*of_shape(WAN, ""), *of_shape(WAN._replace(loss=LOSS), f", {LOSS:.0%} lost")]


def of_shape(shape: Shape, what: str) -> list[Row]:
    found = measured(shape)
    local, whole, alone = (np.array(found[name]) for name in ("local", "whole", "alone"))
    added, rounds = np.sort(whole - local), np.sort(found["rounds"])
    limits = [None if shape.loss else quantile(rounds, share) + SPARE_MS for share in (0.5, 0.95)]
    return [
        row(f"20 ms ± 2 ms{what}: a datagram there and back, p50", quantile(rounds, 0.5), "ms"),
        row(f"20 ms ± 2 ms{what}: a datagram there and back, p95", quantile(rounds, 0.95), "ms"),
        row(f"20 ms ± 2 ms{what}: a request alone, p50", float(np.median(alone)), "ms"),
        row(f"20 ms ± 2 ms{what}: a request alone, p95", quantile(np.sort(alone), 0.95), "ms"),
        row(f"20 ms ± 2 ms{what}: added by three peers, p50", quantile(added, 0.5), "ms", limit=limits[0]),
        row(f"20 ms ± 2 ms{what}: added by three peers, p95", quantile(added, 0.95), "ms", limit=limits[1]),
        row(f"20 ms ± 2 ms{what}: answers without a peer", found["short"], f"of {QUERIES}"),
    ]


def measured(shape: Shape) -> dict[str, Any]:
    """Milliseconds of each query."""
    with tempfile.TemporaryDirectory(prefix="wan") as name, running_lab("wan", NODES, shape, 1) as namespaces:
        collections = COLLECTIONS.replace("{size}", str(SIZE))
        sites = write_sites(Path(name), places_of(NODES), collections=collections)
        asked = sites.pop(1)
        nodes = LabNodes(sites, namespaces)
        echo = subprocess.Popen(["ip", "netns", "exec", namespaces[2], sys.executable, "-c", ECHO])
        try:
            within = ["ip", "netns", "exec", namespaces[1], sys.executable, "-m", "bench.federated_wan", str(asked)]
            done = subprocess.run(within, stdout=subprocess.PIPE, check=True)
        finally:
            echo.kill()
            echo.wait()
            nodes.stop()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


async def searches(file: Path) -> dict[str, Any]:
    """As the node that is asked."""
    site = read_site(file)
    rng = np.random.default_rng(1)
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            federation = node.federation
            assert federation is not None
            whole = node.collections.get("points")
            await until_here(federation)
            await whole.upsert(range(POINTS), rng.standard_normal((POINTS, SIZE)).astype("<f4"))
            await asyncio.sleep(SETTLED_S)  # summaries are made, and told
            here = node.collections.part(node.collections.parts()[0])
            assert here is not None
            queries = rng.standard_normal((WARM + QUERIES, SIZE)).astype("<f4")
            times = np.zeros((len(queries), 3))
            for at, query in enumerate(queries):
                if at == WARM:
                    before = federation.asking.counts.incomplete
                times[at] = await timed(here, query), await timed(whole, query), await alone_ms(federation, at)
            short = federation.asking.counts.incomplete - before
    told = dict(zip(("local", "whole", "alone"), times[WARM:].T.tolist(), strict=True))
    return told | {"short": short, "rounds": await asyncio.to_thread(rounds_ms)}


def rounds_ms() -> list[float]:
    """Of datagrams to the second node, one after another; what is lost is left out."""
    found = []
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        for _ in range(QUERIES):
            began_s = SYSTEM.monotonic()
            asking.sendto(b"x", (address_of(2), ECHO_PORT))
            with contextlib.suppress(TimeoutError):
                asking.recv(64)
                found.append((SYSTEM.monotonic() - began_s) * 1000)
    return found


async def alone_ms(federation: Federation, at: int) -> float:
    peers = sorted(federation.asking.alive() - {federation.name})
    began_s = SYSTEM.monotonic()
    await federation.transport.request(peers[at % len(peers)], MAP, b"9" * 9, deadline_s=5.0)
    return (SYSTEM.monotonic() - began_s) * 1000


if __name__ == "__main__":
    print(json.dumps(uvloop.run(searches(Path(sys.argv[1])))))
