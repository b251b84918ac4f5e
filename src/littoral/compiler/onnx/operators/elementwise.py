"""Operators that compute each element from the elements at its place."""

from collections.abc import Callable, Sequence
from functools import reduce

from littoral.compiler.ir.expr import Arg, Expr, apply, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.narrow import bitcast, convert
from littoral.compiler.ir.ops import Map, Reduce, Reshape
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError
from littoral.tensors import DTYPES

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)

Formula = Callable[..., Expr]


def mapped(node: OnnxNode, formula: Formula, *inputs: Value) -> Value:
    """A map of `formula` over the inputs; halves are computed in float32 and rounded once."""
    dtypes = {v.dtype for v in inputs or [node.input(0)]}
    if len(dtypes) > 1:
        node.unsupported(f"of different data types: {', '.join(sorted(dtypes))}")
    half = next(iter(dtypes)) in HALVES
    args = [convert(Arg(v.dtype, i), "float32") if half else Arg(v.dtype, i) for i, v in enumerate(inputs)]
    result = formula(*args)
    if half and result.dtype == "float32":
        result = convert(result, inputs[0].dtype)
    return node.add(Map(result), *inputs)


def _table(**rows: Formula) -> None:
    for name, formula in rows.items():

        def imported(node: OnnxNode, formula: Formula = formula) -> Value:
            return mapped(node, formula, *node.inputs())

        operator(name, keeps_halves=True, by_element=True)(imported)


def gelu_exact(x: Expr) -> Expr:
    return x * 0.5 * (apply("erf", x * 0.7071067811865476) + 1.0)


def gelu_tanh(x: Expr) -> Expr:
    return x * 0.5 * (apply("tanh", (x + x * x * x * 0.044715) * 0.7978845608028654) + 1.0)


def _unary(name: str) -> Formula:
    return lambda x: apply(name, x)


def _not(x: Expr) -> Expr:
    return apply("eq", x, number("bool", 0))


_table(
    Add=lambda a, b: a + b,
    Sub=lambda a, b: a - b,
    Mul=lambda a, b: a * b,
    Div=lambda a, b: a / b,
    Neg=lambda x: -x,
    Abs=lambda x: apply("abs", x),
    Sqrt=lambda x: apply("sqrt", x),
    **{
        name: _unary(name.lower())
        for name in [
            "Exp",
            "Log",
            "Sin",
            "Cos",
            "Tan",
            "Asin",
            "Acos",
            "Atan",
            "Sinh",
            "Cosh",
            "Asinh",
            "Acosh",
            "Atanh",
        ]
    },
    Softplus=lambda x: apply("softplus", x),
    Mish=lambda x: x * apply("tanh", apply("softplus", x)),
    Floor=lambda x: apply("floor", x),
    Ceil=lambda x: apply("ceil", x),
    Round=lambda x: apply("round", x),
    Reciprocal=lambda x: 1.0 / x,
    Relu=lambda x: x.at_least(0),
    Sigmoid=lambda x: apply("sigmoid", x),
    Tanh=lambda x: apply("tanh", x),
    Erf=lambda x: apply("erf", x),
    HardSwish=lambda x: x * (x * (1 / 6) + 0.5).at_least(0.0).at_most(1.0),
    Softsign=lambda x: x / (apply("abs", x) + 1.0),
    Sign=lambda x: apply("select", x > 0, number(x.dtype, 1), apply("select", x < 0, number(x.dtype, -1), x)),
    Equal=lambda a, b: apply("eq", a, b),
    Less=lambda a, b: a < b,
    LessOrEqual=lambda a, b: a <= b,
    Greater=lambda a, b: a > b,
    GreaterOrEqual=lambda a, b: a >= b,
    And=lambda a, b: apply("and", a, b),
    Or=lambda a, b: apply("or", a, b),
    Xor=lambda a, b: apply("xor", a, b),
    Not=_not,
    BitwiseAnd=lambda a, b: apply("and", a, b),
    BitwiseOr=lambda a, b: apply("or", a, b),
    BitwiseXor=lambda a, b: apply("xor", a, b),
    BitwiseNot=lambda x: apply("not", x),
    IsNaN=lambda x: apply("ne", x, x),
    PRelu=lambda x, slope: apply("select", x < 0, x * slope, x),
)


