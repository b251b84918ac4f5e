"""Sliding windows and the two layouts of a picture."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

NUMBER_MAX = 1 << 24
Pads = tuple[tuple[int, int], ...]


__all__ = ["Pads", "Window", "from_first", "join_layout", "padded_elements", "split_layout", "tap_view", "to_first"]


@dataclass(frozen=True)
class Window:
    """A window that slides over the spatial axes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    def reach(self) -> tuple[int, ...]:
        """Input elements that one output spans, by axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def output(self, spatial: tuple[int, ...], ceil: bool = False) -> tuple[int, ...]:
        """Output size by axis. Raises ShapeError where the window is larger than the padded input."""
        numbers = (*self.kernel, *self.strides, *self.dilations, *(p for pair in self.pads for p in pair))
        if any(abs(n) > NUMBER_MAX for n in numbers) or min(*self.strides, *self.dilations) < 1:
            raise ShapeError(f"a window of {self.text()}: sizes up to {NUMBER_MAX}, strides and dilations from 1")
        out = []
        for size, reach, stride, (before, after) in zip(spatial, self.reach(), self.strides, self.pads, strict=True):
            room = size + before + after - reach
            count = (-(-room // stride) if ceil else room // stride) + 1
            if count < 1 or size == 0:
                raise ShapeError(f"a window of {reach} on {size} elements with pads {(before, after)}")
            if ceil and (count - 1) * stride >= size + before:
                count -= 1  # the last window would start in the padding after the end
            out.append(count)
        return tuple(out)

    def taps(self) -> list[tuple[int, ...]]:
        """Offset of each tap from the window's start."""
        return [
            tuple(i * d for i, d in zip(at, self.dilations, strict=True))
            for at in product(*(range(k) for k in self.kernel))
        ]

    def text(self) -> str:
        shown = ["x".join(map(str, self.kernel))]
        if any(s != 1 for s in self.strides):
            shown.append(f"stride {'x'.join(map(str, self.strides))}")
        if any(d != 1 for d in self.dilations):
            shown.append(f"dilation {'x'.join(map(str, self.dilations))}")
        if any(p for pair in self.pads for p in pair):
            shown.append(f"pads {' '.join(f'{a},{b}' for a, b in self.pads)}")
        return ", ".join(shown)


def to_first(x: Array, last: bool) -> Array:
    return np.moveaxis(x, -1, 1) if last else x


def from_first(x: Array, last: bool) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x


def padded_elements(x: TensorType, window: Window) -> int:
    """Elements of the input with the window's padding, in whichever layout."""
    return x.elements * math.prod(1 + sum(pair) for pair in window.pads)


def split_layout(x: TensorType, last: bool) -> tuple[int, int, tuple[int, ...]]:
    """Batch, channels, spatial sizes."""
    return (x.shape[0], x.shape[-1], x.shape[1:-1]) if last else (x.shape[0], x.shape[1], x.shape[2:])


def join_layout(batch: int, channels: int, spatial: tuple[int, ...], last: bool) -> tuple[int, ...]:
    return (batch, *spatial, channels) if last else (batch, channels, *spatial)


def tap_view(padded: Array, tap: tuple[int, ...], strides: tuple[int, ...], out: tuple[int, ...]) -> Array:
    picks = tuple(slice(t, t + s * (n - 1) + 1, s) for t, s, n in zip(tap, strides, out, strict=True))
    return padded[(slice(None), slice(None), *picks)]
