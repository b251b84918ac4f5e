"""One form for each meaning: scalars into expressions, movements merged, those that move nothing left out."""

import math

from littoral.compiler.ir.expr import Arg
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import add_map
from littoral.compiler.ir.ops import Map, Pool, Reduce, Reshape, Slice, Transpose

__all__ = ["canonicalize"]


def canonicalize(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        simpler = _simpler(rewriter, node)
        if simpler is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [simpler])
    return rewriter.finish()


def _simpler(rewriter: Rewriter, node: Node) -> Value | None:
    inputs, build = rewriter.inputs(node), rewriter.build
    match node.op:
        case Map():
            return add_map(build, node.op.expr, inputs, node.outputs[0].shape, node.label)
        case Reshape():
            return reshaped(rewriter, inputs[0], node.op.shape, node.label)
        case Transpose():
            return transposed(rewriter, inputs[0], node.op.perm, node.label)
        case Pool():
            return _global_pool(rewriter, inputs[0], node.op, node.label)
        case Slice() if node.op.shape == inputs[0].shape and all(s == 1 for s in node.op.steps):
            return inputs[0]
        case _:
            return None


def _global_pool(rewriter: Rewriter, x: Value, op: Pool, label: str) -> Value | None:
    """A window over the whole input is a reduction."""
    spatial = tuple(range(1, x.type.rank - 1) if op.last else range(2, x.type.rank))
    sizes = tuple(x.shape[a] for a in spatial)
    window = op.window
    whole = all(k >= n for k, n in zip(window.kernel, sizes, strict=True)) and set(window.dilations) == {1}
    if not whole or any(p for pair in window.pads for p in pair) or set(window.output(sizes, op.ceil)) != {1}:
        return None
    after = Arg(x.dtype, 0) * (1 / math.prod(sizes)) if op.combine == "mean" else None
    return rewriter.build.add(Reduce("max" if op.combine == "max" else "sum", spatial, None, after), x, label=label)


def reshaped(rewriter: Rewriter, x: Value, shape: tuple[int, ...], label: str) -> Value:
    """x under another shape; a reshape of a reshape is one."""
    if x.producer is not None and isinstance(x.producer.op, Reshape):
        x = x.producer.inputs[0]
    return x if x.shape == shape else rewriter.build.add(Reshape(shape), x, label=label)


def transposed(rewriter: Rewriter, x: Value, perm: tuple[int, ...], label: str) -> Value:
    """x with its axes in another order; two orders are one, and moving axes of 1 is a reshape."""
    if x.producer is not None and isinstance(x.producer.op, Transpose):
        perm = tuple(x.producer.op.perm[p] for p in perm)
        x = x.producer.inputs[0]
    long_axes = [p for p in perm if x.shape[p] != 1]
    if long_axes == sorted(long_axes):
        return reshaped(rewriter, x, tuple(x.shape[p] for p in perm), label)
    return rewriter.build.add(Transpose(perm), x, label=label)
