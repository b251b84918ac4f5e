"""Operations without a kernel of their own, in terms of others."""

import numpy as np

from littoral.compiler.ir.expr import Arg
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Conv,
    ConvTranspose,
    Map,
    MatMul,
    Reshape,
    Slice,
    Spread,
    Transpose,
    Window,
)

__all__ = ["decompose"]


def decompose(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        result = None
        match node.op:
            case ConvTranspose():
                result = _conv_transpose(rewriter, node, node.op)
        if result is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [result])
    return rewriter.finish()


def _conv_transpose(rewriter: Rewriter, node: Node, op: ConvTranspose) -> Value:
    """A convolution with turned weights over the input, zeros spread between its elements.

    Where windows neither overlap nor leave gaps, a matrix product with the taps laid out afterwards.
    """
    x, w, *rest = rewriter.inputs(node)
    window = op.window
    sizes = zip(x.shape[2:], window.kernel, window.pads, op.output, strict=True)
    covers = all(before + out <= size * k for size, k, (before, _), out in sizes)
    tiled = covers and window.kernel == window.strides and op.groups == 1 and set(window.dilations) == {1}
    if tiled and len(window.kernel) == 2 and w.data is not None:
        return _tiled(rewriter, node, op, [x, w, *rest])
    build, label = rewriter.build, node.label
    spread = build.add(Spread((1, 1, *window.strides)), x, label=label)
    pads = []
    for size, reach, (before, _), out in zip(spread.shape[2:], window.reach(), window.pads, op.output, strict=True):
        first = reach - 1 - before
        pads.append((first, out + reach - 1 - size - first))
    grow = tuple((max(a, 0), max(b, 0)) for a, b in pads)
    cut = tuple((max(-a, 0), max(-b, 0)) for a, b in pads)
    if any(a or b for a, b in cut):
        shape = tuple(d - a - b for d, (a, b) in zip(spread.shape[2:], cut, strict=True))
        starts = (0, 0, *(a for a, _ in cut))
        spread = build.add(Slice(starts, (1,) * len(starts), (*spread.shape[:2], *shape)), spread, label=label)
    ones = (1,) * len(window.kernel)
    conv = Conv(Window(window.kernel, ones, window.dilations, grow), op.groups, bias=op.bias)
    return build.add(conv, spread, _turned(rewriter, w, op.groups, label), *rest, label=label)


def _turned(rewriter: Rewriter, w: Value, groups: int, label: str) -> Value:
    """I, O/groups, spatial to O, I/groups, spatial with every tap on the other side."""
    build, rank = rewriter.build, w.type.rank
    kernel = w.shape[2:]
    split = build.add(Reshape((groups, w.shape[0] // groups, *w.shape[1:])), w, label=label)
    swapped = build.add(Transpose((0, 2, 1, *range(3, rank + 1))), split, label=label)
    joined = build.add(Reshape((groups * w.shape[1], w.shape[0] // groups, *kernel)), swapped, label=label)
    starts, steps = (0, 0, *(k - 1 for k in kernel)), (1, 1, *(-1 for _ in kernel))
    return build.add(Slice(starts, steps, joined.shape), joined, label=label)


def _tiled(rewriter: Rewriter, node: Node, op: ConvTranspose, inputs: list[Value]) -> Value:
    x, w, *rest = inputs
    assert w.data is not None
    build, label = rewriter.build, node.label
    batch, channels, high, wide = x.shape
    (kh, kw), made = op.window.kernel, w.shape[1]
    rows = build.add(Transpose((0, 2, 3, 1)), x, label=label)
    flat = build.add(Reshape((batch * high * wide, channels)), rows, label=label)
    columns = build.constant(np.ascontiguousarray(w.data.transpose(0, 2, 3, 1)).reshape(channels, kh * kw * made))
    bias = [build.constant(np.tile(v.data, kh * kw)) for v in rest if v.data is not None]
    if len(bias) != len(rest):
        bias = []
    product = build.add(MatMul(bias=bool(bias)), flat, columns, *bias, label=label)
    parts = build.add(Reshape((batch, high, wide, kh, kw, made)), product, label=label)
    moved = build.add(Transpose((0, 1, 3, 2, 4, 5)), parts, label=label)
    last = build.add(Reshape((batch, high * kh, wide * kw, made)), moved, label=label)
    full = build.add(Transpose((0, 3, 1, 2)), last, label=label)
    starts = (0, 0, *(before for before, _ in op.window.pads))
    shape = (batch, made, *op.output)

    cut = build.add(Slice(starts, (1, 1, 1, 1), shape), full, label=label)
    if rest and not bias:
        column = build.add(Reshape((made, 1, 1)), rest[0], label=label)
        return build.add(Map(Arg(x.dtype, 0) + Arg(x.dtype, 1)), cut, column, label=label)
    return cut
