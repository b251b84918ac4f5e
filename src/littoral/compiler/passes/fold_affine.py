"""Scale and shift by channel, such as batch normalisation, disappear into the weights before them."""

from dataclasses import replace

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr
from littoral.compiler.ir.graph import Builder, Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, ConvTranspose, Map, MatMul
from littoral.tensors import Array

__all__ = ["fold_affine"]

_Contraction = Conv | ConvTranspose | MatMul


def fold_affine(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        folded = _folded(rewriter, node)
        if folded is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [folded])
    return rewriter.finish()


def _folded(rewriter: Rewriter, node: Node) -> Value | None:
    if not isinstance(node.op, Map):
        return None
    inputs = rewriter.inputs(node)
    for i, value in enumerate(inputs):
        before = value.producer
        if before is None or not isinstance(before.op, _Contraction) or rewriter.uses[node.inputs[i]] != 1:
            continue
        if value.shape != node.outputs[0].shape or any(v.data is None for v in before.inputs[1:]):
            continue
        if getattr(before.op, "epilogue", None) is not None or value.dtype != "float32":
            continue
        channels = value.shape[_channel_axis(before.op, value)]
        factors = _affine(node.op.expr, i, inputs, before.op, channels)
        if factors is not None:
            return _rebuilt(rewriter, before, *factors, label=before.label)
    return None


def _channel_axis(op: _Contraction, value: Value) -> int:
    last = isinstance(op, MatMul) or (isinstance(op, Conv) and op.last)
    return value.type.rank - 1 if last else 1


def _affine(
    expr: Expr, index: int, inputs: tuple[Value, ...], op: _Contraction, channels: int
) -> tuple[Array, Array] | None:
    """Scale and shift f32[channels] with expr = scale · Arg(index) + shift, or None."""
    one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)

    def visit(node: Expr) -> tuple[Array | None, Array] | None:
        """(scale or None for a constant, shift)"""
        if isinstance(node, Const):
            return None, np.full(channels, node.value, np.float32)
        if isinstance(node, Arg):
            if node.index == index:
                return one, zero
            column = _by_channel(inputs[node.index], op, channels)
            return None if column is None else (None, column)
        if not isinstance(node, Apply) or node.op not in ("add", "sub", "mul", "div", "neg"):
            return None
        parts = [visit(a) for a in node.args]
        return None if any(p is None for p in parts) else combine(node.op, [p for p in parts if p is not None])

    def combine(name: str, parts: list[tuple[Array | None, Array]]) -> tuple[Array | None, Array] | None:
        scale, shift = parts[0]
        if name == "neg":
            return (None if scale is None else -scale), -shift
        scale2, shift2 = parts[1]
        if name in ("add", "sub"):
            sign = np.float32(1 if name == "add" else -1)
            both = None if scale is None and scale2 is None else _sum(scale, scale2, sign)
            return both, shift + sign * shift2
        if scale2 is None:
            by = shift2 if name == "mul" else np.float32(1) / shift2
            return (None if scale is None else scale * by), shift * by
        return (scale2 * shift, shift2 * shift) if scale is None and name == "mul" else None

    with np.errstate(all="ignore"):
        found = visit(expr)
    if found is None or found[0] is None or not (np.isfinite(found[0]).all() and np.isfinite(found[1]).all()):
        return None
    return found[0], found[1]


def _sum(a: Array | None, b: Array | None, sign: np.float32) -> Array:
    first = np.float32(0) if a is None else a
    second = np.float32(0) if b is None else b
    return np.asarray(first + sign * second)


def _by_channel(value: Value, op: _Contraction, channels: int) -> Array | None:
    """A constant's elements by channel, or None where it differs off the channel axis."""
    if value.data is None:
        return None
    if value.data.size == 1:
        return np.full(channels, value.data.reshape(-1)[0], np.float32)
    if value.data.size != channels:
        return None
    if isinstance(op, MatMul) or (isinstance(op, Conv) and op.last):
        fits = value.shape[-1:] == (channels,)
    else:
        spatial = len(op.window.kernel)
        fits = value.shape[-1 - spatial :] == (channels, *(1,) * spatial)
    return value.data.reshape(-1) if fits else None


def _rebuilt(rewriter: Rewriter, before: Node, scale: Array, shift: Array, label: str) -> Value:
    op, build = before.op, rewriter.build
    assert isinstance(op, _Contraction)
    w = before.inputs[1].data
    assert w is not None
    with np.errstate(all="ignore"):
        return _scaled(build, before, w, scale, shift, label)


def _scaled(build: Builder, before: Node, w: Array, scale: Array, shift: Array, label: str) -> Value:
    op, x = before.op, before.inputs[0]
    assert isinstance(op, _Contraction)
    if isinstance(op, Conv):
        scaled = w * scale.reshape(-1, *(1,) * (w.ndim - 1))
    elif isinstance(op, MatMul):
        scaled = w * scale
    else:
        by_group = scale.reshape(op.groups, 1, w.shape[1])
        scaled = (w.reshape(op.groups, w.shape[0] // op.groups, w.shape[1], -1) * by_group[..., None]).reshape(w.shape)
    bias = before.inputs[2].data * scale + shift if op.bias and before.inputs[2].data is not None else shift
    return build.add(
        replace(op, bias=True),
        x,
        build.constant(scaled.astype(np.float32)),
        build.constant(np.asarray(bias, np.float32)),
        label=label,
    )
