"""Networks for the tests of integers: to be quantised here, and quantised elsewhere in each of the ways ONNX has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler.quantize import Int8
from onnx_models import Network

__all__ = ["MODELS", "IntegerModel", "crossing", "pictures", "tokens"]

SIZE = 20


class IntegerModel(NamedTuple):
    """source: ONNX. feeds: to run it on. int8: what it is calibrated on, unless it comes quantised."""

    source: bytes
    feeds: Mapping[str, Any]
    int8: Int8 | None = None


def pictures(count: int, seed: int = 0, size: int = SIZE) -> list[dict[str, Any]]:
    """Of low frequencies and some noise, as networks see them."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(count, 1, 3, size // 4, size // 4)).repeat(4, 3).repeat(4, 4)
    return [{"x": (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)} for x in rough]


def tokens(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 9, 24)).astype(np.float32)} for _ in range(count)]


def crossing(size: int = SIZE) -> bytes:
    """Everything that convolutional networks do to bytes: depthwise, sums, joins, pools, gates, larger and smaller."""
    net = Network((1, 3, size, size), seed=3)
    net.conv(12, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    stem = net.clip()
    net.conv(36, 1)
    net.clip()
    net.conv(36, 3, groups=36, pads=[1, 1, 1, 1])
    net.clip()
    net.conv(12, 1)
    trunk = net.node("Add", stem, net.at)
    net.conv(20, 5, groups=4, pads=[2, 2, 2, 2])
    swish = net.node("Mul", net.at, net.node("Sigmoid", net.at))
    net.node("GlobalAveragePool", swish)
    net.conv(20, 1)
    gated = net.node("Mul", swish, net.node("HardSigmoid", net.at))
    net.node("Concat", gated, trunk, axis=1)
    net.channels = 32
    net.node("MaxPool", net.at, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.conv(18, 3, dilations=[2, 2], pads=[2, 2, 2, 2])
    net.node("Resize", net.node("Relu", net.at), "", net.weight(np.float32([1, 1, 2, 2])), mode="nearest")
    net.conv(18, 3, groups=18, strides=[2, 2], pads=[1, 1, 1, 1])
    net.node("LeakyRelu", net.at, alpha=0.1)
    net.node("AveragePool", net.at, kernel_shape=[2, 2], strides=[1, 1])
    net.conv(24, 1)
    net.node("GlobalAveragePool", net.node("Relu", net.at))
    net.dense(10)
    return net.bytes()


def encoder(width: int = 24) -> bytes:
    """A block of a transformer: products with weights, attention, normalisation, GELU."""
    net = Network((1, 9, width), seed=4, opset=20)
    rng = net.rng

    def dense(x: str, given: int, made: int) -> str:
        w = rng.normal(0, given**-0.5, (given, made)).astype(np.float32)
        return net.node("Add", net.node("MatMul", x, net.weight(w)), net.weight(np.float32(rng.normal(0, 0.1, made))))

    def norm(x: str) -> str:
        scale, bias = (net.weight(np.float32(rng.normal(m, 0.1, width))) for m in (1, 0))
        return net.node("LayerNormalization", x, scale, bias, axis=-1)

    def heads(x: str, perm: Sequence[int]) -> str:
        parted = net.node("Reshape", x, net.weight(np.asarray([1, 9, 3, width // 3])))
        return net.node("Transpose", parted, perm=list(perm))

    before = norm("x")
    q, k, v = (heads(dense(before, width, width), perm) for perm in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)))
    scores = net.node("Mul", net.node("MatMul", q, k), net.weight(np.float32((width // 3) ** -0.5)))
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=-1), v)
    beside = net.node("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = net.node("Reshape", beside, net.weight(np.asarray([1, 9, width])))
    x = net.node("Add", "x", dense(mixed, width, width))
    y = dense(net.node("Gelu", dense(norm(x), width, 3 * width)), 3 * width, width)
    net.node("Add", x, y)
    return net.bytes()


class _Quantised:
    """A model written with quantised tensors. dtype: of activations. limit: of weights."""

    def __init__(self, dtype: Any, limit: int, *, by_channel: bool) -> None:
        self.rng = np.random.default_rng(6)
        self.dtype, self.limit, self.by_channel = np.dtype(dtype), limit, by_channel
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
        return name

    def scheme(self, scale: float, zero: int) -> tuple[str, str]:
        return self.constant(np.float32(scale)), self.constant(self.dtype.type(zero))

    def weights(self, *shape: int) -> tuple[str, str, str]:
        """With scale and zero point."""
        w = self.rng.integers(-self.limit - (self.limit == 127), self.limit + 1, shape).astype(np.int8)
        scales = self.rng.uniform(0.5, 1.5, shape[0] if self.by_channel else ()) * 1.5 / (self.limit * w[0].size ** 0.5)
        return self.constant(w), self.constant(np.float32(scales)), self.constant(np.zeros(scales.shape, np.int8))

    def bytes(self, last: str, shape: Sequence[int], made: Sequence[int]) -> bytes:
        self.nodes[-1].output[0] = "y"
        assert last
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "quantised",
            [info("x", TensorProto.FLOAT, list(shape))],
            [info("y", TensorProto.FLOAT, list(made))],
            self.constants,
        )
        opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def in_pairs(dtype: Any, zero: int, *, limit: int = 127, by_channel: bool = True) -> bytes:
    """Pairs of QuantizeLinear and DequantizeLinear: a convolution, a depthwise one, a residual, pools, a classifier."""
    net = _Quantised(dtype, limit, by_channel=by_channel)

    def held(x: str, scale: float, at: int = zero) -> str:
        scheme = net.scheme(scale, at)
        return net.add("DequantizeLinear", net.add("QuantizeLinear", x, *scheme), *scheme)

    def conv(x: str, given: int, made: int, kernel: int, groups: int = 1, stride: int = 1) -> str:
        w, scale, none = net.weights(made, given // groups, kernel, kernel)
        w = net.add("DequantizeLinear", w, scale, none, **({"axis": 0} if by_channel else {}))
        bias = net.constant(np.float32(net.rng.normal(0, 0.2, made)))
        return net.add("Conv", x, w, bias, group=groups, strides=[stride] * 2, pads=[kernel // 2] * 4)

    x = held("x", 0.031)
    x = held(net.add("Relu", conv(x, 3, 16, 3, stride=2)), 0.027)
    y = held(net.add("Relu", conv(x, 16, 16, 3, groups=16)), 0.033)
    x = held(net.add("Add", x, held(conv(y, 16, 16, 1), 0.041)), 0.049)
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = held(net.add("GlobalAveragePool", x), 0.006)
    x = held(net.add("Flatten", x), 0.006)
    w, scale, none = net.weights(7, 16)
    w = net.add("DequantizeLinear", w, scale, none, **({"axis": 0} if by_channel else {}))
    y = held(net.add("Gemm", x, w, transB=1), 0.009)
    return net.bytes(y, (1, 3, SIZE, SIZE), (1, 7))


def of_bytes(dtype: Any, zero: int) -> bytes:
    """Operators on quantised tensors: QLinearConv, QLinearMatMul."""
    net = _Quantised(dtype, 127, by_channel=True)
    first, second, third = net.scheme(0.03, zero), net.scheme(0.04, zero), net.scheme(0.02, zero)
    x = net.add("QuantizeLinear", "x", *first)
    bias = net.constant(net.rng.integers(-900, 900, 12).astype(np.int32))
    x = net.add("QLinearConv", x, *first, *net.weights(12, 3, 3, 3), *second, bias, pads=[1, 1, 1, 1], strides=[2, 2])
    x = net.add("QLinearConv", x, *second, *net.weights(12, 1, 3, 3), *third, bias, group=12, pads=[0, 0, 0, 0])
    rows = net.add("Reshape", x, net.constant(np.asarray([12, 64])))
    net.by_channel = False
    y = net.add("QLinearMatMul", rows, *third, *net.weights(64, 9), *second)
    return net.bytes(net.add("DequantizeLinear", y, *second), (1, 3, SIZE, SIZE), (12, 9))


def made_at_run_time() -> bytes:
    """Scales of activations that are found while it runs, as dynamic quantisation writes them."""
    net = _Quantised(np.uint8, 127, by_channel=False)
    x = "x"
    for given, made in ((24, 40), (40, 17)):
        held = net.add("DynamicQuantizeLinear", x)
        net.nodes[-1].output.extend([f"{held}_scale", f"{held}_zero"])
        w = net.rng.integers(-128, 128, (given, made)).astype(np.int8)
        zero = net.constant(np.int8(0))
        sums = net.add("MatMulInteger", held, net.constant(w), f"{held}_zero", zero)
        scale = net.add("Mul", f"{held}_scale", net.constant(np.float32(0.01)))
        x = net.add("Mul", net.add("Cast", sums, to=TensorProto.FLOAT), scale)
        x = net.add("Tanh", x)
    return net.bytes(x, (1, 9, 24), (1, 9, 17))


MODELS: Mapping[str, Callable[[], IntegerModel]] = {
    "crossing, 8 bits": lambda: IntegerModel(crossing(), pictures(1, 9)[0], Int8(pictures(6))),
    "crossing, 7 bits": lambda: IntegerModel(crossing(), pictures(1, 9)[0], Int8(pictures(6), bits=7)),
    "encoder": lambda: IntegerModel(encoder(), tokens(1, 9)[0], Int8(tokens(6))),
    "pairs of uint8": lambda: IntegerModel(in_pairs(np.uint8, 119), pictures(1, 9)[0]),
    "pairs of int8": lambda: IntegerModel(in_pairs(np.int8, -5), pictures(1, 9)[0]),
    "pairs of uint8, 7 bits": lambda: IntegerModel(in_pairs(np.uint8, 0, limit=63), pictures(1, 9)[0]),
    "pairs, one scale": lambda: IntegerModel(in_pairs(np.int8, 0, by_channel=False), pictures(1, 9)[0]),
    "of uint8": lambda: IntegerModel(of_bytes(np.uint8, 128), pictures(1, 9)[0]),
    "of int8": lambda: IntegerModel(of_bytes(np.int8, 3), pictures(1, 9)[0]),
    "made at run time": lambda: IntegerModel(made_at_run_time(), tokens(1, 9)[0]),
}
