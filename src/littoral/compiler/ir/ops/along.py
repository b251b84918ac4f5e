"""Operations that run along one axis in order, or write where data say."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.ops.elementwise import check_reads
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["ArgReduce", "Cumulate", "Scatter", "TopK"]


@dataclass(frozen=True)
class ArgReduce(Op):
    """Place of the largest (or smallest) element along an axis, int64; of equal ones the first, or the last."""

    name: ClassVar[str] = "arg_reduce"
    axis: int
    largest: bool = True
    last: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.shape[self.axis] == 0:
            raise ShapeError("no elements to choose from")
        return (TensorType("int64", tuple(1 if i == self.axis else d for i, d in enumerate(x.shape))),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        (x,) = inputs
        find = np.argmax if self.largest else np.argmin
        if not self.last:
            return (np.asarray(find(x, self.axis, keepdims=True), np.int64),)
        turned = find(np.flip(x, self.axis), self.axis, keepdims=True)
        return (np.asarray(x.shape[self.axis] - 1 - turned, np.int64),)


@dataclass(frozen=True)
class Cumulate(Op):
    """Running sums or products along an axis. exclusive: without the element itself; reverse: from the end."""

    name: ClassVar[str] = "cumulate"
    combine: str
    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (inputs[0],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        (x,) = inputs
        line = np.flip(x, self.axis) if self.reverse else x
        run = (np.cumsum if self.combine == "sum" else np.cumprod)(line, self.axis, dtype=x.dtype)
        if self.exclusive and x.shape[self.axis]:
            start = np.full_like(np.take(run, [0], self.axis), 0 if self.combine == "sum" else 1)
            run = np.concatenate([start, np.delete(run, -1, self.axis)], self.axis)
        return (np.ascontiguousarray(np.flip(run, self.axis) if self.reverse else run),)


@dataclass(frozen=True)
class TopK(Op):
    """The `count` largest (or smallest) elements along an axis, best first, and their places (int64)."""

    name: ClassVar[str] = "top_k"
    axis: int
    count: int
    largest: bool = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if not 0 <= self.count <= x.shape[self.axis]:
            raise ShapeError(f"{self.count} of {x.shape[self.axis]} elements")
        shape = tuple(self.count if i == self.axis else d for i, d in enumerate(x.shape))
        return TensorType(x.dtype, shape), TensorType("int64", shape)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x = np.moveaxis(inputs[0], self.axis, -1)
        key: Any = x
        if self.largest:
            key = -x if x.dtype.kind == "f" else ~x
        order = np.argsort(key, axis=-1, kind="stable")[..., : self.count]
        picked = np.take_along_axis(x, order, -1)
        back = (np.ascontiguousarray(np.moveaxis(a, -1, self.axis)) for a in (picked, order.astype(np.int64)))
        return tuple(back)


_COMBINE: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@dataclass(frozen=True)
class Scatter(Op):
    """The first input with elements replaced: number `at` becomes `value`, for every position of `shape`, in order.

    combine: `add`, `mul`, `max` or `min` of the element that is there and the value. guard: where false, nothing is
    written. Expressions read the inputs after the first by their number, from 1.
    """

    name: ClassVar[str] = "scatter"
    shape: tuple[int, ...]
    at: Expr
    value: Expr
    combine: str = ""
    guard: Expr | None = None

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        for expr in (self.at, self.value, self.guard):
            if expr is not None:
                check_reads(expr, len(inputs), len(self.shape))
        return (inputs[0],)

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + 16 * math.prod(self.shape)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        out = inputs[0].copy().reshape(-1)
        at = evaluate(self.at, inputs, self.shape).reshape(-1)
        value = evaluate(self.value, inputs, self.shape).reshape(-1)
        if self.guard is not None:
            kept = evaluate(self.guard, inputs, self.shape).reshape(-1)
            at, value = at[kept], value[kept]
        if self.combine:
            _COMBINE[self.combine].at(out, at, value)
        else:
            out[at] = value
        return (out.reshape(inputs[0].shape),)

    def text(self) -> str:
        return f"[{text(self.at)}] {self.combine}= {text(self.value)} for {self.shape}"
