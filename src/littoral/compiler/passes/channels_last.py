"""Convolutions and pooling work on N, spatial…, C: a transpose before and after each, for a later pass to cancel."""

from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Rewriter
from littoral.compiler.ir.ops import Conv, Pool, Transpose

__all__ = ["channels_last"]


def channels_last(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Conv | Pool) or op.last:
            rewriter.copy(node)
            continue
        x, *rest = rewriter.inputs(node)
        rank = x.type.rank
        there = (0, *range(2, rank), 1)
        back = (0, rank - 1, *range(1, rank - 1))
        build = rewriter.build
        moved = build.add(Transpose(there), x, label=node.label)
        result = build.add(replace(op, last=True), moved, *rest, label=node.label)
        rewriter.put(node, [build.add(Transpose(back), result, label=node.label)])
    return rewriter.finish()
