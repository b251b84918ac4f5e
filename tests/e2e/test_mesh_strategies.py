"""Three real nodes, two regions: a collection of which one region is pinned, and one in cells with copies."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

REGIONS = {"a": "eu", "b": "eu", "c": "us"}
SIZE = 8
COUNT = 60
PATIENT_MS = 10_000
ROWS = np.random.default_rng(13).standard_normal((COUNT, SIZE)).astype("<f4")
PINNED = 'strategy = "geographic", region = "region", pinned = ["eu"], shards = 2, replicas = 1'
CELLS = """
[collections.cells]
vectors = { size = 8, distance = "Euclid" }
spread = { strategy = "hybrid", sample = "SAMPLE", shards = 3, replicas = 1, copies = 1.5 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strategies")


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[dict[str, RunningNode]]:
    """Both collections are filled through the node that is alone in its region."""
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    np.save(folder / "sample.npy", ROWS)
    cells = CELLS.replace("SAMPLE", str(folder / "sample.npy"))
    files = write_mesh_sites(folder, tuple(REGIONS), spread=PINNED, regions=REGIONS, more=cells, deadline_ms=PATIENT_MS)
    with contextlib.ExitStack() as opened:
        running = {name: opened.enter_context(running_node(file)) for name, file in files.items()}
        for node in running.values():
            with contextlib.closing(node.client()) as client:
                until(lambda client=client: is_whole(client))
        with client_of(running["c"]) as client:
            for name in ("points", "cells"):
                client.upsert(name, [point(i) for i in range(COUNT)], wait=True)
        yield running


def is_whole(client: NodeClient) -> bool:
    told = client.call("GET", "/api/mesh")
    return not told["lacking"] and all(member["is_here"] for member in told["members"])


def client_of(node: RunningNode) -> contextlib.closing[QdrantClient]:
    return contextlib.closing(QdrantClient(url=node.url, check_compatibility=False, timeout=60))


def point(number: int) -> models.PointStruct:
    payload = {"region": "eu" if number % 2 else "us", "word": f"sealed {number}" if number % 2 else "open"}
    return models.PointStruct(id=number, vector=ROWS[number].tolist(), payload=payload)


def test_what_is_pinned_is_seen_in_its_region_only(nodes: dict[str, RunningNode]) -> None:
    for name, seen in (("a", range(COUNT)), ("b", range(COUNT)), ("c", range(0, COUNT, 2))):
        with client_of(nodes[name]) as client:
            assert client.count("points").count == len(seen)
            assert [one.id for one in client.scroll("points", limit=COUNT)[0]] == list(seen)
            assert [one.id for one in client.retrieve("points", [1, 2])] == [i for i in (1, 2) if i in seen]
    assert how(nodes["c"])["withheld"] == ["eu"]
    assert "withheld" not in how(nodes["a"])


def how(node: RunningNode) -> dict[str, Any]:
    body = json.dumps({"query": ROWS[1].tolist(), "limit": 3, "params": {"exact": True}}).encode()
    request = urllib.request.Request(
        f"{node.url}/collections/points/points/query", body, {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.loads(answer.headers["littoral-how"])["search"]
        return told


def test_nothing_pinned_lies_on_a_disk_elsewhere(nodes: dict[str, RunningNode], folder: Path) -> None:
    """Among the files of that collection: the other one holds the same words everywhere."""
    found: dict[str, int] = {}
    for name in nodes:
        data = folder / name / "data"
        files = [file for file in data.rglob("*") if file.is_file() and "points." in str(file.relative_to(data))]
        found[name] = sum(b"sealed" in file.read_bytes() for file in files)
    assert found["c"] == 0
    assert found["a"] + found["b"] > 0


def test_cells_with_copies_are_one_collection(nodes: dict[str, RunningNode]) -> None:
    query = ROWS[7] + np.float32(0.05)
    nearest = np.argsort(((ROWS - query) ** 2).sum(axis=1), kind="stable")[:10].tolist()
    for node in nodes.values():
        with client_of(node) as client:
            assert client.count("cells").count == COUNT
            hits = client.query_points("cells", query=query.tolist(), limit=10, search_params={"exact": True}).points
            assert [hit.id for hit in hits] == nearest
            assert hits[0].payload == {"region": "eu", "word": "sealed 7"}
