"""Models made on a node of files that are brought: compiled, quantised, loaded, taken back, by real workers."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brought_models import dense, npz
from littoral import settings
from littoral.making.builds import BUILDS_MAX
from node_fixture import Served, node_in_thread
from oip_site import OWN_MODELS, SITE, write_oip_site
from onnx_models import Network
from page_pictures import page_pictures
from processes import children_of
from raw_http import Reply, ask, connect, read_reply, request, send, send_json
from supervised import short_folder
from waiting import until

PINNED = """
[models.single]
path = "single.wasm"

[models.chosen]
path = "scaled"
versions = [1, 2]

[pipelines.fourfold]
steps = [{ model = "single" }, { model = "single" }]
"""
BUILDING = "building"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        site = write_oip_site(folder, SITE + PINNED)
        assert OWN_MODELS in site.read_text()
        (folder / "single.wasm").write_bytes((folder / "plain.wasm").read_bytes())
        yield folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with node_in_thread(folder, site=folder / "site.toml") as served:
        yield served


@pytest.fixture
def third(served: Served) -> None:
    """Version 3 of `scaled`, whichever tests ran before."""
    if 3 not in versions(served, "scaled"):
        found = made(served, brought(served, times(7.0)), shapes={"x": [1, 3]})
        assert told(loaded(served, found, "scaled"))["number"] == 3
        forget(served, found)


def times(factor: float, name: str = "x", output: str = "y") -> bytes:
    """`y = x · factor`, for any number of rows."""
    network = Network((-1, 3))
    k = network.weight(np.float32([factor]))
    network.node("Mul", name, k)
    network.nodes[-1].output[0] = output
    network.at = output
    return network.bytes()


def told(reply: Reply, status: int = 200) -> Any:
    assert reply.status == status, reply
    return reply.json


def brought(served: Served, data: bytes, file: str = "model.onnx") -> Any:
    return told(send(served.address, "POST", f"/api/builds?file={file}", data))


def build(served: Served, found: Mapping[str, Any]) -> Any:
    return told(send(served.address, "GET", f"/api/builds/{found['id']}"))


def started(served: Served, found: Mapping[str, Any], **order: Any) -> None:
    told(send_json(served.address, "POST", f"/api/builds/{found['id']}/start", order), 202)


def made(served: Served, found: Mapping[str, Any], **order: Any) -> Any:
    """As it is when it has ended."""
    started(served, found, **order)
    until(lambda: build(served, found)["state"] != BUILDING)
    return build(served, found)


def loaded(served: Served, found: Mapping[str, Any], model: str) -> Reply:
    return send_json(served.address, "POST", f"/api/builds/{found['id']}/load", {"model": model})


def forget(served: Served, found: Mapping[str, Any]) -> None:
    assert send(served.address, "DELETE", f"/api/builds/{found['id']}").status == 200


def factor(served: Served, model: str) -> float:
    asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    reply = send_json(served.address, "POST", f"/v2/models/{model}/infer", asked)
    return float(told(reply)["outputs"][0]["data"][0])


def versions(served: Served, model: str) -> dict[int, str]:
    found = told(send(served.address, "GET", f"/api/models/{model}/versions"))["versions"]
    return {one["number"]: one["state"] for one in found}


def test_a_file_becomes_the_version_that_serves_without_a_failed_request(served: Served, folder: Path) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    payload = request("POST", "/v2/models/scaled/infer", json.dumps(body).encode())
    answers: list[float] = []
    ends = threading.Event()

    def asks() -> None:
        with connect(served.address) as connection:
            while not ends.is_set():
                connection.sendall(payload)
                reply = read_reply(connection)
                answers.append(reply.json["outputs"][0]["data"][0] if reply.status == 200 else reply.status)

    found = brought(served, times(7.0))
    assert (found["state"], found["kind"], found["examined"]["tried_with"]) == ("new", "onnx", {"x": [1, 3]})
    found = made(served, found, name="scaled", version="7", shapes={"x": [1, 3]}, like="scaled")
    assert (found["state"], found["problem"]) == ("made", None), found
    assert (found["report"]["name"], found["report"]["version"], found["report"]["comparison"]) == ("scaled", "7", None)
    thread = threading.Thread(target=asks)
    thread.start()
    try:
        until(lambda: bool(answers))
        taken = told(loaded(served, found, "scaled"))
        count = len(answers)
        until(lambda: len(answers) > count + 1)
        assert taken == {"model": "scaled", "number": 3, "is_kept": True}
        assert build(served, found)["loaded"] == "scaled@3"
        assert told(send(served.address, "GET", "/api/models/scaled/versions"))["before"] == 2
        back = told(send(served.address, "POST", "/api/models/scaled/back"))
        assert back == {"model": "scaled", "number": 2, "is_kept": True}
        count = len(answers)
        until(lambda: len(answers) > count + 1)
    finally:
        ends.set()
        thread.join()
    assert [a for i, a in enumerate(answers) if i == 0 or a != answers[i - 1]] == [100.0, 7.0, 100.0]
    assert sorted(path.name for path in (folder / "scaled" / "3").iterdir()) == ["withdrawn.wasm"]
    assert told(send(served.address, "POST", "/api/models/scaled/back"))["number"] == 3
    assert sorted(path.name for path in (folder / "scaled" / "3").iterdir()) == ["model.wasm"]
    forget(served, found)


def test_what_serves_is_there_after_a_start(folder: Path) -> None:
    (folder / "again").mkdir()
    write_oip_site(folder / "again", SITE + PINNED)
    (folder / "again" / "single.wasm").write_bytes((folder / "again" / "plain.wasm").read_bytes())
    site = folder / "again" / "site.toml"
    with node_in_thread(folder, site=site) as first:
        found = made(first, brought(first, times(7.0)), shapes={"x": [1, 3]})
        assert told(loaded(first, found, "scaled"))["number"] == 3
        assert told(loaded(first, found, "single"))["is_kept"]
    with node_in_thread(folder, site=site) as second:
        assert (factor(second, "scaled"), factor(second, "single")) == (7.0, 7.0)
        assert told(send(second.address, "GET", "/api/builds"))["builds"] == []
        assert brought(second, times(2.0))["state"] == "new"
    one, two = [sorted((folder / "again" / "data" / "builds").glob("*/source")) for _ in range(2)]
    assert one == two


def test_one_file_keeps_what_it_held_for_the_way_back(served: Served, folder: Path) -> None:
    before = (folder / "single.wasm").read_bytes()
    found = made(served, brought(served, times(5.0)), shapes={"x": [1, 3]})
    told(loaded(served, found, "single"))
    assert (factor(served, "single"), (folder / "single.wasm.before").read_bytes()) == (5.0, before)
    assert told(send(served.address, "POST", "/api/models/single/back"))["is_kept"]
    assert (factor(served, "single"), (folder / "single.wasm").read_bytes()) == (2.0, before)
    assert not list(folder.glob(".*.new"))
    forget(served, found)


def test_a_version_that_does_not_fit_leaves_no_trace(served: Served, folder: Path) -> None:
    before = (folder / "single.wasm").read_bytes()
    found = made(served, brought(served, dense()))
    reply = loaded(served, found, "single")
    assert reply.status == 409
    assert "single" in reply.error
    assert ((folder / "single.wasm").read_bytes(), factor(served, "single")) == (before, 2.0)
    assert "names its versions" in loaded(served, found, "chosen").error
    assert loaded(served, found, "none").status == 404
    forget(served, found)


def test_whole_numbers_come_with_a_report(served: Served) -> None:
    found = brought(served, dense())
    feeds = np.random.default_rng(1).normal(size=(10, 3, 8, 8)).astype(np.float32)
    told(send(served.address, "POST", f"/api/builds/{found['id']}/feeds?file=feeds.npz", npz(x=feeds)))
    found = made(served, found, int8={"bits": 8})
    assert (found["state"], found["problem"]) == ("made", None)
    comparison = found["report"]["comparison"]
    assert (found["report"]["is_int8"], comparison["feeds"]) == (True, 2)
    assert comparison["outputs"][0]["cosine"] > 0.99
    assert comparison["other"]["weights_bytes"] < comparison["exact"]["weights_bytes"]
    assert len(comparison["layers"]) >= 2
    forget(served, found)


def test_pictures_calibrate_through_the_agents_of_a_pipeline(served: Served) -> None:
    found = brought(served, dense())
    for i, shown in enumerate(page_pictures()[:5]):
        path = f"/api/builds/{found['id']}/feeds?file=frame%20{i}.jpg"
        told(send(served.address, "POST", path, shown.data))
    assert told(send(served.address, "GET", "/api/builds"))["through"] == ["embed", "similar"]
    found = made(served, found, int8={"bits": 7, "through": "embed"})
    assert (found["state"], found["problem"]) == ("made", None)
    assert (found["feeds"], found["report"]["comparison"]["feeds"]) == (5, 1)
    forget(served, found)


def test_what_is_wrong_is_told_where_it_happened(served: Served) -> None:
    found = made(served, brought(served, times(2.0)), shapes={"x": [1, 4, 5]})
    assert found["state"] == "failed"
    assert found["problem"]["message"]
    found = made(served, found, int8={"bits": 8})
    assert found["problem"]["message"] == "no files to calibrate with"
    told(send(served.address, "POST", f"/api/builds/{found['id']}/feeds?file=odd.npz", b"nothing of the kind"))
    found = made(served, found, int8={"bits": 8})
    assert found["problem"]["message"].startswith("calibration `feeds/0001-odd.npz`: no .npz or .npy file")
    assert loaded(served, found, "scaled").status == 409
    assert send_json(served.address, "POST", f"/api/builds/{found['id']}/start", {"int8": {"bits": 3}}).status == 400
    unknown = send_json(served.address, "POST", f"/api/builds/{found['id']}/start", {"int8": {"through": "both"}})
    assert unknown.error.startswith("pipeline `both` does not begin with agents and a model")
    forget(served, found)
    assert send(served.address, "GET", f"/api/builds/{found['id']}").status == 404


def test_a_build_is_cancelled_and_its_process_is_gone(served: Served) -> None:
    found, other = brought(served, times(2.0)), brought(served, times(3.0))
    started(served, found)
    assert send_json(served.address, "POST", f"/api/builds/{other['id']}/start", {}).status == 409
    assert told(send(served.address, "POST", f"/api/builds/{found['id']}/cancel"))["state"] == "cancelled"
    assert workers() == []
    assert made(served, found, shapes={"x": [1, 3]})["state"] == "made"
    for one in (found, other):
        forget(served, one)


def workers() -> list[str]:
    """Processes of this one that work on files."""
    return [line for line in children_of(os.getpid()).values() if "littoral.making.worker" in line]


def test_how_far_it_is_comes_as_events(served: Served) -> None:
    found = brought(served, times(2.0))
    with connect(served.address) as connection, connection.makefile("rb") as lines:
        connection.sendall(request("GET", "/api/builds?follow=1"))
        while b": connected" not in lines.readline():
            pass
        started(served, found, shapes={"x": [1, 3]})
        seen = []
        while not seen or seen[-1]["state"] == BUILDING:
            line = lines.readline()
            if line.startswith(b"data: "):
                seen.append(json.loads(line.removeprefix(b"data: ")))
    assert seen[0]["state"] == BUILDING
    assert seen[-1]["state"] == "made"
    assert "import" in [one["progress"]["stage"] for one in seen if one["progress"]]
    forget(served, found)


def test_files_that_nothing_is_made_of_make_room(served: Served) -> None:
    ids = [brought(served, times(2.0), f"{i}.onnx")["id"] for i in range(BUILDS_MAX + 1)]
    kept = told(send(served.address, "GET", "/api/builds"))["builds"]
    assert [one["id"] for one in kept] == ids[:0:-1]
    for one in kept:
        forget(served, one)


def test_a_compiled_model_is_loaded_as_it_is_and_nothing_else_is_kept(served: Served, folder: Path) -> None:
    found = brought(served, (folder / "plain.wasm").read_bytes(), "plain.wasm")
    assert (found["state"], found["kind"], found["report"]["name"]) == ("made", "wasm", "plain")
    assert told(loaded(served, found, "single"))["model"] == "single"
    forget(served, found)
    for data in (b"\0asm\x01\0\0\0", b"nothing of the kind"):
        found = brought(served, data)
        assert (found["is_kept"], found["examined"]["is_usable"]) == (False, False)
        assert send(served.address, "GET", f"/api/builds/{found['id']}").status == 404


@pytest.mark.usefixtures("third")
def test_two_versions_answer_the_same_input(served: Served) -> None:
    found = told(send(served.address, "POST", "/api/compared?one=scaled@3&other=plain@1"))
    assert found["input"] == "noise"
    one, other = found["sides"]
    assert one["run_ms"] > 0
    assert other["outputs"][0]["first"] == [pytest.approx(2 / 7 * value) for value in one["outputs"][0]["first"]]
    assert found["agreement"][0]["cosine"] == 1.0

    feed = npz(x=np.float32([[1, 2, 3]]))
    found = told(send(served.address, "POST", "/api/compared?one=plain@1&file=in.npz", feed))
    assert (found["input"], found["agreement"]) == ("in.npz", None)
    assert found["sides"][0]["outputs"][0]["first"] == [2.0, 4.0, 6.0]
    picture = page_pictures()[0].data
    found = told(send(served.address, "POST", "/api/compared?one=picture@1&file=a.jpg&through=embed", picture))
    assert found["sides"][0]["outputs"][0]["shape"] == [1, 192]
    for path, status in (("one=scaled@9", 404), ("one=none@1", 404), ("", 400), ("one=picture@1&other=plain@1", 400)):
        assert send(served.address, "POST", f"/api/compared?{path}").status == status


@pytest.mark.usefixtures("third")
def test_other_files_than_fit_are_refused(served: Served) -> None:
    reply = ask(served.address, request("POST", "/api/compared?one=plain@1&file=x.npz", b"nothing"), timeout_s=60)
    assert reply.status == 400
    assert versions(served, "scaled")[3] == "READY"
