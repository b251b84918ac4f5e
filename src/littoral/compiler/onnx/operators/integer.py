"""Quantised operators in whole numbers: linear quantisation, integer matrix products and convolutions."""

from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, Expr, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.narrow import NARROW_FLOATS, convert
from littoral.compiler.ir.ops import Conv, Map, MatMul, Reduce, Reshape
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.marking import (
    dynamic_bytes,
    integer_convolution,
    integer_product,
    marked_bias,
    marked_bytes,
    marked_numbers,
    scheme_for,
)
from littoral.compiler.onnx.operators.contraction import window
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError

__all__ = ["MICROSOFT", "bias_numbers", "dynamically_quantized", "to_bytes", "to_numbers", "whole_product"]

MICROSOFT = "com.microsoft"
_RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int2": (-2, 1),
    "uint2": (0, 3),
}


def _spread(node: OnnxNode, parameter: Value, x: Value) -> Value:
    """A scale or zero point in the shape that broadcasts against x: one, one an element of the axis, or by blocks."""
    if parameter.type.elements == 1 and parameter.type.rank <= 1:
        return node.add(Reshape(()), parameter)
    axis = node.axis("axis", 1, x.type.rank)
    block = node.integer("block_size", 0)
    if block:
        shape = list(parameter.shape)
        column = node.add(Reshape((*shape[: axis + 1], 1, *shape[axis + 1 :])), parameter)
        spread = node.add(Map(Arg(parameter.dtype, 0), (*shape[: axis + 1], block, *shape[axis + 1 :])), column)
        return node.add(Reshape((*shape[:axis], shape[axis] * block, *shape[axis + 1 :])), spread)
    if parameter.type.rank != 1 or parameter.shape[0] != x.shape[axis]:
        raise ShapeError(f"node `{node.label}`: scale {parameter.type} for axis {axis} of {x.type}")
    return node.add(Reshape((parameter.shape[0], *(1,) * (x.type.rank - 1 - axis))), parameter)


def _float(value: Expr) -> Expr:
    return convert(value, "float32")


@operator("QuantizeLinear", keeps_halves=True)
@operator("QuantizeLinear", keeps_halves=True, domain=MICROSOFT)
def quantize_linear(node: OnnxNode) -> Value:
    """round(x / scale) + zero point, saturated."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    dtype = zero.dtype if zero is not None else ONNX_DTYPES.get(node.integer("output_dtype", 0) or 2, "uint8")
    saturate = bool(node.integer("saturate", 1))
    node.ignore("output_dtype", "precision", "axis", "block_size")
    if (marked := marked_bytes(node, x, scale, zero, dtype)) is not None:
        return marked
    inputs = [x, _spread(node, scale, x)]
    quotient = _float(Arg(x.dtype, 0)) / _float(Arg(scale.dtype, 1))
    if dtype in NARROW_FLOATS:
        return node.add(Map(convert(quotient, dtype, saturate)), *inputs)
    if dtype not in _RANGES:
        node.unsupported(f"to {dtype}", supported=(*_RANGES, *NARROW_FLOATS))
    low, high = _RANGES[dtype]
    rounded = apply("round", quotient)
    if zero is not None:
        inputs.append(_spread(node, zero, x))
        rounded = rounded + cast(cast(Arg(dtype, 2), "int32"), "float32")
    least = number("float32", float(low))  # what a NaN becomes, too
    limited = apply("select", least < rounded, rounded, least).at_most(float(high))
    return node.add(Map(convert(cast(limited, "int32"), dtype)), *inputs)


@operator("DequantizeLinear", keeps_halves=True)
@operator("DequantizeLinear", keeps_halves=True, domain=MICROSOFT)
def dequantize_linear(node: OnnxNode) -> Value:
    """(x − zero point) · scale."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    node.ignore("axis", "block_size")
    dtype = ONNX_DTYPES[node.integer("output_dtype", 0)] if node.integer("output_dtype", 0) else scale.dtype
    if dtype == "float32" and not node.integer("block_size", 0) and x.type.rank:
        marked = marked_numbers(node, x, scale, zero, node.axis("axis", 1, max(x.type.rank, 2)) % x.type.rank)
        if marked is not None:
            return marked
    inputs = [x, _spread(node, scale, x)]
    value = _number(Arg(x.dtype, 0))
    if zero is not None:
        inputs.append(_spread(node, zero, x))
        value = value - _number(Arg(zero.dtype, 2))
    return node.add(Map(convert(cast(value, "float32") * _float(Arg(scale.dtype, 1)), dtype)), *inputs)


