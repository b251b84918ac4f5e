"""Products of rows that are to be rounded one by one become products of bytes, with the rounding a step before them."""

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, substitute
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import DequantizeWeights, MatMul, QuantizeRows, RoundRows, RowsMatMul
from littoral.compiler.ir.ops.rows import ROW_HIGHEST
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.passes.integer_products import SUM_MAX

__all__ = ["integer_rows"]


def integer_rows(graph: Graph) -> Graph:
    """What reads rounded rows otherwise reads them as they were."""
    if not any(isinstance(node.op, RoundRows) for node in graph.nodes):
        return graph
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if isinstance(node.op, RoundRows):
            rewriter.put(node, rewriter.inputs(node))
        elif isinstance(node.op, MatMul) and (made := _product(rewriter, node, node.op)) is not None:
            rewriter.put(node, [made])
        else:
            rewriter.copy(node)
    return rewriter.finish()


def _product(rewriter: Rewriter, node: Node, op: MatMul) -> Value | None:
    mark, w = node.inputs[0].producer, node.inputs[1].producer
    if mark is None or not isinstance(mark.op, RoundRows) or w is None or w.op != DequantizeWeights(1):
        return None
    weights, scale = w.inputs
    further = node.inputs[2:]
    out = node.outputs[0]
    if op.left or op.right or op.result or weights.data is None or scale.data is None or weights.type.rank != 2:
        return None
    if any(v.dtype != "float32" or (v.shape != out.shape and v.type.elements != out.shape[-1]) for v in further):
        return None
    if int(np.abs(weights.data.astype(np.int64)).sum(0).max(initial=0)) * ROW_HIGHEST > SUM_MAX // 2:
        return None
    number: Expr = Arg("float32", 0)
    epilogue = op.epilogue or number
    if op.bias:
        moved: dict[int, Expr] = {i: Arg("float32", i + 1) for i in range(1, len(further))}
        moved[0] = number + Arg("float32", 1)
        epilogue = substitute(epilogue, lambda n: moved.get(n.index) if isinstance(n, Arg) else None)
    if not isinstance(epilogue, Arg) and not has_vector_form(epilogue):
        return None
    held = rewriter.build.add_all(QuantizeRows(), rewriter.value(mark.inputs[0]), label=mark.label)
    given = (*held, weights, scale, *(rewriter.value(v) for v in further))
    return rewriter.build.add(RowsMatMul(epilogue), *given, label=node.label)
