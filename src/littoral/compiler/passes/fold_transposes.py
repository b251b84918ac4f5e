"""Transposes around a product of two tensors become ways of reading its sides and of writing its result."""

from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import MatMul, Transpose
from littoral.compiler.passes.sink_transposes import source_of, transpose_of

__all__ = ["fold_transposes"]


def fold_transposes(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if isinstance(node.op, MatMul):
            rewriter.put(node, [_with_sides(rewriter, node, node.op)])
        elif (turned := _with_result(rewriter, node)) is not None:
            rewriter.put(node, [turned])
        else:
            rewriter.copy(node)
    return rewriter.finish()


def _with_sides(rewriter: Rewriter, node: Node, op: MatMul) -> Value:
    a, b, *rest = rewriter.inputs(node)
    if _is_batched(a, b, op) and all(v.shape == node.outputs[0].shape for v in rest):
        left, right = transpose_of(a), transpose_of(b)
        if left is not None and not op.left and left[-1] == len(left) - 1:
            a, op = source_of(a), replace(op, left=left)
        if right is not None and not op.right and len(right) - 1 in right[-2:]:
            b, op = source_of(b), replace(op, right=right)
    return rewriter.build.add(op, a, b, *rest, label=node.label)


def _with_result(rewriter: Rewriter, node: Node) -> Value | None:
    """A transpose of a product that nobody else reads."""
    if not isinstance(node.op, Transpose) or rewriter.uses[node.inputs[0]] > 1:
        return None
    before, perm = rewriter.inputs(node)[0].producer, node.op.perm
    if before is None or not isinstance(before.op, MatMul) or len(before.inputs) > 2 or perm[-1] != len(perm) - 1:
        return None
    op, (a, b) = before.op, before.inputs
    if op.result or not _is_batched(a, b, op):
        return None
    return rewriter.build.add(replace(op, result=perm), a, b, label=before.label)


def _is_batched(a: Value, b: Value, op: MatMul) -> bool:
    """Whether the product is of two float32 tensors that both come at run time."""
    sizes = (*a.shape, *b.shape)
    return a.dtype == b.dtype == "float32" and b.data is None and not op.bias and all(sizes) and _gives_float(op)


def _gives_float(op: MatMul) -> bool:
    return op.epilogue is None or op.epilogue.dtype == "float32"
