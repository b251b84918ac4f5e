"""Matrix products and convolutions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.ops.elementwise import broadcast_shape
from littoral.compiler.ir.ops.reduction import to_float64
from littoral.compiler.ir.ops.window import (
    Window,
    from_first,
    join_layout,
    padded_elements,
    split_layout,
    tap_view,
    to_first,
)
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import DTYPES, Array

__all__ = ["Conv", "ConvTranspose", "MatMul", "convolved"]


def _epilogue(acc: Array, epilogue: Expr | None, extras: tuple[Array, ...], dtype: str) -> Array:
    rounded = acc.astype(DTYPES[dtype].storage)
    return evaluate(epilogue, (rounded, *extras), acc.shape) if epilogue else rounded


def _turned_type(given: TensorType, perm: tuple[int, ...]) -> TensorType:
    return TensorType(given.dtype, tuple(given.shape[i] for i in perm)) if perm else given


def _turned(array: Array, perm: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(array.transpose(perm)) if perm else array


def convolved(x: Array, w: Array, window: Window, groups: int, fill: float = 0) -> Array:
    """Sums of a convolution of x (channels first) with weights O, I/groups, spatial; x goes on as `fill` outside."""
    out = window.output(x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *window.pads), constant_values=fill)
    batch = x.shape[0]
    total = np.zeros((batch, groups, w.shape[0] // groups, math.prod(out)), padded.dtype)
    by_tap = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1)
    for i, tap in enumerate(window.taps()):
        view = tap_view(padded, tap, window.strides, out).reshape(batch, groups, w.shape[1], -1)
        total += np.matmul(by_tap[None, :, :, :, i], view)
    return total.reshape(batch, w.shape[0], *out)


@dataclass(frozen=True)
class MatMul(Op):
    """a[…, M, K] × b[…, K, N], batches broadcast; then `epilogue` of (the product, further inputs).

    bias: the third input, of N elements, starts the sums. left, right, result: orders of axes in which a, b and the
    product are taken; () = as they are.
    """

    name: ClassVar[str] = "matmul"
    epilogue: Expr | None = None
    bias: bool = False
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    result: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        a, b = (_turned_type(t, perm) for t, perm in zip(inputs, (self.left, self.right), strict=False))
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(
                f"inner sizes differ: left `{'x'.join(map(str, a.shape))}`, right `{'x'.join(map(str, b.shape))}`"
            )
        batch = broadcast_shape(a.shape[:-2], b.shape[:-2])
        made = TensorType(self.epilogue.dtype if self.epilogue else a.dtype, (*batch, a.shape[-2], b.shape[-1]))
        return (_turned_type(made, self.result),)

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + self.infer(*inputs)[0].elements * _turned_type(inputs[0], self.left).shape[-1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        a, b, *rest = inputs
        total = np.matmul(_turned(to_float64(a), self.left), _turned(to_float64(b), self.right))
        if self.bias:
            total = total + to_float64(rest.pop(0))
        return (_epilogue(_turned(total, self.result), self.epilogue, tuple(rest), a.dtype.name),)

    def text(self) -> str:
        perms = {"left": self.left, "right": self.right, "result": self.result}
        parts = [f"{name} {''.join(map(str, perm))}" for name, perm in perms.items() if perm]
        parts.append(text(self.epilogue) if self.epilogue else "")
        return ", ".join(p for p in parts if p)


@dataclass(frozen=True)
class Conv(Op):
    """Convolution of x with weights O, I/groups, spatial; then `epilogue` of (the sum, further inputs).

    bias: the third input, of O elements, starts the sums.
    """

    name: ClassVar[str] = "conv"
    window: Window
    groups: int = 1
    last: bool = False
    epilogue: Expr | None = None
    bias: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, w = inputs[:2]
        if x.rank != len(self.window.kernel) + 2 or w.rank != x.rank:
            raise ShapeError(f"a {len(self.window.kernel)}-d window needs rank {len(self.window.kernel) + 2}")
        batch, channels, spatial = split_layout(x, self.last)
        if w.shape[1] * self.groups != channels or w.shape[0] % self.groups:
            raise ShapeError(f"{channels} channels in {self.groups} groups do not fit weights {list(w.shape)}")
        shape = join_layout(batch, w.shape[0], self.window.output(spatial), self.last)
        return (TensorType(self.epilogue.dtype if self.epilogue else x.dtype, shape),)

    def work(self, *inputs: TensorType) -> int:
        taps = math.prod(inputs[1].shape[1:])
        return super().work(*inputs) + self.infer(*inputs)[0].elements * taps + padded_elements(inputs[0], self.window)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, w, *rest = inputs
        y = convolved(to_float64(to_first(x, self.last)), to_float64(w), self.window, self.groups)
        if self.bias:
            y = y + to_float64(rest.pop(0)).reshape(-1, *(1,) * (y.ndim - 2))
        return (_epilogue(from_first(y, self.last), self.epilogue, tuple(rest), inputs[0].dtype.name),)

    def text(self) -> str:
        parts = [self.window.text(), f"groups {self.groups}" if self.groups > 1 else "", "last" if self.last else ""]
        parts.append(f"then {text(self.epilogue)}" if self.epilogue else "")
        return ", ".join(p for p in parts if p)


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution of x with weights I, O/groups, spatial. output: the spatial sizes. pads: cut off."""

    name: ClassVar[str] = "conv_transpose"
    window: Window
    output: tuple[int, ...]
    groups: int = 1
    bias: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, w = inputs[:2]
        if x.rank != len(self.window.kernel) + 2 or w.rank != x.rank or w.shape[0] != x.shape[1]:
            raise ShapeError(f"{x.shape[1] if x.rank > 1 else 0} channels do not fit weights {list(w.shape)}")
        if self.groups < 1 or w.shape[0] % self.groups:
            raise ShapeError(f"{w.shape[0]} channels in {self.groups} groups")
        return (TensorType(x.dtype, (x.shape[0], w.shape[1] * self.groups, *self.output)),)

    def work(self, *inputs: TensorType) -> int:
        full = math.prod(
            n * s + r for n, s, r in zip(inputs[0].shape[2:], self.window.strides, self.window.reach(), strict=True)
        )
        return super().work(*inputs) + (inputs[0].elements + full) * math.prod(inputs[1].shape[1:])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, w, *rest = inputs
        batch, spatial, groups = x.shape[0], x.shape[2:], self.groups
        strides, pads = self.window.strides, self.window.pads
        full = [(n - 1) * s + r for n, s, r in zip(spatial, strides, self.window.reach(), strict=True)]
        full = [max(f, o + before) for f, o, (before, _) in zip(full, self.output, pads, strict=True)]
        total = np.zeros((batch, w.shape[1] * groups, *full), to_float64(x).dtype)
        inside = to_float64(x).reshape(batch, groups, x.shape[1] // groups, -1)
        wide = to_float64(w).reshape(groups, w.shape[0] // groups, w.shape[1], -1)
        for i, tap in enumerate(self.window.taps()):
            part = np.matmul(wide[None, :, :, :, i].swapaxes(-1, -2), inside)
            tap_view(total, tap, strides, spatial)[...] += part.reshape(batch, -1, *spatial)
        cut = tuple(slice(before, before + o) for o, (before, _) in zip(self.output, pads, strict=True))
        y = total[(slice(None), slice(None), *cut)]
        if self.bias:
            y = y + to_float64(rest[0]).reshape(-1, *(1,) * len(spatial))
        return (np.ascontiguousarray(y.astype(inputs[0].dtype)),)

    def text(self) -> str:
        return ", ".join([self.window.text(), f"groups {self.groups}" if self.groups > 1 else ""]).rstrip(", ")
