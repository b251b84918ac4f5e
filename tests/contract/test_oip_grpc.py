"""The Open Inference Protocol over gRPC, asked by an unmodified `tritonclient`; its messages beside the client's."""

import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

from littoral import settings
from littoral.errors import SettingError, SetupError
from littoral.node.observed import Observed
from littoral.node.oip import Inference, grpc_interface
from littoral.node.oip.grpc_messages import ENUMS, MESSAGES, messages
from littoral.node.site import read_site
from node_fixture import Served, node_in_thread
from oip_site import SITE, TYPES, scaled, write_oip_site
from page_pictures import draw, jpeg
from pictures import natural
from supervised import short_folder

ROWS = np.float32([[1, 2, 3], [4, 5, 6]])
BODY_BYTES_MAX = 1 << 20
WITH_GRPC = f"""{SITE.replace("[node]", '[node]{0}grpc = "127.0.0.1:0"')}
[limits]
body_bytes_max = {BODY_BYTES_MAX}
""".replace("{0}", "\n")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_oip_site(folder, WITH_GRPC)) as served,
    ):
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(served.grpc) as client:
        yield client


def x(values: np.ndarray = ROWS) -> Any:
    found = triton.InferInput("x", list(values.shape), "FP32")
    found.set_data_from_numpy(values)
    return found


def test_server_and_models_are_there_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scaled", "2")
    assert client.is_model_ready("embed")
    with pytest.raises(InferenceServerException, match="version `1` is not open"):
        client.is_model_ready("scaled", "1")
    assert client.get_server_metadata().name == "littoral"


def test_the_standard_health_service_is_asked_by_probes(served: Served) -> None:
    """Bytes as `grpc.health.v1` writes them: field 1, a text; field 1, an enumeration."""

    def asked(name: bytes, method: str = "Check") -> bytes:
        call = channel.unary_unary(f"/grpc.health.v1.Health/{method}")
        return bytes(call(b"\x0a" + bytes([len(name)]) + name if name else b"", timeout=10))

    with grpc.insecure_channel(served.grpc) as channel:
        assert asked(b"") == asked(b"inference.GRPCInferenceService") == b"\x08\x01"
        for data, method, code in (
            (b"other.Service", "Check", grpc.StatusCode.NOT_FOUND),
            (b"", "Watch", grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as failed:
                asked(data, method)
            assert failed.value.code() is code
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\xff", timeout=10)
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_model_says_what_it_takes(client: Any) -> None:
    told = client.get_model_metadata("scaled")
    assert (told.platform, list(told.versions)) == ("littoral_wasm", ["2"])
    assert [(t.name, t.datatype, list(t.shape)) for t in told.inputs] == [("x", "FP32", [-1, 3])]
    config = client.get_model_config("scaled").config
    assert (config.backend, config.instance_group[0].count) == ("littoral", 2)
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32
    assert list(config.output[0].dims) == [-1, 3]
    assert config.parameters["sha256"].string_value
    assert list(config.version_policy.specific.versions) == [2]
    assert client.get_model_config("types").config.input[12].data_type == model_config_pb2.TYPE_BF16
    assert client.get_model_config("embed").config.input[0].data_type == model_config_pb2.TYPE_STRING


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tensors_go_in_and_out(client: Any, compression: str | None) -> None:
    result = client.infer("scaled", [x()], request_id="r-7", compression_algorithm=compression)
    assert result.as_numpy("y").tolist() == (ROWS * 100).tolist()
    told = result.get_response()
    assert (told.id, told.model_name, told.model_version) == ("r-7", "scaled", "2")


def test_every_data_type_keeps_its_bits(client: Any) -> None:
    arrays = {
        name: np.array([[0, 1, 0], [1, 0, 1]], {"BOOL": bool, "BF16": ml_dtypes.bfloat16}.get(name) or numpy_name(name))
        for name in TYPES
    }
    inputs = []
    for name, array in arrays.items():
        inputs.append(triton.InferInput(name, [2, 3], name))
        inputs[-1].set_data_from_numpy(array)
    result = client.infer("types", inputs)
    for name, array in arrays.items():
        found = result.as_numpy(f"{name}_out")
        assert (found.dtype, found.tolist()) == (array.dtype, array.tolist()), name


def numpy_name(name: str) -> str:
    return f"float{name[2:]}" if name.startswith("FP") else name.lower()


def test_tensors_may_be_typed_in_the_message(served: Served) -> None:
    with grpc.insecure_channel(served.grpc) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        asked = service_pb2.ModelInferRequest(model_name="scaled")
        tensor = asked.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        tensor.contents.fp32_contents.extend([1, 2, 3])
        answer, call = infer.with_call(asked)
        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [100, 200, 300]
        assert '"node":"store-12"' in dict(call.trailing_metadata())["littoral-how"]
        tensor.shape[0] = 2
        with pytest.raises(grpc.RpcError, match="has 3 elements, shape \\[2, 3\\] has 6"):
            infer(asked)
        asked.raw_input_contents.append(b"")
        with pytest.raises(grpc.RpcError, match="both `contents` and `raw_input_contents`"):
            infer(asked)
        asked.raw_input_contents.append(b"")
        with pytest.raises(grpc.RpcError, match="2 tensors in `raw_input_contents`, 1 inputs"):
            infer(asked)


def test_a_pipeline_takes_bytes(client: Any) -> None:
    picture = triton.InferInput("input", [1], "BYTES")
    picture.set_data_from_numpy(np.array([jpeg(draw(0, 0))], object))
    assert np.linalg.norm(client.infer("embed", [picture]).as_numpy("embedding")) == pytest.approx(1, abs=1e-5)


def test_state_is_kept_along_a_stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result.as_numpy("y").tolist()))
    one = triton.InferInput("x", [1, 2], "FP32")
    one.set_data_from_numpy(np.float32([[1, 2]]))
    for i in range(3):
        client.async_stream_infer("sums", [one], sequence_id=4, sequence_start=i == 0, sequence_end=i == 2)
    client.async_stream_infer("sums", [one], sequence_id=4)
    found = [answers.get(timeout=60) for _ in range(4)]
    client.stop_stream()
    assert found[:3] == [[[2, 4]], [[4, 8]], [[6, 12]]]
    assert "sequence `4` is unknown" in str(found[3])


