"""Products of bytes whose rows have their own scales: how they become steps."""

import math

import numpy as np

from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import QuantizeRows, RowsMatMul
from littoral.compiler.ir.ops.rows import ROW_HIGHEST
from littoral.compiler.kernels import IntegerGemm, RowBytes, Rows, form_of
from littoral.compiler.plan.integer import extras_of, finish_of, tiles_of
from littoral.compiler.plan.integer_weights import pack_byte_panels, pack_lanes
from littoral.compiler.plan.steps import Step, Weights

__all__ = ["lower_quantize_rows", "lower_rows_matmul"]


def lower_quantize_rows(node: Node, _op: QuantizeRows) -> list[Step]:
    (x,), width = node.inputs, node.inputs[0].shape[-1]
    return [Step(RowBytes(x.type.elements // width, width), (x, *node.outputs))]


def lower_rows_matmul(node: Node, op: RowsMatMul) -> list[Step]:
    x, row_scale, row_zero, w, scale, *rest = node.inputs
    (out,) = node.outputs
    assert w.data is not None
    assert scale.data is not None
    depth, width = w.shape
    count = x.type.elements // depth
    finish = finish_of(op.epilogue, [math.inf] * (1 + len(rest)))
    assert finish is not None, "the passes make none that has no vector form"
    forms, extras = extras_of(rest, out)
    form = form_of(0, ROW_HIGHEST, int(np.abs(w.data.astype(np.int16)).max(initial=0)))
    tile_rows, vectors = tiles_of(width, count, form)
    kernel = IntegerGemm(
        Rows(1, count, 0, depth, ((0, depth),)),
        width,
        form,
        finish,
        forms,
        tile_rows=tile_rows,
        vectors=vectors,
        by_row=True,
    )
    constants = (
        Weights(pack_byte_panels(w.data, vectors, form)),
        Weights(pack_lanes(-w.data.astype(np.int32).sum(0, dtype=np.int32))),
        Weights(pack_lanes(scale.data)),
    )
    return [Step(kernel, (x, *constants, row_scale, row_zero, *extras, out), count * depth * width)]
