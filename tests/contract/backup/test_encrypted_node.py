"""A node whose payloads have encrypted fields, over HTTP: no byte of a value on its disk, whatever wrote it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from canaries import on_disk
from littoral.errors import SettingError
from littoral.node.client import NodeClient
from littoral.node.site import read_site
from littoral.vault.keys import new_key
from littoral.vectors.encrypted.shard import Renewed
from node_fixture import node_in_thread
from supervised import short_folder
from waiting import until

CANARY, OPEN = "canary-Zq7#", "open-canary-Xk2"
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"

[collections.frames]
vectors = { size = 4, distance = "Dot" }

[collections.frames.encrypted]
fields = ["customer", "plate"]

[encryption]
key_file = "keys"
"""


NAMED = """
[collections.frames.encrypted]
fields = ["customer", "plate"]
"""
NOTHING_NAMED = SITE.replace(NAMED, "")


def write_keys(folder: Path, *lines: str) -> None:
    (folder / "keys").write_text("".join(lines))
    (folder / "keys").chmod(0o600)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        write_keys(folder, new_key()[1])
        (folder / "site.toml").write_text(SITE)
        yield folder


def write_everywhere(client: NodeClient) -> None:
    """By every request that writes payloads."""

    def points(what: str, body: Any, method: str = "POST") -> None:
        client.collection(method, "frames", f"/points{what}?wait=true", body)

    rows = [{"id": at, "vector": [at, 0, 0, 1], "payload": {"customer": f"{CANARY}{at}"}} for at in range(9)]
    points("", {"points": rows}, "PUT")
    points("", {"batch": {"ids": [9], "vectors": [[9, 0, 0, 1]], "payloads": [{"plate": [CANARY, 7]}]}}, "PUT")
    points("/payload", {"points": [1, 2], "payload": {"customer": {"name": CANARY}}})
    matching = {"must": [{"key": "customer", "match": {"value": f"{CANARY}3"}}]}
    points("/payload", {"filter": matching, "payload": {"plate": f"{CANARY}-of-3"}})
    points("/payload", {"points": [4], "payload": {"plate": CANARY}}, "PUT")
    points("/payload", {"points": [0], "payload": {"note": OPEN}})
    points("/payload/delete", {"points": [5], "keys": ["customer"]})
    merged = {"points": [6, 7], "payload": {"plate": f"{CANARY}x"}}
    points("/batch", {"operations": [{"set_payload": merged}, {"clear_payload": {"points": [8]}}]})


WRITTEN = {
    0: {"customer": f"{CANARY}0", "note": OPEN},
    1: {"customer": {"name": CANARY}},
    2: {"customer": {"name": CANARY}},
    3: {"customer": f"{CANARY}3", "plate": f"{CANARY}-of-3"},
    4: {"plate": CANARY},
    5: {},
    6: {"customer": f"{CANARY}6", "plate": f"{CANARY}x"},
    7: {"customer": f"{CANARY}7", "plate": f"{CANARY}x"},
    8: {},
    9: {"plate": [CANARY, 7]},
}


def payloads(client: NodeClient, **body: Any) -> dict[int, Any]:
    asked = {"limit": 100, "with_payload": True, **body}
    found = client.collection("POST", "frames", "/points/scroll", asked)
    return {point["id"]: point["payload"] for point in found["points"]}


def test_nothing_of_a_value_lies_on_the_disk_and_all_of_it_is_answered(folder: Path) -> None:
    with node_in_thread(folder, site=folder / "site.toml") as node:
        client = NodeClient(node.url)
        write_everywhere(client)
        assert payloads(client) == WRITTEN
        client.collection("POST", "frames", "/snapshots?wait=true", {})
        assert list(node.node.data.rglob("*.snapshot"))
        assert on_disk(folder, CANARY) == []
        assert on_disk(folder, OPEN)
        client.close()
    assert on_disk(folder, CANARY) == []
    sealed_by_first = (folder / "keys").read_text()
    write_keys(folder, new_key()[1], sealed_by_first)
    with node_in_thread(folder, site=folder / "site.toml") as node:
        client = NodeClient(node.url)
        assert payloads(client) == WRITTEN
        ((_, shard),) = node.node.collections.sealed_shards()
        until(lambda: shard.renewed is not None)
        assert shard.renewed == Renewed(points=10, values=11, lost=0)
        assert payloads(client, filter={"must": [{"key": "plate", "match": {"any": [CANARY]}}]}).keys() == {4, 9}
        client.close()
    write_keys(folder, (folder / "keys").read_text().splitlines()[0] + "\n")
    with node_in_thread(folder, site=folder / "site.toml") as node:
        client = NodeClient(node.url)
        assert payloads(client) == WRITTEN
        client.close()
    assert on_disk(folder, CANARY) == []


def test_an_unmodified_client_sees_plain_fields(folder: Path) -> None:
    with node_in_thread(folder, site=folder / "site.toml") as node:
        client = QdrantClient(url=node.url)
        point = models.PointStruct(id=1, vector=[1, 2, 3, 4], payload={"customer": "Ann", "n": 1})
        client.upsert("frames", [point], wait=True)
        client.create_payload_index("frames", "customer", models.PayloadSchemaType.KEYWORD)
        match = models.FieldCondition(key="customer", match=models.MatchValue(value="Ann"))
        found = client.query_points("frames", query=[1, 1, 1, 1], query_filter=models.Filter(must=[match]))
        assert [hit.payload for hit in found.points] == [{"customer": "Ann", "n": 1}]
        assert client.retrieve("frames", [1])[0].payload == {"customer": "Ann", "n": 1}
        with pytest.raises(Exception, match="is encrypted: no facets"):
            client.facet("frames", "customer")
        client.close()


