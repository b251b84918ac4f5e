"""Models of a few hundred bytes, one for each kind of file structure, whose every byte a test may change."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, I64, U8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def _floats(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def _model(
    nodes: list[Any], inputs: dict[str, tuple[int, list[int]]], outputs: list[str], constants: dict[str, Any]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="")
    return bytes(model.SerializeToString())


def convolution() -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "s", "m", "v"], ["n"], epsilon=0.01),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Flatten", ["p"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "g", "h"], ["y"], transB=1, alpha=0.5),
    ]
    constants = {"w": _floats(2, 1, 3, 3), "b": _floats(2), "s": _floats(2), "m": _floats(2), "v": _floats(2) ** 2}
    constants |= {"g": _floats(3, 12), "h": _floats(3)}
    return _model(nodes, {"x": (F, [1, 1, 5, 4])}, ["y"], constants)


def loop() -> bytes:
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["a", "k"], ["b"]),
            helper.make_node("Add", ["b", "x"], ["d"]),
            helper.make_node("Cast", ["i"], ["e"], to=F),
            helper.make_node("Add", ["d", "e"], ["z"]),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", I64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", F, [3]),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("d", F, [3]),
            helper.make_tensor_value_info("z", F, [3]),
        ],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body)
    constants = {"n": np.asarray(4, np.int64), "k": np.asarray([0.5, -1, 2], np.float32)}
    return _model([node], {"x": (F, [3])}, ["last", "all"], constants)


def branch() -> bytes:
    def arm(op: str) -> Any:
        nodes = [helper.make_node(op, ["x", "k"], ["r"])]
        return helper.make_graph(nodes, op, [], [helper.make_tensor_value_info("r", F, [2, 3])])

    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=arm("Add"), else_branch=arm("Mul")),
    ]
    constants = {"axes": np.asarray([0, 1]), "zero": np.float32(0), "k": _floats(3)}
    return _model(nodes, {"x": (F, [2, 3])}, ["y"], constants)


def quantised() -> bytes:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DequantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    constants = {
        "xs": np.float32(0.02),
        "xz": np.uint8(120),
        "w": np.random.default_rng(5).integers(-50, 50, (2, 1, 3, 3)).astype(np.int8),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "ys": np.float32(0.05),
        "yz": np.uint8(128),
        "b": np.asarray([5, -7], np.int32),
    }
    return _model(nodes, {"x": (F, [1, 1, 3, 4])}, ["y"], constants)


def attention() -> bytes:
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "b"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "heads"], ["h"]),
        helper.make_node("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "q"], ["o"]),
        helper.make_node("Gather", ["o", "pick"], ["y"], axis=1),
    ]
    constants = {"g": _floats(4), "b": _floats(4), "w": _floats(4, 4)}
    constants |= {"heads": np.asarray([0, -1, 2, 2]), "pick": np.asarray([1, 0, 1])}
    return _model(nodes, {"x": (F, [1, 3, 4])}, ["y"], constants)


def movements() -> bytes:
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["r"], mode="nearest", nearest_mode="floor"),
        helper.make_node("Pad", ["r", "pads", "fill"], ["p"], mode="constant"),
        helper.make_node("Slice", ["p", "from", "to", "axes", "steps"], ["s"]),
        helper.make_node("Expand", ["s", "shape"], ["e"]),
        helper.make_node("Tile", ["e", "times"], ["t"]),
        helper.make_node("ConstantOfShape", ["few"], ["o"], value=helper.make_tensor("v", F, [1], [2.5])),
        helper.make_node("Concat", ["t", "o"], ["c"], axis=-1),
        helper.make_node("TopK", ["c", "two"], ["y", "at"], axis=-1),
    ]
    constants = {
        "scales": np.asarray([1, 1, 2, 1], np.float32),
        "pads": np.asarray([0, 0, 1, 0, 0, 0, 0, 2]),
        "fill": np.float32(0.25),
        "from": np.asarray([4, 0]),
        "to": np.asarray([-9, 3]),
        "axes": np.asarray([2, 3]),
        "steps": np.asarray([-2, 1]),
        "shape": np.asarray([2, 1, 3, 3]),
        "times": np.asarray([1, 2, 1, 1]),
        "few": np.asarray([2, 2, 3, 1]),
        "two": np.asarray([2]),
    }
    return _model(nodes, {"x": (F, [1, 1, 2, 3])}, ["y", "at"], constants)


def between_bytes() -> bytes:
    """Pairs around a convolution with weights in int8, a residual, and an operator of bytes."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 0, 0]),
        helper.make_node("Add", ["c", "xd"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "t", "z"], ["aq"]),
        helper.make_node("Reshape", ["aq", "rows"], ["ar"]),
        helper.make_node("QLinearMatMul", ["ar", "t", "z", "m", "s", "n", "u", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "u", "z"], ["y"]),
    ]
    numbers = np.random.default_rng(8)
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(120),
        "w": numbers.integers(-128, 128, (2, 2, 2, 2)).astype(np.int8),
        "ws": np.float32([0.003, 0.004]),
        "wz": np.zeros(2, np.int8),
        "t": np.float32(0.03),
        "rows": np.asarray([2, 9]),
        "m": numbers.integers(-128, 128, (9, 3)).astype(np.int8),
        "n": np.int8(3),
        "u": np.float32(0.05),
    }
    return _model(nodes, {"x": (F, [1, 2, 3, 3])}, ["y"], constants)


def recurrent() -> bytes:
    node = helper.make_node(
        "GRU", ["x", "w", "r", "b"], ["y", "h"], hidden_size=2, direction="bidirectional", linear_before_reset=1
    )
    constants = {"w": _floats(2, 6, 3), "r": _floats(2, 6, 2), "b": _floats(2, 12)}
    return _model([node], {"x": (F, [4, 1, 3])}, ["y", "h"], constants)


SMALL = {
    "attention": attention,
    "between bytes": between_bytes,
    "branch": branch,
    "convolution": convolution,
    "loop": loop,
    "movements": movements,
    "quantised": quantised,
    "recurrent": recurrent,
}
