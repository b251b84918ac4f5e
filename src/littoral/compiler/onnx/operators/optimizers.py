"""Steps of gradient descent, for models that learn where they run: Adagrad, Adam, Momentum."""

from collections.abc import Callable, Sequence

from littoral.compiler.ir.expr import Arg, Expr, Load, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.errors import ShapeError

DOMAIN = "ai.onnx.preview.training"
# rate, number of the step, then a tensor's own: the tensor, its gradient, its states
_Step = Callable[..., Sequence[Expr]]


def _stepped(node: OnnxNode, states: int, step: _Step) -> list[Value]:
    """New tensors, then their new states, one kind after the other."""
    rate, count, *rest = node.inputs()
    tensors, left = divmod(len(rest), 2 + states)
    if left or not tensors:
        raise ShapeError(f"node `{node.label}`: {len(rest)} tensors, gradients and states")
    results: list[list[Value]] = [[] for _ in range(1 + states)]
    for i in range(tensors):
        own = [rest[kind * tensors + i] for kind in range(2 + states)]
        r, t = (Load(v.dtype, k, number("int32", 0)) for k, v in enumerate((rate, count)))
        args = [Arg(v.dtype, 2 + k) for k, v in enumerate(own)]
        for line, expr in zip(results, step(r, t, *args), strict=True):
            line.append(node.add(Map(expr), rate, count, *own))
    return [v for line in results for v in line]


@operator("Adagrad", domain=DOMAIN)
def adagrad(node: OnnxNode) -> list[Value]:
    decay, epsilon = node.number("decay_factor", 0.0), node.number("epsilon", 0.0)
    norm = node.number("norm_coefficient", 0.0)

    def step(r: Expr, t: Expr, x: Expr, g: Expr, h: Expr) -> list[Expr]:
        rate = r / (cast(t, r.dtype) * decay + 1.0)
        slope = x * norm + g
        after = h + slope * slope
        return [x - rate * slope / (apply("sqrt", after) + epsilon), after]

    return _stepped(node, 1, step)


@operator("Adam", domain=DOMAIN)
def adam(node: OnnxNode) -> list[Value]:
    alpha, beta, epsilon = node.number("alpha", 0.9), node.number("beta", 0.999), node.number("epsilon", 0.0)
    norm, norm_after = node.number("norm_coefficient", 0.0), node.number("norm_coefficient_post", 0.0)

    def step(r: Expr, t: Expr, x: Expr, g: Expr, v: Expr, h: Expr) -> list[Expr]:
        slope = x * norm + g
        first, second = v * alpha + slope * (1 - alpha), h * beta + slope * slope * (1 - beta)
        power_of = cast(t, r.dtype)
        left, right = (1.0 - apply("pow", number(r.dtype, base), power_of) for base in (beta, alpha))
        rate = apply("select", t > 0, r * apply("sqrt", left) / right, r)
        after = x - rate * (first / (apply("sqrt", second) + epsilon))
        return [after * (1 - norm_after), first, second]

    return _stepped(node, 2, step)


@operator("Momentum", domain=DOMAIN)
def momentum(node: OnnxNode) -> list[Value]:
    alpha, beta, norm = node.number("alpha", 0.0), node.number("beta", 0.0), node.number("norm_coefficient", 0.0)
    nesterov = node.choice("mode", "standard", ("standard", "nesterov")) == "nesterov"

    def step(r: Expr, t: Expr, x: Expr, g: Expr, v: Expr) -> list[Expr]:
        slope = x * norm + g
        share = apply("select", t > 0, number(r.dtype, beta), number(r.dtype, 1.0))
        after = v * alpha + share * slope
        return [x - r * (slope + after * alpha if nesterov else after), after]

    return _stepped(node, 1, step)