def _number(value: Expr) -> Expr:
    """A quantised element as int32, or as float32 where it is a narrow float."""
    return convert(value, "float32") if value.dtype in NARROW_FLOATS else cast(value, "int32")


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: OnnxNode) -> Sequence[Value]:
    return dynamically_quantized(node, node.input(0))


def dynamically_quantized(node: OnnxNode, x: Value) -> tuple[Value, Value, Value]:
    """Bytes, scale and zero point from the range of x, which is made to contain 0."""
    axes = tuple(range(x.type.rank))
    arg, one = Arg("float32", 0), number("float32", 1.0)
    low, high = (
        node.add(Reshape(()), node.add(Reduce(combine, axes, None, limited), x))
        for combine, limited in (("min", arg.at_most(0.0)), ("max", arg.at_least(0.0)))
    )
    spread = (Arg("float32", 1) - arg) / 255.0
    scale = node.add(Map(apply("select", apply("eq", spread, number("float32", 0.0)), one, spread)), low, high)
    place = apply("round", (0.0 - arg / Arg("float32", 1)).at_least(0.0).at_most(255.0))
    zero = node.add(Map(cast(cast(place, "int32"), "uint8")), low, scale)
    return dynamic_bytes(node, x, scale, zero), scale, zero


def to_numbers(node: OnnxNode, x: Value, scale: Value, zero: Value | None, axis: int = 0) -> Value:
    """float32 of bytes."""
    if (marked := marked_numbers(node, x, scale, zero, axis)) is not None:
        return marked
    parameters = [scale] if zero is None else [scale, zero]
    return node.as_operator("DequantizeLinear", x, *parameters)


def to_bytes(node: OnnxNode, x: Value, scale: Value, zero: Value | None) -> Value:
    """Bytes of float32: uint8 where there is no zero point."""
    parameters = [scale] if zero is None else [scale, zero]
    return node.as_operator("QuantizeLinear", x, *parameters)


def bias_numbers(node: OnnxNode, bias: Value, x_scale: Value, w_scale: Value) -> Value:
    """float32 of an int32 bias, which is in units of both scales."""
    if x_scale.data is not None and x_scale.data.size == 1 and w_scale.data is not None:
        both = node.constant(x_scale.data.reshape(-1) * w_scale.data.reshape(-1))
        if (marked := marked_bias(node, bias, both)) is not None:
            return marked
    value = cast(Arg("int32", 0), "float32") * (Arg("float32", 1) * Arg("float32", 2))
    return node.add(Map(value), bias, _one(node, x_scale), _one(node, w_scale))


def _one(node: OnnxNode, scale: Value) -> Value:
    return node.add(Reshape(()), scale) if scale.type.elements == 1 else scale


_Operand = tuple[Value, Value, Value]


def _operands(node: OnnxNode, x: _Operand, w: _Operand, axis: int) -> list[Value] | None:
    """Both as marked numbers; None where they cannot be marked."""
    first = marked_numbers(node, *x, 0) if x[0].data is None else None
    second = None if first is None else marked_numbers(node, *w, axis)
    return None if first is None or second is None else [first, second]


def _centered(node: OnnxNode, x: Value, zero: Value | None, column: Sequence[int] = ()) -> Value:
    """x as int32, its zero point taken off."""
    if zero is None:
        return node.add(Map(cast(Arg(x.dtype, 0), "int32")), x)
    point = node.add(Reshape(()), zero) if zero.type.elements == 1 else node.add(Reshape(tuple(column)), zero)
    return node.add(Map(cast(Arg(x.dtype, 0), "int32") - cast(Arg(zero.dtype, 1), "int32")), x, point)


@operator("MatMulInteger")
def matmul_integer(node: OnnxNode) -> Value:
    a, b = node.input(0), node.input(1)
    a_zero, b_zero = node.optional(2), node.optional(3)
    return whole_product(node, a, a_zero, b, b_zero)


