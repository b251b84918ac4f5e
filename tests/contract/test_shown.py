"""What the pages of a node read, asked for by hand: each answer says what its page shows."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from littoral.making.contents import examined
from littoral.node.shown.collections import flat
from onnx_models import Network, squeeze_excite
from pages_node import NOTES, PagesNode, pages_node
from raw_http import ask, request, send, send_json
from waiting import until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesNode]:
    with pages_node(tmp_path_factory.mktemp("pages")) as found:
        yield found


def told(node: PagesNode, path: str, method: str = "GET", body: bytes = b"") -> Any:
    reply = ask(node.served.address, request(method, path, body), timeout_s=60)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def refused(node: PagesNode, path: str, method: str = "GET", body: Any = None) -> tuple[int, str]:
    reply = send_json(node.served.address, method, path, body)
    return reply.status, reply.error


def test_the_doctor_looks_at_the_node_that_runs(node: PagesNode) -> None:
    found = told(node, "/api/doctor")
    checks = {finding["check"] for finding in found["findings"]}
    assert {"cpu", "memory", "clock", "disk", "port", "broker", "digest", "shard", "cache"} <= checks
    assert found["ok"] == all(finding["status"] != "fail" for finding in found["findings"])
    (frames,) = [finding for finding in found["findings"] if finding["subject"] == "collection frames"]
    assert frames["message"].startswith("36 points")


def test_the_doctor_says_what_became_of_the_site_file(node: PagesNode) -> None:
    site = node.folder / "site.toml"
    text = site.read_text()
    site.write_text(text + "[nonsense]\n")
    try:
        found = told(node, "/api/doctor")
    finally:
        site.write_text(text)
    assert not found["ok"]
    assert any("nonsense" in finding["message"] for finding in found["findings"])


def test_caches_are_told_and_emptied(node: PagesNode) -> None:
    for _ in range(2):
        told(node, "/pipelines/find", "POST", b"the pump")
    caches = {cache["name"]: cache for cache in told(node, "/api/caches")["caches"]}
    exact = caches["exact"]
    assert exact["hits"] >= 1
    assert 0 < exact["hit_share"] <= 1
    assert 0 < exact["bytes"] <= exact["bytes_max"]
    assert caches["near"]["bytes_max"] == 0

    gone = told(node, "/api/caches/exact", "DELETE")
    assert gone == {"cache": "exact", "entries": exact["entries"], "bytes": exact["bytes"]}
    (now,) = [cache for cache in told(node, "/api/caches")["caches"] if cache["name"] == "exact"]
    assert (now["entries"], now["bytes"]) == (0, 0)
    assert refused(node, "/api/caches/all", "DELETE") == (
        404,
        "cache `all` is unknown, known: embedding, exact, near",
    )


def test_agents_tell_what_they_may_and_how_calls_ended(node: PagesNode) -> None:
    agents = {agent["name"]: agent for agent in told(node, "/api/agents")}
    decode = agents["decode"]
    assert decode["path"] == "builtin:image"
    assert decode["grants"] == []
    assert decode["ends"] == {"trap": 0, "deadline": 0, "memory": 0}
    assert decode["deadline_ms"] > 0
    assert decode["runs"] >= 36


def test_mqtt_tells_of_each_route(node: PagesNode) -> None:
    until(lambda: told(node, "/api/mqtt")["routes"][0]["link"]["is_open"])
    found = told(node, "/api/mqtt")
    (route,) = found["routes"]
    assert found["broker"] == f"mqtt://127.0.0.1:{node.broker.port}"
    assert (route["topic"], route["pipeline"], route["publish"]) == ("numbers/+/in", "double", "numbers/{1}/out")
    assert route["waiting"] <= route["waiting_max"]


def test_versions_of_a_model_stand_beside_each_other(node: PagesNode) -> None:
    first, second = told(node, "/api/models/plain/versions")["versions"]
    assert [(v["number"], v["state"], v["is_serving"]) for v in (first, second)] == [
        (1, "READY", False),
        (2, "READY", True),
    ]
    assert [v["about"]["version"] for v in (first, second)] == ["1.0.0", "2.0.0"]
    assert first["about"]["sha256"] != second["about"]["sha256"]
    assert refused(node, "/api/models/none/versions") == (404, "model `none` is unknown")


def test_a_map_lays_points_of_a_kind_near_each_other(node: PagesNode) -> None:
    found = told(node, "/api/collections/frames/map?sample=100&by=source")
    places: dict[str, list[tuple[float, float]]] = {}
    for point in found["points"]:
        places.setdefault(point["label"], []).append((point["x"], point["y"]))
    assert sorted(places) == ["harbour", "market", "workshop"]
    assert len(found["points"]) == 36
    assert 0 < found["explained"][1] <= found["explained"][0] < 1
    centres = np.array([np.mean(places[label], axis=0) for label in sorted(places)])
    spread = max(float(np.std(places[label])) for label in places)
    assert min(float(np.linalg.norm(centres[i] - centres[j])) for i, j in ((0, 1), (0, 2), (1, 2))) > spread
    assert refused(node, "/api/collections/frames/map?sample=9999")[0] == 400


def test_recall_of_a_comparison_with_all_points_is_whole(node: PagesNode) -> None:
    reply = send_json(node.served.address, "POST", "/api/collections/notes/recall", {"queries": 7, "k": 4})
    found = json.loads(reply.body)
    assert (found["queries"], found["k"], found["recall"], found["recall_min"]) == (7, 4, 1.0, 1.0)
    assert found["search_p50_ms"] > 0
    assert refused(node, "/api/collections/notes/recall", "POST", {"k": 0}) == (
        400,
        "body: Expected `int` >= 1 - at `$.k`",
    )


def test_vectors_with_names_have_map_and_recall(node: PagesNode) -> None:
    (shelf,) = [one for one in told(node, "/api/collections") if one["name"] == "shelf"]
    assert [(one["name"], one["size"]) for one in shelf["vectors"]] == [("picture", 192), ("words", 24)]
    found = told(node, "/api/collections/shelf/map?using=picture&by=source&sample=50")
    assert (found["using"], found["size"], len(found["points"])) == ("picture", 192, len(NOTES))
    assert {point["label"] for point in found["points"]} == {"harbour", "market", "workshop"}
    body = json.dumps({"queries": 5, "k": 4, "using": "words"}).encode()
    found = told(node, "/api/collections/shelf/recall", "POST", body)
    assert (found["queries"], found["recall"]) == (5, 1.0)
    assert refused(node, "/api/collections/shelf/map") == (
        404,
        "collection `shelf` has no dense vector without a name, it has: `picture`, `words`",
    )


def test_what_is_brought_is_examined_in_a_process_of_its_own(node: PagesNode) -> None:
    found = told(node, "/api/examined", "POST", squeeze_excite(32))
    assert (found["is_a"], found["is_usable"], found["problems"]) == ("onnx", True, [])
    found = told(node, "/api/examined", "POST", (node.folder / "encoder.wasm").read_bytes())
    assert (found["is_a"], found["name"], found["is_usable"]) == ("model", "encoder", True)
    assert send(node.served.address, "POST", "/api/examined", b"").status == 400


def test_operators_that_are_not_there_are_named() -> None:
    network = Network((1, 3))
    network.node("Add", "x", "x")
    network.node("Frobnicate", network.at)
    found = examined(network.bytes(), "onnx")
    assert not found["is_usable"]
    assert {row["name"]: row["is_known"] for row in found["operators"]} == {"Add": True, "Frobnicate": False}
    assert found["problems"][0]["message"] == "operators that are not supported: `Frobnicate`"


def test_dimensions_that_are_open_are_tried_with_one() -> None:
    network = Network((-1, 3))
    network.node("Add", "x", "x")
    found = examined(network.bytes(), "onnx")
    assert found["is_usable"], found
    assert found["tried_with"] == {"x": [1, 3]}


@pytest.mark.parametrize("data", [b"", b"\x08", b"nothing of the kind"], ids=["empty", "cut", "text"])
def test_a_file_of_another_kind_is_told_of(data: bytes) -> None:
    for kind in ("onnx", "wasm"):
        found = examined(data, kind)
        assert not found["is_usable"]
        assert found["problems"][0]["message"]


def test_two_directions_are_those_of_most_difference() -> None:
    rng = np.random.default_rng(3)
    scales = np.array([5.0, 2.0, 0.1, 0.1, 0.1])
    vectors = (rng.normal(size=(200, 5)) * scales).astype(np.float32)
    places, shares = flat(vectors)
    assert abs(np.corrcoef(places[:, 0], vectors[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(places[:, 1], vectors[:, 1])[0, 1]) > 0.99
    assert sum(shares) == pytest.approx(1.0, abs=0.01)
    assert np.array_equal(flat(vectors)[0], places)
    assert flat(vectors[:1])[0].tolist() == [[0.0, 0.0]]


def test_pages_are_one_file_and_nothing_else_is_a_page(node: PagesNode) -> None:
    reply = send(node.served.address, "GET", "/pages/doctor")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert refused(node, "/pages/none")[0] == 404


def test_notes_are_found_by_text(node: PagesNode) -> None:
    found = told(node, "/pipelines/find", "POST", NOTES[3].encode())
    assert found["result"][0]["payload"]["text"] == NOTES[3]
