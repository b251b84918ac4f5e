"""Sums, products, extremes, normalisation and softmax along axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.ops.elementwise import broadcast_shape, check_reads, spread_shape
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Normalize", "Reduce", "Softmax", "to_float64"]


def to_float64(x: Array) -> Array:
    """Floats as f64, for sums that are rounded once."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


REDUCTIONS: dict[str, Any] = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


@dataclass(frozen=True)
class Reduce(Op):
    """`combine` over axes of `before` of the elements, then `after` of the result; reduced axes stay as 1.

    shape: what `before` is computed over, where no argument gives it.
    """

    name: ClassVar[str] = "reduce"
    combine: str
    axes: tuple[int, ...]
    before: Expr | None = None
    after: Expr | None = None
    shape: tuple[int, ...] = ()

    def spread(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """What is reduced has this shape."""
        return spread_shape(self.before, shapes, self.shape) if self.before else shapes[0]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        shape = self.spread([t.shape for t in inputs])
        if any(not 0 <= a < len(shape) for a in self.axes):
            raise ShapeError(f"axes {self.axes} of rank {len(shape)}")
        if self.before:
            check_reads(self.before, len(inputs), len(shape))
        dtype = self.after.dtype if self.after else self.before.dtype if self.before else inputs[0].dtype
        return (TensorType(dtype, tuple(1 if i in self.axes else d for i, d in enumerate(shape))),)

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + math.prod(self.spread([t.shape for t in inputs]))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        shape = self.spread([x.shape for x in inputs])
        x = evaluate(self.before, inputs, shape) if self.before else inputs[0]
        y = REDUCTIONS[self.combine](to_float64(x), axis=self.axes, keepdims=True).astype(x.dtype) if self.axes else x
        return (evaluate(self.after, (y,), y.shape) if self.after else y,)

    def text(self) -> str:
        parts = [self.combine, f"axes={self.axes}"]
        parts += [f"{word} {text(e)}" for word, e in (("of", self.before), ("then", self.after)) if e]
        return ", ".join(parts)


@dataclass(frozen=True)
class Normalize(Op):
    """`finish` of (x less `mean` of its row's sum, `spread` of its row's sum of squares, further inputs).

    A row is what lies along the last `axes` axes. mean: None where nothing is taken off. square: what is summed for the
    spread, of an element that the mean is taken off.
    """

    name: ClassVar[str] = "normalize"
    axes: int
    mean: Expr | None
    square: Expr
    spread: Expr
    finish: Expr

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x = inputs[0]
        if not 0 < self.axes <= x.rank:
            raise ShapeError(f"the last {self.axes} axes of rank {x.rank}")
        check_reads(self.finish, len(inputs) + 1, x.rank)
        if broadcast_shape(*(t.shape for t in inputs)) != x.shape:
            raise ShapeError(f"further inputs do not fit rows of {x}")
        return (TensorType(self.finish.dtype, x.shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, *rest = inputs
        if self.mean is not None:
            x = x - self._of_sum(self.mean, x)
        spread = self._of_sum(self.spread, evaluate(self.square, (x,), x.shape))
        return (evaluate(self.finish, (x, spread, *rest), x.shape),)

    def _of_sum(self, after: Expr, terms: Array) -> Array:
        axes = tuple(range(terms.ndim - self.axes, terms.ndim))
        total = to_float64(terms).sum(axis=axes, keepdims=True).astype(terms.dtype)
        return evaluate(after, (total,), total.shape)

    def text(self) -> str:
        mean = "" if self.mean is None else f"mean {text(self.mean)}, "
        parts = f"of {text(self.square)}, spread {text(self.spread)}, then {text(self.finish)}"
        return f"last {self.axes}, {mean}{parts}"


@dataclass(frozen=True)
class Softmax(Op):
    """e^x over its sum along an axis."""

    name: ClassVar[str] = "softmax"
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (inputs[0],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x = inputs[0].astype(np.float64)
        y = np.exp(x - x.max(self.axis, keepdims=True, initial=-np.inf))
        y /= y.sum(self.axis, keepdims=True)
        return (y.astype(inputs[0].dtype),)
