"""`littoral mesh rebalance` with two real nodes: cells for a collection whose site file gave no sample."""

import contextlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from command import littoral
from littoral.node.beside import running_node
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

COUNT, SIZE = 600, 8
ROWS = np.random.default_rng(12).standard_normal((COUNT, SIZE)).astype("<f4")


def test_cells_are_planned_shown_and_made(tmp_path: Path) -> None:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    from mesh_nodes import write_mesh_sites

    files = write_mesh_sites(tmp_path, ("a", "b"), spread='strategy = "metric", shards = 2', deadline_ms=10_000)
    with contextlib.ExitStack() as opened:
        nodes = [opened.enter_context(running_node(file)) for file in files.values()]
        told = [opened.enter_context(contextlib.closing(node.client())) for node in nodes]
        for one in told:
            until(lambda one=one: not one.call("GET", "/api/mesh")["lacking"])
        client = opened.enter_context(
            contextlib.closing(QdrantClient(url=nodes[1].url, check_compatibility=False, timeout=60))
        )
        points = [models.PointStruct(id=at, vector=row.tolist()) for at, row in enumerate(ROWS)]
        client.upsert("points", points, wait=True)

        asked = ("mesh", "rebalance", "points", "--url", nodes[1].url, "--json")
        until(lambda: littoral(*asked).json["strategy"] == "metric")
        plan = littoral(*asked, "--apply").json
        assert plan["is_begun"]
        assert plan["why"] == f"{COUNT} points are there, cells can be fitted to them"

        def has_arrived() -> bool:
            """On both."""
            meshes = [one.call("GET", "/api/mesh") for one in told]
            return all(
                mesh["collections"]["points"]["strategy"] == "metric" and not mesh["moves"] and not mesh["lacking"]
                for mesh in meshes
            )

        until(has_arrived)
        assert client.count("points").count == COUNT
        query = ROWS[5] + np.float32(0.05)
        hits = client.query_points("points", query=query.tolist(), limit=10, search_params={"exact": True}).points
        assert [hit.id for hit in hits] == ((ROWS - query) ** 2).sum(axis=1).argsort()[:10].tolist()
