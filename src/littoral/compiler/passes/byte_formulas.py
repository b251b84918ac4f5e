"""Sums and products of bytes that make bytes, in the form that ONNX Runtime computes them in.

Scales are divided at compile time; the zero point is added before rounding, so that ties fall as they do there.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, number
from littoral.compiler.ir.quanta import Scheme, Stored, stored
from littoral.tensors import Array

__all__ = ["average_formula", "byte_formula"]


NEAR_TIE = 1e-3  # of a byte
NEIGHBOURS = 48


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
        case Apply(
            op="mul",
            args=(Apply(op="sub", args=(Apply(op="cast", args=(Arg(),)) as byte, Const() as zero)), Const() as scale),
        ):
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
    for term, ratio in zip(reversed(terms), reversed(ratios), strict=True):
        zeros = _fused(ratio, term.zero, zeros)
    fixed = np.float32(scheme.zero) - zeros
    if len(terms) == 2:
        line = _as_fused(_Line(ratios[0], ratios[1], fixed), *map(_all_bytes, terms))
        ratios, fixed = [line.first, line.second], line.summand
    value: Expr = number("float32", float(fixed))
    for term, ratio in zip(reversed(terms), reversed(ratios), strict=True):
        value = term.byte * float(ratio) + value
    return value


def _fused(a: np.float32 | Array, b: np.float32 | float, c: np.float32 | Array) -> Any:
    """a · b + c, rounded once."""
    return (np.asarray(a, np.float64) * np.float64(b) + c).astype(np.float32)


class _Line(NamedTuple):
    """a · first + (b · second + summand)."""

    first: np.float32
    second: np.float32
    summand: np.float32


def _as_fused(line: _Line, a: Array, b: Array) -> _Line:
    """Coefficients with which the line rounds to the bytes that these give with fused operations.

    ONNX Runtime adds bytes with fused multiplications and additions, which WebAssembly lacks. Of all 65,536 pairs of
    bytes only those near a tie could differ; moving a coefficient by a few units in its last place makes them agree.
    """
    exact = _fused(a[:, None], line.first, _fused(b, line.second, line.summand)[None, :])
    near = np.abs(exact - np.floor(exact) - 0.5) < NEAR_TIE
    wanted = np.rint(exact[near])
    left, right = a[np.nonzero(near)[0]], b[np.nonzero(near)[1]]
    best, least = line, len(wanted) + 1
    for first, second in product(_around(line.first, 2), _around(line.second, 2)):
        one, other = left * first, right * second
        for summand in _around(line.summand, NEIGHBOURS):
            wrong = int((np.rint(one + (other + summand)) != wanted).sum())
            if wrong < least:
                best, least = _Line(first, second, summand), wrong
            if not least:
                return best
    return best


def _all_bytes(term: _Term) -> Array:
    is_signed = isinstance(term.byte, Apply) and term.byte.args[0].dtype == "int8"
    return np.arange(-128, 128, dtype=np.float32) if is_signed else np.arange(256, dtype=np.float32)


def _around(value: np.float32, count: int) -> Iterator[np.float32]:
    """The number and so many neighbours on either side, near ones first."""
    yield value
    up = down = value
    for _ in range(count):
        up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(-np.inf))
        yield from (up, down)


def _product(left: _Term | None, right: _Term | None, scheme: Scheme) -> Expr | None:
    if left is None or right is None:
        return None
    ratio = np.float32(left.scale) * np.float32(right.scale) / np.float32(scheme.scale)
    whole = _centred(left) * _centred(right)
    return whole * float(ratio) + float(scheme.zero)


def _centred(term: _Term) -> Expr:
    return term.byte - term.zero if term.zero else term.byte