def test_versions_are_loaded_and_unloaded(client: Any) -> None:
    client.load_model("plain", config="{}", files={"file:4/model.wasm": scaled(7.0).wasm})
    assert client.infer("plain", [x()]).as_numpy("y").tolist() == (ROWS * 7).tolist()
    rows = {(row.name, row.version): row.state for row in client.get_model_repository_index().models}
    assert (rows["plain", "4"], rows["plain", "1"]) == ("READY", "UNAVAILABLE")
    client.unload_model("plain")
    with pytest.raises(InferenceServerException, match=r"UNAVAILABLE.* model `plain` is not loaded"):
        client.infer("plain", [x()])
    client.load_model("plain")
    assert client.infer("plain", [x()]).as_numpy("y").tolist() == (ROWS * 2).tolist()


def test_requests_are_counted(client: Any) -> None:
    client.infer("scaled", [x()])
    (found,) = client.get_inference_statistics("scaled").model_stats
    assert found.inference_stats.success.count >= 1
    assert found.inference_stats.success.ns > found.inference_stats.compute_infer.ns > 0


@pytest.mark.parametrize(
    ("model", "inputs", "options", "message"),
    [
        ("nothing", [x()], {}, r"NOT_FOUND.* model `nothing` is unknown"),
        ("scaled", [], {}, r"INVALID_ARGUMENT.* input `x` is missing"),
        ("scaled", [x(ROWS[:, :2].copy())], {}, r"INVALID_ARGUMENT.* shape \[2, 2\]"),
        ("scaled", [x()], {"model_version": "9"}, r"NOT_FOUND.* version `9` is not open, open: 2"),
        ("scaled", [x()], {"timeout": 1}, r"DEADLINE_EXCEEDED.* no answer in 0.001 ms"),
        ("scaled", [x(np.zeros((100_000, 3), np.float32))], {}, "RESOURCE_EXHAUSTED"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(client: Any, model: str, inputs: Any, options: Any, message: str) -> None:
    with pytest.raises(InferenceServerException, match=message):
        client.infer(model, inputs, **options)


def test_a_deadline_of_the_client_is_kept(client: Any) -> None:
    """Which gRPC rounds to a millisecond: in that a small model may well have answered."""
    picture = triton.InferInput("input", [1], "BYTES")
    picture.set_data_from_numpy(np.array([jpeg(natural(1200, 900))], object))
    with pytest.raises(InferenceServerException, match="(?i)deadline.exceeded"):
        client.infer("embed", [picture], client_timeout=1e-6)


async def test_the_asynchronous_client_does_the_same(served: Served) -> None:
    async with triton_aio.InferenceServerClient(served.grpc) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata("scaled")).platform == "littoral_wasm"
        assert (await client.infer("scaled", [x()])).as_numpy("y").tolist() == (ROWS * 100).tolist()
        with pytest.raises(InferenceServerException, match="model `nothing` is unknown"):
            await client.infer("nothing", [x()])


# --- messages ---


def theirs(name: str) -> Any:
    """The client's own description of a message of ours."""
    nested = {
        "TensorMetadata": service_pb2.ModelMetadataResponse,
        "InferInputTensor": service_pb2.ModelInferRequest,
        "InferRequestedOutputTensor": service_pb2.ModelInferRequest,
        "InferOutputTensor": service_pb2.ModelInferResponse,
        "ModelIndex": service_pb2.RepositoryIndexResponse,
        "Specific": model_config_pb2.ModelVersionPolicy,
    }
    if name in nested:
        return nested[name].DESCRIPTOR.nested_types_by_name[name]
    return (getattr(service_pb2, name, None) or getattr(model_config_pb2, name)).DESCRIPTOR


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_is_read_as_the_client_writes_it(name: str) -> None:
    fields = theirs(name).fields_by_name
    for ours in messages()[name].DESCRIPTOR.fields:
        known = fields[ours.name]
        assert (known.number, known.type, known.is_repeated) == (ours.number, ours.type, ours.is_repeated), ours.name


def test_every_value_of_an_enumeration_has_its_number() -> None:
    assert dict(model_config_pb2.DataType.items()) == {name: i for i, name in enumerate(ENUMS["DataType"])}
    kinds = dict(model_config_pb2.ModelInstanceGroup.Kind.items())
    assert kinds == {name: i for i, name in enumerate(ENUMS["Kind"])}


# --- the port ---


async def test_without_the_extra_the_node_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.toml").write_text('[node]\ngrpc = "127.0.0.1:0"\n')
    site = read_site(tmp_path / "site.toml")
    monkeypatch.setitem(sys.modules, "littoral.node.oip.grpc_server", None)
    with pytest.raises(SetupError, match=r"`node.grpc`: gRPC is not installed: .* pip install 'littoral\[grpc\]'"):
        async with grpc_interface(site, None, print):  # type: ignore[arg-type]
            pass


async def test_a_port_that_is_taken_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(f'[node]\ngrpc = "{served.grpc}"\n')
    with pytest.raises(SettingError, match="cannot be listened at"):
        async with grpc_interface(read_site(tmp_path / "site.toml"), inference_of(served), print):
            pass


def inference_of(served: Served) -> Any:
    return Inference(served.node, Observed(served.node))