def whole_product(node: OnnxNode, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value:
    """int32 (a − zero) × (b − zero)."""
    if (fast := integer_product(node, a, a_zero, b, b_zero)) is not None:
        return fast
    left = _centered(node, a, a_zero, () if a_zero is None else (*a_zero.shape, 1)[-2:])
    right = _centered(node, b, b_zero, () if b_zero is None else b_zero.shape)
    return node.add(MatMul(), left, right)


@operator("ConvInteger")
def conv_integer(node: OnnxNode) -> Value:
    x, w, x_zero, w_zero = node.input(0), node.input(1), node.optional(2), node.optional(3)
    node.ignore("kernel_shape")
    where, groups = window(node, x.shape[2:], w.shape[2:]), node.integer("group", 1)
    if (fast := integer_convolution(node, x, x_zero, w, w_zero, where, groups)) is not None:
        return fast
    op = Conv(where, groups)
    column = (w.shape[0], *(1,) * (w.type.rank - 1))
    return node.add(op, _centered(node, x, x_zero), _centered(node, w, w_zero, column))


def _requantized(node: OnnxNode, total: Value, scales: Sequence[Value], zero: Value) -> Value:
    """int32 sums to the output's quanta: total · (left scale · right scale / output scale), rounded, saturated."""
    low, high = _RANGES[zero.dtype]
    left, right, out = (_float(Arg(s.dtype, i + 1)) for i, s in enumerate(scales))
    factor = left * right / out
    rounded = apply("round", cast(Arg("int32", 0), "float32") * factor) + cast(
        cast(Arg(zero.dtype, 4), "int32"), "float32"
    )
    limited = cast(rounded.at_least(float(low)).at_most(float(high)), "int32")
    return node.add(Map(cast(limited, zero.dtype)), total, *scales, zero)


def _parameter(node: OnnxNode, value: Value, rank: int, axis: int) -> Value:
    """A scale by channel in the shape that broadcasts; one for all as a scalar."""
    if value.type.elements == 1:
        return node.add(Reshape(()), value)
    return node.add(Reshape((value.type.elements, *(1,) * (rank - 1 - axis))), value)


@operator("QLinearMatMul", keeps_halves=True)
def qlinear_matmul(node: OnnxNode) -> Value:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs()
    marks = _operands(node, (a, a_scale, a_zero), (b, b_scale, b_zero), b.type.rank - 1)
    if marks is not None and min(a.type.rank, b.type.rank) > 1 and scheme_for(y_scale, y_zero, y_zero.dtype):
        return to_bytes(node, node.add(MatMul(), *marks), y_scale, y_zero)
    total = node.add(
        MatMul(), _centered(node, a, a_zero, (*a_zero.shape, 1)[-2:]), _centered(node, b, b_zero, b_zero.shape)
    )
    rank = total.type.rank
    scales = [_parameter(node, a_scale, rank, rank - 2), _parameter(node, b_scale, rank, rank - 1)]
    return _requantized(
        node, total, [*scales, _parameter(node, y_scale, rank, rank - 1)], node.add(Reshape(()), y_zero)
    )


@operator("QLinearConv", keeps_halves=True)
def qlinear_conv(node: OnnxNode) -> Value:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs()
    node.ignore("kernel_shape")
    where, groups = window(node, x.shape[2:], w.shape[2:]), node.integer("group", 1)
    marks = _operands(node, (x, x_scale, x_zero), (w, w_scale, w_zero), 0)
    if marks is not None and w.data is not None and scheme_for(y_scale, y_zero, y_zero.dtype):
        marks += [bias_numbers(node, v, x_scale, w_scale) for v in rest]
        return to_bytes(node, node.add(Conv(where, groups, bias=bool(rest)), *marks), y_scale, y_zero)
    op = Conv(where, groups)
    column = (w.shape[0], *(1,) * (w.type.rank - 1))
    total = node.add(op, _centered(node, x, x_zero), _centered(node, w, w_zero, column))
    if rest:
        bias = node.add(Reshape((w.shape[0], *(1,) * (x.type.rank - 2))), rest[0])
        total = mapped(node, lambda a, b: a + b, total, bias)
    rank = total.type.rank
    scales = [node.add(Reshape(()), x_scale), _parameter(node, w_scale, rank, 1), node.add(Reshape(()), y_scale)]
    return _requantized(node, total, scales, node.add(Reshape(()), y_zero))
