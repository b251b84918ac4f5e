"""Three real nodes: one that lost its shard gets a snapshot of another's, and is whole again."""

import contextlib
import json
import shutil
import sqlite3
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from littoral.node.beside import RunningNode, running_node
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

NAMES = ("a", "b", "c")
COUNT = 5000
BATCH = 500
ROWS = np.random.default_rng(5).standard_normal((COUNT, 8)).astype("<f4")
PART = "points.0"


class Site:
    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.nodes: dict[str, RunningNode] = {}
        self._opened: dict[str, contextlib.ExitStack] = {}

    def start(self, *names: str) -> None:
        for name in names:
            stack = self._opened[name] = contextlib.ExitStack()
            self.nodes[name] = stack.enter_context(running_node(self.files[name]))
        for name in names:
            until(lambda name=name: not self.told(name)["lacking"])

    def stop(self, name: str) -> None:
        del self.nodes[name]
        self._opened.pop(name).close()

    def data(self, name: str) -> Path:
        return self.files[name].parent / "data"

    def holders(self) -> list[str]:
        return [name for name in NAMES if (self.data(name) / "collections" / PART).exists()]

    def call(self, name: str, path: str, body: object = None, verb: str = "GET") -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.nodes[name].url}{path}", data, {"content-type": "application/json"}, method=verb
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            told: bytes = answer.read()
            return told

    def told(self, name: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(self.call(name, "/api/mesh"))
        return found

    def metric(self, name: str, metric: str) -> float:
        lines = self.call(name, "/metrics").decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{metric}{{"))

    def write(self, name: str, first: int, count: int) -> None:
        points = [{"id": i, "vector": ROWS[i].tolist()} for i in range(first, first + count)]
        self.call(name, "/collections/points/points?wait=true", {"points": points}, "PUT")

    def versions(self, name: str) -> list[tuple[object, ...]]:
        """Of every point, as the journal of a node that is not running has them."""
        with contextlib.closing(sqlite3.connect(self.data(name) / "mesh" / "replicas" / f"{PART}.sqlite")) as journal:
            return journal.execute("SELECT key, time, origin, number, gone FROM points ORDER BY key").fetchall()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need(find_spec("zenoh") and find_spec("cryptography"), "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    site = Site(write_mesh_sites(tmp_path, NAMES, spread="shards = 1, replicas = 2", deadline_ms=5000))
    site.start(*NAMES)
    yield site
    for name in list(site.nodes):
        site.stop(name)


def test_a_node_that_lost_its_shard_is_whole_again(site: Site) -> None:
    first, second = site.holders()
    for at in range(0, COUNT, BATCH):
        site.write(first, at, BATCH)
    # What both have goes from the log: what is lost after that is no longer in it.
    until(lambda: all(not site.metric(name, "littoral_replica_log_bytes") for name in (first, second)))
    site.stop(second)
    shutil.rmtree(site.data(second) / "collections" / PART)
    site.write(first, 0, 10)
    site.start(second)
    until(lambda: site.metric(second, "littoral_replica_snapshot_bytes_total") > 0)
    until(lambda: not site.metric(first, "littoral_replica_lag_entries"))
    until(lambda: not (site.data(second) / "mesh" / "seeds" / PART).exists())
    site.stop(first)
    count = json.loads(site.call(second, "/collections/points/points/count", {"exact": True}, "POST"))
    assert count["result"]["count"] == COUNT
    query = {"query": ROWS[7].tolist(), "limit": 1, "params": {"exact": True}}
    found = json.loads(site.call(second, "/collections/points/points/query", query, "POST"))
    assert [hit["id"] for hit in found["result"]["points"]] == [7]
    site.stop(second)
    assert site.versions(first) == site.versions(second)
    assert len(site.versions(first)) == COUNT
