"""Three real nodes over QUIC with mutual TLS: one collection, whichever of them is asked, and when one is killed."""

import contextlib
import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient
from littoral.telemetry import METRICS
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Hash
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

NAMES = ("a", "b", "c")
SIZE = 8
COUNT = 300
ROWS = np.random.default_rng(11).standard_normal((COUNT, SIZE)).astype("<f4")
PATIENT_MS = 10_000
"""Where nobody should be missing, however much else the machine has to do."""

OF_A_MESH = ("littoral_mesh_", "littoral_federated_", "littoral_replica_")
AFTER_FAILURES = {
    "littoral_federated_failures_total",
    "littoral_mesh_refused_total",
    "littoral_mesh_dropped_total",
    "littoral_mesh_lost_total",
    "littoral_mesh_rounds_failed_total",
}
WHILE_MOVING = {"littoral_mesh_moving_left"}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, RunningNode]]:
    """Ready, and each has what it is to hold."""
    need(_has_extra(), "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    files = write_mesh_sites(tmp_path, NAMES, spread="shards = 3, replicas = 2, holders = 2", deadline_ms=PATIENT_MS)
    with contextlib.ExitStack() as opened:
        running = {name: opened.enter_context(running_node(file)) for name, file in files.items()}
        for node in running.values():
            with contextlib.closing(node.client()) as client:
                until(lambda client=client: is_whole(client))
        yield running


def _has_extra() -> bool:
    from importlib.util import find_spec

    return find_spec("zenoh") is not None and find_spec("cryptography") is not None


def is_whole(client: NodeClient) -> bool:
    told = client.call("GET", "/api/mesh")
    return not told["lacking"] and all(member["is_here"] for member in told["members"])


def nearest(query: Any, count: int, among: list[int] | None = None) -> list[int]:
    found = np.argsort(((ROWS - query) ** 2).sum(axis=1), kind="stable").tolist()
    return [i for i in found if among is None or i in among][:count]


def search(node: RunningNode, query: Any, limit: int = 10) -> tuple[list[int], dict[str, Any]]:
    body = {"query": query.tolist(), "limit": limit, "params": {"exact": True}}
    request = urllib.request.Request(
        f"{node.url}/collections/points/points/query",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        hits = json.load(answer)["result"]["points"]
        return [hit["id"] for hit in hits], json.loads(answer.headers["littoral-how"])["search"]


def fill(node: RunningNode) -> None:
    with contextlib.closing(QdrantClient(url=node.url, check_compatibility=False, timeout=60)) as client:
        points = [models.PointStruct(id=i, vector=row.tolist(), payload={"n": i}) for i, row in enumerate(ROWS)]
        client.upsert("points", points, wait=True)


def test_an_unmodified_client_sees_one_collection_on_every_node(nodes: dict[str, RunningNode]) -> None:
    fill(nodes["b"])
    query = ROWS[7] + np.float32(0.05)
    for node in nodes.values():
        with contextlib.closing(QdrantClient(url=node.url, check_compatibility=False, timeout=60)) as client:
            assert client.count("points").count == COUNT
            found = client.query_points("points", query=query.tolist(), limit=10, search_params={"exact": True}).points
            assert [point.id for point in found] == nearest(query, 10)
            page, following = client.scroll("points", limit=100)
            assert ([record.id for record in page], following) == (list(range(100)), 100)
            assert client.retrieve("points", [3], with_vectors=True)[0].vector == pytest.approx(ROWS[3].tolist())
            assert [one.name for one in client.get_collections().collections] == ["points"]


def test_a_node_tells_every_metric_of_the_mesh(nodes: dict[str, RunningNode]) -> None:
    fill(nodes["a"])
    search(nodes["a"], ROWS[0])
    wanted = {name for name in METRICS if name.startswith(OF_A_MESH)} - AFTER_FAILURES - WHILE_MOVING
    until(lambda: wanted <= metrics_of(nodes["a"]))


def metrics_of(node: RunningNode) -> set[str]:
    """That it tells now."""
    with urllib.request.urlopen(f"{node.url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE ")}


class Asked:
    """Searches at one node, one after the other. whole: those with nothing missing. short: with something, and right.

    wrong: all others.
    """

    def __init__(self, node: RunningNode, others: list[int], holders: list[str]) -> None:
        """others: points of the shard that the node does not hold; holders: who does."""
        self.whole = 0
        self.short: list[tuple[list[int], dict[str, Any]]] = []
        self.wrong: list[object] = []
        self.stop = threading.Event()
        self._node = node
        self._here = [i for i in range(COUNT) if i not in set(others)]
        self._holders = holders

    def run(self) -> None:
        random = np.random.default_rng(3)
        while not self.stop.is_set():
            query = random.standard_normal(SIZE).astype("<f4")
            try:
                self._take(query, *search(self._node, query))
            except OSError as error:
                self.wrong.append(error)

    def _take(self, query: Any, ids: list[int], how: dict[str, Any]) -> None:
        if not how["missing"] and ids == nearest(query, 10):
            self.whole += 1
        elif how["missing"] == self._holders and not how["certified"] and ids == nearest(query, 10, self._here):
            self.short.append((ids, how))
        else:
            self.wrong.append((ids, how))


def test_answers_go_on_when_a_node_is_killed(nodes: dict[str, RunningNode]) -> None:
    """With two replicas nothing is missing; where this machine is so busy that somebody seems to be away, what is
    missing is said.
    """
    fill(nodes["a"])
    with contextlib.closing(nodes["a"].client()) as client:
        holders = held_elsewhere(client)
    (shard,) = holders
    homes = Hash((0, 1, 2)).place(Points(list(range(COUNT)))).home
    asked = Asked(nodes["a"], np.flatnonzero(homes == shard).tolist(), holders[shard])
    asking = threading.Thread(target=asked.run)
    asking.start()
    try:
        until(lambda: asked.whole > 5)
        for pid in group_of(nodes["c"].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.closing(nodes["a"].client()) as client:
            until(lambda: not is_whole(client))
        before = asked.whole
        until(lambda: asked.whole > before + 5)
    finally:
        asked.stop.set()
        asking.join()
    assert asked.wrong == []
    assert len(asked.short) < asked.whole


def held_elsewhere(client: NodeClient) -> dict[int, list[str]]:
    """Shards that node `a` does not hold, and who does."""
    (told,) = client.call("GET", "/api/mesh")["collections"].values()
    held = {one["shard"]: sorted(holder["node"] for holder in one["holders"]) for one in told["shards"]}
    return {shard: holders for shard, holders in held.items() if "a" not in holders}


def group_of(pid: int) -> list[int]:
    """A supervisor and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def test_a_shard_without_a_holder_is_missing_and_said_so(tmp_path: Path) -> None:
    need(_has_extra(), "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    files = write_mesh_sites(tmp_path, ("a", "b"), spread="shards = 2, replicas = 1", deadline_ms=PATIENT_MS)
    with contextlib.ExitStack() as opened:
        running = {name: opened.enter_context(running_node(file)) for name, file in files.items()}
        client = opened.enter_context(contextlib.closing(running["a"].client()))
        for node in running.values():
            with contextlib.closing(node.client()) as one:
                until(lambda one=one: is_whole(one))
        fill(running["a"])
        assert search(running["a"], ROWS[0])[1]["missing"] == []
        for pid in group_of(running["b"].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not is_whole(client))
        ids, how = search(running["a"], ROWS[0], limit=COUNT)
        assert how["missing"] == ["b"]
        assert not how["certified"]
        assert 0 < len(ids) < COUNT