@operator("Min", "Max", keeps_halves=True, by_element=True)
def extreme(node: OnnxNode) -> Value:
    name = node.op.lower()
    return mapped(node, lambda *args: reduce(lambda a, b: apply(name, a, b), args), *node.inputs())


@operator("Sum", "Mean", keeps_halves=True, by_element=True)
def total(node: OnnxNode) -> Value:
    count = len(node.inputs())
    scale = 1 / count if node.op == "Mean" else None

    def formula(*args: Expr) -> Expr:
        added = reduce(lambda a, b: a + b, args)
        return added if scale is None else added * scale

    return mapped(node, formula, *node.inputs())


@operator("LeakyRelu", keeps_halves=True, by_element=True)
def leaky_relu(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 0.01)
    return mapped(node, lambda x: apply("select", x < 0, x * alpha, x), node.input(0))


@operator("HardSigmoid", keeps_halves=True, by_element=True)
def hard_sigmoid(node: OnnxNode) -> Value:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return mapped(node, lambda x: (x * alpha + beta).at_least(0.0).at_most(1.0), node.input(0))


@operator("Elu", "Celu", "Selu", keeps_halves=True, by_element=True)
def exponential_linear(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 1.67326319217681884765625 if node.op == "Selu" else 1.0)
    gamma = node.number("gamma", 1.05070102214813232421875) if node.op == "Selu" else 1.0
    inner = 1 / alpha if node.op == "Celu" else 1.0

    def formula(x: Expr) -> Expr:
        below = (apply("exp", (x * inner).at_most(0.0)) - 1.0) * (alpha * gamma)
        return apply("select", x < 0, below, x * gamma)

    return mapped(node, formula, node.input(0))


@operator("ThresholdedRelu", keeps_halves=True, by_element=True)
def thresholded_relu(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 1.0)
    return mapped(node, lambda x: apply("select", x > alpha, x, x * 0.0), node.input(0))


@operator("Gelu", keeps_halves=True, by_element=True)
def gelu(node: OnnxNode) -> Value:
    form = node.choice("approximate", "none", ("none", "tanh"))
    return mapped(node, gelu_tanh if form == "tanh" else gelu_exact, node.input(0))


@operator("Clip", keeps_halves=True, by_element=True)
def clip(node: OnnxNode) -> Value:
    """Bounds are attributes before opset 11, inputs since; a bound that is left out does not bound."""
    bounds: list[Value | None] = [node.optional(1), node.optional(2)]
    dtype = node.input(0).dtype
    if node.opset < 11:
        bounds = [node.constant(node.number(name, 0.0), dtype) if node.has(name) else None for name in ("min", "max")]
    chosen = [(op, v) for op, v in zip(("max", "min"), bounds, strict=True) if v is not None]

    def formula(x: Expr, *limits: Expr) -> Expr:
        for (op, _), limit in zip(chosen, limits, strict=True):
            x = apply(op, x, limit)
        return x

    return mapped(node, formula, node.input(0), *(v for _, v in chosen))


@operator("Where", keeps_halves=True, by_element=True)
def where(node: OnnxNode) -> Value:
    condition, a, b = node.inputs()
    if a.dtype != b.dtype or condition.dtype != "bool":
        node.unsupported(f"of {condition.dtype}, {a.dtype}, {b.dtype}")
    chosen = apply("select", Arg("bool", 0), Arg(a.dtype, 1), Arg(b.dtype, 2))
    return node.add(Map(chosen), condition, a, b)


