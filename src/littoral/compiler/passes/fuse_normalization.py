"""A mean, a spread and the map that uses them become one operation on rows, as layer normalisation is.

So does a sum along the last axes by itself, where one map reads it beside what was summed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from littoral.compiler.ir.expr import Arg, Expr, substitute
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Map, Normalize, Reduce
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.passes.fusion import Fusion, Note, silent

__all__ = ["fuse_normalization"]

EXTRAS_MAX = 4
_DIFFERENCE = Arg("float32", 0) - Arg("float32", 1)


class _Sum(NamedTuple):
    """after(Σ before(source)) along the last `axes` axes. nodes: that compute it, the last first."""

    source: Value
    axes: int
    before: Expr
    after: Expr
    nodes: tuple[Node, ...]


def fuse_normalization(graph: Graph, note: Note = silent) -> Graph:
    """note: is told of every normalisation, and of what nearly is one."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fused = _fused(rewriter, node, node.op, note) if isinstance(node.op, Map) else None
        if fused is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [fused])
    return rewriter.finish()


def _fused(rewriter: Rewriter, node: Node, op: Map, note: Note) -> Value | None:
    for value in node.inputs:
        spread = _sum_of(value)
        if spread is None or spread.source not in node.inputs or spread.source.shape != node.outputs[0].shape:
            continue
        mean = _mean_of(spread)
        x = spread.source if mean is None else mean.source
        others = [v for v in node.inputs if v not in (value, spread.source)]
        why = _refusal(rewriter, spread, mean, value, others) or _wide(op.expr)
        parts = [*spread.nodes, *([] if mean is None else [spread.source.producer, *mean.nodes])]
        for part in parts if why is None else spread.nodes[:1]:
            assert part is not None
            note(Fusion(node.label, part.label, why))
        if why is not None:
            continue
        order = [spread.source, value, *others]
        finish = _renamed(op.expr, [order.index(v) for v in node.inputs])
        after = None if mean is None else mean.after
        made = Normalize(spread.axes, after, spread.before, spread.after, finish)
        return rewriter.build.add(made, rewriter.value(x), *map(rewriter.value, others), label=node.label)
    return None


def _renamed(expr: Expr, numbers: Sequence[int]) -> Expr:
    return substitute(expr, lambda n: Arg(n.dtype, numbers[n.index]) if isinstance(n, Arg) else None)


def _sum_of(value: Value) -> _Sum | None:
    """The sum along the last axes that a value is, through a map of one input after it."""
    node = value.producer
    if node is not None and isinstance(node.op, Map) and len(node.inputs) == 1 and not node.op.shape:
        inner = _sum_of(node.inputs[0])
        if inner is None:
            return None
        after = substitute(node.op.expr, lambda n: inner.after if isinstance(n, Arg) else None)
        return inner._replace(after=after, nodes=(node, *inner.nodes))
    if node is None or not isinstance(node.op, Reduce) or node.op.combine != "sum" or len(node.inputs) != 1:
        return None
    x, axes = node.inputs[0], node.op.axes
    if x.dtype != "float32" or node.op.shape or not axes or axes != tuple(range(x.type.rank - len(axes), x.type.rank)):
        return None
    itself = Arg("float32", 0)
    return _Sum(x, len(axes), node.op.before or itself, node.op.after or itself, (node,))


def _mean_of(spread: _Sum) -> _Sum | None:
    """What was taken off each row before its spread, where the spread's source is such a difference."""
    node = spread.source.producer
    if node is None or not isinstance(node.op, Map) or node.op.expr != _DIFFERENCE or node.op.shape:
        return None
    x, taken = node.inputs
    found = _sum_of(taken)
    if found is None or found.source is not x or found.axes != spread.axes or found.before != Arg("float32", 0):
        return None
    return found


def _refusal(rewriter: Rewriter, spread: _Sum, mean: _Sum | None, value: Value, others: Sequence[Value]) -> str | None:
    """Why these are not one operation, if so."""
    uses, shape = rewriter.uses, spread.source.shape
    inner = [value, *(node.outputs[0] for node in spread.nodes[1:])]
    inner += [node.outputs[0] for node in mean.nodes] if mean is not None else []
    if any(uses[v] > 1 for v in inner) or (mean is not None and uses[spread.source] > 2):
        return "its mean or spread is read by others too"
    if len(others) > EXTRAS_MAX:
        return f"it would read {len(others)} further tensors, at most {EXTRAS_MAX}"
    for other in others:
        if other.dtype != "float32" or (other.shape != shape and not is_row(other, shape, spread.axes)):
            return f"it reads {other.type}, neither the rows' shape nor one row"
    exprs = [spread.before, spread.after, *([mean.after] if mean is not None else [])]
    return next((why for why in map(_wide, exprs) if why is not None), None)


def _wide(expr: Expr) -> str | None:
    return None if has_vector_form(expr) else "it cannot be computed on four float32 at once"


def is_row(value: Value, shape: tuple[int, ...], axes: int) -> bool:
    """Whether the value has one element for each place along the last axes, and no others."""
    row = shape[len(shape) - axes :]
    padded = (1,) * (axes - value.type.rank) + value.shape
    return padded[len(padded) - axes :] == row and set(padded[: len(padded) - axes]) <= {1}
