"""Scalar operations: one table of what an expression may apply, with the rule for its result and its meaning in numpy.

Elementary functions are not numpy's: they are the formulas of `ir.formulas`, so that the interpreter gives the very
bits that the compiled module gives.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.elementary import ELEMENTARY, WIDE
from littoral.compiler.ir.formulas import FORMULAS
from littoral.compiler.ir.numeric import NUMPY
from littoral.tensors import DTYPES

__all__ = ["SCALARS", "Scalar", "evaluate_scalar", "formula", "result_dtype"]


class Scalar(NamedTuple):
    """arity; result: `same` (as the operands), `bool`, or `select`; the meaning; an infix symbol for printing."""

    arity: int
    result: str
    numpy: Callable[..., Any]
    symbol: str = ""


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(a, np.where(b == 0, 1, b))  # integers divide towards zero, by zero gives 0
    exact = quotient * b == a
    towards_zero = np.where(~exact & ((a < 0) != (b < 0)), quotient + 1, quotient) if a.dtype.kind == "i" else quotient
    return np.where(b == 0, 0, towards_zero).astype(a.dtype)


def _modulo(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return np.mod(a, b)
    return np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b))).astype(a.dtype)


def _remainder(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return np.fmod(a, b)
    return np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b))).astype(a.dtype)


def _shift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Counts below 0 or beyond the width shift everything out: 0 is left, or the sign."""

    def shifted(a: Any, b: Any) -> Any:
        bits = a.dtype.itemsize * 8
        inside = (b >= 0) & (b < bits)
        left = np.where(a < 0, -1, 0).astype(a.dtype) if function is np.right_shift and a.dtype.kind == "i" else 0
        return np.where(inside, function(a, np.where(inside, b, 0).astype(a.dtype)), left).astype(a.dtype)

    return shifted


def formula(name: str, dtype: str) -> tuple[Callable[..., Any], bool]:
    """The formula of an elementary function for a float dtype, and whether it works in float64 whatever the dtype."""
    if dtype == "float32" and name in FORMULAS:
        return FORMULAS[name], False
    return (WIDE | ELEMENTARY).get(name) or FORMULAS[name], True


def _elementary(name: str) -> Callable[..., Any]:
    def evaluate(*args: Any) -> Any:
        found, wide = formula(name, args[0].dtype.name)
        if not wide:
            return found(NUMPY, *args)
        return np.asarray(found(NUMPY, *(a.astype(np.float64) for a in args))).astype(args[0].dtype)

    return evaluate


SCALARS: dict[str, Scalar] = {
    "add": Scalar(2, "same", np.add, "+"),
    "sub": Scalar(2, "same", np.subtract, "-"),
    "mul": Scalar(2, "same", np.multiply, "*"),
    "div": Scalar(2, "same", _divide, "/"),
    "mod": Scalar(2, "same", _modulo, "mod"),
    "rem": Scalar(2, "same", _remainder, "rem"),
    "min": Scalar(2, "same", np.minimum),
    "max": Scalar(2, "same", np.maximum),
    "neg": Scalar(1, "same", np.negative),
    "abs": Scalar(1, "same", np.abs),
    "sqrt": Scalar(1, "same", np.sqrt),
    "floor": Scalar(1, "same", np.floor),
    "ceil": Scalar(1, "same", np.ceil),
    "trunc": Scalar(1, "same", np.trunc),
    "round": Scalar(1, "same", np.rint),
    "and": Scalar(2, "same", np.bitwise_and, "&"),
    "or": Scalar(2, "same", np.bitwise_or, "|"),
    "xor": Scalar(2, "same", np.bitwise_xor, "^"),
    "not": Scalar(1, "same", np.invert),
    "shl": Scalar(2, "same", _shift(np.left_shift), "<<"),
    "shr": Scalar(2, "same", _shift(np.right_shift), ">>"),
    "eq": Scalar(2, "bool", np.equal, "=="),
    "ne": Scalar(2, "bool", np.not_equal, "!="),
    "lt": Scalar(2, "bool", np.less, "<"),
    "le": Scalar(2, "bool", np.less_equal, "<="),
    "gt": Scalar(2, "bool", np.greater, ">"),
    "ge": Scalar(2, "bool", np.greater_equal, ">="),
    "select": Scalar(3, "select", np.where),
    "cast": Scalar(1, "cast", np.asarray),
    "bitcast": Scalar(1, "cast", np.asarray),
} | {
    name: Scalar(2 if name in ("pow", "float_mod", "float_rem") else 1, "same", _elementary(name))
    for name in (*FORMULAS, *ELEMENTARY)
}


def result_dtype(op: str, dtypes: tuple[str, ...]) -> str:
    """dtype of an operation's result. Raises TypeError where operands do not fit."""
    row = SCALARS[op]
    operands = dtypes[1:] if row.result == "select" else dtypes
    if op in (*FORMULAS, *ELEMENTARY) and not set(dtypes) <= {"float32", "float64"}:
        raise TypeError(f"`{op}` cannot be applied to {', '.join(dtypes)}")
    if len(dtypes) != row.arity or len(set(operands)) != 1 or (row.result == "select" and dtypes[0] != "bool"):
        raise TypeError(f"`{op}` cannot be applied to {', '.join(dtypes)}")
    return "bool" if row.result == "bool" else operands[0]


def evaluate_scalar(op: str, dtype: str, args: list[Any]) -> Any:
    """An operation on arrays that broadcast; `dtype` is that of the result."""
    with np.errstate(all="ignore"):
        if op == "cast":
            return args[0].astype(DTYPES[dtype].storage)
        if op == "bitcast":
            return np.asarray(args[0]).view(DTYPES[dtype].storage)
        return SCALARS[op].numpy(*args)
