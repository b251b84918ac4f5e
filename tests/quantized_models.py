"""Models quantised by ONNX Runtime's own tools, and what ONNX Runtime makes of them."""

import contextlib
import functools
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

TYPES = {"u": QuantType.QUInt8, "s": QuantType.QInt8}
CPU = ["CPUExecutionProvider"]
Feeds = Mapping[str, Any]


class Way(NamedTuple):
    """How a model is quantised. activations, weights: `u` or `s`."""

    format: str
    activations: str = "u"
    weights: str = "s"
    per_channel: bool = False
    reduce_range: bool = False

    def __str__(self) -> str:
        parts = [self.format, f"{self.activations}8{self.weights}8", "per channel" if self.per_channel else ""]
        return " ".join([*filter(None, parts), *(["reduced"] if self.reduce_range else [])])


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self.left = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.left, None)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The tools warn through the root logger, whose level other tests of the process read too."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def quantized(model: bytes, feeds: Sequence[Feeds], way: Way) -> bytes:
    """The model with static ranges from the feeds."""
    with _quietly(), tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "quantized.onnx"
        source.write_bytes(model)
        quantize_static(
            source,
            target,
            _Reader(feeds),
            quant_format=QuantFormat[way.format],
            per_channel=way.per_channel,
            reduce_range=way.reduce_range,
            activation_type=TYPES[way.activations],
            weight_type=TYPES[way.weights],
        )
        return target.read_bytes()


def quantized_at_run_time(model: bytes, weights: str = "s", per_channel: bool = False) -> bytes:
    """The model with weights in bytes, and ranges of activations that are found at run time."""
    with _quietly(), tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "quantized.onnx"
        source.write_bytes(model)
        quantize_dynamic(source, target, per_channel=per_channel, weight_type=TYPES[weights])
        return target.read_bytes()


class Oracle:
    """ONNX Runtime, one thread. optimized: False runs the model as it is written."""

    def __init__(self, model: bytes, optimized: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(model, options, providers=CPU)

    def run(self, feeds: Feeds) -> dict[str, Any]:
        names = [o.name for o in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, dict(feeds)), strict=True))


def quantum_of(model: bytes, output: str) -> float:
    """What one quantum of an output is: the scale of the dequantisation that makes it, or 1 of whole numbers."""
    graph = onnx.load_from_string(model).graph
    (node,) = (n for n in graph.node if output in n.output)
    if node.op_type != "DequantizeLinear":
        return 1.0
    (scale,) = (numpy_helper.to_array(i) for i in graph.initializer if i.name == node.input[1])
    return float(scale.reshape(-1)[0])


def quantized_node(
    op: str, inputs: Sequence[Any], shapes: Mapping[str, Sequence[int]], dtype: Any = np.uint8, **attributes: Any
) -> bytes:
    """One operator of com.microsoft. inputs: names of bytes that are fed, constants, or None."""
    names, constants = [], []
    for i, given in enumerate(inputs):
        name = given if isinstance(given, str) else "" if given is None else f"c{i}"
        names.append(name)
        if name and not isinstance(given, str):
            constants.append(numpy_helper.from_array(np.asarray(given), name))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    fed = [helper.make_tensor_value_info(n, kind, shape) for n, shape in shapes.items()]
    node = helper.make_node(op, names, ["y"], name="node", domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], "one", fed, [helper.make_empty_tensor_value_info("y")], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


@functools.cache
def perceptron() -> bytes:
    """Two layers with a residual and a layer norm over rows of 40."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (40, 96), "b1": (96,), "w2": (96, 40), "b2": (40,), "g": (40,), "b": (40,)}
    weights = [numpy_helper.from_array((rng.normal(size=s) * 0.2).astype("f4"), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["e"]),
        helper.make_node("Add", ["e", "b2"], ["f"]),
        helper.make_node("Add", ["f", "x"], ["h"]),
        helper.make_node("LayerNormalization", ["h", "g", "b"], ["y"], axis=-1),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 12, 40]) for n in "xy"]
    graph = helper.make_graph(nodes, "perceptron", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
