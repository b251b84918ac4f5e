"""Channels of one value are brought to one magnitude: a byte's range is shared by all, and most need little of it.

What makes the value divides each channel by a number of its own, what reads it has that number in its weights.
Products carry it in their scales, at no cost; behind a normalisation it is one multiplication more (cross-layer
equalisation, arXiv 1906.04721; SmoothQuant, 2211.10438). A depthwise convolution has a scale for each channel anyway;
where channels are added up in a sum, the weights of small ones become small beside others': the numbers are those for
which both errors together are expected to be least.

Clamps stay where they are: beyond what the feeds have shown, a channel of small values is limited earlier.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Map, MatMul, Normalize
from littoral.compiler.quantize.observe import Seen
from littoral.compiler.quantize.patches import is_depthwise
from littoral.tensors import Array

__all__ = ["equalized", "units_of"]

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = 127
ROOM = 1.5  # above what the feeds have shown of a channel
SIGMAS = 6.0
SMALLEST = 1e-3
GAIN_MIN = 0.5  # of the square error: half a bit


Units = Mapping[Value, Array]


def units_of(
    graph: Graph,
    products: set[Node],
    seen: Mapping[Value, Seen],
    kept: Mapping[Value, Array | None] = MappingProxyType({}),
) -> dict[Value, Array]:
    """By what the channels of values are divided. kept: of which that is known, None = by nothing."""
    found: dict[Value, Array] = {}
    results = set(graph.results())
    for value, one in seen.items():
        readers = [node for node in graph.nodes if value in node.inputs]
        if value in results or not _can_be_divided(value, readers, products, seen):
            continue
        unit = kept[value] if value in kept else _unit(value, readers, one, seen)
        if unit is not None:
            found[value] = unit
    return found


def equalized(
    graph: Graph, products: set[Node], seen: Mapping[Value, Seen], units: Units
) -> tuple[Graph, dict[Value, Seen]]:
    """The graph, which computes the same, and what its values are."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if node.outputs[0] in units or (node in products and node.inputs[0] in units):
            rewriter.put(node, [_changed(rewriter, node, units)])
        else:
            rewriter.copy(node)
    result = rewriter.finish()
    return result, {rewriter.value(v): _divided(found, units.get(v)) for v, found in seen.items()}


def _can_be_divided(value: Value, readers: list[Node], products: set[Node], seen: Mapping[Value, Seen]) -> bool:
    """Whether what makes the value can divide it, and all that reads it multiply."""
    if not readers or value.producer is None:
        return False
    if any(n not in products or n.inputs.count(value) != 1 or n.inputs[0] is not value for n in readers):
        return False
    return _can_divide(value.producer, products, seen)


def _unit(value: Value, readers: list[Node], found: Seen, seen: Mapping[Value, Seen]) -> Array | None:
    """The number of each channel; None where they stay as they are."""
    assert value.producer is not None
    tops = _likely(value.producer, found, seen)
    strengths = _strengths(found)
    best = _expected(readers, tops, strengths, np.ones(len(tops))) * (1 - GAIN_MIN)
    unit = None
    weights = _magnitudes(readers)
    for exponent in EXPONENTS:
        raw = tops**exponent / weights ** (1 - exponent)
        candidate = np.clip(raw * (tops / raw).max() / tops.max(), tops / tops.max(), 1.0)
        error = _expected(readers, tops, strengths, candidate)
        if error < best:
            best, unit = error, candidate
    return None if unit is None else unit.astype(np.float32)


def _likely(node: Node, found: Seen, seen: Mapping[Value, Seen]) -> Array:
    """What each channel may reach on other inputs than the feeds, on many of which it was perhaps never active.

    What makes the channel says how far: some standard deviations of its sums, whose terms are taken as independent.
    """
    most = max(float(found.tops.max()), 1e-20)
    spread = np.sqrt(_strengths(found))
    if isinstance(node.op, Conv | MatMul) and node.inputs[0] in seen:
        given = _strengths(seen[node.inputs[0]])
        squares = np.square(_by_channel(node))
        given = np.maximum(given, given.mean()).reshape(-1, *[1] * (squares.ndim - 1))
        axes = tuple(range(1, squares.ndim)) if is_depthwise(node) else (0, *range(2, squares.ndim))
        spread = np.sqrt((squares * given).sum(axes))
    tops: Array = np.maximum(ROOM * found.tops.astype(np.float64), SIGMAS * spread)
    return np.clip(tops, SMALLEST * most, most)


