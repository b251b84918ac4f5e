"""A node that runs, over HTTP: its stream, one at a time; and what it seals when its site file has keys."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError
from littoral.node.backup.folder import Backups
from littoral.node.backup.restoring import restore
from littoral.node.client import NodeClient
from littoral.vault.keys import new_key
from littoral.vault.layout import MAGIC
from node_fixture import Served, node_in_thread
from stopped_node import points_of
from supervised import short_folder
from waiting import until

SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"

[collections.parts]
vectors = { size = 4, distance = "Dot" }

[encryption]
key_file = "keys"
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder:
        (folder / "keys").write_text(new_key()[1])
        (folder / "keys").chmod(0o600)
        (folder / "site.toml").write_text(SITE)
        with node_in_thread(folder, site=folder / "site.toml") as node:
            yield node


@pytest.fixture
def client(served: Served) -> Iterator[NodeClient]:
    client = NodeClient(served.url)
    points = [{"id": number, "vector": [number] * 4, "payload": {"n": number}} for number in range(10)]
    client.collection("PUT", "parts", "/points?wait=true", {"points": points})
    yield client
    client.close()


def whole(read: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: read(1 << 16), b""))


def test_the_stream_is_a_tar_that_says_when_it_is_whole(client: NodeClient) -> None:
    with client.download("/api/backup") as read, tarfile.open(fileobj=io.BytesIO(whole(read))) as archive:
        names = archive.getnames()
        told = {name: json.load(archive.extractfile(name) or io.BytesIO()) for name in ("head.json", "end.json")}
        assert archive.getmember("collections/parts.snapshot").size > 16 << 20
    assert names == ["head.json", "site/site.toml", "collections/parts.snapshot", "end.json"]
    assert (told["head.json"]["node"], told["head.json"]["is_sealed"]) == ("gw-1", True)
    assert (told["end.json"]["entries"], told["end.json"]["left_out"][0][0]) == (3, "keys of `encryption`")


def test_a_second_backup_waits_for_the_first(served: Served, client: NodeClient) -> None:
    def is_free() -> bool:
        other = NodeClient(served.url)
        try:
            with other.download("/api/backup") as read:
                return len(whole(read)) > 0
        except ConflictError:
            return False

    with client.download("/api/backup") as read:  # far more than sockets hold: it waits for whoever reads
        read(512)
        other = NodeClient(served.url)
        with pytest.raises(ConflictError, match="is being made"), other.download("/api/backup"):
            pass
    until(is_free)
    assert served.node.site is not None
    until(lambda: not (served.node.data / "backup.part").exists())
    with pytest.raises(InputError, match="parameter `tokens`"), client.download("/api/backup?tokens=yes"):
        pass


def test_what_runs_is_put_together_again(served: Served, client: NodeClient, tmp_path: Path) -> None:
    backups = Backups(tmp_path / "kept", served.node.keys, SYSTEM)
    with client.download("/api/backup") as read:
        backups.take(read)
    found = points_of(restore(backups, tmp_path / "again").site_file)
    assert [(record.id, record.payload) for record in found] == [(number, {"n": number}) for number in range(10)]


def test_a_snapshot_is_sealed_on_the_disk_and_plain_in_an_answer(served: Served, client: NodeClient) -> None:
    made = client.collection("POST", "parts", "/snapshots")
    path = served.node.data / "snapshots/parts" / made["name"]
    assert path.read_bytes().startswith(MAGIC)
    address = f"/collections/parts/snapshots/{made['name']}"
    with client.download(address) as read:
        data = whole(read)
    assert len(data) == made["size"]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames()[0] == "collection.json"
    client.collection("POST", "parts", "/points/delete?wait=true", {"points": [1, 2, 3]})
    body = {"location": f"{served.url}{address}", "checksum": made["checksum"]}
    client.collection("PUT", "parts", "/snapshots/recover", body)
    assert client.collection("POST", "parts", "/points/count", {"exact": True})["count"] == 10
    assert list(path.parent.parent.glob(".received*")) == []
