"""A map of a map is one map, where nothing is computed twice; a map before a reduction becomes part of it."""

from dataclasses import replace

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import add_map
from littoral.compiler.ir.ops import Map, Reduce
from littoral.compiler.passes.fusion import Fusion, Note, silent

__all__ = ["fuse_maps"]

NODES_MAX = 64
INPUTS_MAX = 8


def fuse_maps(graph: Graph, note: Note = silent) -> Graph:
    """note: is told of every map that another one, or a reduction, reads."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if isinstance(node.op, Map):
            expr, inputs = inlined(rewriter, node, node.op.expr, note)
            shape = node.outputs[0].shape
            rewriter.put(node, [add_map(rewriter.build, expr, inputs, shape, node.label)])
        elif isinstance(node.op, Reduce) and len(node.inputs) == 1 and not node.op.shape:
            before = node.op.before or Arg(node.inputs[0].dtype, 0)
            expr, inputs = inlined(rewriter, node, before, note)
            op = replace(node.op, before=None if expr == Arg(inputs[0].dtype, 0) else expr)
            rewriter.put(node, [rewriter.build.add(op, *inputs, label=node.label)])
        else:
            rewriter.copy(node)
    return rewriter.finish()


def inlined(rewriter: Rewriter, node: Node, expr: Expr, note: Note) -> tuple[Expr, list[Value]]:
    """The expression with single-use maps of the same shape put in place of the arguments they make."""
    inputs = list(rewriter.inputs(node))
    for i, old in enumerate(node.inputs):
        inner = inputs[i].producer
        if inner is None or not isinstance(inner.op, Map):
            continue
        fused = _substituted(expr, i, inner.op.expr, len(inputs))
        why = _refusal(rewriter.uses[old], node, expr, i, inner) or _too_large(fused, len(inputs) + len(inner.inputs))
        note(Fusion(node.label, inner.label, why))
        if why is None:
            expr = fused
            inputs += inner.inputs
    if isinstance(node.op, Reduce):
        return _compact(expr, inputs)
    return expr, inputs


def _refusal(uses: int, node: Node, expr: Expr, index: int, inner: Node) -> str | None:
    """Why an input cannot be computed where it is read, if so."""
    assert isinstance(inner.op, Map)
    if uses != 1:
        return f"what it gives is read {uses} times"
    shape, wanted = inner.outputs[0].shape, _full_shape(node)
    if shape != wanted:
        return f"it gives {list(shape)}, read for each of {list(wanted)}"
    if any(isinstance(e, Load) and e.index == index for e in walk(expr)):
        return "what it gives is read at places that data decide"
    if isinstance(node.op, Reduce) and (inner.op.shape or any(isinstance(e, Position) for e in walk(inner.op.expr))):
        return "it depends on the place, which a reduction does not tell"
    return None


def _too_large(fused: Expr, inputs: int) -> str | None:
    if inputs > INPUTS_MAX:
        return f"together they would read {inputs} tensors, at most {INPUTS_MAX}"
    if (count := sum(1 for _ in walk(fused))) > NODES_MAX:
        return f"their expression would have {count} parts, at most {NODES_MAX}"
    return None


def _full_shape(node: Node) -> tuple[int, ...]:
    return node.inputs[0].shape if isinstance(node.op, Reduce) else node.outputs[0].shape


def _substituted(expr: Expr, index: int, inner: Expr, offset: int) -> Expr:
    """`expr` with `Arg(index)` replaced by `inner`, whose inputs come after the `offset` others."""

    def shift(node: Expr) -> Expr | None:
        if isinstance(node, Arg):
            return Arg(node.dtype, node.index + offset)
        if isinstance(node, Load):
            return Load(node.dtype, node.index + offset, substitute(node.at, shift))
        return None

    shifted = substitute(inner, shift)
    return substitute(expr, lambda n: shifted if isinstance(n, Arg) and n.index == index else None)


def _compact(expr: Expr, inputs: list[Value]) -> tuple[Expr, list[Value]]:
    used = sorted({n.index for n in walk(expr) if isinstance(n, Arg)})
    renamed = substitute(expr, lambda n: Arg(n.dtype, used.index(n.index)) if isinstance(n, Arg) else None)
    return renamed, [inputs[i] for i in used]
