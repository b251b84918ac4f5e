"""Quantised operators of the domain com.microsoft: each is its float32 operator between numbers and bytes."""

from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, cast
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Reshape, Transpose
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.marking import marked_numbers
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.operators.integer import (
    MICROSOFT,
    bias_numbers,
    dynamically_quantized,
    to_bytes,
    to_numbers,
    whole_product,
)


def _number(node: OnnxNode, index: int) -> Value:
    """float32 of the tensor at `index`, which its scale and its zero point follow."""
    return to_numbers(node, node.input(index), node.input(index + 1), node.optional(index + 2))


@operator("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(node: OnnxNode) -> Value:
    result = node.as_operator(node.op.removeprefix("QLinear"), _number(node, 0), _number(node, 3))
    return to_bytes(node, result, node.input(6), node.optional(7))


@operator("QLinearSigmoid", "QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_unary(node: OnnxNode) -> Value:
    result = node.as_operator(node.op.removeprefix("QLinear"), _number(node, 0))
    return to_bytes(node, result, node.input(3), node.optional(4))


@operator("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(node: OnnxNode) -> Value:
    """The attribute `opset` says whose Softmax it is."""
    result = node.as_operator("Softmax", _number(node, 0), opset=node.integer("opset", node.opset))
    return to_bytes(node, result, node.input(3), node.optional(4))


@operator("QLinearReduceMean", domain=MICROSOFT)
def qlinear_mean(node: OnnxNode) -> Value:
    """With its axes as an attribute."""
    result = node.as_operator("ReduceMean", _number(node, 0), opset=13)
    return to_bytes(node, result, node.input(3), node.optional(4))


@operator("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_average(node: OnnxNode) -> Value:
    """channels_last: of tensors that have their channels last."""
    x = _number(node, 0)
    rank = x.type.rank
    is_last = bool(node.integer("channels_last", 0))
    if is_last:
        x = node.add(Transpose((0, rank - 1, *range(1, rank - 1))), x)
    result = node.as_operator(node.op.removeprefix("QLinear"), x)
    if is_last:
        result = node.add(Transpose((0, *range(2, rank), 1)), result)
    return to_bytes(node, result, node.input(3), node.optional(4))


@operator("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(node: OnnxNode) -> Value:
    count = len(node.proto.input)
    result = node.as_operator("Concat", *(_number(node, i) for i in range(2, count, 3)))
    return to_bytes(node, result, node.input(0), node.optional(1))


@operator("QLinearWhere", domain=MICROSOFT)
def qlinear_where(node: OnnxNode) -> Value:
    result = node.as_operator("Where", node.input(0), _number(node, 1), _number(node, 4))
    return to_bytes(node, result, node.input(7), node.optional(8))


@operator("QGemm", domain=MICROSOFT)
def qgemm(node: OnnxNode) -> Value:
    """alpha · A' · B' + C, the int32 C in units of alpha and both scales; float32 where no output scale is given."""
    a, b, c, y_scale = _number(node, 0), node.input(3), node.optional(6), node.optional(7)
    axis = 0 if node.integer("transB", 0) else 1
    scale, zero = node.input(4), node.optional(5)
    inputs = [a, marked_numbers(node, b, scale, zero, axis) or to_numbers(node, b, scale, zero, axis)]
    if c is not None:
        alpha = node.number("alpha", 1.0)
        inputs.append(mapped(node, lambda v: v * alpha, bias_numbers(node, c, node.input(1), scale)))
    result = node.as_operator("Gemm", *inputs)
    return result if y_scale is None else to_bytes(node, result, y_scale, node.optional(8))


def _scaled(node: OnnxNode, total: Value, scales: Sequence[Value], bias: Value | None) -> Value:
    """float32 of int32 sums: times both scales, plus a bias."""
    flat = [node.add(Reshape(()), v) if v.type.elements == 1 else v for v in scales]
    both = node.add(Map(Arg("float32", 0) * Arg("float32", 1)), *flat)
    value = cast(Arg("int32", 0), "float32") * Arg("float32", 1)
    if bias is None:
        return node.add(Map(value), total, both)
    return node.add(Map(value + Arg("float32", 2)), total, both, bias)


@operator("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(node: OnnxNode) -> Value:
    a, b, a_scale, b_scale = (node.input(i) for i in range(4))
    total = whole_product(node, a, node.optional(4), b, node.optional(5))
    return _scaled(node, total, (a_scale, b_scale), node.optional(6))


@operator("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(node: OnnxNode) -> Value:
    b, b_scale = node.input(1), node.input(2)
    a, a_scale, a_zero = dynamically_quantized(node, node.input(0))
    return _scaled(node, whole_product(node, a, a_zero, b, node.optional(3)), (a_scale, b_scale), node.optional(4))