@operator("Cast", "CastLike", keeps_halves=True, by_element=True)
def cast_to(node: OnnxNode) -> Value:
    x, saturate = node.input(0), bool(node.integer("saturate", 1))
    rounding = node.choice("round_mode", "up", ("up", "down", "nearest"))
    if node.op == "CastLike":
        dtype = node.input(1).dtype
    elif (found := ONNX_DTYPES.get(node.integer("to", 0))) is None:
        node.unsupported(f"to data type number {node.integer('to', 0)}", attribute="to")
    else:
        dtype = found
    if x.dtype == dtype:
        return x
    return node.add(Map(convert(Arg(x.dtype, 0), dtype, saturate, rounding)), x)


@operator("Mod", keeps_halves=True, by_element=True)
def modulo(node: OnnxNode) -> Value:
    op = "rem" if node.integer("fmod", 0) else "mod"
    prefix = "float_" if node.input(0).dtype in FLOATS else ""
    return mapped(node, lambda a, b: apply(prefix + op, a, b), *node.inputs())


_POWERS: dict[float, Formula] = {
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    0.5: lambda x: apply("sqrt", x),
    1.0: lambda x: x * 1.0,
    -1.0: lambda x: 1.0 / x,
}


@operator("Pow", keeps_halves=True, by_element=True)
def power(node: OnnxNode) -> Value:
    """Common exponents are products and roots; whole numbers are raised by squaring, in 64 bits."""
    x, exponent = node.inputs()
    known = scalar_constant(exponent)
    if x.dtype in FLOATS and known is not None and known.dtype not in HALVES and known.value in _POWERS:
        return mapped(node, _POWERS[float(known.value)], x)
    base, power_of = convert_for(x, 0), convert_for(exponent, 1)
    if x.dtype in FLOATS or exponent.dtype in FLOATS:
        wide = "float64" if "float64" in (x.dtype, exponent.dtype) or x.dtype not in FLOATS else "float32"
        result = apply("pow", convert(base, wide), convert(power_of, wide))
    else:
        result = _whole_power(convert(base, "int64"), convert(power_of, "int64"))
    return node.add(Map(convert(result, x.dtype)), x, exponent)


def convert_for(value: Value, index: int) -> Expr:
    """An argument, halves as float32."""
    arg = Arg(value.dtype, index)
    return convert(arg, "float32") if value.dtype in HALVES else arg


def _whole_power(base: Expr, exponent: Expr) -> Expr:
    """base^exponent by squaring; exponents above 63 overflow for all bases but 0, 1 and −1."""
    one: Expr = number("int64", 1)
    result = one
    for bit in range(6):
        set_ = apply("ne", apply("and", apply("shr", exponent, number("int64", bit)), one), number("int64", 0))
        result = apply("select", set_, result * base, result)
        base = base * base
    return result


@operator("Swish", keeps_halves=True, by_element=True)
def swish(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 1.0)
    return mapped(node, lambda x: x * apply("sigmoid", x * alpha if alpha != 1.0 else x), node.input(0))


@operator("SwiGLU", keeps_halves=True, by_element=True)
def gated_swish(node: OnnxNode) -> Value:
    """a · sigmoid(α a) · b."""
    alpha = node.number("alpha", 1.0)
    return mapped(node, lambda a, b: a * apply("sigmoid", a * alpha if alpha != 1.0 else a) * b, *node.inputs())


@operator("Shrink", keeps_halves=True, by_element=True)
def shrink(node: OnnxNode) -> Value:
    bias, threshold = node.number("bias", 0.0), node.number("lambd", 0.5)

    def formula(x: Expr) -> Expr:
        zero = x * 0 if x.dtype not in FLOATS else number(x.dtype, 0.0)
        return apply("select", x < -threshold, x + bias, apply("select", x > threshold, x - bias, zero))

    return mapped(node, formula, node.input(0))


