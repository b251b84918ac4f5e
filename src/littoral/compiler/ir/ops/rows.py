"""Bytes of which each row has a scale and a zero point of its own, found when the model runs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["ROW_HIGHEST", "QuantizeRows", "RoundRows", "RowsMatMul"]

ROW_HIGHEST = 127
_FAR = np.float32(200)


def _in_bytes(x: Array) -> tuple[Array, Array, Array]:
    with np.errstate(all="ignore"):
        low, high = np.fmin.reduce(x, axis=-1, initial=0), np.fmax.reduce(x, axis=-1, initial=0)
        poison = (x * np.float32(0)).sum(-1, dtype=np.float32)
        width = ((high - low) + poison)[..., None]
        per_one = np.float32(ROW_HIGHEST) / width
        zero = _whole(-low[..., None] * per_one)
        held = np.clip(_whole(x * per_one) + np.clip(zero, 0, ROW_HIGHEST), 0, ROW_HIGHEST)
        scale = width * np.float32(1 / ROW_HIGHEST)
    return held.astype(np.uint8), scale, np.clip(zero, 0, ROW_HIGHEST)


def _whole(x: Array) -> Array:
    """The nearest integers, far ones nearer, −200 for a NaN."""
    return np.rint(np.fmin(np.where(x > -_FAR, x, -_FAR), _FAR)).astype(np.int32)


def _check(x: TensorType) -> None:
    if x.dtype != "float32" or not x.rank:
        raise ShapeError(f"rows of {x}, must be of float32")


@dataclass(frozen=True)
class QuantizeRows(Op):
    """float32 x[…, K] to bytes 0..127, and of each row a scale f32[…, 1] and a zero point i32[…, 1].

    The range of a row is that of its elements and 0. A row of zeros has scale 0. A row with a NaN or an infinity in it,
    or one whose range is no finite float32, has a NaN or an infinity for a scale, and zeros for bytes.
    """

    name: ClassVar[str] = "quantize_rows"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        _check(x)
        row = (*x.shape[:-1], 1)
        return TensorType("uint8", x.shape), TensorType("float32", row), TensorType("int32", row)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return _in_bytes(inputs[0])


@dataclass(frozen=True)
class RoundRows(Op):
    """The numbers that the bytes of `QuantizeRows` stand for: the mark that a product is to read such bytes."""

    name: ClassVar[str] = "round_rows"
    folds: ClassVar[bool] = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        _check(inputs[0])
        return (inputs[0],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        held, scale, zero = _in_bytes(inputs[0])
        with np.errstate(all="ignore"):
            return ((held.astype(np.int32) - zero).astype(np.float32) * scale,)


@dataclass(frozen=True)
class RowsMatMul(Op):
    """Bytes x[…, K] of `QuantizeRows` times int8 w[K, N], then `epilogue` of the number and further inputs.

    Inputs: x, its scale and zero point by row, w, scale f32[N] of w, further inputs. The number is float32(Σ (x − zero)
    · w) · scale of w · scale of x. Further inputs: as the output, or N elements.
    """

    name: ClassVar[str] = "rows_matmul"
    epilogue: Expr

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, scale, zero, w, by_column = inputs[:5]
        if w.rank != 2 or x.shape[-1:] != w.shape[:1] or by_column.shape != w.shape[1:]:
            raise ShapeError(f"{x} times {w} with scales {by_column}")
        if not scale.shape == zero.shape == (*x.shape[:-1], 1):
            raise ShapeError(f"scale {scale} and zero points {zero} for the rows of {x}")
        return (TensorType(self.epilogue.dtype, (*x.shape[:-1], w.shape[1])),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, scale, zero, w, by_column, *rest = inputs
        sums = (x.astype(np.float64) - zero) @ w.astype(np.float64)
        with np.errstate(all="ignore"):
            scaled = (sums.astype(np.int32).astype(np.float32) * by_column) * scale
        return (evaluate(self.epilogue, (scaled, *rest), scaled.shape),)

    def text(self) -> str:
        return f"then {text(self.epilogue)}"
