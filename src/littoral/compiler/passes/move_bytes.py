"""What only moves elements, or picks the largest, works on bytes as on the numbers they stand for."""

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    Pad,
    Pool,
    Quantize,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme
from littoral.tensors import DTYPES, Array

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
    if isinstance(op, Quantize) and (joined := _joined(rewriter, node, op)) is not None:
        return joined
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
        case Pad(mode="constant"):
            if (byte := _byte_of(inputs[1], scheme)) is None:
                return None
            inputs, moving = (inputs[0], rewriter.build.constant(byte)), 1
        case Pad():
            moving = 1
        case _:
            return None
    if any(scheme_of(v) != scheme for v in inputs[:moving]):
        return None
    raw = [v.producer.inputs[0] for v in inputs[:moving] if v.producer is not None]
    build = rewriter.build
    return build.add(Dequantize(scheme), build.add(op, *raw, *inputs[moving:], label=node.label), label=node.label)


def _byte_of(value: Value, scheme: Scheme) -> Array | None:
    """The byte that stands for a constant number exactly."""
    if value.data is None or value.data.size != 1:
        return None
    byte = np.rint(float(value.data.reshape(-1)[0]) / scheme.scale) + scheme.zero
    held = np.asarray(np.clip(byte, scheme.low, scheme.high), DTYPES[scheme.dtype].storage)
    (back,) = Dequantize(scheme).reference(held)
    return held if back == value.data.reshape(()) else None


def _joined(rewriter: Rewriter, node: Node, op: Quantize) -> Value | None:
    """Bytes of one scheme that are made of numbers from bytes of several, end to end: each part is changed alone."""
    before = rewriter.inputs(node)[0].producer
    if before is None or not isinstance(before.op, Concat) or rewriter.uses[node.inputs[0]] != 1:
        return None
    build, parts = rewriter.build, []
    for value in before.inputs:
        scheme = scheme_of(value)
        if scheme is None or value.producer is None:
            return None
        parts.append(value.producer.inputs[0] if scheme == op.scheme else build.add(op, value, label=node.label))
    return build.add(before.op, *parts, label=before.label)
