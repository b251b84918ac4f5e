"""Operators that compute each element from the elements at its place."""

from collections.abc import Callable
from functools import reduce

from littoral.compiler.ir.expr import Apply, Arg, Expr, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Reshape
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError

HALVES = ("float16", "bfloat16")

Formula = Callable[..., Expr]


def mapped(node: OnnxNode, formula: Formula, *inputs: Value) -> Value:
    """A map of `formula` over the inputs; halves are computed in float32 and rounded once."""
    dtypes = {v.dtype for v in inputs}
    if len(dtypes) > 1:
        node.unsupported(f"of different data types: {', '.join(sorted(dtypes))}")
    half = next(iter(dtypes)) in HALVES
    args = [cast(Arg(v.dtype, i), "float32") if half else Arg(v.dtype, i) for i, v in enumerate(inputs)]
    result = formula(*args)
    if half and result.dtype == "float32":
        result = cast(result, inputs[0].dtype)
    return node.add(Map(result), *inputs)


def _table(**rows: Formula) -> None:
    for name, formula in rows.items():

        def imported(node: OnnxNode, formula: Formula = formula) -> Value:
            return mapped(node, formula, *node.inputs())

        operator(name)(imported)


def gelu_exact(x: Expr) -> Expr:
    return x * 0.5 * (apply("erf", x * 0.7071067811865476) + 1.0)


def gelu_tanh(x: Expr) -> Expr:
    return x * 0.5 * (apply("tanh", (x + x * x * x * 0.044715) * 0.7978845608028654) + 1.0)


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
    Exp=lambda x: apply("exp", x),
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
    Sign=lambda x: cast(x > 0, x.dtype) - cast(x < 0, x.dtype),
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


@operator("Min", "Max")
def extreme(node: OnnxNode) -> Value:
    name = node.op.lower()
    return mapped(node, lambda *args: reduce(lambda a, b: apply(name, a, b), args), *node.inputs())


@operator("Sum", "Mean")
def total(node: OnnxNode) -> Value:
    count = len(node.inputs())
    scale = 1 / count if node.op == "Mean" else None

    def formula(*args: Expr) -> Expr:
        added = reduce(lambda a, b: a + b, args)
        return added if scale is None else added * scale

    return mapped(node, formula, *node.inputs())


@operator("LeakyRelu")
def leaky_relu(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 0.01)
    return mapped(node, lambda x: apply("select", x < 0, x * alpha, x), node.input(0))


@operator("HardSigmoid")
def hard_sigmoid(node: OnnxNode) -> Value:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return mapped(node, lambda x: (x * alpha + beta).at_least(0.0).at_most(1.0), node.input(0))


@operator("Elu", "Celu", "Selu")
def exponential_linear(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 1.67326319217681884765625 if node.op == "Selu" else 1.0)
    gamma = node.number("gamma", 1.05070102214813232421875) if node.op == "Selu" else 1.0
    inner = 1 / alpha if node.op == "Celu" else 1.0

    def formula(x: Expr) -> Expr:
        below = (apply("exp", (x * inner).at_most(0.0)) - 1.0) * (alpha * gamma)
        return apply("select", x < 0, below, x * gamma)

    return mapped(node, formula, node.input(0))


@operator("ThresholdedRelu")
def thresholded_relu(node: OnnxNode) -> Value:
    alpha = node.number("alpha", 1.0)
    return mapped(node, lambda x: apply("select", x > alpha, x, x * 0.0), node.input(0))


@operator("Gelu")
def gelu(node: OnnxNode) -> Value:
    form = node.choice("approximate", "none", ("none", "tanh"))
    return mapped(node, gelu_tanh if form == "tanh" else gelu_exact, node.input(0))


@operator("Clip")
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


@operator("Where")
def where(node: OnnxNode) -> Value:
    condition, a, b = node.inputs()
    if a.dtype != b.dtype or condition.dtype != "bool":
        node.unsupported(f"of {condition.dtype}, {a.dtype}, {b.dtype}")
    chosen = apply("select", Arg("bool", 0), Arg(a.dtype, 1), Arg(b.dtype, 2))
    return node.add(Map(chosen), condition, a, b)


@operator("Cast", "CastLike")
def cast_to(node: OnnxNode) -> Value:
    node.ignore("saturate", "round_mode")
    x = node.input(0)
    if node.op == "CastLike":
        dtype = node.input(1).dtype
    elif (found := ONNX_DTYPES.get(node.integer("to", 0))) is None:
        node.unsupported(f"to data type number {node.integer('to', 0)}", attribute="to")
    else:
        dtype = found
    if x.dtype == dtype:
        return x
    return node.add(Map(cast(Arg(x.dtype, 0), dtype)), x)


@operator("Mod")
def modulo(node: OnnxNode) -> Value:
    op = "rem" if node.integer("fmod", 0) else "mod"
    return mapped(node, lambda a, b: Apply(a.dtype, op, (a, b)), *node.inputs())


@operator("Pow")
def power(node: OnnxNode) -> Value:
    """Squares, cubes and roots; other exponents come with the logarithm."""
    exponent = node.array(1, "exponent")
    forms: dict[float, Formula] = {
        2.0: lambda x: x * x,
        3.0: lambda x: x * x * x,
        0.5: lambda x: apply("sqrt", x),
        1.0: lambda x: x * 1.0,
        -1.0: lambda x: 1.0 / x,
    }
    chosen = forms.get(float(exponent.reshape(-1)[0])) if exponent.size == 1 else None
    if chosen is None:
        node.unsupported("needs an exponent of 2, 3, 1, 0.5 or -1")
    return mapped(node, chosen, node.input(0))


@operator("BitShift")
def bit_shift(node: OnnxNode) -> Value:
    op = "shl" if node.choice("direction", "", ("LEFT", "RIGHT")) == "LEFT" else "shr"
    return mapped(node, lambda a, b: apply(op, a, b), *node.inputs())


@operator("Identity", "Dropout")
def identity(node: OnnxNode) -> Value:
    node.ignore("ratio", "seed")
    return node.input(0)


@operator("BatchNormalization")
def batch_normalization(node: OnnxNode) -> Value:
    """(x − mean) · scale / √(variance + ε) + bias, by channel."""
    if node.integer("training_mode", 0):
        node.unsupported("is 1", attribute="training_mode", supported=("0",))
    node.ignore("momentum", "spatial")
    epsilon = node.number("epsilon", 1e-5)
    x, *by_channel = node.inputs()
    if x.type.rank < 2:
        raise ShapeError(f"node `{node.label}`: batch normalisation of {x.type}")
    column = (-1, *(1,) * (x.type.rank - 2))
    scale, bias, mean, variance = (
        node.constant(v.data.reshape(column)) if v.data is not None else reshaped(node, v, column) for v in by_channel
    )
    factor = mapped(node, lambda s, v: s / apply("sqrt", v + epsilon), scale, variance)
    shift = mapped(node, lambda b, m, f: b - m * f, bias, mean, factor)
    return mapped(node, lambda x, f, s: x * f + s, x, factor, shift)


def reshaped(node: OnnxNode, value: Value, column: tuple[int, ...]) -> Value:
    return node.add(Reshape((value.type.elements, *column[1:])), value)
