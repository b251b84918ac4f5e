"""Three real nodes: another strategy, then another node for a shard, while one of them is killed and started again."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from command import littoral
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

NAMES = ("a", "b", "c")
SIZE = 8
COUNT = 600
ROWS = np.random.default_rng(5).standard_normal((4 * COUNT, SIZE)).astype("<f4")
ARRIVE_TRIES = 8
DEADLINE_MS = 5000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    return write_mesh_sites(
        tmp_path, NAMES, spread="shards = 3, replicas = 1", move_bytes_s=16 << 10, deadline_ms=DEADLINE_MS
    )


def is_whole(client: NodeClient) -> bool:
    told = client.call("GET", "/api/mesh")
    return not told["lacking"] and all(member["is_here"] for member in told["members"])


def moves(client: NodeClient) -> list[dict[str, Any]]:
    return list(client.call("GET", "/api/mesh")["moves"])


class Writes:
    """By one node, one after the other; what was acknowledged must be there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: set[int] = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with contextlib.closing(QdrantClient(url=self.url, check_compatibility=False, timeout=60)) as client:
            for point in range(COUNT, len(ROWS)):
                if self.stop.is_set():
                    return
                with contextlib.suppress(ApiException):
                    upsert(client, [point])
                    self.acknowledged.add(point)


def upsert(client: QdrantClient, ids: list[int]) -> None:
    points = [models.PointStruct(id=i, vector=ROWS[i].tolist(), payload={"n": i}) for i in ids]
    client.upsert("points", points, wait=True)


@contextlib.contextmanager
def written(url: str) -> Iterator[Writes]:
    writes = Writes(url)
    writes.thread.start()
    try:
        yield writes
    finally:
        writes.stop.set()
        writes.thread.join()


def test_a_node_is_killed_while_its_points_go_elsewhere(files: dict[str, Path]) -> None:
    with contextlib.ExitStack() as opened:
        nodes = {name: opened.enter_context(running_node(file)) for name, file in files.items()}
        clients = {name: opened.enter_context(contextlib.closing(node.client())) for name, node in nodes.items()}
        for client in clients.values():
            until(lambda client=client: is_whole(client))
        with contextlib.closing(QdrantClient(url=nodes["a"].url, check_compatibility=False, timeout=60)) as client:
            upsert(client, list(range(COUNT)))
        with written(nodes["a"].url) as writes:
            plan = changed(nodes["b"], "spread", "points", "--strategy", "metric", "--shards", "3")
            assert (plan["is_begun"], len(plan["coming"]), plan["kept"]) == (True, 3, [])
            until(lambda: any(move["stage"] == "copying" for move in moves(clients["a"])))
            kill(nodes["c"])
            nodes["c"] = opened.enter_context(running_node(files["c"]))
            clients["c"] = opened.enter_context(contextlib.closing(nodes["c"].client()))
            until_arrived(clients, lambda told: told["strategy"] == "metric")
        shard, holders = next(iter(places(clients["a"]).items()))
        free = next(name for name in NAMES if name not in holders)
        plan = changed(nodes["c"], "move", "points", str(shard), holders[0], free)
        until_arrived(clients, lambda told: places_in(told)[max(places_in(told))] == [free])
        wanted = sorted({*range(COUNT), *writes.acknowledged})
        assert len(wanted) > COUNT
        for node in nodes.values():
            with contextlib.closing(QdrantClient(url=node.url, check_compatibility=False, timeout=60)) as client:
                records = client.retrieve("points", wanted, with_vectors=True)
                assert [record.id for record in records] == wanted
                assert records[-1].vector == pytest.approx(ROWS[wanted[-1]].tolist())


def changed(node: RunningNode, *words: str) -> dict[str, Any]:
    ran = littoral("mesh", *words, "--apply", "--json", "--url", node.url)
    assert ran.code == 0, ran.err
    plan: dict[str, Any] = ran.json
    return plan


def places(client: NodeClient) -> dict[int, list[str]]:
    return places_in(client.call("GET", "/api/mesh")["collections"]["points"])


def places_in(told: dict[str, Any]) -> dict[int, list[str]]:
    return {shard["shard"]: [holder["node"] for holder in shard["holders"]] for shard in told["shards"]}


def until_arrived(clients: dict[str, NodeClient], is_there: Callable[[dict[str, Any]], bool]) -> None:
    """Every node knows the collection as it is to be, holds its part of it, and has no change under way."""

    def has_arrived(client: NodeClient) -> bool:
        told = client.call("GET", "/api/mesh")
        return not told["moves"] and is_whole(client) and is_there(told["collections"]["points"])

    for client in clients.values():
        for left in range(ARRIVE_TRIES, 0, -1):
            try:
                until(lambda client=client: has_arrived(client))
                break
            except AssertionError:
                if left == 1:
                    raise


def kill(node: RunningNode) -> None:
    """The supervisor and its children."""
    children = map(int, Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split())
    for pid in [*children, node.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
