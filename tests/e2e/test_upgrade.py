"""Data that earlier commits wrote (`tools/former_data.py`), opened by today's node; and data of a later version."""

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tools.former_data import EMBEDDED_COUNT, answers

from littoral.clock import SYSTEM
from littoral.node.backup.folder import Backups
from littoral.node.backup.sending import sent
from littoral.node.backup.stopped import Stopped, one_by_one, reader
from littoral.node.beside import running_node
from littoral.node.site import read_site
from raw_http import ask as ask_raw
from raw_http import request, send

pytestmark = pytest.mark.e2e

FORMER = Path(__file__).parents[1] / "former"
ARCHIVES = sorted(path.name.partition(".")[0] for path in FORMER.glob("*.tar.xz"))
ARCHIVES_BYTES_MAX = 300_000
NEAR = 1e-6


class Node:
    """As `answers` asks."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, content: bytes | None = None) -> Any:
        data = json.dumps(body).encode() if content is None and body is not None else content or b""
        kind = "application/json" if content is None else "application/octet-stream"
        reply = ask_raw(self.address, request(method, path, data, self._headers | {"Content-Type": kind}))
        assert reply.status == 200, reply
        return reply.json

    def text(self, path: str) -> str:
        return send(self.address, "GET", path, b"", self._headers).body.decode()


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(FORMER / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (folder / "state").chmod(0o700)
    return folder / "site/site.toml"


def expected_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return found


def is_near(one: Any, other: Any) -> bool:
    """The same, but for the last bits of numbers, which are written as text."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= NEAR * max(1.0, abs(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_near, one, other))
    return bool(one == other)


@pytest.fixture
def former(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an archive, whose state is this installation's for as long as the test takes."""
    unpacked(request.param, tmp_path)
    monkeypatch.setenv("LITTORAL_STATE", str(tmp_path / "state"))  # for the node's processes
    monkeypatch.setenv("LITTORAL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_archives_are_there_and_small() -> None:
    assert len(ARCHIVES) == 2
    assert sum((FORMER / f"{name}.tar.xz").stat().st_size for name in ARCHIVES) <= ARCHIVES_BYTES_MAX


@pytest.mark.parametrize("former", ARCHIVES, indirect=True)
def test_todays_node_has_all_that_an_earlier_one_had(former: Path) -> None:
    expected = expected_of(former)
    picture = (former / "picture.jpg").read_bytes()
    token = expected.pop("token")
    with running_node(former / "site/site.toml") as running:
        node = Node(running.address, token)
        found = answers(node, picture)
        for what, told in expected.items():
            assert is_near(found[what], told), what
        assert f'littoral_cache_entries{{cache="embedding"}} {EMBEDDED_COUNT}' in node.text("/metrics")
        (model,) = node.ask("GET", "/api/models")
        assert model["engine"] == "trusted", "this installation had compiled it"
        (snapshot,) = expected["snapshots"]
        recovered = {"location": f"file://{former}/site/data/snapshots/frames/{snapshot}"}
        node.ask("PUT", "/collections/again/snapshots/recover?wait=true", recovered)
        points = node.ask("POST", "/collections/again/points/scroll", {"limit": 1000})["result"]["points"]
        before = [point["payload"] for point in expected["frames"]]
        assert [point["payload"] for point in points] == [
            {key: value for key, value in payload.items() if key != "late"} for payload in before
        ]
        alias = {"create_alias": {"collection_name": "frames", "alias_name": "pictures"}}
        node.ask("POST", "/collections/aliases", {"actions": [alias]})
        node.ask("PUT", "/collections/frames/points?wait=true", {"points": [{"id": 500, "vector": [1, 2, 3, 4, 5]}]})
    kept = json.loads((former / "site/data/collections/aliases.json").read_bytes())
    assert kept == {"aliases": {"pieces": "parts", "pictures": "frames"}, "format": 1}
    with running_node(former / "site/site.toml") as running:
        node = Node(running.address, token)
        assert len(node.ask("POST", "/collections/frames/points/scroll", {"limit": 1000})["result"]["points"]) == 61
        assert len(node.ask("GET", "/aliases")["result"]["aliases"]) == 2


@pytest.mark.parametrize("former", ARCHIVES[-1:], indirect=True)
def test_a_backup_of_what_an_earlier_one_wrote(former: Path, tmp_path: Path) -> None:
    site = read_site(former / "site/site.toml")
    chunks = one_by_one(sent(site, Stopped(site.data), SYSTEM))
    made = Backups(tmp_path / "backup", None, SYSTEM).take(reader(chunks))
    assert made.manifest.collections == ["frames", "parts"]


@pytest.mark.parametrize("former", ARCHIVES[-1:], indirect=True)
def test_what_a_later_version_wrote_is_refused_and_left_as_it_is(former: Path) -> None:
    data = former / "site/data/collections"
    token = expected_of(former)["token"]
    later = data / "parts/collection.json"
    later.write_text(json.dumps(json.loads(later.read_text()) | {"format": 2, "shape": "unknown"}))
    before = digests(data / "parts")
    with running_node(former / "site/site.toml") as running:
        node = Node(running.address, token)
        reply = send(running.address, "GET", "/readyz")
        assert reply.status == 503
        assert "has format 2, this version knows 1" in reply.body.decode()
        refused = send(running.address, "GET", "/collections/parts", b"", {"Authorization": f"Bearer {token}"})
        assert refused.status >= 400
        assert "has format 2, this version knows 1" in refused.error
        assert len(node.ask("POST", "/collections/frames/points/scroll", {"limit": 1000})["result"]["points"]) == 60
    assert digests(data / "parts") == before


def digests(folder: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
