"""Sums and products of bytes that make bytes, in the form that ONNX Runtime computes them in.

Scales are divided at compile time; the zero point is added before rounding, so that ties fall as they do there.
"""

from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, number
from littoral.compiler.ir.quanta import Scheme, Stored, stored

__all__ = ["average_formula", "byte_formula"]


class _Term(NamedTuple):
    """(byte − zero) · scale; byte as float32."""

    byte: Expr
    zero: float
    scale: float


def byte_formula(expr: Expr, scheme: Scheme, low: int, high: int) -> Expr | None:
    """The byte of a sum or product of numbers from bytes, limited to low..high; None for anything else."""
    value = None
    match expr:
        case Apply(op="add"):
            value = _sum(expr, scheme)
        case Apply(op="mul", args=(left, right)):
            value = _product(_term(left), _term(right), scheme)
    return None if value is None else stored(Stored(value, "round", 0, low, high, scheme.dtype))


def average_formula(expr: Expr, scheme: Scheme) -> Expr | None:
    """The byte of a sum of bytes times its scale, divided by their number; None for anything else."""
    match expr:
        case Apply(op="mul" | "div" as how, args=(Apply(op="mul", args=(whole, Const() as scale)), Const() as count)):
            number_of = count.value if how == "div" else np.rint(1 / count.value)
        case _:
            return None
    if not 1 <= number_of < 1 << 24 or not _is_whole(whole):
        return None
    ratio = np.float32(scale.value) / (np.float32(scheme.scale) * np.float32(number_of))
    return stored(Stored(whole * float(ratio), "round", scheme.zero, scheme.low, scheme.high, scheme.dtype))


def _is_whole(expr: Expr) -> bool:
    """Whether it is a sum of bytes, with their zero points taken off."""
    match expr:
        case Apply(op="sub", args=(Apply(op="cast", args=(Arg(dtype="int32"),)), Const())):
            return True
        case Apply(op="cast", args=(Arg(dtype="int32"),)):
            return True
    return False


def _term(expr: Expr) -> _Term | None:
    match expr:
        case Apply(op="mul", args=(Apply(op="sub", args=(Apply(op="cast", args=(Arg(),)) as byte, Const() as zero)), Const() as scale)):
            return _Term(byte, zero.value, scale.value)
        case Apply(op="mul", args=(Apply(op="cast", args=(Arg(),)) as byte, Const() as scale)):
            return _Term(byte, 0.0, scale.value)
    return None


def _terms(expr: Expr) -> list[_Term] | None:
    if (term := _term(expr)) is not None:
        return [term]
    if isinstance(expr, Apply) and expr.op == "add":
        parts = [_terms(a) for a in expr.args]
        return None if None in parts else [t for p in parts if p is not None for t in p]
    return None


def _sum(expr: Expr, scheme: Scheme) -> Expr | None:
    terms = _terms(expr)
    if terms is None:
        return None
    ratios = [np.float32(t.scale) / np.float32(scheme.scale) for t in terms]
    zeros = np.float32(0)
    for term, ratio in zip(terms, ratios, strict=True):
        zeros = zeros + ratio * np.float32(term.zero)
    value: Expr = number("float32", float(np.float32(scheme.zero) - zeros))
    for term, ratio in zip(reversed(terms), reversed(ratios), strict=True):
        value = term.byte * float(ratio) + value
    return value


def _product(left: _Term | None, right: _Term | None, scheme: Scheme) -> Expr | None:
    if left is None or right is None:
        return None
    ratio = np.float32(left.scale) * np.float32(right.scale) / np.float32(scheme.scale)
    whole = _centred(left) * _centred(right)
    return whole * float(ratio) + float(scheme.zero)


def _centred(term: _Term) -> Expr:
    return term.byte - term.zero if term.zero else term.byte
