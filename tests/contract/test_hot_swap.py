"""Swaps while requests run: none fails, none waits for a swap, and each is answered by one version as a whole."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from littoral import settings
from node_fixture import Served, node_in_thread
from oip_site import scaled, write_oip_site, write_version
from raw_http import connect, read_reply, request, send_json
from supervised import short_folder
from waiting import until

SWAPS = 24
FACTORS = (3.0, 5.0)
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        yield folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with node_in_thread(folder, site=write_oip_site(folder)) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(served.address, network_timeout=60)
    yield client
    client.close()


def x() -> triton.InferInput:
    found = triton.InferInput("x", [2, 3], "FP32")
    found.set_data_from_numpy(np.float32(ROWS))
    return found


def factor(client: triton.InferenceServerClient, version: str = "") -> float:
    return float(client.infer("scaled", [x()], model_version=version).as_numpy("y")[0, 0])


def asks(served: Served, path: str, body: dict[str, Any], ends: threading.Event, found: list[Any]) -> None:
    """What each request on one connection was answered with, until it is the end: numbers, or what went wrong."""
    payload = request("POST", path, json.dumps(body).encode())
    with connect(served.address) as connection:
        while not ends.is_set():
            connection.sendall(payload)
            reply = read_reply(connection)
            found.append(numbers(reply.json) if reply.status == 200 else (reply.status, reply.body))


def numbers(said: Any) -> tuple[float, ...]:
    if "outputs" in said:
        return tuple(said["outputs"][0]["data"])
    (output,) = said["result"]["outputs"].values()
    return tuple(np.ravel(output["data"]).tolist())


def times(factor: float) -> tuple[float, ...]:
    return tuple((np.float32(ROWS) * np.float32(factor)).ravel().tolist())


@contextlib.contextmanager
def asked(served: Served) -> Iterator["Asked"]:
    """Two clients at the model, two at a pipeline that has it and another model; their answers are there at the end."""
    ends, answers = threading.Event(), [list[Any]() for _ in range(4)]
    inputs = [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": ROWS}]
    with ThreadPoolExecutor(4) as threads:
        bodies = [("/v2/models/scaled/infer", {"inputs": inputs}), ("/pipelines/both", {"inputs": {"x": ROWS}})]
        clients = zip(bodies * 2, answers, strict=True)
        running = [threads.submit(asks, served, path, body, ends, found) for (path, body), found in clients]
        try:
            yield Asked(answers, running)
        finally:
            ends.set()


class Asked(NamedTuple):
    """answers: of each client. running: until they end."""

    answers: list[list[Any]]
    running: list[Future[None]]

    def meet(self, count: int = 2) -> None:
        """Returns when each client has had so many more answers."""
        before = [len(found) for found in self.answers]
        until(
            lambda: (
                all(len(found) >= had + count for found, had in zip(self.answers, before, strict=True))
                or any(one.done() for one in self.running)
            )
        )


def check(found: Asked, factors: set[float]) -> None:
    for i, (answers, running) in enumerate(zip(found.answers, found.running, strict=True)):
        running.result(120)
        allowed = {times(f * (2 if i % 2 else 1)) for f in factors}
        assert len(answers) > SWAPS
        assert [answer for answer in answers if answer not in allowed] == []
        assert len(set(answers)) > 1  # it did meet a swap


def test_no_request_fails_while_versions_appear(
    served: Served, folder: Path, client: triton.InferenceServerClient
) -> None:
    with asked(served) as found:
        for i in range(SWAPS):
            write_version(folder / "scaled", 3 + i, scaled(FACTORS[i % 2]))
            client.load_model("scaled")
            assert factor(client) == FACTORS[i % 2]
            found.meet()
    check(found, {100.0, *FACTORS})
    assert client.get_model_metadata("scaled")["versions"] == [str(2 + SWAPS)]


def test_no_request_fails_while_versions_go_back_and_forth(
    served: Served, client: triton.InferenceServerClient
) -> None:
    before = factor(client)
    client.load_model("scaled", config="{}", files={"file:model.wasm": scaled(7.0).wasm})
    with asked(served) as found:
        for i in range(SWAPS):
            path = "/v2/repository/models/scaled/load"
            assert send_json(served.address, "POST", path, {"parameters": {"rollback": True}}).status == 200
            assert factor(client) == (7.0 if i % 2 else before)
            found.meet()
    check(found, {7.0, before})


def test_no_request_fails_while_versions_are_refused(served: Served, client: triton.InferenceServerClient) -> None:
    client.load_model("scaled", config="{}", files={"file:50/model.wasm": scaled(7.0).wasm})
    with asked(served) as found:
        for i in range(SWAPS // 4):
            for wrong in (scaled(5.0, size=4).wasm, b"no module"):
                with pytest.raises(InferenceServerException):
                    client.load_model("scaled", config="{}", files={"file:model.wasm": wrong})
            client.load_model("scaled", config="{}", files={"file:60/model.wasm": scaled(FACTORS[i % 2]).wasm})
            found.meet(6)
    check(found, {7.0, *FACTORS})


def test_versions_are_served_side_by_side(served: Served, folder: Path, client: triton.InferenceServerClient) -> None:
    both = json.dumps({"version_policy": {"specific": {"versions": [1, 2]}}})
    client.load_model("scaled", config=both)
    assert client.get_model_metadata("scaled")["versions"] == ["1", "2"]
    assert [factor(client, version) for version in ("1", "2", "")] == [10, 100, 100]
    assert client.is_model_ready("scaled", "1")
    client.load_model("scaled", config=json.dumps({"version_policy": {"specific": {"versions": [1]}}}))
    assert factor(client) == 10
    assert not client.is_model_ready("scaled", "2")
    states = {row["version"]: row for row in client.get_model_repository_index() if row["name"] == "scaled"}
    assert (states["1"]["state"], states["2"]["state"]) == ("READY", "UNAVAILABLE")
    assert states["2"]["reason"] == "kept for the way back"


def test_an_unloaded_model_is_refused_everywhere(served: Served, client: triton.InferenceServerClient) -> None:
    client.unload_model("scaled")
    assert not client.is_model_ready("scaled")
    with pytest.raises(InferenceServerException, match="model `scaled` is not loaded"):
        client.infer("scaled", [x()])
    reply = send_json(served.address, "POST", "/pipelines/both", {"inputs": {"x": ROWS}})
    assert (reply.status, reply.error) == (503, "pool `scaled` is closed")
    assert client.get_model_repository_index() != []
    client.load_model("scaled")
    assert client.is_model_ready("scaled")
    assert client.infer("both", [x()]).as_numpy("y").shape == (2, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"config": "{"}, "parameter `config`: "),
        ({"config": 3}, "parameter `config` must be a text with JSON"),
        ({"config": '{"version_policy": {"specific": {"versions": [99]}}}'}, "no version 99"),
        ({"config": '{"version_policy": {"latest": {"num_versions": 0}}}'}, "must be at least 1"),
        ({"file:1/model.onnx": ""}, "is ONNX, a node runs compiled models"),
        ({"file:1/labels.txt": ""}, "a model is one file, `model.wasm`"),
        ({"file:../model.wasm": ""}, "expected `file:1/model.wasm`"),
        ({"file:1/model.wasm": "!"}, "is no Base64"),
        ({"file:1/model.wasm": 1}, "must be Base64"),
        ({"file:1/model.wasm": "AGFzbQEAAAA="}, "has no section `littoral.model`"),
    ],
)
def test_what_cannot_be_loaded_is_told(served: Served, parameters: dict[str, Any], message: str) -> None:
    reply = send_json(served.address, "POST", "/v2/repository/models/scaled/load", {"parameters": parameters})
    assert reply.status in (400, 404)
    assert message in reply.error
