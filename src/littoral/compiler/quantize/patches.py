"""A product's input as rows, block by block: what each row of its weights is multiplied with."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import Conv, MatMul, Window
from littoral.tensors import Array

__all__ = ["Block", "blocks", "is_depthwise", "matrix_of", "sampled", "shaped_like"]

BLOCK_ELEMENTS = 1 << 16


class Block(NamedTuple):
    """What makes the output positions `at`, row-major: rows[n, depth].

    Of a depthwise convolution rows is a list, of an array [lines, wide, channels] for each tap.
    """

    at: slice
    rows: Any


def is_depthwise(node: Node) -> bool:
    return isinstance(node.op, Conv) and node.op.groups > 1


def matrix_of(node: Node, w: Array) -> Array:
    """The weights as [outputs, depth] in the order of the rows; [channels, taps] of a depthwise convolution."""
    if isinstance(node.op, MatMul):
        return np.ascontiguousarray(w.T)
    order = (0, *range(2, w.ndim), 1)
    return np.ascontiguousarray(w.transpose(order)).reshape(w.shape[0], -1)


def shaped_like(node: Node, matrix: Array) -> Array:
    """The inverse of `matrix_of`."""
    shape = node.inputs[1].shape
    if isinstance(node.op, MatMul):
        return np.ascontiguousarray(matrix.T)
    inner = (shape[0], *shape[2:], shape[1])
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(inner), -1, 1))


def blocks(node: Node, x: Array, dtype: str, fill: float = 0) -> Iterator[Block]:
    """All rows in order, as numbers of `dtype`. fill: what x is outside."""
    if isinstance(node.op, MatMul):
        rows = x.reshape(-1, x.shape[-1])
        yield from (Block(at, rows[at].astype(dtype)) for at in _cut(rows.shape[0], rows.shape[1]))
        return
    assert isinstance(node.op, Conv)
    x, window = _as_2d(x, node.op.window)
    own = is_depthwise(node)
    if math.prod(window.kernel) == 1 and window.strides == (1, 1) and not any(map(any, window.pads)) and not own:
        rows = x.reshape(-1, x.shape[-1])
        yield from (Block(at, rows[at].astype(dtype)) for at in _cut(rows.shape[0], rows.shape[1]))
        return
    high, wide = window.output(x.shape[1:3])
    padded = np.pad(x, ((0, 0), *window.pads, (0, 0)), constant_values=fill).astype(dtype, copy=False)
    channels, taps = x.shape[-1], math.prod(window.kernel)
    for n in range(x.shape[0]):
        for lines in _cut(high, wide * channels * (1 if own else taps)):
            views = _taps(padded[n], window, lines, wide)
            at = slice((n * high + lines.start) * wide, (n * high + lines.stop) * wide)
            if own:
                yield Block(at, list(views))
                continue
            rows = np.empty((lines.stop - lines.start, wide, taps, channels), dtype)
            for i, view in enumerate(views):
                rows[:, :, i] = view
            yield Block(at, rows.reshape(-1, taps * channels))


def sampled(node: Node, x: Array, positions: Array, fill: float = 0) -> Array:
    """Rows of some output positions, of the dtype of x: [n, depth], of a depthwise convolution [n, taps, channels]."""
    if isinstance(node.op, MatMul):
        return x.reshape(-1, x.shape[-1])[positions]
    assert isinstance(node.op, Conv)
    x, window = _as_2d(x, node.op.window)
    high, wide = window.output(x.shape[1:3])
    padded = np.pad(x, ((0, 0), *window.pads, (0, 0)), constant_values=fill)
    image, place = np.divmod(positions, high * wide)
    top, left = np.divmod(place, wide)
    down, along = np.indices(window.kernel).reshape(2, 1, -1)
    rows = top[:, None] * window.strides[0] + down * window.dilations[0]
    columns = left[:, None] * window.strides[1] + along * window.dilations[1]
    found = padded[image[:, None], rows, columns]
    return found if is_depthwise(node) else found.reshape(len(positions), -1)


def _as_2d(x: Array, window: Window) -> tuple[Array, Window]:
    if len(window.kernel) == 2:
        return x, window
    wide = Window((1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads))
    return x[:, None], wide


def _cut(count: int, elements: int) -> Iterator[slice]:
    step = max(1, BLOCK_ELEMENTS // max(elements, 1))
    return (slice(i, min(i + step, count)) for i in range(0, count, step))


def _taps(padded: Array, window: Window, lines: slice, wide: int) -> Iterator[Array]:
    (sy, sx), (dy, dx) = window.strides, window.dilations
    count = lines.stop - lines.start
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            top, left = lines.start * sy + i * dy, j * dx
            yield padded[top : top + (count - 1) * sy + 1 : sy, left : left + (wide - 1) * sx + 1 : sx]
