"""Small files that ask for much: sizes, counts, nesting and repetition that no machine has room for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
POWERS = (28, 40, 62)


def model_of(
    nodes: list[Any], inputs: dict[str, list[int]], constants: dict[str, Any] | None = None, opset: int = 17
) -> bytes:
    """A model of float32 inputs, whose last node's first output is its own."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
    )


def _i64(*values: int) -> Any:
    return np.asarray(values, np.int64)


def _summed(nodes: list[Any], constants: dict[str, Any], opset: int = 17) -> bytes:
    """What constants `c` are, added up and joined to an input: everything but the last sum can be computed now."""
    last = [helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0), helper.make_node("Add", ["x", "r"], ["y"])]
    return model_of([*nodes, *last], {"x": [2]}, constants, opset)


def _filled(*shape: int) -> tuple[list[Any], dict[str, Any]]:
    return [helper.make_node("ConstantOfShape", ["s"], ["f"])], {"s": _i64(*shape)}


def _picture(op: str, weights: dict[str, Any] | None = None, opset: int = 17, **attributes: Any) -> bytes:
    node = helper.make_node(op, ["x", *(weights or {})], ["y"], **attributes)
    return model_of([node], {"x": [1, 1, 4, 4]}, weights, opset)


def _loop(runs: int, constant: bool) -> bytes:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["go"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [info("i", INT64, []), info("on", TensorProto.BOOL, []), info("a", FLOAT, [2])],
        [info("go", TensorProto.BOOL, []), info("b", FLOAT, [2])],
    )
    node = helper.make_node("Loop", ["n", "", "k" if constant else "x"], ["z"], body=body)
    constants = {"n": np.int64(runs), "k": np.ones(2, np.float32)}
    return model_of([node, helper.make_node("Add", ["x", "z"], ["y"])], {"x": [2]}, constants)


