"""Products of two tensors that come at run time: batches, broadcasts and transposes around them, against numpy."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from littoral.compiler.driver import compile_model
from model_host import run_bare
from onnx_models import single


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.normal(size=shape).astype("f4") for shape in shapes]


def kinds(model: bytes) -> set[str]:
    return {layer.kind for layer in compile_model(model).manifest.layers}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 5), (5, 7)),
        ((1, 1), (1, 1)),
        ((2, 9, 6), (2, 6, 11)),
        ((2, 3, 4, 5), (2, 3, 5, 8)),
        ((2, 3, 4, 5), (5, 9)),
        ((4, 5), (2, 3, 5, 9)),
        ((2, 1, 4, 5), (1, 3, 5, 9)),
        ((1, 3, 4, 5), (2, 1, 5, 9)),
        ((3, 1, 2, 4, 5), (1, 4, 1, 5, 3)),
        ((2, 130, 64), (2, 64, 130)),
    ],
)
def test_batches_are_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = arrays(left, right)
    model = single("MatMul", {"a": a, "b": b})
    (got,) = run_bare(compile_model(model).wasm, {"a": a, "b": b}).values()
    want = np.matmul(a.astype("f8"), b)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    assert kinds(model) == {"gemm"}


def test_a_constant_right_side_may_have_batches() -> None:
    a, b = arrays((4, 6, 5), (4, 5, 10))
    model = single("MatMul", {"a": a}, {"b": b})
    (got,) = run_bare(compile_model(model).wasm, {"a": a}).values()
    assert np.abs(got - np.matmul(a, b)).max() <= 1e-5 * np.abs(got).max()


def attention(batch: int, heads: int, queries: int, keys: int, size: int) -> tuple[bytes, dict[str, Any]]:
    """Scaled dot products of heads that lie side by side, as exporters write them."""
    q, k, v = arrays((batch, queries, heads * size), (batch, keys, heads * size), (batch, keys, heads * size))
    nodes = []
    for name, turned in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
        nodes.append(helper.make_node("Reshape", [name, "split"], [f"{name}_split"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_split"], [f"{name}_heads"], f"turn_{name}", perm=turned))
    nodes += [
        helper.make_node("MatMul", ["q_heads", "k_heads"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v_heads"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["beside"], "turn_back", perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["beside", "joined"], ["out"]),
    ]
    feeds = {"q": q, "k": k, "v": v}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in feeds.items()]
    constants = {
        "split": np.array([batch, -1, heads, size]),
        "joined": np.array([batch, -1, heads * size]),
        "scale": np.array(size**-0.5, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "attention",
        inputs,
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (batch, queries, heads * size))],
        [onnx.numpy_helper.from_array(x, n) for n, x in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(), feeds


def attention_by_numpy(feeds: dict[str, np.ndarray], heads: int) -> np.ndarray:
    batch, _, width = feeds["q"].shape
    q, k, v = (x.astype("f8").reshape(batch, -1, heads, width // heads).swapaxes(1, 2) for x in feeds.values())
    scores = q @ k.swapaxes(2, 3) * (width // heads) ** -0.5
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ v
    return mixed.swapaxes(1, 2).reshape(batch, -1, width)


@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "size"), [(1, 3, 17, 17, 8), (2, 2, 5, 9, 12), (1, 1, 1, 33, 6)]
)
def test_attention_needs_no_transposed_copies(batch: int, heads: int, queries: int, keys: int, size: int) -> None:
    model, feeds = attention(batch, heads, queries, keys, size)
    (got,) = run_bare(compile_model(model).wasm, feeds).values()
    assert np.abs(got - attention_by_numpy(feeds, heads)).max() <= 2e-6
    layers = compile_model(model).manifest.layers
    assert sum(layer.kind == "gemm" for layer in layers) == 1
    assert not [layer.name for layer in layers if "turn" in layer.name]
