"""EfficientNet-Lite0 as ONNX, from its weights, with both outputs: the embedding and the logits.

Architecture: Tan and Le, EfficientNet (arXiv 1905.11946), Lite form: no squeeze-and-excitation, ReLU6, fixed stem and
head. TensorFlow's padding: with stride 2 a 3×3 window pads (0, 1).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from littoral.tensors import Array

__all__ = ["BLOCKS", "INPUT_SIZE", "export_efficientnet_lite0"]

INPUT_SIZE = 224
EMBEDDING_SIZE = 1280
EPSILON = 1e-3
OPSET = 17


class Stage(NamedTuple):
    """`blocks` blocks with one kernel size; the first has the stride and changes the width."""

    expand: int
    width: int
    blocks: int
    stride: int
    kernel: int


BLOCKS = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: what is missing is split, the odd one goes after."""
    need = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return need // 2, need - need // 2


class _Exporter:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        import onnx
        from onnx import helper, numpy_helper

        self.onnx, self.helper, self.numpy_helper = onnx, helper, numpy_helper
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.size = INPUT_SIZE

    def constant(self, name: str, array: Array | float) -> str:
        self.initializers.append(self.numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(self.helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, weight: str, norm: str, stride: int, clip: bool = True) -> str:
        """Convolution with its batch normalisation folded in, then ReLU6 unless the block ends here."""
        w = self.weights[f"{weight}.weight"]
        parts = ("weight", "bias", "running_mean", "running_var")
        scale, bias, mean, variance = (self.weights[f"{norm}.{part}"].astype(np.float64) for part in parts)
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = w.shape[2]
        before, after = same_pads(self.size, kernel, stride)
        y = self.node(
            "Conv",
            [
                x,
                self.constant(f"{weight}.weight", w * factor.reshape(-1, 1, 1, 1)),
                self.constant(f"{weight}.bias", bias - mean * factor),
            ],
            weight,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=w.shape[0] if w.shape[1] == 1 else 1,
        )
        self.size = -(-self.size // stride)
        return self.node("Clip", [y, "zero", "six"], f"{weight}.relu6") if clip else y

    def block(self, x: str, index: int, expand: int, stride: int, residual: bool) -> str:
        name, y = f"_blocks.{index}", x
        if expand > 1:
            y = self.conv(y, f"{name}._expand_conv", f"{name}._bn0", 1)
        y = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        y = self.conv(y, f"{name}._project_conv", f"{name}._bn2", 1, clip=False)
        return self.node("Add", [y, x], f"{name}.add") if residual else y

    def export(self) -> bytes:
        self.constant("zero", 0)
        self.constant("six", 6)
        x = self.conv("image", "_conv_stem", "_bn0", 2)
        width, index = 32, 0
        for stage in BLOCKS:
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                x = self.block(x, index, stage.expand, stride, stride == 1 and width == stage.width)
                width, index = stage.width, index + 1
        x = self.conv(x, "_conv_head", "_bn1", 1)
        pooled = self.node("GlobalAveragePool", [x], "pool")
        self.node("Flatten", [pooled], "embedding")
        head = [self.constant(f"_fc.{part}", self.weights[f"_fc.{part}"]) for part in ("weight", "bias")]
        self.node("Gemm", ["embedding", *head], "logits", transB=1)
        return self._model()

    def _model(self) -> bytes:
        helper, kind = self.helper, self.onnx.TensorProto.FLOAT
        classes = self.weights["_fc.bias"].size
        graph = helper.make_graph(
            self.nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info("image", kind, [1, 3, INPUT_SIZE, INPUT_SIZE])],
            [
                helper.make_tensor_value_info("embedding", kind, [1, EMBEDDING_SIZE]),
                helper.make_tensor_value_info("logits", kind, [1, classes]),
            ],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        self.onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def export_efficientnet_lite0(weights: Mapping[str, Array]) -> bytes:
    """The ONNX file: `image` float32[1, 3, 224, 224] in, `embedding` [1, 1280] and `logits` [1, 1000] out.

    weights: the published checkpoint's tensors by name. Pixels enter as (rgb − 127) / 128.
    """
    return _Exporter(weights).export()