def _strengths(found: Seen) -> Array:
    """The mean square of each channel."""
    return np.asarray(np.square(found.sample().astype(np.float64)).mean(0))


def _can_divide(node: Node, products: set[Node], seen: Mapping[Value, Seen]) -> bool:
    if node in products:
        return _is_homogeneous(node.op.epilogue)  # type: ignore[attr-defined]
    if not isinstance(node.op, Map | Normalize) or len(node.outputs) > 1:
        return False
    expr = node.op.expr if isinstance(node.op, Map) else node.op.finish
    return expr.dtype == "float32" and not any(v in seen for v in node.inputs)


def _is_homogeneous(expr: Expr | None) -> bool:
    """The sum, limited or not: from below by nothing but zero."""
    while isinstance(expr, Apply) and expr.op in ("min", "max"):
        inner, bound = sorted(expr.args, key=lambda a: isinstance(a, Const))
        if not isinstance(bound, Const) or (bound.value < 0 if expr.op == "min" else bound.value != 0):
            return False
        expr = inner
    return expr is None or expr == Arg("float32", 0)


def _by_channel(node: Node) -> Array:
    """The weights as [channels read, …]."""
    weights = node.inputs[1].data
    assert weights is not None
    if isinstance(node.op, Conv) and not is_depthwise(node):
        weights = weights.swapaxes(0, 1)
    wide: Array = weights.astype(np.float64)
    return wide


def _magnitudes(readers: list[Node]) -> Array:
    found = [np.abs(w).reshape(len(w), -1).max(1) for w in map(_by_channel, readers)]
    most = np.max(found, axis=0)
    floor: Array = np.maximum(most, SMALLEST * max(float(most.max()), 1e-20))
    return floor


def _expected(readers: list[Node], tops: Array, strengths: Array, unit: Array) -> float:
    """Square error of the readers' sums, of bytes and of weights together, both taken as noise."""
    step = (tops / unit).max() / LEVELS
    total = 0.0
    for node in readers:
        weights = _by_channel(node)
        flat = weights.reshape(len(weights), -1) if is_depthwise(node) else weights.reshape(*weights.shape[:2], -1)
        power = np.square(weights).reshape(len(weights), -1).sum(1)
        total += float((np.square(step * unit) * power).sum())
        if is_depthwise(node):
            continue
        scaled = np.abs(flat).max(2) * unit[:, None]
        steps = scaled.max(0) / LEVELS
        total += float((strengths / np.square(unit)).sum() * np.square(steps).sum() * flat.shape[2])
    return total


def _changed(rewriter: Rewriter, node: Node, units: Units) -> Value:
    inputs, op = list(rewriter.inputs(node)), node.op
    build = rewriter.build
    given, made = units.get(node.inputs[0]), units.get(node.outputs[0])
    if isinstance(op, Map | Normalize):
        assert made is not None
        count = len(inputs) + isinstance(op, Normalize)
        inverse = build.constant((1 / made.astype(np.float64)).astype(np.float32))
        if isinstance(op, Map):
            return build.add(Map(op.expr * Arg("float32", count)), *inputs, inverse, label=node.label)
        return build.add(replace(op, finish=op.finish * Arg("float32", count)), *inputs, inverse, label=node.label)
    weights = inputs[1].data
    assert weights is not None
    wide, matrix = weights.astype(np.float64), isinstance(op, MatMul)
    if given is not None:
        axis = 0 if matrix or is_depthwise(node) else 1
        wide = wide * _along(given, axis, wide.ndim)
    if made is not None:
        wide = wide / _along(made, 1 if matrix else 0, wide.ndim)
        if op.bias:  # type: ignore[attr-defined]
            bias = inputs[2].data
            assert bias is not None
            inputs[2] = build.constant((bias.astype(np.float64) / made).astype(np.float32))
    inputs[1] = build.constant(wide.astype(np.float32))
    return build.add(op, *inputs, label=node.label)


def _along(vector: Array, axis: int, rank: int) -> Array:
    return vector.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(rank)])


def _divided(seen: Seen, unit: Array | None) -> Seen:
    return seen if unit is None else Seen(seen.lows / unit, seen.highs / unit, [part / unit for part in seen.samples])
