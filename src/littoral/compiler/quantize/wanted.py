"""Which values of a graph are to be held in bytes, and which of them with one scale."""

from collections.abc import Set

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import (
    Concat,
    Conv,
    Gather,
    Map,
    MatMul,
    Pool,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.tables import shapes_of

__all__ = ["is_product", "share_schemes", "wanted_values"]

REACH_MAX = 16  # of a depthwise window with its dilations, which is spread out
_MOVES = (Reshape, Transpose, Slice, Gather, Concat, Resample)


def is_product(node: Node) -> bool:
    """Whether the node can be a product of bytes."""
    op, constants = node.op, node.inputs[1:2]
    if any(v.dtype != "float32" for v in node.inputs) or any(v.data is None for v in constants):
        return False
    if isinstance(op, Conv):
        x, w = node.inputs[:2]
        own = op.groups == x.shape[-1] == w.shape[0]
        fits = op.groups == 1 or (own and max(op.window.reach()) <= REACH_MAX)
        return op.last and len(op.window.kernel) in (1, 2) and fits
    return isinstance(op, MatMul) and not (op.left or op.right or op.result) and node.inputs[1].type.rank == 2


def wanted_values(graph: Graph, chosen: Set[Node] | None = None, steep: Set[Value] = frozenset()) -> set[Value]:
    """Values to be held in bytes: what products read, and what such values are made of, as far as that is plain.

    steep: those that a map is not to read as bytes.
    """
    wanted: set[Value] = set()
    whole = {node for node in graph.nodes if is_product(node)} if chosen is None else chosen
    products = {node.outputs[0] for node in whole}
    for node in reversed(graph.nodes):
        if node in whole:
            wanted.add(node.inputs[0])
            wanted.update(v for v in node.inputs[2 + node.op.bias :] if v.data is None and v in products)  # type: ignore[attr-defined]
        elif isinstance(node.op, (*_MOVES, Pool, Map)) and node.outputs[0] in wanted:
            sources = [v for v in node.inputs if v.data is None]
            is_good = all(v.dtype == "float32" for v in sources) and steep.isdisjoint(sources)
            if is_good and _is_plain(node, sources, products | wanted):
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


def share_schemes(graph: Graph, schemes: dict[Value, Scheme]) -> None:
    """One scheme before and behind what only moves: the widest of all that meet there."""
    for node in reversed(graph.nodes):
        op, out = node.op, node.outputs[0]
        is_move = isinstance(op, _MOVES) or (isinstance(op, Pool) and op.combine == "max")
        if not is_move or out not in schemes:
            continue
        for value in node.inputs:
            if value in schemes:
                schemes[value] = schemes[out]
