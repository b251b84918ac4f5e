"""Numbers held in a byte: what they stand for, and the expressions from floats to bytes and back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, apply, cast, number, substitute

__all__ = ["BYTES", "Scheme", "Stored", "as_floats", "dequantized", "limits_of", "quantized", "stored", "stored_form"]

BYTES = ("uint8", "int8")


@dataclass(frozen=True, slots=True)
class Scheme:
    """q stands for (q − zero) · scale; low ≤ q ≤ high. scale: a float32."""

    dtype: str
    scale: float
    zero: int
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.dtype} {self.low}..{self.high}, ({self.scale:.4g}, {self.zero})"


class Stored(NamedTuple):
    """A byte made of a float: `rounding` (`round` or `trunc`) of `value`, plus `zero`, limited to low..high."""

    value: Expr
    rounding: str
    zero: int
    low: int
    high: int
    dtype: str


def dequantized(q: Expr, scheme: Scheme) -> Expr:
    """The number that a byte stands for, as float32."""
    value = cast(q, "float32")
    centred = value - float(scheme.zero) if scheme.zero else value
    return centred * scheme.scale


def quantized(x: Expr, scheme: Scheme) -> Expr:
    """The byte that stands for the number nearest to a float32; ties go to even, a NaN to the lowest."""
    return stored(Stored(x / scheme.scale, "round", scheme.zero, scheme.low, scheme.high, scheme.dtype))


def stored(form: Stored) -> Expr:
    """The form as an expression."""
    whole = apply(form.rounding, form.value)
    if form.zero:
        whole = whole + float(form.zero)
    low = number("float32", form.low)
    return cast(apply("select", low < whole, whole, low).at_most(float(form.high)), form.dtype)


def stored_form(expr: Expr) -> Stored | None:
    """What `stored` made, or None."""
    match expr:
        case Apply(
            dtype="uint8" | "int8" as dtype,
            op="cast",
            args=(Apply(op="min", args=(Apply(op="select", args=(_, whole, Const() as low)), Const() as high)),),
        ):
            pass
        case _:
            return None
    zero = 0
    match whole:
        case Apply(op="add", args=(Apply(op="round" | "trunc") as rounded, Const() as offset)):
            zero = int(offset.value)
        case Apply(op="round" | "trunc") as rounded:
            pass
        case _:
            return None
    return Stored(rounded.args[0], rounded.op, zero, int(low.value), int(high.value), dtype)


def limits_of(expr: Expr, scheme: Scheme) -> tuple[Expr, int, int]:
    """The expression without limits at its end, and the least and greatest byte that they leave."""
    low, high = scheme.low, scheme.high
    while isinstance(expr, Apply) and expr.op in ("min", "max") and any(isinstance(a, Const) for a in expr.args):
        inner, bound = sorted(expr.args, key=lambda a: isinstance(a, Const))
        if isinstance(inner, Const) or not isinstance(bound, Const) or bound.value != bound.value:
            break
        byte = int(np.clip(np.rint(np.float32(bound.value) / np.float32(scheme.scale)) + scheme.zero, low, high))
        low, high = (low, byte) if expr.op == "min" else (byte, high)  # within the outer limits, which hold
        expr = inner
    return expr, low, high


def as_floats(expr: Expr) -> Expr:
    """The expression on float32 arguments: what whole ones are cast to is taken as given."""

    def change(node: Expr) -> Expr | None:
        match node:
            case Apply(dtype="float32", op="cast", args=(Arg(dtype="uint8" | "int8" | "int32") as whole,)):
                return Arg("float32", whole.index)
        return None

    return substitute(expr, change)
