"""Searches while a node is backed up: p99 beside that of the same node left alone, and what a second backup writes.

100 000 points of 128 dimensions; the verb is a process of its own on the same machine, as is the load.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.load import http_request, under_load
from bench.rows import Row, row
from bench.search import SITE, ask, put, sampled, search_body, status
from littoral.node.beside import RunningNode, running_node

__all__ = ["run"]

COUNT, SIZE, QUERIES = 100_000, 128, 500
SECONDS = 4.0
TURN_S = 1.0
SPREAD_MAX = 2.0
POINTS = "/collections/bench/points"
FRESH = "cache-control: no-store"


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site.toml").write_text(SITE)
        with running_node(folder / "site.toml") as node:
            return measured(node, folder / "kept")


def measured(node: RunningNode, kept: Path) -> list[Row]:
    vectors = sampled(COUNT, 1)
    ask(node, "PUT", "/collections/bench", {"vectors": {"size": SIZE, "distance": "Cosine"}})
    put(node, vectors, 0)
    while status(node)["status"] != "green" or status(node)["indexed_vectors_count"] < COUNT * 0.5:
        time.sleep(0.5)
    bodies = [search_body(question, 32) for question in sampled(QUERIES, 2)]
    requests = [http_request("POST", f"{POINTS}/query", body, FRESH) for body in bodies]
    under_load(node.address, requests, seconds=TURN_S)
    alone = under_load(node.address, requests, seconds=SECONDS)
    made: list[dict[str, Any]] = []
    times_ms: list[float] = []
    failed = alone.failed
    began = time.perf_counter()
    verb = threading.Thread(target=lambda: made.append(backup(node, kept)))
    verb.start()
    while verb.is_alive():
        turn = under_load(node.address, requests, seconds=TURN_S)
        times_ms += turn.times_ms.get(200, [])
        failed += turn.failed
    took_s = time.perf_counter() - began
    put(node, vectors[:100], COUNT)
    again = backup(node, kept)
    if failed:
        raise SystemExit(f"bench: {failed} searches failed")
    p99 = sorted(times_ms)[int(len(times_ms) * 0.99)]
    return [
        row("one client, p99", alone.at_ms(0.99), "ms"),
        row("one client beside a backup, p99", p99, "ms", limit=SPREAD_MAX * alone.at_ms(0.99)),
        row("that backup", took_s, "s"),
        row("that backup wrote", made[0]["new_bytes"] / 2**20, "MiB"),
        row("the next one, after 100 more points, wrote", again["new_bytes"] / 2**20, "MiB"),
    ]


def backup(node: RunningNode, kept: Path) -> dict[str, Any]:
    verb = [sys.executable, "-P", "-m", "littoral", "backup", str(kept), "--url", node.url, "--json"]
    done = subprocess.run(verb, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
