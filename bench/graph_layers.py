"""Graphs written layer by layer as exporters write them, with random weights that keep the activations of one size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Layers"]

OPSET, IR_VERSION = 17, 8


class Layers:
    """A graph in the making; every method gives the name of what it adds. Weights come from one seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []

    def input(self, name: str, *shape: int, kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, array: Any, dtype: Any = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight(self.rng.normal(0, scale, shape))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(
        self,
        x: str,
        taken: int,
        given: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        pads: Sequence[int] | None = None,
        axes: int = 2,
    ) -> str:
        """pads: before and after, along each axis; by default half the kernel."""
        fan = taken // groups * kernel**axes
        w = self.random(given, taken // groups, *[kernel] * axes, scale=np.sqrt(2 / fan))
        before, after = pads or (kernel // 2, kernel // 2)
        sizes = {"kernel_shape": [kernel] * axes, "strides": [stride] * axes, "pads": [before] * axes + [after] * axes}
        return self.node("Conv", x, w, self.random(given, scale=0.1), group=groups, **sizes)

    def dense(self, x: str, taken: int, given: int, *, bias: bool = True) -> str:
        product = self.node("MatMul", x, self.random(taken, given, scale=1 / np.sqrt(taken)))
        return self.node("Add", self.random(given, scale=0.1), product) if bias else product

    def classifier(self, x: str, taken: int, classes: int) -> str:
        weights = self.random(classes, taken, scale=0.03)
        return self.node("Gemm", x, weights, self.weight(np.zeros(classes)), transB=1)

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self.weight(0), self.weight(6))

    def swish(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def gelu(self, x: str) -> str:
        wide = self.node("Add", self.node("Erf", self.node("Div", x, self.weight(np.sqrt(2)))), self.weight(1))
        return self.node("Mul", self.node("Mul", x, wide), self.weight(0.5))

    def norm(self, x: str, size: int, epsilon: float = 1e-5) -> str:
        scale, bias = self.weight(self.rng.normal(1, 0.1, size)), self.random(size, scale=0.1)
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.weight(shape, np.int64))

    def transpose(self, x: str, *perm: int) -> str:
        return self.node("Transpose", x, perm=list(perm))

    def model(self, name: str, y: str, *shape: int) -> bytes:
        outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, name, self.inputs, outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())
