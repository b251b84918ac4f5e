"""The operations of the IR: attributes, types, and meaning in numpy, one frozen dataclass each.

A `reference` computes floats in f64 and rounds once, except for scalar expressions, whose every step is rounded as in
the compiled module. Layout `last` is N, spatial…, C; weights are always O, I, spatial….
"""

from littoral.compiler.ir.ops.along import ArgReduce, Cumulate, Scatter, TopK
from littoral.compiler.ir.ops.attention import Attention
from littoral.compiler.ir.ops.contraction import Conv, ConvTranspose, MatMul
from littoral.compiler.ir.ops.control import Branch, Repeat, Require
from littoral.compiler.ir.ops.elementwise import Map, broadcast_shape
from littoral.compiler.ir.ops.integer import Dequantize, DequantizeWeights, IntegerConv, Quantize
from littoral.compiler.ir.ops.movement import Concat, Gather, Pad, Reshape, Slice, Spread, Transpose
from littoral.compiler.ir.ops.pooling import Pool, Resample
from littoral.compiler.ir.ops.reduction import Normalize, Reduce, Softmax
from littoral.compiler.ir.ops.rows import QuantizeRows, RoundRows, RowsMatMul
from littoral.compiler.ir.ops.short_attention import ShortAttention
from littoral.compiler.ir.ops.window import Window, join_layout, split_layout

__all__ = [
    "ArgReduce",
    "Attention",
    "Branch",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cumulate",
    "Dequantize",
    "DequantizeWeights",
    "Gather",
    "IntegerConv",
    "Map",
    "MatMul",
    "Normalize",
    "Pad",
    "Pool",
    "Quantize",
    "QuantizeRows",
    "Reduce",
    "Repeat",
    "Require",
    "Resample",
    "Reshape",
    "RoundRows",
    "RowsMatMul",
    "Scatter",
    "ShortAttention",
    "Slice",
    "Softmax",
    "Spread",
    "TopK",
    "Transpose",
    "Window",
    "broadcast_shape",
    "join_layout",
    "split_layout",
]
