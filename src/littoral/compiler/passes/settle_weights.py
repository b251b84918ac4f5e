"""Weights that come in bytes: in the form that products read, or plain float32 where something else reads them."""

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Dequantize, DequantizeWeights, Gather, MatMul, Reshape, Transpose
from littoral.compiler.ir.quanta import Scheme
from littoral.tensors import Array

__all__ = ["settle_weights"]


def settle_weights(graph: Graph) -> Graph:
    if not any(isinstance(node.op, DequantizeWeights) for node in graph.nodes):
        return graph
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        result = _settled(rewriter, node)
        if result is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [result])
    return rewriter.finish()


def _settled(rewriter: Rewriter, node: Node) -> Value | None:
    """The node with its weights settled; None where it has none, or is one that makes them."""
    inputs, op = rewriter.inputs(node), node.op
    if isinstance(op, DequantizeWeights) or not any(_is_weights(v) for v in inputs):
        return None
    if isinstance(op, Transpose):
        return _moved(rewriter, inputs[0], op)
    if isinstance(op, Gather) and (found := _picked(rewriter, node, op, inputs)) is not None:
        return found
    if isinstance(op, Reshape) and op.shape == inputs[0].shape:
        return inputs[0]
    axis = {Conv: 0, MatMul: 1}.get(type(op))
    operands = []
    for i, value in enumerate(inputs):
        kept: Value | None = value
        if _is_weights(value):
            is_bias = i == 2 and isinstance(op, Conv | MatMul) and op.bias
            kept = value if is_bias else _along(rewriter, value, axis) if i == 1 and axis is not None else None
        operands.append(_plain(rewriter, value) if kept is None else kept)
    return rewriter.build.add(op, *operands, label=node.label)


def _is_weights(value: Value) -> bool:
    return value.producer is not None and isinstance(value.producer.op, DequantizeWeights)


def _parts(value: Value) -> tuple[Array, Array, int]:
    """Weights, scales, and the axis that these go along."""
    assert value.producer is not None
    op = value.producer.op
    assert isinstance(op, DequantizeWeights)
    weights, scale = (v.data for v in value.producer.inputs)
    assert weights is not None
    assert scale is not None
    return weights, scale, op.axis


def _plain(rewriter: Rewriter, value: Value) -> Value:
    weights, scale, axis = _parts(value)
    (numbers,) = DequantizeWeights(axis).reference(weights, scale)
    return rewriter.build.constant(numbers)


def _added(rewriter: Rewriter, weights: Array, scale: Array, axis: int, label: str) -> Value:
    build = rewriter.build
    held = build.constant(np.ascontiguousarray(weights))
    return build.add(DequantizeWeights(axis), held, build.constant(scale), label=label)


def _moved(rewriter: Rewriter, value: Value, op: Transpose) -> Value:
    weights, scale, axis = _parts(value)
    assert value.producer is not None
    return _added(rewriter, weights.transpose(op.perm), scale, op.perm.index(axis), value.producer.label)


def _along(rewriter: Rewriter, value: Value, axis: int) -> Value | None:
    """The same weights with a scale for each element of another axis, where all are the same."""
    weights, scale, before = _parts(value)
    assert value.producer is not None
    if before == axis:
        return value
    if weights.ndim <= axis or not (scale == scale[:1]).all():
        return None
    return _added(rewriter, weights, np.full(weights.shape[axis], scale[0]), axis, value.producer.label)


def _picked(rewriter: Rewriter, node: Node, op: Gather, inputs: tuple[Value, ...]) -> Value | None:
    """Rows of a table: of its bytes, where they have one scale."""
    if not _is_weights(inputs[0]) or any(_is_weights(v) for v in inputs[1:]):
        return None
    table, scale, _ = _parts(inputs[0])
    if table.dtype != np.int8 or not scale.size or not (scale == scale[0]).all():
        return None
    build = rewriter.build
    rows = build.add(op, build.constant(table), *inputs[1:], label=node.label)
    return build.add(Dequantize(Scheme("int8", float(scale[0]), 0, -128, 127)), rows, label=node.label)
