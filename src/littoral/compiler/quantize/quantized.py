"""The graph with bytes marked in it: a quantisation and its inverse behind every value that is to be held in bytes.

The passes of the integers do the rest. Activations are 0..127 with a zero point in between: products with weights of 8
bits are exact then in the fastest instruction there is (`kernels.int8_dot`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Conv,
    Dequantize,
    DequantizeWeights,
    Gather,
    Map,
    MatMul,
    Pool,
    Quantize,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.feeds import collected
from littoral.compiler.quantize.observe import Range, observe
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.pairs import least_scale
from littoral.compiler.quantize.prepared import prepared
from littoral.compiler.quantize.tables import long_parts_apart, looked_up, shapes_of
from littoral.tensors import Array

__all__ = ["Quantized", "quantize"]

HIGHEST = 127
WEIGHT_LIMITS = {8: 127, 7: 64}
BIAS_MAX = 1 << 28
_MOVES = (Reshape, Transpose, Slice, Gather, Concat, Resample)


class Quantized(NamedTuple):
    """The marked graph, what the manifest says of how it was made, and the graph that was marked.

    exact: the same layers by the same labels, all in float32, so that each can be compared.
    """

    graph: Graph
    about: dict[str, Any]
    exact: Graph


def quantize(graph: Graph, asked: Int8, tell: Callable[[str, int, int], None]) -> Quantized:
    """Raises InputError for feeds that do not fit."""
    graph = prepared(graph)
    graph = long_parts_apart(graph, _wanted(graph))
    feeds = collected(asked.feeds)
    ranges = observe(graph, feeds, tell)
    schemes = {value: scheme_for(ranges[value]) for value in _wanted(graph)}
    _share(graph, schemes)
    schemes |= looked_up(graph, schemes, ranges)
    marked = _marked(graph, schemes, WEIGHT_LIMITS[asked.bits])
    return Quantized(marked, {"bits": asked.bits, "feeds": len(feeds)}, graph)


def scheme_for(found: Range) -> Scheme:
    """0..127 over the range, with a byte that stands for 0 exactly."""
    scale = np.float32(max((found.high - found.low) / HIGHEST, 1e-20))
    return Scheme("uint8", float(scale), int(np.rint(-found.low / scale)), 0, HIGHEST)


def is_product(node: Node) -> bool:
    """Whether the node can be a product of bytes."""
    op, constants = node.op, node.inputs[1:2]
    if any(v.dtype != "float32" for v in node.inputs) or any(v.data is None for v in constants):
        return False
    if isinstance(op, Conv):
        x, w = node.inputs[:2]
        own = op.groups == x.shape[-1] == w.shape[0]
        fits = op.groups == 1 or (own and set(op.window.dilations) == {1})
        return op.last and len(op.window.kernel) in (1, 2) and fits
    return isinstance(op, MatMul) and not (op.left or op.right or op.result) and node.inputs[1].type.rank == 2


def _wanted(graph: Graph) -> set[Value]:
    """Values to be held in bytes: what products read, and what such values are made of, as far as that is plain."""
    wanted: set[Value] = set()
    products = {node.outputs[0] for node in graph.nodes if is_product(node)}
    for node in reversed(graph.nodes):
        if is_product(node):
            wanted.add(node.inputs[0])
            wanted.update(v for v in node.inputs[2 + node.op.bias :] if v.data is None and v in products)  # type: ignore[attr-defined]
        elif isinstance(node.op, (*_MOVES, Pool, Map)) and node.outputs[0] in wanted:
            sources = [v for v in node.inputs if v.data is None]
            if all(v.dtype == "float32" for v in sources) and _is_plain(node, sources, products | wanted):
                wanted.update(sources)
        elif isinstance(node.op, Reduce) and node.outputs[0] in wanted and len(node.inputs) == 1:
            wanted.update(v for v in node.inputs if v in products or _is_looked_up(v, products))
    return {v for v in wanted if v.data is None}


def _is_looked_up(value: Value, products: set[Value]) -> bool:
    """Whether it is one map of what a product makes."""
    before = value.producer
    return (
        before is not None and isinstance(before.op, Map) and len(before.inputs) == 1 and before.inputs[0] in products
    )


def _is_plain(node: Node, sources: list[Value], known: set[Value]) -> bool:
    """Whether bytes in give good bytes out: moves and pools always; a map where all it reads comes from products."""
    if isinstance(node.op, Map):
        roots = [shapes_of(v)[-1] for v in sources]
        return all(v in known or (v.producer is not None and isinstance(v.producer.op, Map)) for v in roots)
    return not isinstance(node.op, Pool) or node.op.combine == "max"


def _share(graph: Graph, schemes: dict[Value, Scheme]) -> None:
    """One scheme before and behind what only moves: the widest of all that meet there."""
    for node in reversed(graph.nodes):
        op, out = node.op, node.outputs[0]
        is_move = isinstance(op, _MOVES) or (isinstance(op, Pool) and op.combine == "max")
        if not is_move or out not in schemes:
            continue
        for value in node.inputs:
            if value in schemes:
                schemes[value] = schemes[out]


def _marked(graph: Graph, schemes: Mapping[Value, Scheme], limit: int) -> Graph:
    rewriter = Rewriter(graph)

    def mark(old: Value) -> None:
        if (scheme := schemes.get(old)) is not None:
            build, new = rewriter.build, rewriter.value(old)
            held = build.add(Quantize(scheme), new, label="quantize")
            rewriter.replace(old, build.add(Dequantize(scheme), held, label="dequantize"))

    for value in graph.inputs:
        mark(value)
    for node in graph.nodes:
        if is_product(node) and node.inputs[0] in schemes:
            rewriter.put(node, [_with_weights(rewriter, node, schemes[node.inputs[0]], limit)])
        else:
            rewriter.copy(node)
        for value in node.outputs:
            mark(value)
    return rewriter.finish()


def _with_weights(rewriter: Rewriter, node: Node, scheme: Scheme, limit: int) -> Value:
    """The product with its weights in bytes, each output channel with a scale of its own."""
    x, w, *rest = rewriter.inputs(node)
    axis = 0 if isinstance(node.op, Conv) else 1
    bias = rest[0].data if node.op.bias else None  # type: ignore[attr-defined]
    assert w.data is not None
    rows = np.moveaxis(w.data, axis, 0)
    scale = np.abs(rows).reshape(rows.shape[0], -1).max(1).astype(np.float64) / limit
    least = np.zeros(1) if bias is None else np.abs(bias.reshape(-1).astype(np.float64)) / (scheme.scale * BIAS_MAX)
    least = np.maximum(least, least_scale(w.data, axis, scheme.high))
    by_channel = np.maximum(np.maximum(scale, least), 1e-20).astype(np.float32)
    build = rewriter.build
    held = build.constant(_rounded(rows, by_channel, limit, axis))
    weights = build.add(DequantizeWeights(axis), held, build.constant(by_channel), label=node.label)
    return build.add(node.op, x, weights, *rest, label=node.label)


def _rounded(rows: Array, by_channel: Array, limit: int, axis: int) -> Array:
    whole = np.rint(rows / by_channel.reshape(-1, *(1,) * (rows.ndim - 1)))
    return np.ascontiguousarray(np.moveaxis(np.clip(whole, -limit, limit).astype(np.int8), 0, axis))
