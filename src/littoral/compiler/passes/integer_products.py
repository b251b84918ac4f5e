"""Products of numbers that come from bytes become products of the bytes; what makes bytes of a sum follows in them."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, number, substitute, walk
from littoral.compiler.ir.graph import Builder, Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, DequantizeWeights, IntegerConv, Map, MatMul, Quantize, Reshape, Window
from littoral.compiler.ir.quanta import Scheme, Stored, as_floats, dequantized, limits_of, stored
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.passes.byte_ranges import byte_range
from littoral.compiler.passes.move_bytes import scheme_of
from littoral.compiler.passes.scaled_sums import scaled_sums
from littoral.tensors import Array

__all__ = ["in_quanta", "integer_products"]

SUM_MAX = 1 << 30
WHOLE_MAX = (1 << 31) - 1
FLOAT32 = np.finfo(np.float32)
FAR = 1e3
REACH_MAX = 64  # of a window with its dilations
_POINT = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def integer_products(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        result = None
        match node.op:
            case Conv():
                result = _conv(rewriter, node, node.op)
            case MatMul():
                result = _matmul(rewriter, node, node.op)
            case Quantize():
                result = _requantized(rewriter, node, node.op)
            case Map():
                result = scaled_sums(rewriter, node, node.op)
        if result is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [result])
    return rewriter.finish()


class _Product(NamedTuple):
    """Bytes and what they are multiplied with: weights O, I/groups, spatial; bias and scale by output.

    rest: float32, by output, of biases too large for whole sums; it is added afterwards.
    """

    x: Value
    scheme: Scheme
    weights: Array
    bias: Array
    scale: Array
    rest: Array | None = None


def _bytes_of(value: Value) -> Value:
    assert value.producer is not None
    return value.producer.inputs[0]


def _product(inputs: tuple[Value, ...], has_bias: bool, axis: int) -> _Product | None:
    """The operands where both come from bytes. axis: of the weights, along which their scales go."""
    scheme, w = scheme_of(inputs[0]), inputs[1].producer
    if scheme is None or w is None or w.op != DequantizeWeights(axis):
        return None
    low, high = byte_range(_bytes_of(inputs[0]))
    scheme = replace(scheme, low=max(scheme.low, low), high=min(scheme.high, high))
    weights, by_channel = (v.data for v in w.inputs)
    if weights is None or by_channel is None:
        return None
    rows, by_channel = _without_idle(np.moveaxis(weights, axis, 0), by_channel)
    scale = by_channel.astype(np.float64) * scheme.scale
    if not _is_normal(scale):
        return None
    flat = rows.reshape(rows.shape[0], -1).astype(np.int64)
    bias = _whole_bias(inputs[2], scale) if has_bias else np.zeros((), np.float64)
    if bias is None:
        return None
    start = bias - scheme.zero * flat.sum(1)
    reach = np.abs(flat).sum(1) * max(abs(scheme.low), abs(scheme.high))
    is_whole = has_bias and inputs[2].data is None  # to which nothing is added later
    large = np.abs(start) + reach > (WHOLE_MAX if is_whole else SUM_MAX)
    if (reach > SUM_MAX).any() or not np.isfinite(start).all():
        return None
    whole = np.where(large, 0, start).astype(np.int32)
    rest = np.where(large, start * scale, 0).astype(np.float32) if large.any() else None
    return _Product(_bytes_of(inputs[0]), scheme, rows, whole, scale.astype(np.float32), rest)


def _without_idle(rows: Array, by_channel: Array) -> tuple[Array, Array]:
    """Channels that add nothing to their bias take a scale of others: their own may be 0, or next to it."""
    idle = (by_channel == 0) | ~rows.reshape(rows.shape[0], -1).any(1)
    if not idle.any() or idle.all():
        return rows, by_channel
    rows = np.where(idle.reshape(-1, *(1,) * (rows.ndim - 1)), 0, rows).astype(rows.dtype)
    return rows, np.where(idle, np.abs(by_channel[~idle]).min(), by_channel)


def _is_normal(scale: Array) -> bool:
    """Whether float32 holds all of it: finite numbers, none of them 0 or denormal."""
    return bool(((np.abs(scale) >= FLOAT32.tiny) & (np.abs(scale) <= FLOAT32.max)).all())


def _whole_bias(bias: Value, scale: Array) -> Array | None:
    """A bias in units of the sums: an int32 one of their scale as it is, to the last bit."""
    before = bias.producer
    if before is not None and isinstance(before.op, DequantizeWeights):
        whole, own = (v.data for v in before.inputs)
        if whole is None or own is None:
            return None
        alike = np.isclose(own, scale, rtol=1e-5, atol=0)
        return np.asarray(np.where(alike, whole, np.rint(whole * own.astype(np.float64) / scale)))
    return None if bias.data is None else np.asarray(np.rint(bias.data.reshape(-1) / scale))


def _with_bytes(epilogue: Expr | None, extras: tuple[Value, ...]) -> tuple[Expr, list[Value]]:
    """An epilogue that reads bytes where its inputs are made of some."""
    places: dict[int, Expr] = {}
    found = []
    for i, value in enumerate(extras, 1):
        scheme = scheme_of(value)
        found.append(value if scheme is None else _bytes_of(value))
        places[i] = Arg("float32", i) if scheme is None else dequantized(Arg(scheme.dtype, i), scheme)
    given = epilogue or Arg("float32", 0)
    return substitute(given, lambda n: places.get(n.index) if isinstance(n, Arg) else None), found


def _conv(rewriter: Rewriter, node: Node, op: Conv) -> Value | None:
    inputs = rewriter.inputs(node)
    extras = inputs[2 + op.bias :]
    if not op.last or len(op.window.kernel) not in (1, 2) or max(op.window.reach()) > REACH_MAX:
        return None
    found = _product(inputs, op.bias, axis=0)
    if found is None:
        return None
    epilogue, further = _with_bytes(op.epilogue, extras)
    if op.groups == inputs[0].shape[-1] == len(found.weights) and set(op.window.dilations) != {1}:
        window, weights = _spread_out(op.window, found.weights)
        found, op = found._replace(weights=weights), replace(op, window=window)
    return _add(rewriter.build, found, op.window, op.groups, epilogue, further, node.label)


def _spread_out(window: Window, weights: Array) -> tuple[Window, Array]:
    """A dilated window as a larger one, with zeros among its weights."""
    wide = np.zeros((*weights.shape[:2], *window.reach()), weights.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in window.dilations))] = weights
    return Window(window.reach(), window.strides, (1,) * len(window.kernel), window.pads), wide


def _matmul(rewriter: Rewriter, node: Node, op: MatMul) -> Value | None:
    """As a convolution of one line of points."""
    inputs = rewriter.inputs(node)
    x, w = inputs[:2]
    extras = inputs[2 + op.bias :]
    if op.left or op.right or op.result or w.type.rank != 2 or not x.type.elements or x.type.rank < 2:
        return None
    if any(v.shape != node.outputs[0].shape and v.type.elements != w.shape[1] for v in extras):
        return None
    found = _product(inputs, op.bias, axis=1)
    if found is None:
        return None
    build, depth, width = rewriter.build, w.shape[0], w.shape[1]
    count = x.type.elements // depth
    epilogue, further = _with_bytes(op.epilogue, extras)
    flat = [
        build.add(Reshape((1, 1, count, width) if v.type.elements == count * width else (width,)), v, label=node.label)
        for v in further
    ]
    line = build.add(Reshape((1, 1, count, depth)), found.x, label=node.label)
    point = found._replace(x=line, weights=found.weights.reshape(width, depth, 1, 1))
    product = _add(build, point, _POINT, 1, epilogue, flat, node.label)
    return product and build.add(Reshape(node.outputs[0].shape), product, label=node.label)


def _add(
    build: Builder, found: _Product, window: Window, groups: int, epilogue: Expr, extras: list[Value], label: str
) -> Value | None:
    if not isinstance(epilogue, Arg) and not has_vector_form(as_floats(epilogue)):
        return None
    if found.rest is not None:
        extras = [*extras, build.constant(found.rest)]
        total = Arg("float32", 0) + Arg("float32", len(extras))
        epilogue = substitute(epilogue, lambda n: total if n == Arg("float32", 0) else None)
    scheme = found.scheme
    op = IntegerConv(window, groups, scheme.zero, scheme.low, scheme.high, epilogue)
    constants = [build.constant(c) for c in (found.weights, found.bias, found.scale)]
    return build.add(op, found.x, *constants, *extras, label=label)


def _requantized(rewriter: Rewriter, node: Node, op: Quantize) -> Value | None:
    """The product before a quantisation, with bytes for its sums."""
    (x,) = rewriter.inputs(node)
    before, shape = x.producer, x.shape
    if before is None or rewriter.uses[node.inputs[0]] != 1:
        return None
    if isinstance(before.op, Reshape):
        before = before.inputs[0].producer
    if before is None or not isinstance(before.op, IntegerConv) or before.op.epilogue.dtype != "float32":
        return None
    found = _folded(before, before.op, op)
    build = rewriter.build
    bytes_, weights, _, _, *extras = before.inputs
    constants = [build.constant(found.bias), build.constant(found.scale)]
    product_op = replace(before.op, epilogue=found.epilogue)
    product = build.add(product_op, bytes_, weights, *constants, *extras, label=before.label)
    return product if product.shape == shape else build.add(Reshape(shape), product, label=before.label)


class _Folded(NamedTuple):
    epilogue: Expr
    bias: Array
    scale: Array


def in_quanta(value: Expr, op: Quantize) -> Expr:
    """A float32 in units of the scale: divided by it as ONNX does, or multiplied by its inverse."""
    return value / op.scheme.scale if op.nearest else value * (1 / op.scheme.scale)


def _folded(product: Node, op: IntegerConv, target: Quantize) -> _Folded:
    """The epilogue with bytes at its end; where it is linear, scale and zero point go into the product's own."""
    bias, scale = product.inputs[2].data, product.inputs[3].data
    assert bias is not None
    assert scale is not None
    scheme = target.scheme
    expr, low, high = limits_of(op.epilogue, scheme)
    added = _added(expr)
    ratio = scale.astype(np.float64) / scheme.scale
    if added is None or not _is_normal(ratio) or any(_is_far(term, scheme.scale) for term in added):
        value = in_quanta(expr, target)
        return _Folded(stored(Stored(value, "round", scheme.zero, low, high, scheme.dtype)), bias, scale)
    finer = ratio.astype(np.float32)
    value, offset = Arg("float32", 0), 0.0
    for term in added:
        scaled, shift = _scaled(term, scheme.scale)
        value, offset = value + scaled, offset + shift
    shifted = bias + np.rint((offset + scheme.zero + 0.5) / finer.astype(np.float64))
    if target.nearest or low < 0 or (np.abs(shifted) > SUM_MAX).any():
        rest = number("float32", offset)
        value = value + rest if offset else value
        return _Folded(stored(Stored(value, "round", scheme.zero, low, high, scheme.dtype)), bias, finer)
    return _Folded(stored(Stored(value, "trunc", 0, low, high, scheme.dtype)), shifted.astype(np.int32), finer)


