"""Small networks of random weights for tests of integers, and inputs such as they would see."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NETS", "SIZE", "Net", "branches", "feeds_of", "inverted_residuals", "squeeze_and_excite"]

SIZE = 24


class Net:
    """An ONNX network in the making: layers of random weights, each as wide as training leaves them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, "f4"), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, given: int, made: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        inner = given // groups
        w = self.rng.normal(size=(made, inner, kernel, kernel)) * np.sqrt(2 / (inner * kernel * kernel))
        b = self.rng.normal(size=made) * 0.1
        pads = [kernel // 2] * 4
        return self.add("Conv", x, self.constant(w), self.constant(b), pads=pads, strides=[stride] * 2, group=groups)

    def relu6(self, x: str) -> str:
        return self.add("Clip", x, self.constant(0.0), self.constant(6.0))

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def finish(self, x: str, made: int) -> bytes:
        flat = self.add("Flatten", self.add("GlobalAveragePool", x))
        y = self.add("Gemm", flat, self.constant(self.rng.normal(size=(made, 7)) * 0.3), self.constant(np.zeros(7)))
        self.nodes[-1].output[0] = "y"
        assert y
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7])],
            self.constants,
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def inverted_residuals() -> bytes:
    net = Net()
    x = net.relu6(net.conv("x", 3, 16, 3, 2))
    y = net.relu6(net.conv(net.relu6(net.conv(x, 16, 48)), 48, 48, 3, 1, 48))
    x = net.add("Add", x, net.conv(y, 48, 16))
    y = net.relu6(net.conv(net.relu6(net.conv(x, 16, 48)), 48, 48, 5, 2, 48))
    return net.finish(net.relu6(net.conv(net.conv(y, 48, 24), 24, 40)), 40)


def squeeze_and_excite() -> bytes:
    net = Net()
    x = net.silu(net.conv("x", 3, 16, 3, 2))
    y = net.silu(net.conv(x, 16, 16, 3, 1, 16))
    weight = net.add("GlobalAveragePool", y)
    weight = net.add("Sigmoid", net.conv(net.silu(net.conv(weight, 16, 4)), 4, 16))
    return net.finish(net.silu(net.conv(net.add("Mul", y, weight), 16, 24)), 24)


def residual_blocks() -> bytes:
    net = Net()
    x = net.add("Relu", net.conv("x", 3, 16, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = net.conv(net.add("Relu", net.conv(x, 16, 16, 3)), 16, 16, 3)
    x = net.add("Relu", net.add("Add", x, y))
    y = net.conv(net.add("Relu", net.conv(x, 16, 32, 3, 2)), 32, 32, 3)
    x = net.add("Relu", net.add("Add", net.conv(x, 16, 32, 1, 2), y))
    return net.finish(x, 32)


def branches() -> bytes:
    net = Net()
    x = net.add("Relu", net.conv("x", 3, 8, 3, 2))
    both = net.add("Concat", net.add("Relu", net.conv(x, 8, 8, 3)), net.conv(x, 8, 12), axis=1)
    wide = net.add("Resize", both, "", net.constant([1, 1, 2, 2]), mode="nearest")
    return net.finish(net.add("Relu", net.conv(wide, 20, 16, 3)), 16)


NETS = {f.__name__: f for f in (inverted_residuals, squeeze_and_excite, residual_blocks, branches)}


def feeds_of(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Pictures of low frequencies, such as networks see."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(count, 1, 3, SIZE // 4, SIZE // 4)).repeat(4, 3).repeat(4, 4)
    return [{"x": (x + 0.3 * rng.normal(size=(1, 3, SIZE, SIZE))).astype("f4")} for x in rough]
