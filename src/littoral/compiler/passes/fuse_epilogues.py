"""Maps after a convolution or matrix product become its epilogue: computed on the sums while they are in registers."""

from dataclasses import replace

from littoral.compiler.ir.expr import Arg, Expr, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Map, MatMul
from littoral.compiler.ir.vector_form import has_vector_form

__all__ = ["fuse_epilogues"]

NODES_MAX = 96
EXTRAS_MAX = 3


def fuse_epilogues(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fused = _fused(rewriter, node) if isinstance(node.op, Map) else None
        if fused is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [fused])
    return rewriter.finish()


def _fused(rewriter: Rewriter, node: Node) -> Value | None:
    assert isinstance(node.op, Map)
    if not has_vector_form(node.op.expr):
        return None
    inputs = rewriter.inputs(node)
    order = {id(n): i for i, n in enumerate(rewriter.build.graph.nodes)}
    latest_first = sorted(range(len(inputs)), key=lambda i: -order.get(id(inputs[i].producer), -1))
    for i in latest_first:
        if rewriter.uses[node.inputs[i]] == 1 and _accepts(inputs[i], inputs, i, node):
            return _joined(rewriter, node.op.expr, inputs, i, node)
    return None


def _accepts(value: Value, inputs: tuple[Value, ...], index: int, node: Node) -> bool:
    before = value.producer
    if before is None or not isinstance(before.op, Conv | MatMul):
        return False
    if isinstance(before.op, Conv) and not before.op.last:
        return False
    shape = node.outputs[0].shape
    if value.shape != shape or value.dtype != "float32" or node.outputs[0].dtype != "float32":
        return False
    others = [v for i, v in enumerate(inputs) if i != index]
    return all(v.dtype == "float32" and (v.shape == shape or _is_row(v, shape)) for v in others)


def _is_row(value: Value, shape: tuple[int, ...]) -> bool:
    """Whether the value has one element for each of the last axis."""
    return value.type.elements == shape[-1] and value.shape[-1:] == shape[-1:]


def _joined(rewriter: Rewriter, expr: Expr, inputs: tuple[Value, ...], index: int, node: Node) -> Value | None:
    before = inputs[index].producer
    assert before is not None
    op = before.op
    assert isinstance(op, Conv | MatMul)
    main = before.inputs[: 2 + op.bias]
    extras = list(before.inputs[2 + op.bias :])
    places: dict[int, Expr] = {index: op.epilogue or Arg("float32", 0)}
    for i, value in enumerate(inputs):
        if i == index:
            continue
        if value not in extras:
            extras.append(value)
        places[i] = Arg("float32", 1 + extras.index(value))
    epilogue = substitute(expr, lambda n: places[n.index] if isinstance(n, Arg) else None)
    if len(extras) > EXTRAS_MAX or sum(1 for _ in walk(epilogue)) > NODES_MAX:
        return None
    return rewriter.build.add(replace(op, epilogue=epilogue), *main, *extras, label=node.label)
