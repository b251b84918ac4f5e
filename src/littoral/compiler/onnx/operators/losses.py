"""Losses: what they say of a prediction is a map and a sum."""

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Reduce, Reshape
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.elementwise import mapped

INDEX = "int32"


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: OnnxNode) -> Value:
    return _likelihood(node, node.input(0), node.input(1), node.optional(2))


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(node: OnnxNode) -> list[Value]:
    """The loss, and the logarithms of the probabilities."""
    x = node.input(0)
    a, b = Arg(x.dtype, 0), Arg(x.dtype, 1)
    largest = node.add(Reduce("max", (1,)), x)
    shifted = node.add(Map(a - b), x, largest)
    total = node.add(Reduce("sum", (1,), apply("exp", a), apply("log", a)), shifted)
    logarithms = mapped(node, lambda s, t: s - t, shifted, total)
    return [_likelihood(node, logarithms, node.input(1), node.optional(2)), logarithms]


def _likelihood(node: OnnxNode, x: Value, target: Value, weights: Value | None) -> Value:
    """−weight · x[target] for every element; a target that is to be ignored weighs nothing."""
    reduction = node.choice("reduction", "mean", ("none", "sum", "mean"))
    ignored = node.integer("ignore_index", 0) if node.has("ignore_index") else None
    shape, strides = target.shape, contiguous(x.shape)
    wanted = Arg(target.dtype, 1)
    keeps = number("bool", 1) if ignored is None else apply("ne", wanted, number(target.dtype, ignored))
    place = cast(wanted, INDEX).at_least(0).at_most(x.shape[1] - 1)
    at: Expr = Position(INDEX, 0) * strides[0] + place * strides[1]
    for axis in range(1, len(shape)):
        at = at + Position(INDEX, axis) * strides[axis + 1]
    weight: Expr = number(x.dtype, 1.0) if weights is None else Load(x.dtype, 2, place)
    weight = apply("select", keeps, weight, number(x.dtype, 0.0))
    inputs = [x, target, *([weights] if weights is not None else [])]
    value = 0.0 - Load(x.dtype, 0, at) * weight
    if reduction == "none":
        return node.add(Map(value, shape), *inputs)
    axes = tuple(range(len(shape)))
    total = node.add(Reduce("sum", axes, value, None, shape), *inputs)
    if reduction == "mean":
        weighed = node.add(Reduce("sum", axes, weight, None, shape), *inputs)
        total = mapped(node, lambda t, w: t / w, total, weighed)
    return node.add(Reshape(()), total)