@operator("IsInf", keeps_halves=True, by_element=True)
def is_infinite(node: OnnxNode) -> Value:
    low, high = bool(node.integer("detect_negative", 1)), bool(node.integer("detect_positive", 1))

    bounds = [bound for bound, wanted in ((float("-inf"), low), (float("inf"), high)) if wanted]

    def formula(x: Expr) -> Expr:
        return reduce(lambda a, b: apply("or", a, b), [*(apply("eq", x, number(x.dtype, b)) for b in bounds), x < x])

    return mapped(node, formula, node.input(0))


@operator("BitCast", keeps_halves=True, by_element=True)
def bit_cast(node: OnnxNode) -> Value:
    """The same bits as another data type of the same width."""
    x = node.input(0)
    dtype = ONNX_DTYPES.get(node.integer("to", 0))
    if dtype is None or DTYPES[dtype].bytes != DTYPES[x.dtype].bytes:
        node.unsupported(f"of {x.dtype} to data type number {node.integer('to', 0)}", attribute="to")
    return x if dtype == x.dtype else node.add(Map(bitcast(Arg(x.dtype, 0), dtype)), x)


@operator("BitShift", keeps_halves=True, by_element=True)
def bit_shift(node: OnnxNode) -> Value:
    op = "shl" if node.choice("direction", "", ("LEFT", "RIGHT")) == "LEFT" else "shr"
    return mapped(node, lambda a, b: apply(op, a, b), *node.inputs())


@operator("Identity", keeps_halves=True, by_element=True)
def identity(node: OnnxNode) -> Value:
    return node.input(0)


@operator("BatchNormalization", keeps_halves=True, by_element=True)
def batch_normalization(node: OnnxNode) -> Sequence[Value]:
    """(x − mean) · scale / √(variance + ε) + bias, by channel.

    In training, mean and variance are those of x, and the running ones move towards them.
    """
    node.ignore("spatial")
    epsilon, momentum = node.number("epsilon", 1e-5), node.number("momentum", 0.9)
    x, *by_channel = node.inputs()
    if x.type.rank < 2:
        raise ShapeError(f"node `{node.label}`: batch normalisation of {x.type}")
    if not node.integer("training_mode", 0):
        return [_normalized(node, x, *by_channel, epsilon=epsilon)]
    if x.dtype in HALVES:
        node.unsupported(f"is 1 for {x.dtype}", attribute="training_mode")
    scale, bias, *running = by_channel
    own = _moments(node, x)
    moved = [
        mapped(node, lambda r, s: r * momentum + s * (1 - momentum), *pair) for pair in zip(running, own, strict=True)
    ]
    return [_normalized(node, x, scale, bias, *own, epsilon=epsilon), *moved]


def _moments(node: OnnxNode, x: Value) -> tuple[Value, Value]:
    """Mean and variance of each channel."""
    axes = (0, *range(2, x.type.rank))
    count = float(x.type.elements // max(x.shape[1], 1)) or 1.0
    mean = node.add(Reduce("sum", axes, None, Arg(x.dtype, 0) / count), x)
    distance = Arg(x.dtype, 0) - Arg(x.dtype, 1)
    variance = node.add(Reduce("sum", axes, distance * distance, Arg(x.dtype, 0) / count), x, mean)
    return node.add(Reshape((x.shape[1],)), mean), node.add(Reshape((x.shape[1],)), variance)


def _normalized(
    node: OnnxNode, x: Value, scale: Value, bias: Value, mean: Value, variance: Value, *, epsilon: float
) -> Value:
    column = (-1, *(1,) * (x.type.rank - 2))
    scale, bias, mean, variance = (
        node.constant(v.data.reshape(column)) if v.data is not None else reshaped(node, v, column)
        for v in (scale, bias, mean, variance)
    )
    factor = mapped(node, lambda s, v: s / apply("sqrt", v + epsilon), scale, variance)
    shift = mapped(node, lambda b, m, f: b - m * f, bias, mean, factor)
    return mapped(node, lambda x, f, s: x * f + s, x, factor, shift)


def reshaped(node: OnnxNode, value: Value, column: tuple[int, ...]) -> Value:
    return node.add(Reshape((value.type.elements, *column[1:])), value)
