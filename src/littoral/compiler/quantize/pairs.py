"""Weights of eight bits that are as fast as those of seven.

Four products may be added in 16 bits where the weights of one sign add up to no more than 258 (`ir.quads`). Where the
largest of an output stands for 127, few groups of four are above: the scale of such an output is a little coarser, and
what rounding puts above all the same is made less.
"""

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Dequantize, DequantizeWeights, MatMul
from littoral.compiler.ir.quads import quads_of, quads_sum_max, rows_of, rows_of_quads
from littoral.tensors import Array

__all__ = ["fit_pairs", "least_scale", "lessened"]

COST_MAX = 0.25  # of the error that rounding makes
ROUNDING = 1 / 12  # mean square of it, in quanta


def least_scale(weights: Array, axis: int, highest: int) -> Array:
    """By output, the scale at which float32 weights fit but for rounding. Depthwise ones have no groups: 0."""
    rows = rows_of(weights, axis).astype(np.float64)
    if not axis and weights.shape[1] == 1:
        return np.zeros(rows.shape[0])
    quads = quads_of(rows)
    largest = np.maximum(quads.clip(0, None).sum(2).max(1, initial=0), -quads.clip(None, 0).sum(2).min(1, initial=0))
    return np.asarray(largest / quads_sum_max(highest))


def fit_pairs(graph: Graph) -> Graph:
    """The marked graph, its products' weights such that they take the fastest way where that costs next to nothing."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fitting = _fitting(node)
        if fitting is None:
            rewriter.copy(node)
            continue
        x, w, *rest = rewriter.inputs(node)
        assert w.producer is not None
        build = rewriter.build
        held = build.add(w.producer.op, build.constant(fitting), w.producer.inputs[1], label=node.label)
        rewriter.put(node, [build.add(node.op, x, held, *rest, label=node.label)])
    return rewriter.finish()


def _fitting(node: Node) -> Array | None:
    """Other weights for the product, or None where its own are to stay."""
    op = node.op
    if not isinstance(op, Conv | MatMul):
        return None
    x, w = node.inputs[:2]
    held = w.producer
    if x.producer is None or not isinstance(x.producer.op, Dequantize) or held is None:
        return None
    if not isinstance(held.op, DequantizeWeights) or not _is_of_bytes(held.inputs[0]):
        return None
    weights, scheme = held.inputs[0].data, x.producer.op.scheme
    assert weights is not None
    if scheme.low < 0 or scheme.high > 127 or (isinstance(op, Conv) and w.shape[1] == 1):
        return None
    return lessened(weights, held.op.axis, scheme.high)


def lessened(weights: Array, axis: int, highest: int) -> Array | None:
    """int8 weights that take the fastest way with bytes up to `highest`; None where they do, or it costs too much."""
    found = _lessened(rows_of(weights, axis), quads_sum_max(highest))
    if found is None:
        return None
    outputs, inner, *window = weights.shape
    shaped = found.T if axis else np.moveaxis(found.reshape(outputs, *window, inner), -1, 1)
    return np.ascontiguousarray(shaped)


def _is_of_bytes(value: Value) -> bool:
    return value.data is not None and value.dtype == "int8"


def _lessened(rows: Array, most: int) -> Array | None:
    """Rows whose groups fit, the weights of one that is too much less by the same; None where none is, or it costs."""
    quads = quads_of(rows)
    before = quads.copy()
    for sign in (1, -1):
        while (over := (quads * sign).clip(0, None).sum(2) > most).any():
            quads[over] -= sign * (quads[over] * sign > 0)
    change = np.square((quads - before).astype(np.float64)).sum()
    if not change or change > COST_MAX * ROUNDING * rows.size:
        return None
    return rows_of_quads(quads, rows.shape[1])