def _is_far(term: Expr, scale: float) -> bool:
    """Whether a term is so many quanta that its zero point, added on its own, would leave nothing of the sum."""
    match term:
        case Apply(op="mul", args=(_, Const() as factor)):
            return bool(abs(factor.value) > FAR * scale)
    return False


def _added(expr: Expr) -> list[Expr] | None:
    """What an expression adds to the sum; None where it does something else with it."""
    if expr == Arg("float32", 0):
        return []
    if isinstance(expr, Apply) and expr.op == "add":
        for own, other in (expr.args, expr.args[::-1]):
            terms = _added(own)
            if terms is not None and not any(e == Arg("float32", 0) for e in walk(other)):
                return [*terms, other]
    return None


def _scaled(term: Expr, scale: float) -> tuple[Expr, float]:
    """term / scale as an expression and a number to be added; of a byte's number, its zero point is the number."""
    match term:
        case Apply(op="mul", args=(Apply(op="sub", args=(byte, Const() as zero)), Const() as factor)):
            finer = number("float32", factor.value / scale)
            return byte * finer, -zero.value * finer.value
        case Apply(op="mul", args=(Apply(op="cast") as byte, Const() as factor)):
            return byte * number("float32", factor.value / scale), 0.0
    return term * (1 / scale), 0.0
