"""Quantised tensors of ONNX as marks of the IR: where scale and zero point are constants, a value stays a float32.

The passes of integers make sums of bytes of what lies between two marks. What has run-time parameters is computed by
maps, which no pass takes for anything else.
"""

import numpy as np

from littoral.compiler.ir.expr import Arg, apply, cast
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import (
    Dequantize,
    DequantizeWeights,
    IntegerConv,
    Map,
    Pad,
    Quantize,
    Reshape,
    Transpose,
    Window,
)
from littoral.compiler.ir.quanta import BYTES, Scheme, Stored, stored
from littoral.compiler.onnx.importer import OnnxNode
from littoral.tensors import Array

__all__ = [
    "BYTE_LIMITS",
    "dynamic_bytes",
    "integer_convolution",
    "integer_product",
    "marked_bias",
    "marked_bytes",
    "marked_numbers",
    "scheme_for",
]

BYTE_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
SUM_MAX = 1 << 30
_POINT = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def scheme_for(scale: Value, zero: Value | None, dtype: str) -> Scheme | None:
    """One scale and zero point for all of a tensor of bytes; None where they are not that."""
    if dtype not in BYTES or scale.data is None or scale.dtype != "float32" or scale.data.size != 1:
        return None
    if zero is not None and (zero.data is None or zero.data.size != 1 or zero.dtype != dtype):
        return None
    number = float(scale.data.reshape(-1)[0])
    if not np.finfo(np.float32).tiny <= number < np.inf:
        return None
    place = 0 if zero is None or zero.data is None else int(zero.data.reshape(-1)[0])
    return Scheme(dtype, number, place, *BYTE_LIMITS[dtype])


def marked_bytes(node: OnnxNode, x: Value, scale: Value, zero: Value | None, dtype: str) -> Value | None:
    """float32 to bytes."""
    scheme = scheme_for(scale, zero, dtype) if x.dtype == "float32" else None
    return None if scheme is None else node.add(Quantize(scheme, nearest=True), x)


def marked_numbers(node: OnnxNode, x: Value, scale: Value, zero: Value | None, axis: int) -> Value | None:
    """Bytes to float32; of constants, weights with a scale for each element of `axis`."""
    if x.data is not None and x.dtype == "int32":
        return marked_bias(node, x, scale) if zero is None or (zero.data is not None and not zero.data.any()) else None
    if x.data is not None:
        return _weights(node, x, scale, zero, axis)
    scheme = scheme_for(scale, zero, x.dtype)
    return None if scheme is None else node.add(Dequantize(scheme), x)


def _weights(node: OnnxNode, w: Value, scale: Value, zero: Value | None, axis: int) -> Value | None:
    if w.type.rank < 2 or w.dtype not in BYTES or scale.data is None or scale.dtype != "float32":
        return None
    if scale.data.size not in (1, w.shape[axis]) or scale.type.rank > 1:
        return None
    centred = centred_weights(w, zero, axis)
    if centred is None:
        return None
    by_row = np.broadcast_to(scale.data.reshape(-1), (w.shape[axis],)).copy()
    return node.add(DequantizeWeights(axis), node.constant(centred), node.constant(by_row))


def marked_bias(node: OnnxNode, bias: Value, scale: Value) -> Value | None:
    """float32 of a constant int32 bias, which products of bytes take as it is."""
    if bias.data is None or bias.type.rank != 1 or scale.data is None or scale.dtype != "float32":
        return None
    if scale.data.size not in (1, bias.data.size) or not bias.data.size:
        return None
    by_element = np.broadcast_to(scale.data.reshape(-1), bias.shape).copy()
    return node.add(DequantizeWeights(0), bias, node.constant(by_element))


def centred_weights(w: Value, zero: Value | None, axis: int) -> Array | None:
    """Constant weights with their zero points taken off: int8, or int16 where that does not hold them."""
    assert w.data is not None
    wide = w.data.astype(np.int16)
    if zero is not None:
        if zero.data is None or zero.data.size not in (1, w.shape[axis]):
            return None
        wide = wide - zero.data.astype(np.int16).reshape(-1, *(1,) * (w.type.rank - 1 - axis))
    fits = not wide.size or (wide.min() >= -128 and wide.max() <= 127)
    return wide.astype(np.int8) if fits else wide