def _sized(power: int) -> dict[str, Callable[[], bytes]]:
    n, half = 1 << power, 1 << power // 2
    ones = np.ones((1, 1, 3, 3), np.float32)
    node = helper.make_node
    x = {"x": [3]}
    fill, shape = _filled(n)
    square, sides = _filled(half, half)
    return {
        "ConstantOfShape": lambda: _summed([node("ConstantOfShape", ["s"], ["c"])], {"s": _i64(n)}),
        "Expand": lambda: model_of([node("Expand", ["x", "s"], ["y"])], {"x": [1]}, {"s": _i64(n)}),
        "Expand-constant": lambda: _summed(
            [node("Expand", ["o", "s"], ["c"])], {"s": _i64(n), "o": np.ones(1, np.float32)}
        ),
        "Tile": lambda: model_of([node("Tile", ["x", "s"], ["y"])], x, {"s": _i64(n)}),
        "Pad": lambda: model_of([node("Pad", ["x", "s"], ["y"], mode="edge")], x, {"s": _i64(n, 1)}),
        "Resize-sizes": lambda: model_of(
            [node("Resize", ["x", "", "", "s"], ["y"], mode="linear")], {"x": [1, 1, 3, 3]}, {"s": _i64(1, 1, n, 3)}
        ),
        "Resize-scales": lambda: model_of(
            [node("Resize", ["x", "", "s"], ["y"], mode="cubic")],
            {"x": [1, 1, 3, 3]},
            {"s": np.asarray([1, 1, n, 1], np.float32)},
        ),
        "Range": lambda: _summed(
            [node("Range", ["a", "b", "d"], ["e"]), node("Cast", ["e"], ["c"], to=FLOAT)],
            {"a": np.int64(0), "b": np.int64(n), "d": np.int64(1)},
        ),
        "OneHot": lambda: model_of(
            [node("Cast", ["x"], ["i"], to=INT64), node("OneHot", ["i", "d", "v"], ["y"])],
            x,
            {"d": np.int64(n), "v": np.asarray([0, 1], np.float32)},
        ),
        "EyeLike": lambda: _summed([*square, node("EyeLike", ["f"], ["c"])], sides),
        "HannWindow": lambda: _summed([node("HannWindow", ["n"], ["c"])], {"n": np.int64(n)}),
        "DFT": lambda: model_of([node("DFT", ["x", "n"], ["y"], axis=1)], {"x": [1, 4, 1]}, {"n": np.int64(n)}),
        "Loop": lambda: _loop(n, constant=False),
        "Loop-constant": lambda: _loop(n, constant=True),
        "Conv-pads": lambda: _picture("Conv", {"w": ones}, pads=[n, 1, 1, 1]),
        "Conv-dilations": lambda: _picture("Conv", {"w": ones}, pads=[n, 1, n, 1], dilations=[n, 1]),
        "ConvTranspose": lambda: _picture("ConvTranspose", {"w": ones}, strides=[n, 1]),
        "AveragePool": lambda: _picture("AveragePool", pads=[n, 0, n, 0], kernel_shape=[n + 1, 2]),
        "AveragePool-same": lambda: _picture("AveragePool", kernel_shape=[n, n], auto_pad="SAME_UPPER"),
        "MaxPool-same": lambda: _picture("MaxPool", kernel_shape=[n, n], auto_pad="SAME_UPPER"),
        "LpPool-same": lambda: _picture("LpPool", kernel_shape=[n, n], auto_pad="SAME_UPPER"),
        "DepthToSpace": lambda: _picture("DepthToSpace", blocksize=n),
        "Split": lambda: _picture("Split", opset=18, num_outputs=n),
        "TopK": lambda: model_of([node("TopK", ["x", "k"], ["y", "i"])], x, {"k": _i64(n)}),
        "Reshape": lambda: model_of([node("Reshape", ["x", "s"], ["y"])], x, {"s": _i64(n, -1)}),
        "an input": lambda: model_of([node("Relu", ["x"], ["y"])], {"x": [n]}),
        "a square": lambda: model_of(
            [node("Unsqueeze", ["x", "o"], ["a"]), node("Add", ["a", "x"], ["b"]), node("ReduceMax", ["b"], ["y"])],
            {"x": [half]},
            {"o": _i64(1)},
        ),
        "a product of constants": lambda: _summed([*square, node("MatMul", ["f", "f"], ["c"])], sides),
        "a convolution of constants": lambda: _summed(
            [
                *_filled(1, 1, half, half)[0],
                node("ConstantOfShape", ["t"], ["w"]),
                node("Conv", ["f", "w"], ["c"], pads=[64] * 4),
            ],
            {"s": _i64(1, 1, half, half), "t": _i64(1, 1, 129, 129)},
        ),
        "a running sum": lambda: _summed([*fill, node("CumSum", ["f", "z"], ["c"])], shape | {"z": np.int64(0)}),
        "a product of four": lambda: _summed(
            [*_filled(1)[0], node("Einsum", ["f"] * 4, ["c"], equation="a,b,c,d->abcd")], {"s": _i64(1 << power // 4)}
        ),
    }


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A field of the wire format that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _file(graph: bytes) -> bytes:
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def _attribute(content: bytes) -> bytes:
    return _file(field(1, field(5, content)))


def _tensor(content: bytes) -> bytes:
    return _file(field(5, content))


REPEATED: dict[str, Callable[[], bytes]] = {
    "ints of an attribute": lambda: _attribute(field(8, b"\0" * 40_000_000)),
    "floats of an attribute": lambda: _attribute(field(7, b"\0" * 80_000_000)),
    "texts of an attribute": lambda: _attribute(field(9, b"abc") * 4_000_000),
    "dimensions": lambda: _tensor(field(1, b"\0" * 40_000_000)),
    "integers": lambda: _tensor(field(7, b"\x01" * 40_000_000)),
    "long integers": lambda: _tensor(field(7, (b"\xff" * 9 + b"\x01") * 8_000_000)),
    "integers one by one": lambda: _tensor(b"\x38\x01" * 8_000_000),
    "an integer without end": lambda: _tensor(field(7, b"\xff" * 40_000_000)),
    "floats": lambda: _tensor(field(4, b"\1\2\3\4" * 20_000_000)),
    "names of inputs": lambda: _file(field(1, field(1, b"ab\xc3\xa9") * 4_000_000)),
    "empty names": lambda: _file(field(1, b"\x0a\x00" * 8_000_000)),
    "attributes": lambda: _file(field(1, b"\x2a\x00" * 4_000_000)),
    "graphs": lambda: _attribute(b"\x32\x00" * 4_000_000),
    "tensors": lambda: _file(b"\x2a\x00" * 4_000_000),
    "inputs": lambda: _file(b"\x5a\x00" * 4_000_000),
    "unknown fields": lambda: _file(b"\xf8\x07\x00" * 4_000_000),
}


def _chain(op: str, count: int, **attributes: Any) -> bytes:
    return model_of(
        [helper.make_node(op, [f"a{i}" if i else "x"] * 2, [f"a{i + 1}"], **attributes) for i in range(count)],
        {"x": [2]},
    )


def _constants_in_a_chain() -> bytes:
    fill, shape = _filled(1 << 24)
    nodes = [helper.make_node("Sin", [f"a{i}" if i else "f"], [f"a{i + 1}"]) for i in range(100)]
    return _summed([*fill, *nodes, helper.make_node("Neg", ["a100"], ["c"])], shape)


def _many_constants() -> bytes:
    nodes = [helper.make_node("ConstantOfShape", ["s"], [f"a{i}"]) for i in range(100)]
    return _summed([*nodes, helper.make_node("Sum", [f"a{i}" for i in range(100)], ["c"])], {"s": _i64(1 << 22)})


BUILT: dict[str, Callable[[], bytes]] = {
    "doubled again and again": lambda: _chain("Add", 200),
    "joined to itself": lambda: _chain("Concat", 60, axis=0),
    "constants in a chain": _constants_in_a_chain,
    "many constants": _many_constants,
    "joined by thousands": lambda: model_of([helper.make_node("Concat", ["x"] * 50_000, ["y"], axis=0)], {"x": [2]}),
    "a thousand axes": lambda: model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [1] * 1000}),
}

BOMBS = {f"{name} 2^{power}": make for power in POWERS for name, make in _sized(power).items()} | REPEATED | BUILT
