"""Which kernel does each node: the table of lowerings, with the fast ones first and generic loops for the rest."""

import math
from collections.abc import Callable
from typing import Any

from littoral.compiler.ir.graph import Node, Op
from littoral.compiler.ir.ops import (
    ArgReduce,
    Attention,
    Concat,
    Conv,
    Cumulate,
    Gather,
    IntegerConv,
    Map,
    MatMul,
    Normalize,
    Pad,
    Pool,
    QuantizeRows,
    Reduce,
    Require,
    Resample,
    Reshape,
    RowsMatMul,
    Scatter,
    ShortAttention,
    Slice,
    Softmax,
    Spread,
    TopK,
    Transpose,
)
from littoral.compiler.kernels import NormalizeRows, ResamplePlaces, SoftmaxRows
from littoral.compiler.kernels.elements import ELEMENTS
from littoral.compiler.plan import generic
from littoral.compiler.plan.attention import lower_attention
from littoral.compiler.plan.byte_moves import lower_byte_concat, lower_byte_transpose
from littoral.compiler.plan.choice import Choice
from littoral.compiler.plan.convolutions import lower_conv, lower_depthwise, lower_winograd
from littoral.compiler.plan.integer import (
    lower_byte_map,
    lower_byte_maximum,
    lower_byte_sums,
    lower_byte_table,
    lower_integer_conv,
    lower_integer_depthwise,
)
from littoral.compiler.plan.integer_rows import lower_quantize_rows, lower_rows_matmul
from littoral.compiler.plan.problem import problem_of
from littoral.compiler.plan.products import lower_batched, lower_dense
from littoral.compiler.plan.short_attention import lower_short_attention
from littoral.compiler.plan.steps import Lowered, Step
from littoral.compiler.plan.tuning import Tuning
from littoral.errors import UnsupportedOperatorError

__all__ = ["lower"]

LANES = 4
TAPS_MAX = 8


def lower(node: Node, tuning: Tuning) -> Lowered:
    """The steps of a node, in the forms that the table has for it.

    Raises UnsupportedOperatorError for element types that no kernel holds.
    """
    for value in (*node.inputs, *node.outputs):
        if value.dtype not in ELEMENTS:
            raise UnsupportedOperatorError(
                node.op.name,
                node.label,
                why=f"of {value.dtype}, which cannot be computed with",
                supported=tuple(ELEMENTS),
            )
    if isinstance(node.op, Reshape):
        return Lowered(node.label, "reshape", alias_of=node.inputs[0])
    if node.outputs[0].type.elements == 0:
        return Lowered(node.label, node.op.name)
    if (problem := problem_of(node)) is not None:
        choice = tuning.choice(problem)
        for chosen in CHOSEN[type(node.op)]:
            steps = chosen(node, node.op, choice)
            if steps is not None:
                return Lowered(node.label, node.op.name, steps, problem=problem)
    for lowering in LOWERINGS[type(node.op)]:
        steps = lowering(node, node.op)
        if steps is not None:
            return Lowered(node.label, node.op.name, steps)
    raise AssertionError(f"no lowering for {node.op.name}")


def lower_softmax(node: Node, _op: Softmax) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    width = x.shape[-1]
    return [Step(SoftmaxRows(x.type.elements // width, width), (x, out))]


def lower_normalize(node: Node, op: Normalize) -> list[Step]:
    x, *rest = node.inputs
    (out,) = node.outputs
    width = math.prod(x.shape[x.type.rank - op.axes :])
    forms = tuple("full" if v.shape == x.shape else "row" for v in rest)
    kernel = NormalizeRows(x.type.elements // width, width, op.mean, op.square, op.spread, op.finish, forms)
    return [Step(kernel, (x, *rest, out))]


def lower_resample(node: Node, op: Resample) -> list[Step] | None:
    """Where a place holds whole vectors; few taps, which its code goes through one by one."""
    (x, indices, weights), (out,) = node.inputs, node.outputs
    before, inside = x.shape[: op.axis], math.prod(x.shape[op.axis + 1 :])
    places, taps = indices.shape
    if (
        {x.dtype, weights.dtype} != {"float32"}
        or indices.dtype != "int32"
        or inside < LANES
        or not 1 <= taps <= TAPS_MAX
    ):
        return None
    kernel = ResamplePlaces(math.prod(before), x.shape[op.axis], places, inside, taps)
    return [Step(kernel, (x, indices, *([weights] if taps > 1 else []), out))]


Lowering = Callable[[Node, Any], list[Step] | None]
ChosenLowering = Callable[[Node, Any, Choice], list[Step] | None]

CHOSEN: dict[type[Op], tuple[ChosenLowering, ...]] = {
    MatMul: (lower_dense, lower_batched),
    Conv: (lower_depthwise, lower_winograd, lower_conv),
}
"""Kernels that have several forms; what none of them takes goes by the table of all."""

LOWERINGS: dict[type[Op], tuple[Lowering, ...]] = {
    Map: (lower_byte_table, lower_byte_map, generic.lower_map),
    Transpose: (lower_byte_transpose, generic.lower_transpose),
    Slice: (generic.lower_slice,),
    Pad: (generic.lower_pad,),
    Spread: (generic.lower_spread,),
    Concat: (lower_byte_concat, generic.lower_concat),
    Gather: (generic.lower_gather,),
    Reduce: (
        lower_byte_sums,
        generic.lower_reduce,
    ),
    Pool: (
        lower_byte_maximum,
        generic.lower_pool,
    ),
    Resample: (lower_resample, generic.lower_resample),
    ArgReduce: (generic.lower_arg_reduce,),
    Cumulate: (generic.lower_cumulate,),
    TopK: (generic.lower_top_k,),
    Scatter: (generic.lower_scatter,),
    Softmax: (lower_softmax,),
    Attention: (lower_attention,),
    ShortAttention: (lower_short_attention,),
    Normalize: (lower_normalize,),
    Require: (generic.lower_require,),
    IntegerConv: (lower_integer_depthwise, lower_integer_conv),
    QuantizeRows: (lower_quantize_rows,),
    RowsMatMul: (lower_rows_matmul,),
    MatMul: (generic.lower_matmul_generic,),
    Conv: (generic.lower_conv_generic,),
}
