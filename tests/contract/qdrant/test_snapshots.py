"""Snapshots by `qdrant-client`: made, listed, fetched, recovered into the same and into another collection."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from node_fixture import Served
from points_of_kinds import INDEXES, RICH_SPARSE, RICH_VECTORS, rich_points
from twins import plain

NAME = "kept"


@pytest.fixture
def client(served: Served) -> Iterator[QdrantClient]:
    client = QdrantClient(url=served.url, timeout=60)
    client.create_collection(NAME, vectors_config=RICH_VECTORS, sparse_vectors_config=RICH_SPARSE)
    client.upsert(NAME, rich_points())
    for field, schema in INDEXES.items():
        client.create_payload_index(NAME, field, schema)
    yield client
    for name in (NAME, "other"):
        client.delete_collection(name)
    client.close()


def contents(client: QdrantClient, name: str = NAME) -> Any:
    return plain(client.scroll(name, limit=1000, with_payload=True, with_vectors=True)[0])


def address(served: Served, snapshot: Any) -> str:
    return f"{served.url}/collections/{NAME}/snapshots/{snapshot.name}"


def test_a_snapshot_is_made_and_recovered(served: Served, client: QdrantClient) -> None:
    before = contents(client)
    made = client.create_snapshot(NAME)
    assert client.list_snapshots(NAME) == [made]
    client.delete(NAME, [1, 2, 4])
    client.overwrite_payload(NAME, {"gone": True}, points=[5])
    indexes = client.get_collection(NAME).payload_schema.keys()
    assert client.recover_snapshot(NAME, address(served, made), checksum=made.checksum)
    assert contents(client) == before
    assert client.get_collection(NAME).payload_schema.keys() == indexes
    client.upsert(NAME, [models.PointStruct(id=9000, vector={"text": [1.0] * 6})])
    assert client.query_points(NAME, [1.0] * 6, using="text", limit=1).points[0].id == 9000
    assert client.delete_snapshot(NAME, made.name)
    assert client.list_snapshots(NAME) == []


def test_a_snapshot_makes_another_collection(served: Served, client: QdrantClient) -> None:
    before = contents(client)
    made = client.create_snapshot(NAME)
    assert client.recover_snapshot("other", address(served, made))
    assert contents(client, "other") == before
    ours, theirs = (client.get_collection(name).config.params for name in (NAME, "other"))
    assert ours == theirs
    client.delete_snapshot(NAME, made.name)


def test_a_snapshot_travels(served: Served, client: QdrantClient) -> None:
    before = contents(client)
    made = client.create_snapshot(NAME)
    data = httpx.get(address(served, made)).content
    assert (len(data), hashlib.sha256(data).hexdigest()) == (made.size, made.checksum)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    assert names[0] == "collection.json"
    assert "edge_config.json" in names
    assert any(name.startswith("segments/") for name in names)
    client.delete_collection(NAME)
    upload = f"{served.url}/collections/{NAME}/snapshots/upload"
    for wrong in (b"no tar", b"", gzip.compress(b"no tar")):
        assert httpx.post(upload, files={"snapshot": ("x", wrong)}).status_code == 400
    assert httpx.post(upload, content=data[:100]).status_code == 400
    packed = gzip.compress(data, 1)  # the store sets room aside in its files: a tar of few points is mostly zeros
    answer = httpx.post(upload, files={"snapshot": ("x", packed)}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert contents(client) == before


def test_wrong_recoveries_are_refused(served: Served, client: QdrantClient) -> None:
    before = contents(client)
    made = client.create_snapshot(NAME)
    client.create_collection("other", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT))
    for name, location, checksum, status in (
        (NAME, f"{address(served, made)}x", None, 404),
        (NAME, "file:///etc/passwd", None, 404),
        (NAME, "http://example.org/x.snapshot", None, 501),
        (NAME, address(served, made), "0" * 64, 400),
        ("other", address(served, made), None, 400),
    ):
        with pytest.raises(UnexpectedResponse) as refused:
            client.recover_snapshot(name, location, checksum=checksum)
        assert refused.value.status_code == status, refused.value.content
    assert contents(client) == before
    with pytest.raises(UnexpectedResponse):
        client.delete_snapshot(NAME, "nothing.snapshot")
    client.delete_snapshot(NAME, made.name)
