"""What a node answers beside Qdrant's API: pipelines, what the page reads, probes, metrics."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from littoral import settings
from littoral.errors import ShardError
from littoral.telemetry import METRICS
from littoral.tensors import decode_frame, encode_frame
from littoral.web import PageAssets
from needs import need
from node_fixture import CLASSES, LABELS, SIZE, Served, node_in_thread
from page_node import PIPELINES, PageNode
from page_pictures import draw, jpeg, page_pictures
from raw_http import Reply, connect, request, send, send_json
from supervised import short_folder
from waiting import until

FRAME = "application/x-safetensors"
PICTURE = jpeg(draw(0, 0))
HOW = {"node", "stages", "cache", "search"}
OF_TABLES = (
    "littoral_mqtt_",
    "littoral_grpc_",
    "littoral_mesh_",
    "littoral_federated_",
    "littoral_replica_",
    "littoral_placed_",
    "littoral_migration_",
    "littoral_trace_",
    "littoral_log_",
    "littoral_audit_",
    "littoral_tenant_",
    "littoral_update_",
    "littoral_fallback_",
    "littoral_gateway_",
)
"""Told by nodes whose site file has such a table, or of a collection on its way to another model."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder) as served,
    ):
        embedding = post(served, "embed", PICTURE).json["result"]["outputs"]["embedding"]["data"][0]
        points = [{"id": i, "vector": embedding[i:] + embedding[:i], "payload": {"i": i}} for i in range(3)]
        assert send_json(served.address, "PUT", "/collections/frames/points", {"points": points}).status == 200
        yield served


