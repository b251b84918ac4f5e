"""Three real nodes, two regions: a collection of which one is pinned, one in cells with copies, one of named ones."""

import contextlib
import json
import os
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

[collections.items]
named.image = { size = 8, distance = "Euclid" }
named.text = { size = 4, distance = "Cosine" }
sparse = ["words"]
spread = { strategy = "metric", by = "image", sample = "SAMPLE", shards = 3, replicas = 1, copies = 1.5 }
"""
TEXTS = np.random.default_rng(14).standard_normal((COUNT, 4)).astype("<f4")


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
            client.upsert("items", [item(i) for i in range(COUNT)], wait=True)
        yield running


def is_whole(client: NodeClient) -> bool:
    told = client.call("GET", "/api/mesh")
    return not told["lacking"] and all(member["is_here"] for member in told["members"])


def client_of(node: RunningNode) -> contextlib.closing[QdrantClient]:
    return contextlib.closing(QdrantClient(url=node.url, check_compatibility=False, timeout=60))


def point(number: int) -> models.PointStruct:
    payload = {"region": "eu" if number % 2 else "us", "word": f"sealed {number}" if number % 2 else "open"}
    return models.PointStruct(id=number, vector=ROWS[number].tolist(), payload=payload)


def item(number: int) -> models.PointStruct:
    """Every fifth has no picture."""
    words = models.SparseVector(indices=[number % 4, 9], values=[1.0, number])
    vector: dict[str, Any] = {"text": TEXTS[number].tolist(), "words": words}
    if number % 5:
        vector["image"] = ROWS[number].tolist()
    return models.PointStruct(id=number, vector=vector, payload={"kind": "even" if number % 2 == 0 else "odd"})


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
        # Stores come and go with folders of their own meanwhile, which `walk` takes as they are.
        files = (Path(at) / file for at, _, names in os.walk(data) for file in names)
        own = [file for file in files if "points." in str(file.relative_to(data)) and file.is_file()]
        found[name] = sum(b"sealed" in file.read_bytes() for file in own)
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


def test_named_vectors_are_one_collection(nodes: dict[str, RunningNode]) -> None:
    """Any node, by each of its vectors, also by the one that its cells are not of."""
    image, text = ROWS[7] + np.float32(0.05), TEXTS[7] + np.float32(0.05)
    apart = ((ROWS - image) ** 2).sum(axis=1)
    images = [i for i in np.argsort(apart, kind="stable").tolist() if i % 5]
    scores = (TEXTS @ text) / np.linalg.norm(TEXTS, axis=1)
    texts = np.argsort(-scores, kind="stable").tolist()
    exact, odd = (
        models.SearchParams(exact=True),
        models.FieldCondition(key="kind", match=models.MatchValue(value="odd")),
    )
    for node in nodes.values():
        with client_of(node) as client:
            assert client.count("items").count == COUNT
            for using, query, wanted in (("image", image, images), ("text", text, texts)):
                asked: dict[str, Any] = {"query": query.tolist(), "using": using, "search_params": exact}
                hits = client.query_points("items", limit=10, **asked).points
                assert [hit.id for hit in hits] == wanted[:10]
                hits = client.query_points("items", limit=5, query_filter=models.Filter(must=[odd]), **asked).points
                assert [hit.id for hit in hits] == [i for i in wanted if i % 2][:5]
            words = models.SparseVector(indices=[9], values=[1.0])
            hits = client.query_points("items", query=words, using="words", limit=3, search_params=exact).points
            assert [hit.id for hit in hits] == [59, 58, 57]
            (batched,) = client.query_batch_points(
                "items", [models.QueryRequest(query=text.tolist(), using="text", limit=4, params=exact)]
            )
            assert [hit.id for hit in batched.points] == texts[:4]


def test_named_vectors_are_read_changed_and_told_by_an_unmodified_client(nodes: dict[str, RunningNode]) -> None:
    with client_of(nodes["a"]) as one, client_of(nodes["c"]) as other:
        params = one.get_collection("items").config.params
        assert isinstance(params.vectors, dict)
        assert {name: vector.size for name, vector in params.vectors.items()} == {"image": 8, "text": 4}
        assert set(params.sparse_vectors or {}) == {"words"}
        one.update_vectors("items", [models.PointVectors(id=2, vector={"text": TEXTS[40].tolist()})], wait=True)
        one.delete_vectors("items", vectors=["words"], points=[3], wait=True)
        found = {record.id: record.vector for record in other.retrieve("items", [2, 3, 5], with_vectors=True)}
        assert np.allclose(found[2]["text"], TEXTS[40] / np.linalg.norm(TEXTS[40]), atol=1e-6)  # type: ignore[index,call-overload]
        assert [sorted(found[i]) for i in (2, 3, 5)] == [
            ["image", "text", "words"],
            ["image", "text"],
            ["text", "words"],
        ]  # type: ignore[arg-type]
        only = other.scroll("items", limit=COUNT, with_vectors=["text"])[0]
        assert [sorted(record.vector or {}) for record in only] == [["text"]] * COUNT
        far = (10 * ROWS[1]).tolist()
        one.update_vectors("items", [models.PointVectors(id=2, vector={"image": far})], wait=True)
        (nearest,) = other.query_points("items", query=far, using="image", limit=1).points
        assert (nearest.id, other.count("items").count) == (2, COUNT)
        groups = other.query_points_groups("items", group_by="kind", query=TEXTS[9].tolist(), using="text", limit=2)
        assert sorted(group.id for group in groups.groups) == ["even", "odd"]
        like = models.RecommendQuery(recommend=models.RecommendInput(positive=[9]))
        hits = other.query_points("items", query=like, using="image", limit=3).points
        assert 9 not in [hit.id for hit in hits]
        assert len(hits) == 3
        one.upsert("items", [item(i) for i in (2, 3)], wait=True)
