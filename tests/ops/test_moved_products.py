"""Products that move before what resizes or joins their input: the same meaning, and where they stay."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.ops import Concat, Conv, MatMul
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES
from littoral.compiler.passes.move_products import move_products
from model_host import run_bare

RNG = np.random.default_rng(11)
Nodes = list[tuple[str, list[str], str, dict[str, Any]]]


def noise(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def model_of(nodes: Nodes, feeds: dict[str, np.ndarray], constants: dict[str, np.ndarray], shown: str = "") -> bytes:
    outputs = [nodes[-1][2], *([shown] if shown else [])]
    graph = helper.make_graph(
        [helper.make_node(op, read, [out], name=out, **more) for op, read, out, more in nodes],
        "moved",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in feeds.items()],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def graph_before(model: bytes) -> Graph:
    graph = onnx.import_model(onnx.decode_model(model), {}, None)
    for name, run in PASSES.items():
        if name == "move-products":
            return graph
        graph = run(graph)
    raise AssertionError("no such pass")


def work_of(graph: Graph) -> int:
    """Multiply-adds of products."""
    products = [n for n in graph.nodes if isinstance(n.op, Conv | MatMul)]
    return sum(n.outputs[0].type.elements * n.inputs[1].type.elements // n.outputs[0].shape[-1] for n in products)


def check(model: bytes, feeds: dict[str, np.ndarray], gain: float) -> Graph:
    """The pass lowers the work by a factor and keeps the meaning; the module agrees. Gives the graph after it."""
    before = graph_before(model)
    after = move_products(before)
    verify(after)
    assert work_of(before) == pytest.approx(gain * work_of(after), rel=0.02)
    want, got = interpret(before, feeds), interpret(after, feeds)
    ran = run_bare(compile_model(model).wasm, feeds)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())
        np.testing.assert_allclose(ran[name], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())
    return after


def decoder(mode: str, shown: str = "") -> tuple[bytes, dict[str, np.ndarray]]:
    """A coarse picture, widened and resized, and a fine one, joined and brought together."""
    feeds = {"coarse": noise(1, 8, 3, 5), "fine": noise(1, 32, 12, 20)}
    constants = {"scales": np.float32([1, 1, 4, 4]), "a": noise(32, 8, 1, 1), "p": noise(32), "w": noise(16, 64, 1, 1)}
    nodes: Nodes = [
        ("Conv", ["coarse", "a", "p"], "wide", {}),
        ("Resize", ["wide", "", "scales"], "large", {"mode": mode}),
        ("Concat", ["large", "fine"], "both", {"axis": 1}),
        ("Conv", ["both", "w", "b"], "sums", {}),
        ("Relu", ["sums"], "y", {}),
    ]
    return model_of(nodes, feeds, {**constants, "b": noise(16)}, shown), feeds


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_product_moves_before_a_resize(mode: str) -> None:
    model, feeds = decoder(mode)
    whole, coarse, fine = 240 * 64 * 16 + 15 * 8 * 32, 15 * 8 * 16, 240 * 32 * 16
    after = check(model, feeds, whole / (coarse + fine))
    assert not any(isinstance(node.op, Concat) for node in after.nodes)


@pytest.mark.parametrize(("shown", "coarse"), [("wide", 15 * (8 * 32 + 32 * 16)), ("large", None), ("both", None)])
def test_what_others_read_is_computed_as_before(shown: str, coarse: int | None) -> None:
    """And is read from there: nothing before it changes."""
    model, feeds = decoder("linear", shown)
    whole = 240 * 64 * 16 + 15 * 8 * 32
    check(model, feeds, 1.0 if coarse is None else whole / (coarse + 240 * 32 * 16))


def in_a_row(depth: int, between: int, width: int, scale: float = 1.0) -> tuple[bytes, dict[str, np.ndarray]]:
    feeds = {"x": noise(6, 5, depth)}
    constants = {"a": noise(depth, between) * np.float32(scale), "w": noise(between, width) * np.float32(scale)}
    nodes: Nodes = [
        ("MatMul", ["x", "a"], "first", {}),
        ("Add", ["first", "p"], "moved", {}),
        ("Reshape", ["moved", "shape"], "flat", {}),
        ("MatMul", ["flat", "w"], "second", {}),
        ("Add", ["second", "b"], "y", {}),
    ]
    constants |= {"p": noise(between), "b": noise(width), "shape": np.int64([30, between])}
    return model_of(nodes, feeds, constants), feeds


def test_two_products_in_a_row_are_one() -> None:
    model, feeds = in_a_row(8, 64, 12)
    after = check(model, feeds, (8 * 64 + 64 * 12) / (8 * 12))
    assert sum(isinstance(node.op, MatMul) for node in after.nodes) == 1


def test_a_bottleneck_stays() -> None:
    model, feeds = in_a_row(40, 4, 40)
    check(model, feeds, 1.0)


def test_weights_that_would_not_be_finite_stay_apart() -> None:
    model, _ = in_a_row(8, 64, 12, scale=1e25)
    before = graph_before(model)
    assert work_of(move_products(before)) == work_of(before)
