"""Softmax along another axis than the last, or of other numbers than float32, in terms of maps and reductions."""

from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Map, Reduce, Softmax

__all__ = ["decompose_softmax"]


def decompose_softmax(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if isinstance(node.op, Softmax) and not _has_kernel(node, node.op):
            rewriter.put(node, [_decomposed(rewriter, node, node.op)])
        else:
            rewriter.copy(node)
    return rewriter.finish()


def _has_kernel(node: Node, op: Softmax) -> bool:
    (x,) = node.inputs
    return x.dtype == "float32" and op.axis == x.type.rank - 1


def _decomposed(rewriter: Rewriter, node: Node, op: Softmax) -> Value:
    """The largest element is taken off first, so every exponent is at most 0."""
    (x,), build, label = rewriter.inputs(node), rewriter.build, node.label
    a, b = Arg(x.dtype, 0), Arg(x.dtype, 1)
    largest = build.add(Reduce("max", (op.axis,)), x, label=label)
    powers = build.add(Map(apply("exp_negative", a - b)), x, largest, label=label)
    total = build.add(Reduce("sum", (op.axis,)), powers, label=label)
    return build.add(Map(a / b), powers, total, label=label)
