"""The graph in a form whose values are good to hold in bytes."""

from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Rewriter
from littoral.compiler.ir.ops import Map, Reduce
from littoral.compiler.passes.fuse_epilogues import fuse_epilogues

__all__ = ["prepared"]


def prepared(graph: Graph) -> Graph:
    """What a reduction does first, such as a ReLU, is done by the product before it: fewer values are to be held."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        op = node.op
        alike = len({v.shape for v in node.inputs}) == 1
        if not isinstance(op, Reduce) or op.before is None or not alike or op.shape:
            rewriter.copy(node)
            continue
        build = rewriter.build
        first = build.add(Map(op.before), *rewriter.inputs(node), label=node.label)
        rewriter.put(node, [build.add(replace(op, before=None), first, label=node.label)])
    return fuse_epilogues(rewriter.finish())
