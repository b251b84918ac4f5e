"""Small ONNX models for tests: single operators, and networks put together from blocks with seeded weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int16): TensorProto.INT16,
    np.dtype(np.uint16): TensorProto.UINT16,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.uint32): TensorProto.UINT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.uint64): TensorProto.UINT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


def single(
    op: str,
    feeds: Mapping[str, Any],
    constants: Mapping[str, Any] | None = None,
    outputs: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> bytes:
    """One operator: inputs in the order of feeds, then constants; '' in a name's place leaves an input out."""
    constants = constants or {}
    names = [*feeds, *constants]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, [n if not n.startswith("none") else "" for n in names], made, name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info(n, DTYPES[np.asarray(a).dtype], np.shape(a)) for n, a in feeds.items()],
        [helper.make_empty_tensor_value_info(n) for n in made],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items() if not n.startswith("none")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


class Network:
    """A network written block by block; weights come from one seed."""

    def __init__(self, shape: Sequence[int], seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = tuple(shape)
        self.opset = opset
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.at = "x"
        self.channels = shape[1]

    def weight(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.at = name
        return name

    def conv(self, out: int, kernel: int = 3, bias: bool = True, groups: int = 1, **attributes: Any) -> str:
        fan = self.channels // groups * kernel * kernel
        w = self.rng.normal(0, np.sqrt(2 / fan), (out, self.channels // groups, kernel, kernel)).astype(np.float32)
        inputs = [self.at, self.weight(w)]
        if bias:
            inputs.append(self.weight(self.rng.normal(0, 0.1, out).astype(np.float32)))
        self.channels = out
        return self.node("Conv", *inputs, kernel_shape=[kernel, kernel], group=groups, **attributes)

    def batch_norm(self) -> str:
        c = self.channels
        parts = [self.rng.uniform(0.5, 1.5, c), self.rng.normal(0, 0.2, c), self.rng.normal(0, 0.2, c)]
        parts.append(self.rng.uniform(0.5, 2, c))
        names = [self.weight(p.astype(np.float32)) for p in parts]
        return self.node("BatchNormalization", self.at, *names, epsilon=1e-3)

    def clip(self, low: float = 0.0, high: float = 6.0) -> str:
        return self.node("Clip", self.at, self.weight(np.float32(low)), self.weight(np.float32(high)))

    def dense(self, out: int) -> str:
        flat = self.node("Flatten", self.at)
        w = self.rng.normal(0, 0.1, (out, self.channels)).astype(np.float32)
        b = self.rng.normal(0, 0.1, out).astype(np.float32)
        return self.node("Gemm", flat, self.weight(w), self.weight(b), transB=1)

    def bytes(self, *more_outputs: str) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_empty_tensor_value_info(n) for n in (self.at, *more_outputs)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def inverted_residual(size: int = 24, seed: int = 0) -> bytes:
    """A small MobileNetV2: expand, depthwise with both strides, project, residual, pool, classify."""
    net = Network((1, 3, size, size), seed)
    net.conv(8, 3, strides=[2, 2], pads=[0, 0, 1, 1])
    net.batch_norm()
    net.clip()
    for expand, out, stride in ((4, 8, 1), (4, 12, 2), (4, 12, 1), (6, 20, 2)):
        before, channels = net.at, net.channels
        net.conv(channels * expand, 1, bias=False)
        net.batch_norm()
        net.clip()
        net.conv(net.channels, 3, groups=net.channels, strides=[stride, stride], pads=[1, 1, 1, 1])
        net.clip()
        net.conv(out, 1)
        if stride == 1 and channels == out:
            net.node("Add", before, net.at)
    net.node("GlobalAveragePool", net.at)
    net.dense(10)
    return net.bytes()


def residual(size: int = 20, seed: int = 0) -> bytes:
    """A small ResNet: 7×7 stem, max pooling, blocks with a strided shortcut."""
    net = Network((1, 3, size, size), seed)
    net.conv(9, 7, strides=[2, 2], pads=[3, 3, 3, 3])
    net.node("Relu", net.at)
    net.node("MaxPool", net.at, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for out, stride in ((9, 1), (14, 2)):
        before, channels = net.at, net.channels
        net.conv(out, 3, strides=[stride, stride], pads=[1, 1, 1, 1])
        net.node("Relu", net.at)
        left = net.conv(out, 3, pads=[1, 1, 1, 1])
        if channels != out:
            net.at, net.channels = before, channels
            before = net.conv(out, 1, strides=[stride, stride])
        net.node("Add", left, before)
        net.node("Relu", net.at)
    net.node("GlobalAveragePool", net.at)
    net.dense(7)
    return net.bytes()


def squeeze_excite(size: int = 16, seed: int = 0) -> bytes:
    """Swish, squeeze and excite, 5×5 depthwise: the blocks of EfficientNet."""
    net = Network((1, 3, size, size), seed)

    def swish() -> str:
        before = net.at
        gate = net.node("Sigmoid", before)
        return net.node("Mul", before, gate)

    net.conv(12, 3, pads=[1, 1, 1, 1])
    swish()
    net.conv(12, 5, groups=12, pads=[2, 2, 2, 2])
    full = swish()
    net.node("ReduceMean", full, axes=[2, 3], keepdims=1)
    net.conv(4, 1)
    swish()
    net.conv(12, 1)
    gate = net.node("Sigmoid", net.at)
    net.node("Mul", gate, full)
    net.conv(10, 1)
    net.node("GlobalAveragePool", net.at)
    net.dense(5)
    return net.bytes()


def segmenter(size: int = 16, seed: int = 0) -> bytes:
    """Down, up by transposed convolution and by resize, concatenated; softmax over channels."""
    net = Network((1, 3, size, size), seed)
    net.conv(6, 3, pads=[1, 1, 1, 1])
    skip = net.node("LeakyRelu", net.at, alpha=0.1)
    net.node("AveragePool", skip, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.conv(8, 3, pads=[2, 2, 2, 2], dilations=[2, 2])
    low = net.node("HardSwish", net.at)
    w = net.rng.normal(0, 0.2, (8, 5, 2, 2)).astype(np.float32)
    up = net.node("ConvTranspose", low, net.weight(w), kernel_shape=[2, 2], strides=[2, 2])
    scales = net.weight(np.asarray([1, 1, 2, 2], np.float32))
    resized = net.node("Resize", low, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    net.node("Concat", up, skip, resized, axis=1)
    net.channels = 5 + 6 + 8
    net.conv(4, 1)
    net.node("Softmax", net.at, axis=1)
    return net.bytes()


NETWORKS = {
    "inverted_residual": inverted_residual,
    "residual": residual,
    "squeeze_excite": squeeze_excite,
    "segmenter": segmenter,
}