def post(served: Served, pipeline: str, body: bytes, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(served.address, "POST", f"/pipelines/{pipeline}", body, named)


def get(served: Served, path: str, **headers: str) -> Reply:
    return send(served.address, "GET", path, headers=headers)


# --- pipelines ---


def test_a_picture_gives_hits_and_how_they_were_found(served: Served) -> None:
    reply = post(served, "similar", PICTURE)
    said = reply.json
    assert reply.status == 200
    assert said["status"] == "ok"
    assert said["time"] > 0
    assert said["result"][0] == {"id": 0, "score": pytest.approx(1, abs=1e-5), "payload": {"i": 0}}
    assert set(said["how"]) == HOW
    assert list(said["how"]["stages"]) == ["decode", "embedder", "normalize", "search"]
    assert said["how"]["node"] == "store-12"
    assert said["how"]["search"]["asked"] == 1
    assert json.loads(reply.headers["littoral-how"]) == said["how"]


def test_tensors_come_as_json_with_dtype_and_shape(served: Served) -> None:
    outputs = post(served, "classify", PICTURE).json["result"]["outputs"]
    assert (outputs["scores"]["dtype"], outputs["scores"]["shape"]) == ("float32", [1, 5])
    assert (outputs["indices"]["dtype"], outputs["indices"]["shape"]) == ("int64", [1, 5])
    assert all(0 <= index < CLASSES for index in outputs["indices"]["data"][0])


def test_tensors_come_as_a_frame_to_who_wants_one(served: Served) -> None:
    reply = post(served, "embed", PICTURE, Accept=f"application/json;q=0.5, {FRAME}")
    assert reply.headers["content-type"] == FRAME
    (array,) = decode_frame(reply.body).values()
    assert (array.dtype, array.shape) == (np.float32, (1, SIZE))
    assert np.linalg.norm(array) == pytest.approx(1, abs=1e-5)
    assert set(json.loads(reply.headers["littoral-how"])) == HOW


@pytest.mark.parametrize("media_type", ["application/json", FRAME])
def test_tensors_are_taken_as_json_and_as_a_frame(served: Served, media_type: str) -> None:
    values = [[1.0, 2.0, 3.0]]
    as_json = json.dumps({"inputs": {"x": values}}).encode()
    body = as_json if media_type != FRAME else encode_frame({"x": np.array(values, np.float32)})
    reply = post(served, "double", body, Content_Type=media_type)
    (output,) = reply.json["result"]["outputs"].values()
    assert output == {"dtype": "float32", "shape": [1, 3], "data": [[2.0, 4.0, 6.0]]}


def test_a_number_that_is_none_becomes_null(served: Served) -> None:
    frame = encode_frame({"x": np.array([[np.nan, np.inf, 1]], np.float32)})
    (output,) = post(served, "double", frame, Content_Type=FRAME).json["result"]["outputs"].values()
    assert output["data"] == [[None, None, 2.0]]


def test_who_will_not_wait_gets_a_deadline_error(served: Served) -> None:
    large = jpeg(draw(0, 0).resize((4000, 3000)))
    reply = post(served, "similar", large, Littoral_Deadline_Ms="1")
    assert reply.status == 504
    assert reply.error.startswith("pipeline `similar`: no answer in 1 ms, at step `")
    assert set(reply.json) == {"status", "time"}


def test_pipelines_are_listed(served: Served) -> None:
    assert get(served, "/pipelines").json["result"] == ["classify", "double", "embed", "similar"]


def test_a_search_in_qdrants_api_says_how(served: Served) -> None:
    path = "/collections/frames/points/query"
    for params, is_certain in (({}, False), ({"exact": True}, True)):
        body = {"query": [1.0] + [0.0] * (SIZE - 1), "params": params}
        how = json.loads(send_json(served.address, "POST", path, body).headers["littoral-how"])
        assert set(how) == HOW
        assert list(how["stages"]) == ["search"]
        assert how["search"]["certified"] is is_certain


# --- what the page reads ---


def shape(value: Any) -> Any:
    """Keys all the way down, without the values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("path", ["node", "pipelines", "models", "collections", "models/embedder"])
def test_the_page_reads_of_a_node_what_it_reads_of_its_stand_in(served: Served, path: str) -> None:
    stand_in = PageNode(page_pictures()[:1], tuple(PIPELINES))
    for name in PIPELINES:
        stand_in.post(f"/pipelines/{name}", PICTURE)
        assert post(served, name, PICTURE).status == 200
    theirs, ours = stand_in.get(f"/api/{path}"), get(served, f"/api/{path}").json
    if path == "pipelines":
        ours = [next(p for p in ours if p["name"] == name) for name in PIPELINES]
        theirs = [{**p, "steps": [{"uses": "", "digest": "", **step} for step in p["steps"]]} for p in theirs]
        assert [sorted(p["stages"]) for p in ours] == [sorted(p["stages"]) for p in theirs]
    assert json.dumps(shape(ours), sort_keys=True) == json.dumps(shape(theirs), sort_keys=True)


def test_a_model_is_told_by_what_its_file_says(served: Served) -> None:
    model = get(served, "/api/models/embedder").json
    assert model["labels"] == LABELS
    assert model["sha256"] == served.node.models["embedder"].model.digest
    assert model["file_bytes"] == model["code_bytes"] + model["weights_bytes"]
    assert model["layer_count"] == len(model["layers"])
    assert model["engine"] == "trusted"


def test_requests_are_counted_and_timed(served: Served) -> None:
    def similar() -> Any:
        return next(p for p in get(served, "/api/pipelines").json if p["name"] == "similar")

    before = similar()
    post(served, "similar", PICTURE)
    post(served, "similar", b"no picture")
    after = similar()
    assert (after["requests"], after["failures"]) == (before["requests"] + 2, before["failures"] + 1)
    assert 0 < after["p50_ms"] <= after["p95_ms"]
    assert list(after["stages"]) == ["decode", "embedder", "normalize", "search"]


def test_each_request_is_an_event(served: Served) -> None:
    with connect(served.address) as listener:
        listener.sendall(request("GET", "/api/events"))
        data = b""
        while b": connected" not in data:
            data += listener.recv(1 << 16)
        post(served, "similar", PICTURE)
        post(served, "similar", b"no picture")
        while data.count(b"event: request") < 2 or not data.endswith(b"\n\n\r\n"):
            data += listener.recv(1 << 16)
    told = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]
    assert [event["ok"] for event in told] == [True, False]
    assert all(set(event) == {"pipeline", "at", "total_ms", "stages", "ok"} for event in told)
    assert list(told[0]["stages"]) == ["decode", "embedder", "normalize", "search"]


# --- the page ---


def test_a_browser_gets_the_page_and_a_client_what_it_asks(served: Served) -> None:
    page = get(served, "/", Accept="text/html,application/xhtml+xml")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "accept"
    assert b"<!doctype html>" in page.body.lower()
    assert set(get(served, "/").json) == {"title", "version", "commit"}


def test_every_file_of_the_page_is_served_under_its_policy(served: Served) -> None:
    names = PageAssets().names()
    assert len(names) > 20
    for name in names:
        reply = get(served, f"/assets/{name}")
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        again = get(served, f"/assets/{name}", **{"If-None-Match": reply.headers["etag"]})
        assert (again.status, again.body) == (304, b"")


# --- probes ---


def test_it_is_ready_when_all_of_it_is(served: Served) -> None:
    node = served.node
    assert get(served, "/healthz").json == {"status": "ok"}
    assert (get(served, "/readyz").status, get(served, "/readyz").json) == (
        200,
        {"ready": True, "reasons": [], "quarantined": []},
    )
    node.is_ready = False
    try:
        reply = get(served, "/readyz")
        assert (reply.status, reply.json["reasons"]) == (503, ["the node is starting or stopping"])
        assert get(served, "/healthz").status == 200
    finally:
        node.is_ready = True
    node.collections.damaged["old"] = ShardError("`collection.json`: no JSON")
    try:
        reply = get(served, "/readyz")
        assert (reply.status, reply.json["reasons"]) == (503, ["collection `old`: `collection.json`: no JSON"])
        assert [c["status"] for c in get(served, "/api/collections").json] == ["ok", "`collection.json`: no JSON"]
    finally:
        del node.collections.damaged["old"]


# --- metrics ---


def series(served: Served) -> dict[str, float]:
    lines = get(served, "/metrics").body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_metrics_count_what_happened(served: Served) -> None:
    before = series(served)
    post(served, "similar", PICTURE)
    post(served, "similar", b"no picture")
    after = series(served)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('littoral_pipeline_requests_total{pipeline="similar"}') == 2
    assert grown('littoral_pipeline_failures_total{pipeline="similar"}') == 1
    assert grown('littoral_pipeline_stage_duration_seconds_count{pipeline="similar",stage="search"}') == 1
    assert grown('littoral_http_requests_total{method="POST",route="/pipelines/{name}",status="422"}') == 1
    assert grown('littoral_http_request_duration_seconds_count{route="/pipelines/{name}"}') == 2
    assert grown('littoral_pool_runs_total{kind="model",name="embedder"}') == 1
    until(lambda: series(served)['littoral_collection_points{collection="frames"}'] == 3)
    assert after["littoral_node_ready"] == 1


def test_every_metric_is_in_the_table_and_every_row_is_told(served: Served) -> None:
    def told() -> dict[str, str]:
        lines = get(served, "/metrics").body.decode().splitlines()
        return {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE ")}

    kinds = {name: spec.kind.removeprefix("read_") for name, spec in METRICS.items()}
    wanted = {name: kind for name, kind in kinds.items() if not name.startswith(OF_TABLES)}
    until(lambda: told().keys() >= wanted.keys())
    assert told() == wanted


def test_models_are_told_under_tritons_names_too(served: Served) -> None:
    def told() -> dict[str, float]:
        lines = get(served, "/metrics?compat=triton").body.decode().splitlines()
        rows = (line.rpartition(" ") for line in lines if line.startswith("nv_inference_"))
        return {name: float(value) for name, _, value in rows}

    at, before = '{model="plain",version="1"}', told()
    asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    assert send_json(served.address, "POST", "/v2/models/plain/infer", asked).status == 200
    after = told()
    assert after[f"nv_inference_request_success{at}"] == before[f"nv_inference_request_success{at}"] + 1
    assert after[f"nv_inference_request_duration_us{at}"] > before[f"nv_inference_request_duration_us{at}"]
    assert after[f"nv_inference_pending_request_count{at}"] == 0
    assert {name.partition("{")[0] for name in after} >= {
        "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
        "nv_inference_queue_duration_us", "nv_inference_compute_infer_duration_us",
    }  # fmt: skip
    assert b"nv_inference" not in get(served, "/metrics").body
    assert get(served, "/metrics?compat=other").status == 400


def test_no_request_can_make_a_series(served: Served) -> None:
    def ask_strangely(name: str) -> None:
        get(served, f"/nothing/{name}")
        get(served, f"/collections/nothing-{name}")
        send(served.address, f"BREW{name}", "/healthz")
        get(served, "/metrics")

    ask_strangely("0")
    before = series(served)
    for i in range(1, 30):
        ask_strangely(str(i))
    changed = set(series(served)) ^ set(before)
    assert {name for name in changed if not name.startswith("littoral_shard_")} == set()  # hosts are asked by the clock


def test_promtool_has_nothing_to_say(served: Served) -> None:
    need(shutil.which("promtool"), "promtool")
    text = get(served, "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=240)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
