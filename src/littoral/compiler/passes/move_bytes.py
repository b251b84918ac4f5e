"""What only moves elements, or picks the largest, works on bytes as on the numbers they stand for."""

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    Pool,
    Quantize,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme

__all__ = ["move_bytes", "scheme_of"]


def move_bytes(graph: Graph) -> Graph:
    """Numbers are made of bytes behind such operations, and bytes of such numbers are the bytes themselves."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        moved = _moved(rewriter, node)
        if moved is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [moved])
    return rewriter.finish()


def scheme_of(value: Value) -> Scheme | None:
    """The scheme of the bytes that a float32 value is made of."""
    before = value.producer
    return before.op.scheme if before is not None and isinstance(before.op, Dequantize) else None


def _moved(rewriter: Rewriter, node: Node) -> Value | None:
    inputs, op = rewriter.inputs(node), node.op
    if not inputs or (scheme := scheme_of(inputs[0])) is None:
        return None
    if isinstance(op, Quantize):
        assert inputs[0].producer is not None
        return inputs[0].producer.inputs[0] if scheme == op.scheme else None
    match op:
        case Concat():
            moving = len(inputs)
        case Reshape() | Transpose() | Slice() | Gather():
            moving = 1
        case Pool(combine="max"):
            moving = 1
        case Resample() if inputs[1].shape[1] == 1:
            moving = 1
        case _:
            return None
    if any(scheme_of(v) != scheme for v in inputs[:moving]):
        return None
    raw = [v.producer.inputs[0] for v in inputs[:moving] if v.producer is not None]
    build = rewriter.build
    return build.add(Dequantize(scheme), build.add(op, *raw, *inputs[moving:], label=node.label), label=node.label)
