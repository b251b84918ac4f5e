"""Quantisation: floats to bytes and back, and contractions of bytes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Arg, Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.ops.contraction import convolved
from littoral.compiler.ir.ops.window import Window, from_first, join_layout, split_layout, to_first
from littoral.compiler.ir.quanta import Scheme, dequantized, quantized
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Dequantize", "DequantizeWeights", "IntegerConv", "Quantize"]


@dataclass(frozen=True)
class Quantize(Op):
    """float32 to bytes of one scheme. nearest: of ONNX, whose quotient is rounded to nearest, in every bit."""

    name: ClassVar[str] = "quantize"
    scheme: Scheme
    nearest: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.scheme.dtype, inputs[0].shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return (evaluate(quantized(Arg("float32", 0), self.scheme), inputs, inputs[0].shape),)

    def text(self) -> str:
        return str(self.scheme)


@dataclass(frozen=True)
class Dequantize(Op):
    """Bytes of one scheme to float32."""

    name: ClassVar[str] = "dequantize"
    folds: ClassVar[bool] = False
    scheme: Scheme

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType("float32", inputs[0].shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return (evaluate(dequantized(Arg(self.scheme.dtype, 0), self.scheme), inputs, inputs[0].shape),)

    def text(self) -> str:
        return str(self.scheme)


@dataclass(frozen=True)
class DequantizeWeights(Op):
    """Whole weights (int8, int16), or an int32 bias, times scale f32[elements of `axis`].

    It stays in the graph although both are constants.
    """

    name: ClassVar[str] = "dequantize_weights"
    folds: ClassVar[bool] = False
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        w, scale = inputs
        if scale.shape != (w.shape[self.axis],):
            raise ShapeError(f"{scale} for axis {self.axis} of {w}")
        return (TensorType("float32", w.shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        w, scale = inputs
        with np.errstate(all="ignore"):
            return (w.astype(np.float32) * scale.reshape(-1, *(1,) * (w.ndim - 1 - self.axis)),)


@dataclass(frozen=True)
class IntegerConv(Op):
    """Convolution of bytes x, channels last, with weights O, I/groups, spatial: whole sums, which start at bias.

    Inputs: x, weights (int8, or int16 within ±255), bias i32[O], scale f32[O], further inputs. `epilogue` is computed
    on float32(sum) · scale and the further inputs; one that is int32 is the sums. fill: what x is outside. lowest,
    highest: what x can be. table: what stands for each byte that the epilogue can make, as uint8; empty where those are
    the result.
    """

    name: ClassVar[str] = "integer_conv"
    window: Window
    groups: int
    fill: int
    lowest: int
    highest: int
    epilogue: Expr
    table: bytes = b""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, w, bias, scale = inputs[:4]
        if x.rank != len(self.window.kernel) + 2 or w.rank != x.rank:
            raise ShapeError(f"a {len(self.window.kernel)}-d window needs rank {len(self.window.kernel) + 2}")
        batch, channels, spatial = split_layout(x, last=True)
        if w.shape[1] * self.groups != channels or w.shape[0] % self.groups:
            raise ShapeError(f"{channels} channels in {self.groups} groups do not fit weights {list(w.shape)}")
        if bias != ("int32", w.shape[:1]) or scale != ("float32", w.shape[:1]):
            raise ShapeError(f"bias {bias} and scale {scale} for {w.shape[0]} sums")
        return (TensorType(self.epilogue.dtype, join_layout(batch, w.shape[0], self.window.output(spatial), True)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, w, bias, scale, *rest = inputs
        wide = to_first(x, last=True).astype(np.float64)
        sums = from_first(convolved(wide, w.astype(np.float64), self.window, self.groups, self.fill), last=True)
        total = sums.astype(np.int32) + bias
        if self.epilogue.dtype == "int32":
            return (total,)
        scaled = total.astype(np.float32) * scale
        made = evaluate(self.epilogue, (scaled, *rest), scaled.shape)
        return (np.frombuffer(self.table, np.uint8)[made] if self.table else made,)

    def text(self) -> str:
        parts = [self.window.text(), f"groups {self.groups}" if self.groups > 1 else ""]
        parts += [f"outside {self.fill}" if self.fill else "", f"then {text(self.epilogue)}"]
        parts += [f"by a table of {len(self.table)}" if self.table else ""]
        return ", ".join(p for p in parts if p)
