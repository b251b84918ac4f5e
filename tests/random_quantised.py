"""Random networks written with quantised tensors, as tools that quantise leave them: in pairs around products."""

import random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_maker import Made
from random_networks import random_network

__all__ = ["random_quantised"]

PRODUCTS = ("Conv", "MatMul", "Gemm")
KEEPS_BYTES = (
    "Relu",
    "Clip",
    "MaxPool",
    "Concat",
    "Resize",
    "Reshape",
    "Transpose",
    "Add",
    "Mul",
    "AveragePool",
    "Sigmoid",
)


def random_quantised(seed: int, nodes: int = 12) -> Made:
    """Of `random_network`: activations of any scheme, weights of one scale or one a channel, in int8 or uint8."""
    made = random_network(seed, nodes)
    return Made(_Rewritten(made.model, seed).model(), made.feeds)


class _Rewritten:
    def __init__(self, model: onnx.ModelProto, seed: int) -> None:
        self.source = model
        self.rng = random.Random(seed)
        self.nodes: list[Any] = []
        self.constants = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self.floats = {
            v.name
            for v in onnx.shape_inference.infer_shapes(model).graph.value_info
            if v.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self.floats |= {v.name for v in model.graph.input if v.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.now: dict[str, str] = {}  # the name that stands for a tensor, where it is not its own

    def model(self) -> onnx.ModelProto:
        for node in self.source.graph.node:
            inputs = [self.now.get(n, n) for n in node.input]
            is_product = node.op_type in PRODUCTS and node.input[1] in self.constants
            if is_product:
                inputs[0] = self.held(inputs[0])
                inputs[1] = self.weights(node)
            made = onnx.NodeProto()
            made.CopyFrom(node)
            del made.input[:]
            made.input.extend(inputs)
            self.nodes.append(made)
            keeps = is_product or node.op_type in KEEPS_BYTES
            if keeps and node.output[0] in self.floats and self.rng.random() < 0.8:
                self.now[node.output[0]] = self.held(node.output[0])
        graph = helper.make_graph(
            self.nodes,
            self.source.graph.name,
            self.source.graph.input,
            self.source.graph.output,
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=self.source.opset_import, ir_version=9)

    def constant(self, array: Any) -> str:
        name = f"quantised{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"pair{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def held(self, name: str) -> str:
        """In bytes and back."""
        dtype = self.rng.choice([np.uint8, np.int8])
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        zero = self.rng.choice([0, low, high, (low + high) // 2, self.rng.randint(low, high)])
        scheme = self.constant(np.float32(self.rng.choice([0.5, 0.02, 0.037]))), self.constant(dtype(zero))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", name, *scheme), *scheme)

    def weights(self, node: Any) -> str:
        w = self.constants[node.input[1]]
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or turned else w.ndim - 1
        by_channel, middle = self.rng.random() < 0.6 and w.ndim > 1, self.rng.choice([0, 0, 0, 128])
        most = (
            np.abs(w).max(tuple(i for i in range(w.ndim) if i != axis), keepdims=True)
            if by_channel
            else np.abs(w).max()
        )
        scale = np.asarray(np.maximum(most, 1e-3) / self.rng.choice([127, 63]), np.float32)
        dtype = np.uint8 if middle else np.int8
        bytes_ = self.constant(np.clip(np.rint(w / scale) + middle, *(0, 255) if middle else (-128, 127)).astype(dtype))
        shape = (w.shape[axis],) if by_channel else ()
        zero = np.full(shape, middle, dtype)
        attributes = {"axis": axis} if by_channel else {}
        return self.add(
            "DequantizeLinear", bytes_, self.constant(scale.reshape(shape)), self.constant(zero), **attributes
        )
