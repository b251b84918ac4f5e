"""The Open Inference Protocol over HTTP, asked by an unmodified `tritonclient` and by hand."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from littoral import settings
from node_fixture import Served, node_in_thread
from oip_site import LABELS, TYPES, write_oip_site
from page_pictures import draw, jpeg
from raw_http import Reply, send, send_json
from supervised import short_folder

ROWS = np.float32([[1, 2, 3], [4, 5, 6]])
NUMPY = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    **{
        f"{kind}{bits}": np.array([[0, 1, 2], [3, 100, 7]], f"{kind.lower()}{bits}")
        for kind in ("INT", "UINT")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.array([[0, 0.5, -2], [3, 4, 65504]], np.float16),
    "FP32": np.array([[0, 0.1, -2], [3, 4, 1e30]], np.float32),
    "FP64": np.array([[0, 0.1, -2], [3, 4, 1e300]], np.float64),
    "BF16": np.array([[0, 0.5, -2], [3, 4, 256]], ml_dtypes.bfloat16),
}
HITS = [("ids", "BYTES", [-1]), ("scores", "FP32", [-1]), ("payloads", "BYTES", [-1])]
RAW_ONLY = ("FP16", "BF16")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_oip_site(folder)) as served,
    ):
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(served.address)
    yield client
    client.close()


def x(values: np.ndarray = ROWS, *, is_binary: bool = True) -> triton.InferInput:
    found = triton.InferInput("x", list(values.shape), "FP32")
    found.set_data_from_numpy(values, binary_data=is_binary)
    return found


def infer(served: Served, body: Any, model: str = "scaled", **headers: str) -> Reply:
    return send_json(served.address, "POST", f"/v2/models/{model}/infer", body)


def in_json(**more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]} | more


# --- what is there ---


def test_server_and_models_are_there_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scaled")
    assert client.is_model_ready("scaled", "2")
    assert not client.is_model_ready("scaled", "1")
    assert client.is_model_ready("embed")
    assert not client.is_model_ready("nothing")


def test_the_server_says_what_it_is(client: triton.InferenceServerClient) -> None:
    told = client.get_server_metadata()
    assert told["name"] == "littoral"
    assert "binary_tensor_data" in told["extensions"]


def test_a_model_says_what_it_takes(client: triton.InferenceServerClient) -> None:
    assert client.get_model_metadata("scaled") == {
        "name": "scaled",
        "versions": ["2"],
        "platform": "littoral_wasm",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }
    config = client.get_model_config("scaled", "2")
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3]}]
    assert config["instance_group"] == [{"name": "scaled", "kind": "KIND_CPU", "count": 2}]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("embed", [("input", "BYTES", [1])], [("embedding", "FP32", [1, 192])]),
        (
            "similar",
            [("input", "BYTES", [1])],
            [("ids", "BYTES", [-1]), ("scores", "FP32", [-1]), ("payloads", "BYTES", [-1])],
        ),
        ("both", [("x", "FP32", [-1, 3])], [("y", "FP32", [-1, 3])]),
    ],
)
def test_a_pipeline_is_a_model(
    client: triton.InferenceServerClient, name: str, inputs: list[Any], outputs: list[Any]
) -> None:
    told = client.get_model_metadata(name)
    assert told["platform"] == "littoral_pipeline"
    assert [(t["name"], t["datatype"], t["shape"]) for t in told["inputs"]] == inputs
    assert [(t["name"], t["datatype"], t["shape"]) for t in told["outputs"]] == outputs
    assert client.get_model_config(name)["backend"] == "littoral"


# --- inference ---


@pytest.mark.parametrize("is_binary_in", [True, False])
@pytest.mark.parametrize("is_binary_out", [True, False, None])
def test_tensors_go_in_and_out_in_json_and_binary(
    client: triton.InferenceServerClient, is_binary_in: bool, is_binary_out: bool | None
) -> None:
    outputs = None if is_binary_out is None else [triton.InferRequestedOutput("y", binary_data=is_binary_out)]
    result = client.infer("scaled", [x(is_binary=is_binary_in)], outputs=outputs, request_id="r-7")
    assert result.as_numpy("y").tolist() == (ROWS * 100).tolist()
    told = result.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("r-7", "scaled", "2")
    assert ("data" in result.get_output("y")) is (is_binary_out is False)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
def test_a_batch_of_any_size_is_taken(client: triton.InferenceServerClient, rows: int) -> None:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    assert client.infer("scaled", [x(values)]).as_numpy("y").tolist() == (values * 100).tolist()


@pytest.mark.parametrize("is_binary", [True, False])
def test_every_data_type_keeps_its_bits(client: triton.InferenceServerClient, is_binary: bool) -> None:
    def raw(name: str) -> bool:
        return is_binary or name in RAW_ONLY

    inputs, outputs = [], []
    for name in TYPES:
        given = triton.InferInput(name, [2, 3], name)
        given.set_data_from_numpy(NUMPY[name], binary_data=raw(name))
        inputs.append(given)
        outputs.append(triton.InferRequestedOutput(f"{name}_out", binary_data=raw(name)))
    result = client.infer("types", inputs, outputs=outputs)
    for name in TYPES:
        found = result.as_numpy(f"{name}_out")
        assert (found.dtype, found.tolist()) == (NUMPY[name].dtype, NUMPY[name].tolist()), name


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [True, False])
def test_bodies_are_compressed_both_ways(client: triton.InferenceServerClient, algorithm: str, is_binary: bool) -> None:
    values = np.ones((200, 3), np.float32)
    result = client.infer(
        "scaled",
        [x(values, is_binary=is_binary)],
        outputs=[triton.InferRequestedOutput("y", binary_data=is_binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("y").tolist() == (values * 100).tolist()


def test_an_answer_is_compressed_for_who_asks_for_one_way_alone(served: Served) -> None:
    body = json.dumps({"inputs": [in_json()]}).encode()
    for wanted, decompress in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        reply = send(served.address, "POST", "/v2/models/scaled/infer", body, {"Accept-Encoding": wanted})
        assert reply.headers["content-encoding"] == wanted
        assert json.loads(decompress(reply.body))["outputs"][0]["data"] == [100, 200, 300]
    reply = send(served.address, "POST", "/v2/models/scaled/infer", body, {"Accept-Encoding": "gzip, deflate"})
    assert "content-encoding" not in reply.headers


def test_classes_come_as_text(client: triton.InferenceServerClient) -> None:
    output = triton.InferRequestedOutput("y", class_count=2)
    found = client.infer("scaled", [x()], outputs=[output]).as_numpy("y")
    assert found.shape == (2, 2)
    assert found[0].tolist() == [b"300.000000:2:high", b"200.000000:1:middle"]
    assert LABELS[2] == "high"


def test_a_pipeline_takes_bytes_and_gives_tensors_and_hits(
    served: Served, client: triton.InferenceServerClient
) -> None:
    picture = triton.InferInput("input", [1], "BYTES")
    picture.set_data_from_numpy(np.array([jpeg(draw(0, 0))], object))
    result = client.infer("embed", [picture])
    vector = result.as_numpy("embedding")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    points = [{"id": i, "vector": vector[0].tolist(), "payload": {"i": i}} for i in (4, 9)]
    assert send_json(served.address, "PUT", "/collections/frames/points", {"points": points}).status == 200
    hits = client.infer("similar", [picture])
    assert sorted(hits.as_numpy("ids").tolist()) == [b"4", b"9"]
    assert hits.as_numpy("scores").tolist() == pytest.approx([1, 1], abs=1e-5)
    assert {json.loads(text)["i"] for text in hits.as_numpy("payloads")} == {4, 9}
    requests = client.get_inference_statistics("similar")["model_stats"][0]
    assert requests["inference_count"] >= 1


def test_every_answer_says_how(served: Served) -> None:
    how = json.loads(infer(served, {"inputs": [in_json()]}).headers["littoral-how"])
    assert (how["node"], list(how["stages"])) == ("store-12", ["scaled"])


def test_models_in_a_row_are_a_model(client: triton.InferenceServerClient) -> None:
    assert client.infer("both", [x()]).as_numpy("y").tolist() == (ROWS * 200).tolist()


async def test_the_asynchronous_client_does_the_same(served: Served) -> None:
    async with triton_aio.InferenceServerClient(served.address) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready("scaled")
        assert (await client.get_model_metadata("scaled"))["platform"] == "littoral_wasm"
        assert (await client.get_model_config("scaled"))["max_batch_size"] == 0
        for is_binary in (True, False):
            output = triton_aio.InferRequestedOutput("y", binary_data=is_binary)
            result = await client.infer(
                "scaled", [x(is_binary=is_binary)], outputs=[output], request_compression_algorithm="gzip"
            )
            assert result.as_numpy("y").tolist() == (ROWS * 100).tolist()
        assert {row["name"] for row in await client.get_model_repository_index()} >= {"scaled", "embed"}
        with pytest.raises(InferenceServerException, match="model `nothing` is unknown"):
            await client.infer("nothing", [x()])
        await client.load_model("plain")
        await client.unload_model("plain")
        assert not await client.is_model_ready("plain")
        await client.load_model("plain")
        stats = await client.get_inference_statistics("scaled")
        assert stats["model_stats"][0]["inference_stats"]["success"]["count"] >= 2


# --- errors ---


def raw_request(head: dict[str, Any], raw: bytes, size: int | None = None) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(head).encode()
    return text + raw, {"Inference-Header-Content-Length": str(len(text) if size is None else size)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Object missing required field `inputs`"),
        ({"inputs": []}, "model `scaled`: input `x` is missing, takes `x` FP32[-1, 3]"),
        ({"inputs": [in_json(name="z")]}, "input `z` is unknown"),
        ({"inputs": [in_json(), in_json()]}, "input `x` is given twice"),
        ({"inputs": [in_json(datatype="INT32")]}, "datatype is `INT32`, expected `FP32`"),
        ({"inputs": [in_json(shape=[1, 4])]}, "`data` has 3 elements, shape [1, 4] has 4"),
        ({"inputs": [in_json(shape=[3])]}, "shape [3], expected [1, 3] or [4, 3]"),
        ({"inputs": [in_json(shape=[-1, 3])]}, "shape [-1, 3]"),
        ({"inputs": [in_json(shape=[1 << 40, 1 << 40])]}, "elements"),
        ({"inputs": [in_json(data=["a", "b", "c"])]}, "is no `float32`"),
        ({"inputs": [in_json(data=[[1, 2], 3])]}, "is no regular array"),
        ({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32"}]}, "neither `data` nor"),
        ({"inputs": [in_json(parameters={"binary_data_size": 12})]}, "both `data` and"),
        ({"inputs": [in_json(parameters={"shared_memory_region": "r"})]}, "shared memory is not offered"),
        ({"inputs": [in_json()], "outputs": [{"name": "z"}]}, "no output `z`, outputs: `y`"),
        ({"inputs": [in_json()], "outputs": [{"name": "y"}, {"name": "y"}]}, "asked for twice"),
        ({"inputs": [in_json()], "parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"inputs": [in_json()], "parameters": {"timeout": -1}}, "parameter `timeout` is `-1`"),
        ({"inputs": [in_json()], "parameters": {"sequence_id": 3}}, "keeps no state between requests"),
        ({"inputs": [in_json()], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "must be 0.."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(served: Served, body: Any, message: str) -> None:
    reply = infer(served, body)
    assert reply.status == 400
    assert set(reply.json) == {"error"}
    assert message in reply.error


@pytest.mark.parametrize(
    ("size", "raw", "head_bytes", "message"),
    [
        (12, bytes(11), None, "`binary_data_size` is `12`, 11 bytes are left"),
        (12, bytes(13), None, "13 bytes follow the JSON, its inputs name 12"),
        (11, bytes(11), None, "11 bytes, FP32[1, 3] has 12"),
        (-1, b"", None, "`binary_data_size` is `-1`"),
        (12, bytes(12), 1 << 30, "header `Inference-Header-Content-Length` is `1073741824`"),
        (12, bytes(12), 3, "body: "),
    ],
)
def test_raw_tensors_must_be_as_long_as_they_say(
    served: Served, size: int, raw: bytes, head_bytes: int | None, message: str
) -> None:
    head = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    body, headers = raw_request({"inputs": [head]}, raw, head_bytes)
    reply = send(served.address, "POST", "/v2/models/scaled/infer", body, headers)
    assert reply.status == 400
    assert message in reply.error


@pytest.mark.parametrize(
    ("shape", "raw", "message"),
    [
        ([1], b"\x05\0\0\0abc", "ends at byte 9 of 7"),
        ([1], b"\x02\0\0\0abc", "7 bytes, its 1 elements of BYTES have 6"),
        ([2], b"\x01\0\0\0a\x01\0\0\0b", "a pipeline takes one element"),
        ([1], b"\x01\0", "at least 4"),
    ],
)
def test_strings_must_be_as_long_as_they_say(served: Served, shape: list[int], raw: bytes, message: str) -> None:
    head = {"name": "input", "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    body, headers = raw_request({"inputs": [head]}, raw)
    reply = send(served.address, "POST", "/v2/models/embed/infer", body, headers)
    assert reply.status == 400
    assert message in reply.error


@pytest.mark.parametrize("name", RAW_ONLY)
def test_half_floats_have_no_form_in_json(served: Served, name: str) -> None:
    inputs = [
        {"name": other, "shape": [2, 3], "datatype": other, "data": [0] * 6}
        if other != "BOOL"
        else {"name": other, "shape": [2, 3], "datatype": other, "data": [False] * 6}
        for other in TYPES
    ]
    reply = infer(served, {"inputs": inputs}, "types")
    assert (reply.status, "has no form in JSON · hint: send it as binary data" in reply.error) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/scaled/versions/1", 404),
        ("GET", "/v2/models/scaled/versions/one", 400),
        ("GET", "/v2/models/embed/versions/2", 404),
        ("POST", "/v2/models/nothing/infer", 404),
        ("GET", "/v2/models/scaled/infer", 405),
        ("GET", "/v2/logging", 404),
        ("POST", "/v2/trace/setting", 404),
        ("GET", "/v2/systemsharedmemory/status", 404),
        ("POST", "/v2/repository/models/nothing/load", 404),
        ("POST", "/v2/repository/models/embed/unload", 409),
    ],
)
def test_what_is_not_there_is_told_in_the_protocols_shape(served: Served, method: str, path: str, status: int) -> None:
    body = {"inputs": [in_json()]} if path.endswith("infer") else {}
    reply = send_json(served.address, method, path, body if method == "POST" else None)
    assert (reply.status, set(reply.json)) == (status, {"error"})


def test_who_will_not_wait_gets_a_deadline_error(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no answer in 0.001 ms"):
        client.infer("scaled", [x()], timeout=1)


@pytest.mark.parametrize("text", [b"", b"[", b"[]", b"nul", b'{"inputs": 1}', b"\xff", b"[" * 10_000])
def test_nonsense_is_refused(served: Served, text: bytes) -> None:
    for headers in ({}, {"Inference-Header-Content-Length": str(len(text))}, {"Inference-Header-Content-Length": "x"}):
        reply = send(served.address, "POST", "/v2/models/scaled/infer", text, headers)
        assert (reply.status, set(reply.json)) == (400, {"error"})


# --- statistics ---


def test_requests_are_counted(served: Served, client: triton.InferenceServerClient) -> None:
    def counted(path: Callable[[], Any] = lambda: client.get_inference_statistics("plain")) -> Any:
        (found,) = path()["model_stats"]
        return found

    before = counted()["inference_stats"]
    client.infer("plain", [x()])
    infer(served, {"inputs": []}, "plain")
    after = counted()
    assert after["inference_stats"]["success"]["count"] == before["success"]["count"] + 1
    assert after["inference_stats"]["fail"]["count"] == before["fail"]["count"] + 1
    assert after["last_inference"] > 1.7e12
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    whole = after["inference_stats"]["success"]["ns"]
    assert sum(after["inference_stats"][part]["ns"] for part in parts) == pytest.approx(whole, rel=0.01)
    assert {row["name"] for row in client.get_inference_statistics()["model_stats"]} >= {"plain", "embed"}
