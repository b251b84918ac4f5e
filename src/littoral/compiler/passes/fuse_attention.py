"""Two products with a softmax between them become one operation: no tensor of all scores is made."""

from typing import NamedTuple

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Attention, Map, MatMul, Softmax
from littoral.compiler.passes.fusion import Fusion, Note, silent

__all__ = ["fuse_attention"]


class _Scores(NamedTuple):
    """A product, and what is made of it before the softmax. nodes: that do so."""

    product: Node
    expr: Expr | None
    further: tuple[Value, ...]
    nodes: tuple[Node, ...]


def fuse_attention(graph: Graph, note: Note = silent) -> Graph:
    """note: is told of every product that reads a softmax."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fused = _fused(rewriter, node, node.op, note) if isinstance(node.op, MatMul) else None
        if fused is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [fused])
    return rewriter.finish()


def _fused(rewriter: Rewriter, node: Node, op: MatMul, note: Note) -> Value | None:
    shares, value = node.inputs[:2]
    share, softmax = _softmax_of(shares)
    if softmax is None:
        return None
    scores = _scores_of(softmax.inputs[0])
    why = _refusal(rewriter, node, op, softmax, share, scores)
    parts = [softmax] if scores is None or why is not None else [softmax, *scores.nodes, scores.product]
    for part in parts:
        note(Fusion(node.label, part.label, why))
    if why is not None or scores is None:
        return None
    first = scores.product.op
    assert isinstance(first, MatMul)
    expr = None if share is None else share.op.expr if isinstance(share.op, Map) else None
    made = Attention(first.left, first.right, op.right, op.result, scores.expr, expr)
    inputs = (*scores.product.inputs[:2], value, *scores.further)
    return rewriter.build.add(made, *map(rewriter.value, inputs), label=node.label)


def _softmax_of(value: Value) -> tuple[Node | None, Node | None]:
    """The map after a softmax, if there is one, and the softmax."""
    node = value.producer
    if node is None:
        return None, None
    if isinstance(node.op, Map) and len(node.inputs) == 1 and not node.op.shape:
        before = node.inputs[0].producer
        return (node, before) if before is not None and isinstance(before.op, Softmax) else (None, None)
    return None, node if isinstance(node.op, Softmax) else None


def _scores_of(value: Value) -> _Scores | None:
    """A product, or a map that reads one of the map's own shape."""
    node = value.producer
    if node is None:
        return None
    if isinstance(node.op, MatMul):
        return _Scores(node, node.op.epilogue, tuple(node.inputs[2:]), ())
    if not isinstance(node.op, Map) or node.op.shape:
        return None
    for i, read in enumerate(node.inputs):
        before = read.producer
        if before is not None and isinstance(before.op, MatMul) and read.shape == value.shape:
            return _with_map(node, node.op.expr, i, before, before.op)
    return None


def _with_map(node: Node, expr: Expr, index: int, product: Node, op: MatMul) -> _Scores:
    """A product with a map after its own epilogue."""
    further = [*product.inputs[2:]]
    places: dict[int, Expr] = {index: op.epilogue or Arg("float32", 0)}
    for i, value in enumerate(node.inputs):
        if i != index:
            further += [value] if value not in further else []
            places[i] = Arg(value.dtype, 1 + further.index(value))
    joined = substitute(expr, lambda n: places[n.index] if isinstance(n, Arg) else None)
    return _Scores(product, joined, tuple(further), (node,))


def _refusal(
    rewriter: Rewriter, node: Node, op: MatMul, softmax: Node, share: Node | None, scores: _Scores | None
) -> str | None:
    """Why these are not one operation, if so."""
    if scores is None:
        return "the softmax is not of a product"
    first = scores.product.op
    assert isinstance(first, MatMul)
    assert isinstance(softmax.op, Softmax)
    inner = [softmax, scores.product, *scores.nodes, *([share] if share is not None else [])]
    if any(rewriter.uses[part.outputs[0]] > 1 for part in inner):
        return "its scores or shares are read by others too"
    if first.bias or first.result or op.bias or op.left or op.epilogue is not None:
        return "its products do more than multiply"
    if softmax.op.axis != softmax.inputs[0].type.rank - 1:
        return "its softmax is not along the last axis"
    main = [*scores.product.inputs[:2], node.inputs[1], *(part.outputs[0] for part in inner), node.outputs[0]]
    if any(value.dtype != "float32" or 0 in value.shape for value in main):
        return "it is not of float32, or empty"
    if _reads_places(scores.expr) or (share is not None and isinstance(share.op, Map) and _reads_places(share.op.expr)):
        return "its scores depend on their place"
    return None


def _reads_places(*exprs: Expr | None) -> bool:
    return any(isinstance(e, Position | Load) for expr in exprs if expr is not None for e in walk(expr))
