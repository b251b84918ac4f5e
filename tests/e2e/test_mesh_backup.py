"""Two real nodes with a spread collection: one is backed up, loses its disk, and is put together again by the verbs."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from command import littoral as cli
from littoral.node.beside import running_node
from littoral.node.client import NodeClient
from mesh_nodes import write_mesh_sites
from waiting import until

pytestmark = pytest.mark.e2e

SIZE = 8


def rows(first: int, last: int, value: str) -> list[dict[str, Any]]:
    return [{"id": at, "vector": [at] * SIZE, "payload": {"v": value}} for at in range(first, last)]


def write(client: NodeClient, points: list[dict[str, Any]]) -> None:
    client.collection("PUT", "points", "/points?wait=true&timeout=60", {"points": points})


def values(client: NodeClient) -> dict[int, str]:
    body = {"limit": 1000, "with_payload": True}
    found = client.collection("POST", "points", "/points/scroll", body)
    return {point["id"]: point["payload"]["v"] for point in found["points"]}


def is_whole(client: NodeClient) -> bool:
    told = client.call("GET", "/api/mesh")
    return not told["lacking"] and all(one["is_here"] and not one["lag_s"] for one in told["members"])


def test_a_node_that_lost_its_disk_comes_back_and_brings_nothing_back(tmp_path: Path) -> None:
    pytest.importorskip("zenoh", reason="the extra `mesh` is not installed")
    files = write_mesh_sites(tmp_path, ("a", "b"), spread="shards = 2, replicas = 2, holders = 2", deadline_ms=10_000)
    kept = tmp_path / "kept"
    with running_node(files["b"]) as b, contextlib.closing(b.client()) as of_b:
        with running_node(files["a"]) as a, contextlib.closing(a.client()) as of_a:
            until(lambda: is_whole(of_a) and is_whole(of_b))
            write(of_a, rows(0, 60, "first"))
            made = cli("backup", str(kept), "--url", a.url)
            assert made.code == 0, made.err
            of_b.collection("POST", "points", "/points/delete?wait=true&timeout=60", {"points": list(range(20))})
            write(of_a, rows(20, 30, "second"))
        shutil.rmtree(files["a"].parent)
        wanted = {at: "second" if at < 30 else "first" for at in range(20, 60)}
        done = cli("restore", str(kept), "--to", str(files["a"].parent))
        assert done.code == 0, done.err
        with running_node(files["a"]) as a, contextlib.closing(a.client()) as of_a:
            until(lambda: is_whole(of_a) and is_whole(of_b))
            until(lambda: values(of_a) == wanted)
            assert values(of_b) == wanted
            write(of_a, rows(200, 201, "after"))
            until(lambda: values(of_b) == wanted | {200: "after"})
