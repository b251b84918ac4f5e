"""Operations that move elements and compute nothing."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Concat", "Gather", "Pad", "Reshape", "Slice", "Spread", "Transpose"]


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order under another shape."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if math.prod(self.shape) != x.elements:
            raise ShapeError(f"{x.elements} elements cannot become {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return (inputs[0].reshape(self.shape),)


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the result is axis perm[i] of the input."""

    name: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if sorted(self.perm) != list(range(x.rank)):
            raise ShapeError(f"`perm` {list(self.perm)} is no order of {x.rank} axes")
        return (TensorType(x.dtype, tuple(x.shape[p] for p in self.perm)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return (np.ascontiguousarray(inputs[0].transpose(self.perm)),)


@dataclass(frozen=True)
class Slice(Op):
    """Every `steps`-th element from `starts`, `shape` of them, along each axis; steps may be negative."""

    name: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        for size, start, step, count in zip(x.shape, self.starts, self.steps, self.shape, strict=True):
            last = start + (count - 1) * step
            if count and not (0 <= start < size and 0 <= last < size):
                raise ShapeError(f"elements {start}..{last} of a dimension of {size}")
        return (TensorType(x.dtype, self.shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        picks = [
            np.arange(start, start + count * step, step) if count else np.zeros(0, np.int64)
            for start, step, count in zip(self.starts, self.steps, self.shape, strict=True)
        ]
        return (inputs[0][np.ix_(*picks)] if picks else inputs[0],)


@dataclass(frozen=True)
class Pad(Op):
    """Elements around the input: a second input's one value, its edge, its mirror image, or the other end (`wrap`)."""

    name: ClassVar[str] = "pad"
    pads: tuple[tuple[int, int], ...]
    mode: str = "constant"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x = inputs[0]
        shape = tuple(d + before + after for d, (before, after) in zip(x.shape, self.pads, strict=True))
        if any(d < 0 for d in shape) or any(p < 0 for pair in self.pads for p in pair):
            raise ShapeError(f"pads {self.pads} of {list(x.shape)}")
        need = {"edge": 1, "reflect": 2, "wrap": 1}.get(self.mode, 0)
        for d, pair in zip(x.shape, self.pads, strict=True):
            room = d - 1 if self.mode == "reflect" else d if self.mode == "wrap" else max(pair)
            if max(pair) > 0 and (d < need or max(pair) > room):
                raise ShapeError(f"mode `{self.mode}`: pads {pair} for a dimension of {d}")
        return (TensorType(x.dtype, shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        if self.mode == "constant":
            return (np.pad(inputs[0], self.pads, constant_values=inputs[1].reshape(())),)
        return (np.pad(inputs[0], self.pads, mode=self.mode),)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Spread(Op):
    """Elements `steps` apart along each axis, zeros between them."""

    name: ClassVar[str] = "spread"
    steps: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        shape = tuple((d - 1) * step + 1 if d else 0 for d, step in zip(x.shape, self.steps, strict=True))
        return (TensorType(x.dtype, shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        (x,) = inputs
        out = np.zeros(self.infer(TensorType(x.dtype.name, x.shape))[0].shape, x.dtype)
        out[tuple(slice(None, None, step) for step in self.steps)] = x
        return (out,)


@dataclass(frozen=True)
class Concat(Op):
    """Inputs one after the other along an axis."""

    name: ClassVar[str] = "concat"
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        first = inputs[0]
        for x in inputs[1:]:
            if x.rank != first.rank or any(
                a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=False)) if i != self.axis
            ):
                raise ShapeError(f"shapes differ off axis {self.axis}")
        shape = list(first.shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in inputs)
        return (TensorType(first.dtype, tuple(shape)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return (np.concatenate(inputs, self.axis),)


@dataclass(frozen=True)
class Gather(Op):
    """Slices of the first input along an axis, numbered by the second (negative numbers count from the end)."""

    name: ClassVar[str] = "gather"
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        data, indices = inputs
        return (TensorType(data.dtype, data.shape[: self.axis] + indices.shape + data.shape[self.axis + 1 :]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        size = inputs[0].shape[self.axis]
        at = np.clip(np.where(inputs[1] < 0, inputs[1] + size, inputs[1]), 0, max(size - 1, 0)).astype(np.int64)
        return (np.take(inputs[0], at, self.axis),)
