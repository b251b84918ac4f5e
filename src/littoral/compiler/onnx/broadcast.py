"""Broadcasting between tensors whose shapes depend on data."""

from collections.abc import Mapping, Sequence

from littoral.compiler.ir.expr import Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Builder, Value
from littoral.compiler.ir.ops import Map, Require, Reshape
from littoral.errors import ShapeError
from littoral.tensors import element_count

__all__ = ["spread_together"]

INDEX = "int32"
LONG = "int64"
ELEMENTS_MAX = 1 << 26


def spread_together(
    build: Builder, dims: Mapping[Value, Value], inputs: Sequence[Value | None]
) -> tuple[Value, list[Value | None]]:
    """The dimensions of the result (int64, one an axis), and every input packed for them.

    dims: the actual dimensions of tensors of unknown size. A run whose dimensions do not fit ends.
    """
    given = [v for v in inputs if v is not None]
    rank = max(v.type.rank for v in given)
    largest = tuple(max(_largest(v, axis, rank) for v in given) for axis in range(rank))
    if element_count(largest) > ELEMENTS_MAX:
        raise ShapeError(f"node `{build.label}`: the result may become {list(largest)}, which is too large")
    sources = [dims[v] for v in given if v in dims]
    shared, fits = _shared(given, dims, sources, rank)
    found = build.add(Map(shared, (rank,)), *sources)
    checked = build.add(
        Require(f"node `{build.label}`: dimensions do not broadcast"), build.add(Map(fits, ()), *sources), found
    )
    return checked, [None if v is None else _spread(build, dims, v, checked, largest) for v in inputs]


def _largest(value: Value, axis: int, rank: int) -> int:
    at = axis - (rank - value.type.rank)
    return value.shape[at] if at >= 0 else 1


def _size(value: Value, axis: int, rank: int, dims: int | None) -> Expr:
    """A dimension of a value under axes of `rank`; dims: the number of the input that holds them."""
    at = axis - (rank - value.type.rank)
    if at < 0:
        return number(LONG, 1)
    return number(LONG, value.shape[at]) if dims is None else Load(LONG, dims, number(INDEX, at))


def _shared(
    given: Sequence[Value], dims: Mapping[Value, Value], sources: Sequence[Value], rank: int
) -> tuple[Expr, Expr]:
    """Dimension number `Position(0)` of the result, and whether all dimensions fit."""
    one = number(LONG, 1)
    row: Expr = one
    fits: Expr = number("bool", 1)
    for axis in reversed(range(rank)):
        size: Expr = one
        for value in given:
            own = _size(value, axis, rank, sources.index(dims[value]) if value in dims else None)
            single = apply("eq", own, one)
            alike = apply("or", apply("eq", own, size), apply("or", single, apply("eq", size, one)))
            fits, size = apply("and", fits, alike), apply("select", single, size, own)
        row = apply("select", apply("eq", Position(INDEX, 0), number(INDEX, axis)), size, row)
    return row, fits


def _spread(
    build: Builder, dims: Mapping[Value, Value], value: Value, result: Value, largest: tuple[int, ...]
) -> Value:
    rank = len(largest)
    inputs = [value, result, *([dims[value]] if value in dims else [])]
    rest: Expr = Position(INDEX, 0)
    at: Expr = number(INDEX, 0)
    step: Expr = number(INDEX, 1)
    for axis in reversed(range(rank)):
        size = cast(Load(LONG, 1, number(INDEX, axis)), INDEX).at_least(1)
        own = cast(_size(value, axis, rank, 2 if value in dims else None), INDEX)
        part = apply("select", apply("eq", own, number(INDEX, 1)), number(INDEX, 0), apply("rem", rest, size))
        at, step, rest = at + part * step, step * own, apply("div", rest, size)
    inside = at.at_least(0).at_most(max(value.type.elements - 1, 0))
    flat = build.add(Map(Load(value.dtype, 0, inside), (element_count(largest),)), *inputs)
    return build.add(Reshape(largest), flat)
