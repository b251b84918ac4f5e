"""Scalar expressions: what is computed for one element.

`Arg(i)` is the element of input i that broadcasting pairs with the output element; `Position(axis)` its coordinate;
`Load(i, at)` any element of input i, by its row-major number. Expressions are immutable and compare by what they
compute; constants compare by their bits, so −0.0 is not 0.0 and a NaN equals itself.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from littoral.compiler.ir.scalars import SCALARS, result_dtype

__all__ = ["Apply", "Arg", "Const", "Expr", "Load", "Position", "apply", "cast", "number", "substitute", "walk"]

_FLOAT_FORMATS = {"float32": "<f", "float64": "<d", "float16": "<e"}


@dataclass(frozen=True, slots=True)
class Expr:
    """Root of the expression nodes; `dtype` is the element type of the result. Numbers beside it take its dtype."""

    dtype: str

    def _with(self, op: str, other: "Expr | float", swap: bool = False) -> "Expr":
        right = other if isinstance(other, Expr) else number(self.dtype, other)
        return apply(op, right, self) if swap else apply(op, self, right)

    def __add__(self, other: "Expr | float") -> "Expr":
        return self._with("add", other)

    def __radd__(self, other: float) -> "Expr":
        return self._with("add", other, swap=True)

    def __sub__(self, other: "Expr | float") -> "Expr":
        return self._with("sub", other)

    def __rsub__(self, other: float) -> "Expr":
        return self._with("sub", other, swap=True)

    def __mul__(self, other: "Expr | float") -> "Expr":
        return self._with("mul", other)

    def __rmul__(self, other: float) -> "Expr":
        return self._with("mul", other, swap=True)

    def __truediv__(self, other: "Expr | float") -> "Expr":
        return self._with("div", other)

    def __rtruediv__(self, other: float) -> "Expr":
        return self._with("div", other, swap=True)

    def __neg__(self) -> "Expr":
        return apply("neg", self)

    def __lt__(self, other: "Expr | float") -> "Expr":
        return self._with("lt", other)

    def __le__(self, other: "Expr | float") -> "Expr":
        return self._with("le", other)

    def __gt__(self, other: "Expr | float") -> "Expr":
        return self._with("gt", other)

    def __ge__(self, other: "Expr | float") -> "Expr":
        return self._with("ge", other)

    def at_least(self, bound: "Expr | float") -> "Expr":
        return self._with("max", bound)

    def at_most(self, bound: "Expr | float") -> "Expr":
        return self._with("min", bound)


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A constant. bits: the IEEE bits of a float, else the integer itself."""

    bits: int

    @property
    def value(self) -> Any:
        if form := _FLOAT_FORMATS.get(self.dtype):
            return struct.unpack(form, self.bits.to_bytes(struct.calcsize(form), "little"))[0]
        return bool(self.bits) if self.dtype == "bool" else self.bits


@dataclass(frozen=True, slots=True)
class Arg(Expr):
    """The element of input `index` at the broadcast position."""

    index: int


@dataclass(frozen=True, slots=True)
class Position(Expr):
    """Coordinate of the output element along `axis`; dtype int32."""

    axis: int


@dataclass(frozen=True, slots=True)
class Load(Expr):
    """Element number `at` (int32, row-major) of input `index`."""

    index: int
    at: Expr
    hashed: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashed", hash((self.dtype, self.index, self.at)))

    def __hash__(self) -> int:
        return self.hashed


@dataclass(frozen=True, slots=True)
class Apply(Expr):
    """A scalar operation on operands of one dtype (`cast` and `select` have rules of their own, see `scalars`)."""

    op: str
    args: tuple[Expr, ...]
    hashed: int = field(init=False, compare=False, repr=False)  # else each look-up would go through all below

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashed", hash((self.dtype, self.op, self.args)))

    def __hash__(self) -> int:
        return self.hashed


def number(dtype: str, value: float) -> Const:
    """A constant of a dtype; what a float cannot hold is infinite."""
    if form := _FLOAT_FORMATS.get(dtype):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            packed = struct.pack(form, math.copysign(math.inf, value))
        return Const(dtype, int.from_bytes(packed, "little"))
    return Const(dtype, int(value))


def apply(op: str, *args: Expr) -> Expr:
    """An operation of the table on checked operands. Raises TypeError where dtypes or their number do not fit."""
    return Apply(result_dtype(op, tuple(a.dtype for a in args)), op, args)


def cast(value: Expr, dtype: str) -> Expr:
    """The value under another dtype, by the rules of ONNX's Cast."""
    return value if value.dtype == dtype else Apply(dtype, "cast", (value,))


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all below it, operands first."""
    if isinstance(expr, Apply):
        for arg in expr.args:
            yield from walk(arg)
    elif isinstance(expr, Load):
        yield from walk(expr.at)
    yield expr


def substitute(expr: Expr, change: Callable[[Expr], Expr | None], done: dict[Expr, Expr] | None = None) -> Expr:
    """The expression with every node for which `change` gives another one replaced by that, from the top down."""
    done = {} if done is None else done
    if expr in done:
        return done[expr]
    found = change(expr)
    if found is None:
        found = expr
        if isinstance(expr, Apply):
            found = Apply(expr.dtype, expr.op, tuple(substitute(a, change, done) for a in expr.args))
        elif isinstance(expr, Load):
            found = Load(expr.dtype, expr.index, substitute(expr.at, change, done))
    done[expr] = found
    return found


def rename_args(expr: Expr, names: Mapping[int, Expr]) -> Expr:
    """The expression with inputs replaced: `Arg(i)` by `names[i]`, the input of a load by the index `names[i]` has."""

    def change(node: Expr) -> Expr | None:
        if isinstance(node, Arg):
            return names.get(node.index)
        return None

    return substitute(expr, change)


def text(expr: Expr) -> str:
    """The expression as people write it."""
    if isinstance(expr, Const):
        return f"{expr.value:g}" if isinstance(expr.value, float) else str(expr.value)
    if isinstance(expr, Arg):
        return f"${expr.index}"
    if isinstance(expr, Position):
        return f"@{expr.axis}"
    if isinstance(expr, Load):
        return f"${expr.index}[{text(expr.at)}]"
    assert isinstance(expr, Apply)
    args = [text(a) for a in expr.args]
    if expr.op == "cast":
        return f"{expr.dtype}({args[0]})"
    symbol = SCALARS[expr.op].symbol
    return f"({args[0]} {symbol} {args[1]})" if symbol else f"{expr.op}({', '.join(args)})"
