"""Normalisations, as maps and reductions."""

from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, Expr, apply
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Pad, Reduce, Reshape, Slice, Softmax
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.elementwise import mapped, reshaped
from littoral.errors import ShapeError


def mean_of(node: OnnxNode, x: Value, axes: Sequence[int], of: Expr | None = None) -> Value:
    """Mean of x, or of an expression of x, along axes that stay as 1."""
    count = 1
    for a in axes:
        count *= x.shape[a]
    return node.add(Reduce("sum", tuple(axes), of, Arg(x.dtype, 0) * (1.0 / max(count, 1))), x)


def normalized(
    node: OnnxNode, x: Value, axes: Sequence[int], epsilon: float, center: bool = True
) -> tuple[Value, Value | None, Value]:
    """(x − mean) / √(variance + ε) along axes; the mean; 1 / √(variance + ε). Without `center` the mean is 0."""
    arg = Arg(x.dtype, 0)
    mean = mean_of(node, x, axes) if center else None
    centered = x if mean is None else mapped(node, lambda a, m: a - m, x, mean)
    variance = mean_of(node, centered, axes, arg * arg)
    inverse = mapped(node, lambda v: 1.0 / apply("sqrt", v + epsilon), variance)
    return mapped(node, lambda a, i: a * i, centered, inverse), mean, inverse


@operator("LayerNormalization")
def layer_normalization(node: OnnxNode) -> list[Value]:
    x, scale, bias = node.input(0), node.input(1), node.optional(2)
    node.ignore("stash_type")
    first = node.axis("axis", -1, x.type.rank)
    found, mean, inverse = normalized(node, x, range(first, x.type.rank), node.number("epsilon", 1e-5))
    found = mapped(node, lambda a, s: a * s, found, scale)
    if bias is not None:
        found = mapped(node, lambda a, b: a + b, found, bias)
    assert mean is not None
    return [found, mean, inverse]


@operator("RMSNormalization")
def rms_normalization(node: OnnxNode) -> Value:
    x, scale = node.input(0), node.input(1)
    node.ignore("stash_type")
    first = node.axis("axis", -1, x.type.rank)
    found, _, _ = normalized(node, x, range(first, x.type.rank), node.number("epsilon", 1e-5), center=False)
    return mapped(node, lambda a, s: a * s, found, scale)


@operator("InstanceNormalization")
def instance_normalization(node: OnnxNode) -> Value:
    x = node.input(0)
    found, _, _ = normalized(node, x, range(2, x.type.rank), node.number("epsilon", 1e-5))
    return scaled_by_channel(node, found, node.input(1), node.input(2))


def scaled_by_channel(node: OnnxNode, x: Value, scale: Value, bias: Value) -> Value:
    column = (-1, *(1,) * (x.type.rank - 2))
    parts = [reshaped(node, v, column) for v in (scale, bias)]
    return mapped(node, lambda a, s, b: a * s + b, x, *parts)


