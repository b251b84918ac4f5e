"""A map of a map is one map, where nothing is computed twice; a map before a reduction becomes part of it."""

from dataclasses import replace

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import add_map
from littoral.compiler.ir.ops import Map, Reduce

__all__ = ["fuse_maps"]

NODES_MAX = 64
INPUTS_MAX = 8


def fuse_maps(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if isinstance(node.op, Map):
            expr, inputs = inlined(rewriter, node, node.op.expr)
            shape = node.outputs[0].shape
            rewriter.put(node, [add_map(rewriter.build, expr, inputs, shape, node.label)])
        elif isinstance(node.op, Reduce) and len(node.inputs) == 1 and not node.op.shape:
            before = node.op.before or Arg(node.inputs[0].dtype, 0)
            expr, inputs = inlined(rewriter, node, before)
            op = replace(node.op, before=None if expr == Arg(inputs[0].dtype, 0) else expr)
            rewriter.put(node, [rewriter.build.add(op, *inputs, label=node.label)])
        else:
            rewriter.copy(node)
    return rewriter.finish()


def inlined(rewriter: Rewriter, node: Node, expr: Expr) -> tuple[Expr, list[Value]]:
    """The expression with single-use maps of the same shape put in place of the arguments they make."""
    inputs = list(rewriter.inputs(node))
    for i, old in enumerate(node.inputs):
        inner = inputs[i].producer
        if inner is None or not isinstance(inner.op, Map) or rewriter.uses[old] != 1:
            continue
        if inputs[i].shape != _full_shape(node) or any(isinstance(e, Load) and e.index == i for e in walk(expr)):
            continue
        if isinstance(node.op, Reduce) and (
            inner.op.shape or any(isinstance(e, Position) for e in walk(inner.op.expr))
        ):
            continue
        fused = _substituted(expr, i, inner.op.expr, len(inputs))
        if len(inputs) + len(inner.inputs) > INPUTS_MAX or sum(1 for _ in walk(fused)) > NODES_MAX:
            continue
        expr = fused
        inputs += inner.inputs
    if isinstance(node.op, Reduce):
        return _compact(expr, inputs)
    return expr, inputs


def _full_shape(node: Node) -> tuple[int, ...]:
    return node.inputs[0].shape if isinstance(node.op, Reduce) else node.outputs[0].shape


def _substituted(expr: Expr, index: int, inner: Expr, offset: int) -> Expr:
    """`expr` with `Arg(index)` replaced by `inner`, whose inputs come after the `offset` others."""

    def shift(node: Expr) -> Expr | None:
        if isinstance(node, Arg):
            return Arg(node.dtype, node.index + offset)
        if isinstance(node, Load):
            return Load(node.dtype, node.index + offset, substitute(node.at, shift))
        return None

    shifted = substitute(inner, shift)
    return substitute(expr, lambda n: shifted if isinstance(n, Arg) and n.index == index else None)


def _compact(expr: Expr, inputs: list[Value]) -> tuple[Expr, list[Value]]:
    used = sorted({n.index for n in walk(expr) if isinstance(n, Arg)})
    renamed = substitute(expr, lambda n: Arg(n.dtype, used.index(n.index)) if isinstance(n, Arg) else None)
    return renamed, [inputs[i] for i in used]
