"""A node under writes and searches is backed up and put together elsewhere: the same points, models and settings."""

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from command import littoral as cli
from littoral.clock import SYSTEM
from littoral.errors import DeadlineError, UnavailableError
from littoral.node.at_rest import read_key_file
from littoral.node.backup.folder import Backups
from littoral.node.beside import running_node
from littoral.node.client import NodeClient
from site_folder import TEXT, site_folder
from waiting import until

pytestmark = pytest.mark.e2e

SIZE = 8
FIRST = 1000
POINTS = f'{TEXT}\n[collections.points]\nvectors = {{ size = {SIZE}, distance = "Euclid" }}\n'


def point(number: int) -> dict[str, Any]:
    return {"id": number, "vector": [number / 8 + i for i in range(SIZE)], "payload": {"n": number, "kind": "a" * 30}}


class Busy:
    """One thread writes points from `FIRST` on, each acknowledged before the next; another one searches."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._write, self._search)]
        self.written_count = self.searched_count = 0
        self.errors: list[BaseException] = []

    def __enter__(self) -> "Busy":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, work: Any) -> None:
        try:
            with contextlib.closing(NodeClient(self._url)) as client:
                while not self._stop.is_set():
                    with contextlib.suppress(UnavailableError, DeadlineError):  # of a slow machine: asked again
                        work(client)
        except BaseException as error:
            self.errors.append(error)
            raise

    def _write(self, client: NodeClient) -> None:
        client.collection("PUT", "points", "/points?wait=true", {"points": [point(FIRST + self.written_count)]})
        self.written_count += 1

    def _search(self, client: NodeClient) -> None:
        body = {"query": point(7)["vector"], "limit": 1, "params": {"exact": True}}
        (hit,) = client.collection("POST", "points", "/points/query", body)["points"]
        assert hit["id"] == 7
        self.searched_count += 1


def everything(client: NodeClient) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    offset = None
    while True:
        body = {"limit": 500, "offset": offset, "with_payload": True, "with_vector": True}
        page = client.collection("POST", "points", "/points/scroll", body)
        found |= {one["id"]: {key: one[key] for key in ("id", "vector", "payload")} for one in page["points"]}
        if (offset := page["next_page_offset"]) is None:
            return found


def models(client: NodeClient) -> Any:
    return [(one["name"], one["sha256"]) for one in client.call("GET", "/api/models")]


def test_a_node_under_load_is_put_together_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    site = site_folder(tmp_path / "node", POINTS)
    keys, kept, again = tmp_path / "keys", tmp_path / "kept", tmp_path / "again"
    assert cli("keys", "seal", keys).code == 0
    with running_node(site) as node, contextlib.closing(node.client()) as client:
        client.collection("PUT", "points", "/points?wait=true", {"points": [point(number) for number in range(200)]})
        client.call("POST", "/collections/aliases", json.dumps(ALIAS).encode())
        served = models(client)
        with Busy(node.url) as busy:
            until(lambda: (busy.written_count >= 5 and busy.searched_count >= 5) or bool(busy.errors))
            acknowledged, searched = busy.written_count, busy.searched_count
            first = cli("backup", kept, "--url", node.url, "--keys", keys, "--json")
            sent = busy.written_count + 1
            assert first.code == 0, first.err
            until(lambda: busy.searched_count > searched or bool(busy.errors))
        assert busy.errors == []
        second = cli("backup", kept, "--url", node.url, "--keys", keys, "--json")
        assert second.code == 0, second.err
    assert first.json["collections"] == ["frames", "points"]
    assert second.json["new_bytes"] < first.json["new_bytes"]
    assert list(Backups(kept, read_key_file(keys), SYSTEM).damage()) == []
    done = cli("restore", kept, "--to", again, "--backup", first.json["name"], "--keys", keys, "--json")
    assert done.code == 0, done.err
    with running_node(Path(done.json["site"])) as node, contextlib.closing(node.client()) as client:
        found = everything(client)
        assert models(client) == served
        assert client.collection("POST", "pieces", "/points/count", {"exact": True})["count"] == len(found)
    written = len(found) - 200
    assert acknowledged <= written <= sent
    assert found == {number: point(number) for number in [*range(200), *range(FIRST, FIRST + written)]}


ALIAS = {"actions": [{"create_alias": {"collection_name": "points", "alias_name": "pieces"}}]}
