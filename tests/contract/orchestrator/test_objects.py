"""Objects in a folder, and in storage that speaks S3 over real HTTP: the same answers."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import NotFoundError, SettingError, UnavailableError
from littoral.orchestrator.objects import FolderObjects, Objects
from littoral.orchestrator.objects_s3 import S3Objects
from ports import free_port
from s3_server import KEYS


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return FolderObjects(tmp_path / "objects")
    name = f"{os.getpid()}-{abs(hash(request.node.name))}"
    return S3Objects(f"s3://fleet/{name}/x", endpoint=request.getfixturevalue("endpoint"))


def test_what_is_put_is_read_whole_and_in_parts(objects: Objects, tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    (tmp_path / "file").write_bytes(data)
    objects.put_file("image/targets/a.wasm", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert objects.length("image/targets/a.wasm") == len(data)
    assert objects.read("image/targets/a.wasm", 1000, 300) == data[1000:1300]
    assert objects.read("image/targets/a.wasm", len(data) - 5, 300) == data[-5:]
    assert objects.get("image/targets/a.wasm") == data


def test_the_last_one_put_counts(objects: Objects) -> None:
    objects.put("metadata/timestamp.json", b"1")
    objects.put("metadata/timestamp.json", b"22")
    assert (objects.get("metadata/timestamp.json"), objects.length("metadata/timestamp.json")) == (b"22", 2)


def test_what_is_not_there(objects: Objects) -> None:
    assert (objects.get("a/b"), objects.length("a/b")) == (None, None)
    objects.delete("a/b")
    with pytest.raises(NotFoundError):
        objects.read("a/b", 0, 1)


def test_names_and_taking_away(objects: Objects) -> None:
    for name in ("metadata/a.json", "metadata/d/b.json", "image/c.wasm"):
        objects.put(name, b"x")
    assert sorted(objects.names("metadata/")) == ["metadata/a.json", "metadata/d/b.json"]
    assert sorted(objects.names("metadata/d/")) == ["metadata/d/b.json"]
    assert [*objects.names("nothing/")] == []
    objects.delete("metadata/a.json")
    assert sorted(objects.names("metadata/")) == ["metadata/d/b.json"]


def test_storage_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("littoral.orchestrator.objects_s3.RETRY_S", 1)
    objects = S3Objects("s3://fleet/x", endpoint=f"http://127.0.0.1:{free_port()}")
    calls: list[Any] = [lambda: objects.get("a"), lambda: objects.put("a", b"x"), lambda: [*objects.names("a/")]]
    for call in calls:
        with pytest.raises(UnavailableError, match="objects `s3://fleet/x`"):
            call()


def test_an_address_that_is_none() -> None:
    with contextlib.suppress(KeyError), pytest.raises(SettingError, match="must be like `s3://bucket/prefix`"):
        S3Objects("https://bucket/x")
