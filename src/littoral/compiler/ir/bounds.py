"""How large an expression can become."""

import math
from collections.abc import Sequence

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr

__all__ = ["magnitude"]


FLOAT32_MAX = 3.4e38


def magnitude(expr: Expr, arguments: Sequence[float]) -> float:
    """The largest absolute value that a float32 expression can have; infinity where nothing is known.

    arguments: the same of each `Arg`. Rounding on the way is not counted: leave it room. What is finite here is so
    on the way as well, and no NaN.
    """
    found = _magnitude(expr, arguments)
    return found if found <= FLOAT32_MAX else math.inf


def _magnitude(expr: Expr, arguments: Sequence[float]) -> float:
    match expr:
        case Const():
            return abs(float(expr.value))
        case Arg():
            return arguments[expr.index]
        case Apply(op="select", args=(_, a, b)) | Apply(op="min" | "max", args=(a, b)):
            return max(magnitude(a, arguments), magnitude(b, arguments))
        case Apply(op="add" | "sub", args=(a, b)):
            return magnitude(a, arguments) + magnitude(b, arguments)
        case Apply(op="mul", args=(a, b)):
            return magnitude(a, arguments) * magnitude(b, arguments)
        case Apply(op="div", args=(a, Const() as by)) if by.value:
            return magnitude(a, arguments) / abs(float(by.value))
        case Apply(op="neg" | "abs" | "cast", args=(a,)):
            return magnitude(a, arguments)
    return math.inf