def states(folder: Path) -> Any:
    file = next(folder.rglob("encrypted.json"), None)
    return {} if file is None else json.loads(file.read_text())["collections"].get("frames", {})


def of_plate(client: NodeClient) -> set[int]:
    """Points that are found by it."""
    return set(payloads(client, filter={"must": [{"key": "plate", "match": {"any": [CANARY]}}]}))


ADDED = {**WRITTEN, 8: {"plate": CANARY}}


def test_a_field_that_is_named_no_more_is_opened_and_then_is_one_as_any_other(folder: Path) -> None:
    site = folder / "site.toml"
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        write_everywhere(client)
        assert states(folder) == {"customer": "sealed", "plate": "sealed"}
        client.close()
    site.write_text(SITE.replace('"customer", "plate"', '"customer"'))
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        assert (payloads(client), of_plate(client)) == (WRITTEN, {4, 9})
        until(lambda: states(folder) == {"customer": "sealed", "plate": "opened"})
        client.collection("POST", "frames", "/points/payload?wait=true", {"points": [8], "payload": {"plate": CANARY}})
        assert (payloads(client), of_plate(client)) == (ADDED, {4, 8, 9})
        client.close()
    assert on_disk(folder, CANARY), "plate lies plain"
    site.write_text(NOTHING_NAMED)
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        until(lambda: states(folder) == {"customer": "opened", "plate": "opened"})
        assert (payloads(client), of_plate(client)) == (ADDED, {4, 8, 9})
        client.close()
    without_keys = NOTHING_NAMED[: NOTHING_NAMED.index("[encryption]")]
    site.write_text(without_keys)
    with pytest.raises(SettingError, match="lies sealed, and there is no table"), node_in_thread(folder, site=site):
        pass
    site.write_text(NOTHING_NAMED)
    with node_in_thread(folder, site=site):
        until(lambda: states(folder) == {})
    site.write_text(without_keys)
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        assert (payloads(client), of_plate(client)) == (ADDED, {4, 8, 9})
        assert node.node.collections.sealed_shards() == []
        client.collection("PUT", "frames", "/index?wait=true", {"field_name": "plate", "field_schema": "keyword"})
        assert client.collection("POST", "frames", "/facet", {"key": "plate"})["hits"], "it is one as any other"
        client.close()


def test_a_field_is_looked_for_in_either_form_while_its_values_are_sealed(folder: Path) -> None:
    site = folder / "site.toml"
    site.write_text(NOTHING_NAMED)
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        write_everywhere(client)
        assert states(folder) == {}
        client.close()
    site.write_text(SITE)
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        assert (payloads(client), of_plate(client)) == (WRITTEN, {4, 9})
        until(lambda: states(folder) == {"customer": "sealed", "plate": "sealed"})
        assert (payloads(client), of_plate(client)) == (WRITTEN, {4, 9})
        client.close()


def test_a_field_that_is_named_again_while_it_is_opened_is_sealed(folder: Path) -> None:
    site = folder / "site.toml"
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        write_everywhere(client)
        client.close()
    site.write_text(SITE.replace('"customer", "plate"', '"customer"'))
    with node_in_thread(folder, site=site):
        until(lambda: states(folder)["plate"] == "opened")
    site.write_text(SITE)
    with node_in_thread(folder, site=site) as node:
        client = NodeClient(node.url)
        assert (payloads(client), of_plate(client)) == (WRITTEN, {4, 9})
        until(lambda: states(folder) == {"customer": "sealed", "plate": "sealed"})
        assert (payloads(client), of_plate(client)) == (WRITTEN, {4, 9})
        client.close()


def test_a_record_that_cannot_be_read_ends_the_start(folder: Path) -> None:
    with node_in_thread(folder, site=folder / "site.toml"):
        pass
    file = next(folder.rglob("encrypted.json"))
    file.write_bytes(b'{"collections": {}, "format": 2}')
    with pytest.raises(SettingError, match="has format 2"), node_in_thread(folder, site=folder / "site.toml"):
        pass


MESH = '[mesh]\nsite = "shop"\n'
BY_PLATE = 'spread = { strategy = "geographic", regions = ["eu", "us"], region = "plate", replicas = 1 }'
WRONG = {
    "needs the table `encryption`": SITE[: SITE.index("[encryption]")],
    "needs the table `mesh.encryption`": SITE.replace('"Dot" }', '"Dot" }\nspread = { shards = 2, replicas = 1 }')
    + MESH,
    "names `plate`, by which points are spread": SITE.replace('"Dot" }', f'"Dot" }}\n{BY_PLATE}')
    + MESH
    + '[mesh.encryption]\nkey_file = "keys"\n',
    "names a field twice": SITE.replace('"plate"]', '"customer"]'),
    "where the sealed value of another one lies": SITE.replace('"plate"]', '"customer__sealed"]'),
    "fields": SITE.replace('"plate"]', '"a.b"]'),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_site_file_that_cannot_hold_is_refused(message: str, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(WRONG[message])
    with pytest.raises(SettingError, match=message):
        read_site(tmp_path / "site.toml")