def dynamic_bytes(node: OnnxNode, x: Value, scale: Value, zero: Value) -> Value:
    """float32 to uint8 by a scale and a zero point that are known at run time."""
    whole = apply("round", Arg("float32", 0) / Arg("float32", 1)) + cast(Arg("uint8", 2), "float32")
    return node.add(Map(stored(Stored(whole, "round", 0, 0, 255, "uint8"))), x, scale, zero)


def _starts(node: OnnxNode, weights: Array, zero: Value | None) -> Value | None:
    """What sums of bytes start from: −zero point · Σ weights; None where sums could outgrow int32."""
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    if (np.abs(flat).sum(1) * 2 * 256 > SUM_MAX).any():
        return None
    sums = node.constant(flat.sum(1).astype(np.int32))
    if zero is None:
        return node.constant(np.zeros(len(flat), np.int32))
    product = -(cast(Arg(zero.dtype, 0), "int32") * Arg("int32", 1))
    return node.add(Map(product), node.add(Reshape(()), zero), sums)


def _added(node: OnnxNode, x: Value, weights: Array, start: Value, window: Window, groups: int, fill: int) -> Value:
    op = IntegerConv(window, groups, fill, *BYTE_LIMITS[x.dtype], Arg("int32", 0))
    ones = np.ones(weights.shape[0], np.float32)
    return node.add(op, x, node.constant(weights), start, node.constant(ones))


def integer_product(node: OnnxNode, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value | None:
    """int32 (a − zero) × (b − zero) where b is a constant matrix and a has one zero point."""
    if a.dtype not in BYTES or b.dtype not in BYTES or a.data is not None or b.data is None:
        return None
    if b.type.rank != 2 or a.type.rank < 2 or not a.type.elements or not b.type.elements:
        return None
    if a_zero is not None and a_zero.type.elements != 1:
        return None
    depth, width = b.shape
    centred = centred_weights(b, b_zero, 1)
    if centred is None or a.shape[-1] != depth:
        return None
    rows = np.ascontiguousarray(centred.T).reshape(width, depth, 1, 1)
    start = _starts(node, rows, a_zero)
    if start is None:
        return None
    line = node.add(Reshape((1, 1, a.type.elements // depth, depth)), a)
    return node.add(Reshape((*a.shape[:-1], width)), _added(node, line, rows, start, _POINT, 1, 0))


def integer_convolution(
    node: OnnxNode, x: Value, x_zero: Value | None, w: Value, w_zero: Value | None, window: Window, groups: int
) -> Value | None:
    """int32 convolution of x − zero point with constant weights; padding counts as 0."""
    if x.dtype not in BYTES or w.dtype not in BYTES or x.data is not None or w.data is None:
        return None
    if len(window.kernel) > 2 or not x.type.elements or (x_zero is not None and x_zero.type.elements != 1):
        return None
    centred = centred_weights(w, w_zero, 0)
    start = None if centred is None else _starts(node, centred, x_zero)
    if centred is None or start is None or (groups == x.shape[1] == w.shape[0] and set(window.dilations) != {1}):
        return None
    fill = 0
    if x_zero is not None and x_zero.data is not None:
        fill = int(x_zero.data.reshape(-1)[0])
    elif x_zero is not None and any(p for pair in window.pads for p in pair):
        x = node.add(Pad(((0, 0), (0, 0), *window.pads)), x, node.add(Reshape(()), x_zero))
        window = Window(window.kernel, window.strides, window.dilations, ((0, 0),) * len(window.kernel))
    rank = x.type.rank
    moved = node.add(Transpose((0, *range(2, rank), 1)), x)
    sums = _added(node, moved, centred, start, window, groups, fill)
    return node.add(Transpose((0, rank - 1, *range(1, rank - 1))), sums)
