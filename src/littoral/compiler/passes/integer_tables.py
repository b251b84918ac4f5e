"""Tables of bytes go into the products before them: the sums' bytes are looked up before they are stored."""

from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import IntegerConv, Reshape
from littoral.compiler.ir.tables import table_of

__all__ = ["integer_tables"]


def integer_tables(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        found = _joined(rewriter, node)
        if found is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [found])
    return rewriter.finish()


def _joined(rewriter: Rewriter, node: Node) -> Value | None:
    """The product with the table at its end, where nothing else reads what goes through it."""
    if (table := table_of(node)) is None or {v.dtype for v in (*node.inputs, *node.outputs)} != {"uint8"}:
        return None
    old, before = node.inputs[0], node.inputs[0].producer
    if before is not None and isinstance(before.op, Reshape) and rewriter.uses[old] == 1:
        old, before = before.inputs[0], before.inputs[0].producer
    if before is None or not isinstance(before.op, IntegerConv) or before.op.table or rewriter.uses[old] != 1:
        return None
    build = rewriter.build
    product = build.add(replace(before.op, table=table), *rewriter.inputs(before), label=node.label)
    shape = node.outputs[0].shape
    return product if product.shape == shape else build.add(Reshape(shape), product, label=node.label)
