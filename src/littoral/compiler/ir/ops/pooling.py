"""Pooling and resampling."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.graph import Op
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
from littoral.tensors import Array

__all__ = ["Pool", "Resample"]


@dataclass(frozen=True)
class Pool(Op):
    """Largest element (`max`) or average (`mean`) of a window; `counts_pads`: padding counts in the average."""

    name: ClassVar[str] = "pool"
    combine: str
    window: Window
    ceil: bool = False
    counts_pads: bool = False
    last: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x = inputs[0]
        if x.rank != len(self.window.kernel) + 2:
            raise ShapeError(f"a {len(self.window.kernel)}-d window needs rank {len(self.window.kernel) + 2}")
        batch, channels, spatial = split_layout(x, self.last)
        return (TensorType(x.dtype, join_layout(batch, channels, self.window.output(spatial, self.ceil), self.last)),)

    def work(self, *inputs: TensorType) -> int:
        taps = math.prod(self.window.kernel)
        return super().work(*inputs) + self.infer(*inputs)[0].elements * taps + padded_elements(inputs[0], self.window)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x = to_first(inputs[0], self.last)
        spatial, window = x.shape[2:], self.window
        out = window.output(spatial, self.ceil)
        grow = [
            (before, max(after, (o - 1) * s + r - n - before))
            for (before, after), o, s, r, n in zip(
                window.pads, out, window.strides, window.reach(), spatial, strict=True
            )
        ]
        wide = to_float64(x)
        if self.combine == "max":
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            padded = np.pad(wide, ((0, 0), (0, 0), *grow), constant_values=lowest)
            views = [tap_view(padded, tap, window.strides, out) for tap in window.taps()]
            return (from_first(np.max(views, axis=0).astype(x.dtype), self.last),)
        padded = np.pad(wide, ((0, 0), (0, 0), *grow))
        inside = np.pad(np.ones(spatial), window.pads, constant_values=1.0 if self.counts_pads else 0.0)
        inside = np.pad(inside, [(0, g - p) for (_, g), (_, p) in zip(grow, window.pads, strict=True)])[None, None]
        taps = window.taps()
        total = np.sum([tap_view(padded, tap, window.strides, out) for tap in taps], axis=0)
        count = np.sum([tap_view(inside, tap, window.strides, out) for tap in taps], axis=0)
        return (from_first((total / count).astype(x.dtype), self.last),)

    def text(self) -> str:
        return ", ".join([self.combine, self.window.text(), *(["last"] if self.last else [])])


@dataclass(frozen=True)
class Resample(Op):
    """Along one axis, each output element is a weighted sum of `taps` input elements: indices and weights are inputs.

    Inputs: x, indices int32[size, taps], weights f32[size, taps].
    """

    name: ClassVar[str] = "resample"
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, indices, _ = inputs
        return (TensorType(x.dtype, (*x.shape[: self.axis], indices.shape[0], *x.shape[self.axis + 1 :])),)

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + self.infer(*inputs)[0].elements * inputs[1].shape[1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        x, indices, weights = inputs
        picked = np.moveaxis(np.take(to_float64(x), indices, self.axis), self.axis + 1, -1)
        scaled = picked * weights.astype(np.float64).reshape(indices.shape[0], *(1,) * (x.ndim - 1 - self.axis), -1)
        return (scaled.sum(-1).astype(x.dtype),)
