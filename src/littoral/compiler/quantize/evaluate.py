"""The graph on numpy, faster than the interpreter: sums in float64, rounded once, as its definition has them."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from littoral.compiler.ir.evaluate import evaluate as evaluate_expression
from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import Conv, MatMul, Window
from littoral.tensors import Array

__all__ = ["evaluate"]

CHUNK_BYTES = 1 << 19


def evaluate(graph: Graph, feeds: Mapping[str, Array], see: Callable[[Value, Array], None]) -> None:
    """Runs the graph once; `see` is told of every value on its way. What nothing reads any more is dropped."""
    known = {v: np.asarray(feeds[v.name], order="C") for v in graph.inputs}
    for value, array in known.items():
        see(value, array)
    left: Counter[Value] = Counter(v for node in graph.nodes for v in node.inputs)
    for node in graph.nodes:
        arrays = [known[v] if v.data is None else v.data for v in node.inputs]
        for value, array in zip(node.outputs, _computed(node, arrays), strict=True):
            known[value] = array
            see(value, array)
        for value in node.inputs:
            left[value] -= 1
            if not left[value]:
                known.pop(value, None)


def _computed(node: Node, arrays: list[Array]) -> tuple[Array, ...]:
    op = node.op
    if isinstance(op, Conv) and op.last and len(op.window.kernel) == 2:
        x, w, *rest = arrays
        channels = x.shape[-1]
        if op.groups == 1:
            sums = _convolved(x, w, op.window)
        elif op.groups == channels == w.shape[0]:
            sums = _depthwise(x, w, op.window)
        else:
            return op.reference(*arrays)
        if op.bias:
            sums += rest.pop(0)
        return (_finished(op, sums, rest),)
    return op.reference(*arrays)


def _finished(op: Conv | MatMul, sums: Array, rest: list[Array]) -> Array:
    rounded = sums.astype(np.float32)
    return evaluate_expression(op.epilogue, (rounded, *rest), rounded.shape) if op.epilogue else rounded


def _windows(x: Array, window: Window) -> Array:
    """View [batch, y, x, channel, window y, window x] of the padded input."""
    padded = np.pad(x, ((0, 0), *window.pads, (0, 0)))
    reach = window.reach()
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    (down, along), (dy, dx) = window.strides, window.dilations
    return views[:, ::down, ::along, :, ::dy, ::dx]


def _convolved(x: Array, w: Array, window: Window) -> Array:
    views = _windows(x, window)
    batch, high, wide = views.shape[:3]
    right = w.astype(np.float64).reshape(w.shape[0], -1).T
    depth = right.shape[0]
    sums = np.empty((batch, high, wide, w.shape[0]))
    step = max(1, CHUNK_BYTES * 4 // (8 * wide * depth))
    for n in range(batch):
        for y in range(0, high, step):
            rows = views[n, y : y + step].astype(np.float64).reshape(-1, depth)
            sums[n, y : y + step] = (rows @ right).reshape(-1, wide, w.shape[0])
    return sums


def _depthwise(x: Array, w: Array, window: Window) -> Array:
    views = _windows(x, window)
    batch, high, wide, channels = views.shape[:4]
    taps = w.astype(np.float64).reshape(channels, math.prod(window.kernel)).T
    sums = np.zeros((batch, high, wide, channels))
    step = max(1, CHUNK_BYTES // (8 * wide * channels))
    product = np.empty((step, wide, channels))
    for n in range(batch):
        for y in range(0, high, step):
            part = sums[n, y : y + step]
            room = product[: part.shape[0]]
            for i in range(window.kernel[0]):
                for j in range(window.kernel[1]):
                    np.multiply(views[n, y : y + step, :, :, i, j], taps[i * window.kernel[1] + j], out=room)
                    part += room
    return sums
