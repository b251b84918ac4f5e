"""Quantised operators in whole numbers: linear quantisation, integer matrix products and convolutions."""

from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, Expr, apply, cast
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.narrow import NARROW_FLOATS, convert
from littoral.compiler.ir.ops import Conv, Map, MatMul, Reduce, Reshape
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.contraction import window
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError

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
def quantize_linear(node: OnnxNode) -> Value:
    """round(x / scale) + zero point, saturated."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    dtype = zero.dtype if zero is not None else ONNX_DTYPES.get(node.integer("output_dtype", 0) or 2, "uint8")
    saturate = bool(node.integer("saturate", 1))
    node.ignore("output_dtype", "precision", "axis", "block_size")
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
    limited = rounded.at_least(float(low)).at_most(float(high))
    return node.add(Map(convert(cast(limited, "int32"), dtype)), *inputs)


@operator("DequantizeLinear", keeps_halves=True)
def dequantize_linear(node: OnnxNode) -> Value:
    """(x − zero point) · scale."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    node.ignore("axis", "block_size")
    dtype = ONNX_DTYPES[node.integer("output_dtype", 0)] if node.integer("output_dtype", 0) else scale.dtype
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
    """Scale and zero point from the range of x, which is made to contain 0."""
    x = node.input(0)
    axes = tuple(range(x.type.rank))
    arg = Arg("float32", 0)
    low, high = (
        node.add(Reshape(()), node.add(Reduce(combine, axes, None, limited), x))
        for combine, limited in (("min", arg.at_most(0.0)), ("max", arg.at_least(0.0)))
    )
    scale = mapped(node, lambda a, b: (b - a) / 255.0, low, high)
    a, s = Arg("float32", 0), Arg("float32", 1)
    place = apply("round", (0.0 - a / s).at_least(0.0).at_most(255.0))
    zero = node.add(Map(cast(cast(place, "int32"), "uint8")), low, scale)
    rounded = apply("round", a / s) + cast(cast(Arg("uint8", 2), "int32"), "float32")
    limited = cast(rounded.at_least(0.0).at_most(255.0), "int32")
    return [node.add(Map(cast(limited, "uint8")), x, scale, zero), scale, zero]


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
    left = _centered(node, a, a_zero, () if a_zero is None else (*a_zero.shape, 1)[-2:])
    right = _centered(node, b, b_zero, () if b_zero is None else b_zero.shape)
    return node.add(MatMul(), left, right)


@operator("ConvInteger")
def conv_integer(node: OnnxNode) -> Value:
    x, w, x_zero, w_zero = node.input(0), node.input(1), node.optional(2), node.optional(3)
    node.ignore("kernel_shape")
    op = Conv(window(node, x.shape[2:], w.shape[2:]), node.integer("group", 1))
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
    op = Conv(window(node, x.shape[2:], w.shape[2:]), node.integer("group", 1))
    column = (w.shape[0], *(1,) * (w.type.rank - 1))
    total = node.add(op, _centered(node, x, x_zero), _centered(node, w, w_zero, column))
    if rest:
        bias = node.add(Reshape((w.shape[0], *(1,) * (x.type.rank - 2))), rest[0])
        total = mapped(node, lambda a, b: a + b, total, bias)
    rank = total.type.rank
    scales = [node.add(Reshape(()), x_scale), _parameter(node, w_scale, rank, 1), node.add(Reshape(()), y_scale)]
    return _requantized(node, total, scales, node.add(Reshape(()), y_zero))
