"""What the Open Inference Protocol costs beside the model's own time: binary tensors, one client, one connection."""

import statistics
import tempfile
from pathlib import Path

import numpy as np

import littoral
from bench.convolutional import mobilenet_v2
from bench.oip_client import Client, infer_request
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.node.beside import RunningNode, running_node

__all__ = ["run", "small_model"]

ROUNDS = 10
ASKS = {"small": 100, "mobilenet_v2": 20}
WARM_UP = 30
OVER_MS_P50_MAX = 0.5
OVER_MS_P99_MAX = 1.0
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.small]
path = "small.wasm"

[models.mobilenet_v2]
path = "mobilenet_v2.wasm"
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        models = {
            "small": littoral.compile(small_model(), name="small"),
            "mobilenet_v2": littoral.compile(mobilenet_v2()),
        }
        for key, model in models.items():
            model.save(folder / f"{key}.wasm")
        (folder / "site.toml").write_text(SITE)
        with running_node(folder / "site.toml") as node:
            return [found for key, model in models.items() for found in _beside(node, key, model)]


def _beside(node: RunningNode, name: str, model: littoral.Model) -> list[Row]:
    """In turn, a hundred calls here and a hundred there: a change of the machine's speed meets both."""
    port = model.manifest.variants[0].inputs[0]
    feeds = {port.name: np.random.default_rng(1).normal(size=port.shape).astype(np.float32)}
    request, own, whole = infer_request(name, feeds), list[float](), list[float]()
    with littoral.load(model) as session, Client(node.address) as client:
        for _ in range(WARM_UP):
            session.run(feeds)
            client.ask(request)
        for _ in range(ROUNDS):
            own += [_timed_ms(session, feeds) for _ in range(ASKS[name])]
            for _ in range(ASKS[name]):
                status, took_ms = client.ask(request)
                assert status == 200
                whole.append(took_ms)
    p50, p99 = (_quantile(whole, share) - _quantile(own, share) for share in (0.5, 0.99))
    return [
        row(f"{name}: the model's own run, p50", _quantile(own, 0.5), "ms"),
        row(f"{name}: over HTTP beside it, p50", p50, "ms", limit=OVER_MS_P50_MAX),
        row(f"{name}: over HTTP beside it, p99", p99, "ms", limit=OVER_MS_P99_MAX),
    ]


def _timed_ms(session: littoral.Session, feeds: dict[str, np.ndarray]) -> float:
    began = SYSTEM.monotonic()
    session.run(feeds)
    return (SYSTEM.monotonic() - began) * 1000


def _quantile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def small_model() -> bytes:
    """`y = x · w`, for 64 numbers."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
