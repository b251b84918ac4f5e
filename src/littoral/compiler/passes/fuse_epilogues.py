"""Maps after a convolution or matrix product become its epilogue: computed on the sums while they are in registers."""

from dataclasses import replace

from littoral.compiler.ir.expr import Arg, Expr, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Map, MatMul
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.passes.fusion import Fusion, Note, silent

__all__ = ["fuse_epilogues"]

NODES_MAX = 96
EXTRAS_MAX = 3


def fuse_epilogues(graph: Graph, note: Note = silent) -> Graph:
    """note: is told of every map that follows a product."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fused = _fused(rewriter, node, note) if isinstance(node.op, Map) else None
        if fused is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [fused])
    return rewriter.finish()


def _fused(rewriter: Rewriter, node: Node, note: Note) -> Value | None:
    inputs = rewriter.inputs(node)
    if not any(v.producer and isinstance(v.producer.op, Conv | MatMul) for v in inputs):
        return None
    order = {id(n): i for i, n in enumerate(rewriter.build.graph.nodes)}
    latest_first = sorted(range(len(inputs)), key=lambda i: -order.get(id(inputs[i].producer), -1))
    for i in latest_first:
        before = inputs[i].producer
        if before is None or not isinstance(before.op, Conv | MatMul):
            continue
        uses = rewriter.uses[node.inputs[i]]
        joined = f"its product is read {uses} times" if uses > 1 else _joined(inputs, i, before, node)
        if isinstance(joined, str):
            note(Fusion(node.label, before.label, joined))
            continue
        note(Fusion(node.label, before.label))
        op, operands = joined
        return rewriter.build.add(op, *operands, label=node.label)
    return None


def _refusal(inputs: tuple[Value, ...], index: int, before: Node, node: Node) -> str | None:
    """Why the map cannot be computed on the sums of a product, if so."""
    assert isinstance(node.op, Map)
    value, out = inputs[index], node.outputs[0]
    if not has_vector_form(node.op.expr):
        return "it cannot be computed on four float32 at once"
    if isinstance(before.op, Conv) and not before.op.last:
        return "the convolution is not channels last"
    if value.shape != out.shape:
        return f"it gives {list(out.shape)}, the product {list(value.shape)}"
    for other in (*inputs, out):
        if other.dtype != "float32":
            return f"{other.dtype} is among its types"
        if other.shape != out.shape and not _is_row(other, out.shape):
            return f"it reads {list(other.shape)}, neither the product's shape nor one row"
    return None


def _is_row(value: Value, shape: tuple[int, ...]) -> bool:
    """Whether the value has one element for each of the last axis."""
    return value.type.elements == shape[-1] and value.shape[-1:] == shape[-1:]


def _joined(inputs: tuple[Value, ...], index: int, before: Node, node: Node) -> tuple[Conv | MatMul, list[Value]] | str:
    """The product with the map as its epilogue, and what it reads; or why not."""
    if (why := _refusal(inputs, index, before, node)) is not None:
        return why
    op = before.op
    assert isinstance(op, Conv | MatMul)
    assert isinstance(node.op, Map)
    main = before.inputs[: 2 + op.bias]
    extras = list(before.inputs[2 + op.bias :])
    places: dict[int, Expr] = {index: op.epilogue or Arg("float32", 0)}
    for i, value in enumerate(inputs):
        if i == index:
            continue
        if value not in extras:
            extras.append(value)
        places[i] = Arg("float32", 1 + extras.index(value))
    epilogue = substitute(node.op.expr, lambda n: places[n.index] if isinstance(n, Arg) else None)
    if len(extras) > EXTRAS_MAX:
        return f"it would read {len(extras)} further tensors, at most {EXTRAS_MAX}"
    if (count := sum(1 for _ in walk(epilogue))) > NODES_MAX:
        return f"its expression would have {count} parts, at most {NODES_MAX}"
    return replace(op, epilogue=epilogue), [*main, *extras]