@operator("GroupNormalization")
def group_normalization(node: OnnxNode) -> Value:
    """Scale and bias by group before opset 21, by channel since."""
    x, scale, bias = node.inputs()
    node.ignore("stash_type")
    groups, epsilon = node.integer("num_groups", 1), node.number("epsilon", 1e-5)
    batch, channels, *spatial = x.shape
    if groups < 1 or channels % groups:
        raise ShapeError(f"node `{node.label}`: {channels} channels in {groups} groups")
    grouped = node.add(Reshape((batch, groups, channels // groups, *spatial)), x)
    found, _, _ = normalized(node, grouped, range(2, grouped.type.rank), epsilon)
    if scale.type.elements == groups and node.opset < 21:
        return node.add(Reshape(x.shape), scaled_by_channel(node, found, scale, bias))
    return scaled_by_channel(node, node.add(Reshape(x.shape), found), scale, bias)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: OnnxNode) -> Value:
    """The deviation gets 1e-9, as in the operator's own function."""
    x = node.input(0)
    axes = [node.normal_axis(a, x.type.rank) for a in node.integers("axes", (0, 2, 3))]
    mean = mean_of(node, x, axes)
    square = mean_of(node, x, axes, Arg(x.dtype, 0) * Arg(x.dtype, 0))
    deviation = mapped(node, lambda s, m: apply("sqrt", s - m * m) + 1e-9, square, mean)
    return mapped(node, lambda a, m, d: (a - m) / d, x, mean, deviation)


@operator("LpNormalization")
def lp_normalization(node: OnnxNode) -> Value:
    """A vector of zeros stays."""
    x = node.input(0)
    axis, p = node.axis("axis", -1, x.type.rank), node.integer("p", 2)
    if p not in (1, 2):
        node.unsupported(f"is {p}", attribute="p", supported=("1", "2"))
    arg = Arg(x.dtype, 0)
    before = apply("abs", arg) if p == 1 else arg * arg
    size = node.add(Reduce("sum", (axis,), before, apply("sqrt", arg) if p == 2 else None), x)
    return mapped(node, lambda a, s: apply("select", apply("eq", s, s * 0.0), s, a / s), x, size)


@operator("LRN")
def local_response_normalization(node: OnnxNode) -> Value:
    """Each element over a power of the squares around it along the channels."""
    x = node.input(0)
    alpha, beta, bias = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    size = node.integer("size", 1)
    if not 1 <= size <= 2 * x.shape[1] + 1:
        node.unsupported(f"is {size} for {x.shape[1]} channels", attribute="size")
    before, channels = (size - 1) // 2, x.shape[1]
    squares = mapped(node, lambda a: a * a, x)
    total: Value | None = None
    for offset in range(-before, size - before):
        shifted = _shifted(node, squares, 1, offset, channels)
        if shifted is not None:
            total = shifted if total is None else mapped(node, lambda a, b: a + b, total, shifted)
    assert total is not None
    return mapped(node, lambda a, t: a / apply("pow", t * (alpha / size) + bias, t * 0.0 + beta), x, total)


def _shifted(node: OnnxNode, x: Value, axis: int, offset: int, size: int) -> Value | None:
    """Element i is x's element i + offset along the axis; zeros beyond the ends. None where nothing is left."""
    if abs(offset) >= size:
        return None
    starts, shape = [0] * x.type.rank, list(x.shape)
    starts[axis], shape[axis] = max(offset, 0), size - abs(offset)
    cut = node.add(Slice(tuple(starts), (1,) * x.type.rank, tuple(shape)), x)
    pads = [(0, 0)] * x.type.rank
    pads[axis] = (max(-offset, 0), max(offset, 0))
    return node.add(Pad(tuple(pads)), cut, node.constant(0, x.dtype)) if offset else cut


@operator("LogSoftmax")
def log_softmax(node: OnnxNode) -> Value:
    """x − max − ln Σ e^(x − max)."""
    x = node.input(0)
    axis = node.axis("axis", -1 if node.opset >= 13 else 1, x.type.rank)
    flat = x
    if node.opset < 13 and axis != x.type.rank - 1:
        outer = 1
        for d in x.shape[:axis]:
            outer *= d
        flat, axis = node.add(Reshape((outer, x.type.elements // max(outer, 1))), x), 1
    largest = node.add(Reduce("max", (axis,)), flat)
    shifted = mapped(node, lambda a, b: a - b, flat, largest)
    arg = Arg(x.dtype, 0)
    total = node.add(Reduce("sum", (axis,), apply("exp_negative", arg), apply("log", arg)), shifted)
    found = mapped(node, lambda a, t: a - t, shifted, total)
    return found if flat is x else node.add(Reshape(x.shape), found)


@operator("Softmax")
def softmax(node: OnnxNode) -> Value:
    """Along one axis; before opset 13 along all axes from `axis` on, taken together."""
    x = node.input(0)
    if not x.dtype.startswith("float"):
        node.unsupported(f"of {x.dtype}")
    axis = node.axis("axis", -1 if node.opset >= 13 else 1, x.type.rank)
    if node.opset >= 13 or axis == x.type.rank - 1:
        return node.add(Softmax(axis), x)
    rest = 1
    for d in x.shape[axis:]:
        rest *= d
    flat = node.add(Reshape((*x.shape[:axis], rest)), x)
    return node.add(Reshape(x.shape), node.add(Softmax(axis), flat))
