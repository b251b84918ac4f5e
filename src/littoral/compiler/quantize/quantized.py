"""The graph with bytes marked in it: a quantisation and its inverse behind every value that is to be held in bytes.

The passes of the integers do the rest. Activations are 0..127 with a zero point in between: products with weights of 8
bits are exact then in the fastest instruction there is (`kernels.int8_dot`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from littoral.compiler.quantize.corrections import Whole, moments_of, whole_weights
from littoral.compiler.quantize.observe import fitted, observe
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.patches import is_depthwise, matrix_of
from littoral.compiler.quantize.prepared import prepared
from littoral.compiler.quantize.ranges import chosen
from littoral.compiler.quantize.twin import run_twin
from littoral.tensors import Array

__all__ = ["Quantized", "quantize"]

_MOVES = (Reshape, Transpose, Slice, Gather, Concat, Resample)


class Quantized(NamedTuple):
    """The marked graph, and what the manifest says of how it was made."""

    graph: Graph
    about: dict[str, Any]


def quantize(graph: Graph, asked: Int8, tell: Callable[[str, int, int], None]) -> Quantized:
    """Raises InputError for feeds that do not fit."""
    graph = prepared(graph)
    feeds = fitted(graph, list(asked.feeds))
    wanted = _wanted(graph)
    seen = observe(graph, feeds, wanted, tell)
    schemes = {}
    for value in wanted:
        _, schemes[value] = chosen(seen[value], asked.ranges, None)
    _share(graph, schemes)
    weights: dict[Node, Whole] = {}

    def fit(node: Node, scheme: Scheme, want: Sequence[Array], got: Sequence[Array]) -> Whole | None:
        if not is_product(node):
            return None
        w = node.inputs[1].data
        bias = node.inputs[2].data.reshape(-1) if node.op.bias else np.zeros(matrix_of(node, w).shape[0], np.float32)
        m = moments_of(node, scheme, want, got)
        bits = 8 if is_depthwise(node) else asked.bits
        weights[node] = whole_weights(node, w, bias, scheme, m, bits)
        return weights[node]

    run_twin(graph, feeds, schemes, fit, lambda i, n: tell("fit", i, n))
    return Quantized(_marked(graph, schemes, weights), {"bits": asked.bits, "feeds": len(feeds)})


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
            wanted.update(v for v in node.inputs if v in products)
    return {v for v in wanted if v.data is None}


def _is_plain(node: Node, sources: list[Value], known: set[Value]) -> bool:
    """Whether bytes in give good bytes out: moves and pools always; a map where all it reads comes from products."""
    if isinstance(node.op, Map):
        return all(v in known or (v.producer is not None and isinstance(v.producer.op, Map)) for v in sources)
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


def _marked(graph: Graph, schemes: Mapping[Value, Scheme], weights: Mapping[Node, Whole]) -> Graph:
    rewriter = Rewriter(graph)

    def mark(old: Value) -> None:
        if (scheme := schemes.get(old)) is not None:
            build, new = rewriter.build, rewriter.value(old)
            held = build.add(Quantize(scheme), new, label="quantize")
            rewriter.replace(old, build.add(Dequantize(scheme), held, label="dequantize"))

    for value in graph.inputs:
        mark(value)
    for node in graph.nodes:
        if node in weights:
            rewriter.put(node, [_with_weights(rewriter, node, weights[node])])
        else:
            rewriter.copy(node)
        for value in node.outputs:
            mark(value)
    return rewriter.finish()


def _with_weights(rewriter: Rewriter, node: Node, whole: Whole) -> Value:
    """The product with its weights in bytes, each output channel with a scale of its own."""
    x, _, *rest = rewriter.inputs(node)
    extras = rest[node.op.bias :]  # type: ignore[attr-defined]
    axis = 0 if isinstance(node.op, Conv) else 1
    build = rewriter.build
    held = build.add(
        DequantizeWeights(axis), build.constant(whole.weights), build.constant(whole.scale), label=node.label
    )
    op = replace(node.op, bias=True)  # type: ignore[type-var, call-arg]
    return build.add(op, x, held, build.constant(whole.bias), *extras, label=node.label)
