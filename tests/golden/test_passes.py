"""What each pass makes of a small graph, before and after, to be read."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.ir.graph import Builder, Graph
from littoral.compiler.ir.ops import DequantizeWeights, MatMul, RoundRows
from littoral.compiler.ir.printer import graph_text
from littoral.compiler.ir.types import TensorType
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES

Node = tuple[str, list[str], str, dict[str, object]]
PICTURE = (1, 2, 6, 6)


def graph_of(
    nodes: list[Node],
    inputs: dict[str, tuple[int, ...]],
    weights: dict[str, tuple[int, ...]],
    opset: int = 17,
    more: Mapping[str, Any] | None = None,
) -> Graph:
    """Imported only; weights are 1, 2, 3 …, so that they are not alike. more: other constants."""
    constants = {n: 1 + np.arange(np.prod(s), dtype=np.float32).reshape(s) for n, s in weights.items()}
    constants |= more or {}
    made = helper.make_graph(
        [helper.make_node(op, read, [out], name=out, **attributes) for op, read, out, attributes in nodes],
        "small",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1][2])],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.import_model(onnx.decode_model(model.SerializeToString()), {}, None)


def movements() -> Graph:
    """Two orders of axes are one, axes of 1 only change the shape, a multiplication by 1 is none."""
    nodes: list[Node] = [
        ("Transpose", ["x"], "turned", {"perm": [0, 2, 1]}),
        ("Transpose", ["turned"], "back", {"perm": [2, 1, 0]}),
        ("Flatten", ["back"], "flat", {"axis": 1}),
        ("Mul", ["flat", "one"], "same", {}),
        ("Relu", ["same"], "y", {}),
    ]
    return graph_of(nodes, {"x": (3, 1, 4)}, {"one": (1,)})


def padded() -> Graph:
    nodes: list[Node] = [
        ("Pad", ["x"], "wide", {"pads": [0, 0, 1, 1, 0, 0, 2, 2]}),
        ("Conv", ["wide", "w"], "y", {"kernel_shape": [3, 3]}),
    ]
    return graph_of(nodes, {"x": PICTURE}, {"w": (2, 2, 3, 3)}, opset=10)


def normalized() -> Graph:
    nodes: list[Node] = [
        ("Conv", ["x", "w", "b"], "sums", {}),
        ("BatchNormalization", ["sums", "s", "h", "m", "v"], "norm", {}),
        ("Relu", ["norm"], "y", {}),
    ]
    return graph_of(nodes, {"x": PICTURE}, {"w": (3, 2, 1, 1), **dict.fromkeys("bshmv", (3,))})


def transposed_convolution() -> Graph:
    nodes: list[Node] = [("ConvTranspose", ["x", "w"], "y", {"strides": [2, 2], "pads": [1, 1, 1, 1]})]
    return graph_of(nodes, {"x": PICTURE}, {"w": (2, 3, 3, 3)})


def convolutions() -> Graph:
    nodes: list[Node] = [
        ("Conv", ["x", "w"], "sums", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["sums"], "positive", {}),
        ("MaxPool", ["positive"], "y", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ]
    return graph_of(nodes, {"x": PICTURE}, {"w": (3, 2, 3, 3)})


def softmax_over_channels() -> Graph:
    return graph_of([("Softmax", ["x"], "y", {"axis": 1})], {"x": PICTURE}, {})


def joined_scales() -> Graph:
    """The coarse picture is resized after its product, which is one with the product before it."""
    nodes: list[Node] = [
        ("Conv", ["coarse", "w"], "wide", {}),
        ("Resize", ["wide", "", "twice"], "large", {"mode": "linear"}),
        ("Concat", ["large", "fine"], "both", {"axis": 1}),
        ("Conv", ["both", "v", "b"], "sums", {}),
        ("Relu", ["sums"], "y", {}),
    ]
    inputs = {"coarse": (1, 8, 3, 3), "fine": (1, 32, 6, 6)}
    weights = {"w": (32, 8, 1, 1), "v": (32, 64, 1, 1), "b": (32,)}
    return graph_of(nodes, inputs, weights, more={"twice": np.float32([1, 1, 2, 2])})


def maps() -> Graph:
    """A map that is read twice stays; one before a sum goes into it."""
    nodes: list[Node] = [
        ("Mul", ["x", "x"], "square", {}),
        ("Add", ["square", "row"], "moved", {}),
        ("Sigmoid", ["moved"], "gate", {}),
        ("Mul", ["moved", "gate"], "swish", {}),
        ("ReduceSum", ["swish"], "y", {"keepdims": 0}),
    ]
    return graph_of(nodes, {"x": (3, 4)}, {"row": (4,)})


def product_with_residual() -> Graph:
    nodes: list[Node] = [
        ("MatMul", ["x", "w"], "sums", {}),
        ("Add", ["sums", "b"], "moved", {}),
        ("Add", ["moved", "r"], "joined", {}),
        ("Tanh", ["joined"], "y", {}),
    ]
    return graph_of(nodes, {"x": (5, 4), "r": (5, 3)}, {"w": (4, 3), "b": (3,)})


def heads() -> Graph:
    nodes: list[Node] = [
        ("Transpose", ["q"], "rows", {"perm": [0, 2, 1, 3]}),
        ("Transpose", ["k"], "columns", {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["rows", "columns"], "scores", {}),
        ("Transpose", ["scores"], "y", {"perm": [0, 2, 1, 3]}),
    ]
    return graph_of(nodes, {"q": (1, 5, 2, 4), "k": (1, 7, 2, 4)}, {})


def rows_made_alike() -> Graph:
    nodes: list[Node] = [
        ("ReduceMean", ["x"], "mean", {"axes": [-1]}),
        ("Sub", ["x", "mean"], "centered", {}),
        ("Mul", ["centered", "centered"], "squares", {}),
        ("ReduceMean", ["squares"], "variance", {"axes": [-1]}),
        ("Sqrt", ["variance"], "deviation", {}),
        ("Div", ["centered", "deviation"], "plain", {}),
        ("Mul", ["plain", "s"], "y", {}),
    ]
    return graph_of(nodes, {"x": (3, 4)}, {"s": (4,)})


def attention() -> Graph:
    nodes: list[Node] = [
        ("Transpose", ["k"], "columns", {"perm": [0, 2, 1]}),
        ("MatMul", ["q", "columns"], "products", {}),
        ("Add", ["products", "mask"], "scores", {}),
        ("Softmax", ["scores"], "shares", {"axis": -1}),
        ("MatMul", ["shares", "v"], "y", {}),
    ]
    return graph_of(nodes, {"q": (2, 5, 4), "k": (2, 7, 4), "v": (2, 7, 3), "mask": (2, 1, 7)}, {})


def quantised(nodes: list[Node], inputs: dict[str, tuple[int, ...]]) -> Graph:
    """With weights in int8, and scales that are powers of two."""
    constants = {
        "s": np.float32(0.125),
        "t": np.float32(0.5),
        "z": np.uint8(7),
        "w": np.arange(-6, 6, dtype=np.int8).reshape(6, 2, 1, 1),
        "m": np.arange(-6, 6, dtype=np.int8).reshape(4, 3),
        "ws": np.float32([0.25, 0.5, 0.25, 0.5, 0.25, 0.5]),
        "ms": np.float32([0.25]),
    }
    return graph_of(nodes, inputs, {}, more=constants)


def bytes_that_move() -> Graph:
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "held", {}),
        ("DequantizeLinear", ["held", "s", "z"], "number", {}),
        ("MaxPool", ["number"], "largest", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("QuantizeLinear", ["largest", "s", "z"], "again", {}),
        ("DequantizeLinear", ["again", "s", "z"], "y", {}),
    ]
    return quantised(nodes, {"x": PICTURE})


def weights_of_bytes() -> Graph:
    """Turned over, as a dense layer has them."""
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "held", {}),
        ("DequantizeLinear", ["held", "s", "z"], "number", {}),
        ("DequantizeLinear", ["m", "ms"], "numbers", {"axis": 0}),
        ("Gemm", ["number", "numbers"], "y", {"transB": 1}),
    ]
    return quantised(nodes, {"x": (5, 3)})


def product_between_bytes() -> Graph:
    """With a residual, and limits that the byte has anyway."""
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "held", {}),
        ("DequantizeLinear", ["held", "s", "z"], "number", {}),
        ("DequantizeLinear", ["w", "ws"], "weights", {"axis": 0}),
        ("Conv", ["number", "weights"], "sums", {}),
        ("QuantizeLinear", ["r", "t", "z"], "other", {}),
        ("DequantizeLinear", ["other", "t", "z"], "added", {}),
        ("Add", ["sums", "added"], "joined", {}),
        ("Relu", ["joined"], "positive", {}),
        ("QuantizeLinear", ["positive", "t", "z"], "result", {}),
        ("DequantizeLinear", ["result", "t", "z"], "y", {}),
    ]
    return quantised(nodes, {"x": PICTURE, "r": (1, 6, 6, 6)})


def product_and_function() -> Graph:
    """Between them a byte that nothing else reads."""
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "held", {}),
        ("DequantizeLinear", ["held", "s", "z"], "number", {}),
        ("DequantizeLinear", ["w", "ws"], "weights", {"axis": 0}),
        ("Conv", ["number", "weights"], "sums", {}),
        ("QuantizeLinear", ["sums", "t", "z"], "between", {}),
        ("DequantizeLinear", ["between", "t", "z"], "again", {}),
        ("Sigmoid", ["again"], "gate", {}),
        ("QuantizeLinear", ["gate", "s", "z"], "result", {}),
        ("DequantizeLinear", ["result", "s", "z"], "y", {}),
    ]
    return quantised(nodes, {"x": PICTURE})


def maps_between_bytes() -> Graph:
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "held", {}),
        ("DequantizeLinear", ["held", "s", "z"], "number", {}),
        ("Sigmoid", ["number"], "gate", {}),
        ("Mul", ["number", "gate"], "swish", {}),
        ("QuantizeLinear", ["swish", "t", "z"], "result", {}),
        ("DequantizeLinear", ["result", "t", "z"], "y", {}),
    ]
    return quantised(nodes, {"x": PICTURE})


def product_by_row() -> Graph:
    """As quantisation marks it."""
    build = Builder()
    x = build.input("x", TensorType("float32", (2, 8)))
    held, scale = build.constant(np.ones((8, 4), np.int8)), build.constant(np.full(4, 0.5, np.float32))
    w = build.add(DequantizeWeights(1), held, scale, label="product")
    bias = build.constant(np.ones(4, np.float32))
    y = build.add(MatMul(bias=True), build.add(RoundRows(), x, label="product"), w, bias, label="product")
    return build.finish([("y", y)])


SHOWN: dict[str, Callable[[], Graph]] = {
    "canonicalize": movements,
    "fold-pads": padded,
    "fold-affine": normalized,
    "decompose": transposed_convolution,
    "channels-last": convolutions,
    "sink-transposes": convolutions,
    "decompose-softmax": softmax_over_channels,
    "simplify": movements,
    "move-products": joined_scales,
    "fuse-maps": maps,
    "fuse-normalization": rows_made_alike,
    "fuse-epilogues": product_with_residual,
    "fold-transposes": heads,
    "fuse-attention": attention,
    "settle-weights": weights_of_bytes,
    "integer-rows": product_by_row,
    "move-bytes": bytes_that_move,
    "integer-products": product_between_bytes,
    "integer-maps": maps_between_bytes,
    "integer-tables": product_and_function,
}


def test_every_pass_is_shown() -> None:
    assert SHOWN.keys() == PASSES.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_a_pass(name: str, golden: Callable[[str], None]) -> None:
    """The graph as the pass meets it, and as it leaves it."""
    graph = SHOWN[name]()
    for earlier, run in PASSES.items():
        if earlier == name:
            break
        graph = run(graph)
    before = graph_text(graph)
    after = PASSES[name](graph)
    verify(after)
    assert graph_text(after) != before or name == "simplify"
    golden(f"before\n{before}\nafter {name}\n{graph_text(after)}")
