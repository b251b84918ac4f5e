"""Resize where scales, sizes or the region are data: the tables of elements and weights are computed in the module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Reduce, Require, Resample
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode
from littoral.compiler.onnx.operators import dynamic
from littoral.errors import ShapeError

__all__ = ["Form", "resize"]

INDEX = "int32"
WIDE = "float64"
GROWTH = 4  # how many times larger than its input an axis may become, where that is more than `DIM_ROOM`
SHRINK = 16  # how many times smaller an axis may become with antialias


@dataclass(frozen=True)
class Form:
    """The attributes of a Resize."""

    mode: str
    coordinate: str
    rounding: str
    cubic_a: float
    antialias: bool
    excludes: bool
    outside: float


class _Line(NamedTuple):
    """One axis: size before; scale, width (scale · size), size after, and the region's start and end, all float64."""

    size: int
    scale: Expr
    width: Expr
    after: Expr
    start: Expr
    end: Expr


def _one(value: float) -> Expr:
    return number(WIDE, value)


def _unless_single(width: Expr, value: Expr, single: Expr) -> Expr:
    return apply("select", apply("eq", width, _one(1.0)), single, value)


def _region(i: Expr, line: _Line) -> Expr:
    span = (line.end - line.start) * (line.size - 1.0)
    return _unless_single(line.width, i * span / (line.width - 1.0), span / 2.0) + line.start * (line.size - 1.0)


COORDINATES: dict[str, Callable[[Expr, _Line], Expr]] = {
    "half_pixel": lambda i, n: (i + 0.5) / n.scale - 0.5,
    "half_pixel_symmetric": lambda i, n: (1.0 - n.after / n.width) * (n.size / 2) + (i + 0.5) / n.scale - 0.5,
    "pytorch_half_pixel": lambda i, n: _unless_single(n.width, (i + 0.5) / n.scale - 0.5, _one(-0.5)),
    "align_corners": lambda i, n: _unless_single(n.width, i * (n.size - 1.0) / (n.width - 1.0), _one(0.0)),
    "asymmetric": lambda i, n: i / n.scale,
    "tf_crop_and_resize": _region,
}
NEAREST: dict[str, Callable[[Expr], Expr]] = {
    "round_prefer_floor": lambda x: apply("ceil", x - 0.5),
    "round_prefer_ceil": lambda x: apply("floor", x + 0.5),
    "floor": lambda x: apply("floor", x),
    "ceil": lambda x: apply("ceil", x),
}


def _triangle(distance: Expr, _a: float) -> Expr:
    return (1.0 - apply("abs", distance)).at_least(0.0)


def _keys(distance: Expr, a: float) -> Expr:
    d = apply("abs", distance)
    near = (d * (a + 2) - (a + 3)) * d * d + 1.0
    far = ((d * a - 5 * a) * d + 8 * a) * d - 4 * a
    return apply("select", d <= 1.0, near, apply("select", d < 2.0, far, _one(0.0)))


def resize(node: OnnxNode, x: Value, form: Form, scales_at: int) -> Value:
    """x resized along every axis to dimensions found at run time."""
    parameters = _parameters(node, x, scales_at, form)
    rank = x.type.rank
    rows = [cast(Load(WIDE, 0, number(INDEX, 2 * rank + a)), dynamic.LONG) for a in range(rank)]
    room = [d if rank > 2 and a < 2 else max(dynamic.DIM_ROOM, GROWTH * d) for a, d in enumerate(x.shape)]
    result = dynamic.sized(node, rows, room, parameters)
    if form.antialias:
        parameters = _checked_shrink(node, parameters, rank)
    y = x
    for axis, after in enumerate(result.largest):
        line = _line(x.shape[axis], axis, rank)
        coordinate = COORDINATES[form.coordinate](cast(Position(INDEX, 0), WIDE), line)
        place = node.add(Map(coordinate, (after,)), parameters)
        y = node.add(Resample(axis), y, *_tables(node, place, parameters, line, form))
    strides = contiguous(y.shape)

    def element(c: list[Expr], _: int) -> Expr:
        found: Expr = Load(x.dtype, 0, dynamic.flat_index(strides, c))
        if form.coordinate != "tf_crop_and_resize":
            return found
        for axis, at in enumerate(c):
            here = _region(cast(at, WIDE), _line(x.shape[axis], axis, rank, index=1))
            out = apply("or", here < 0.0, here > x.shape[axis] - 1.0)
            found = apply("select", out, number(x.dtype, form.outside), found)
        return found

    return result.fill(x.dtype, element, y, parameters)


def _line(size: int, axis: int, rank: int, index: int = 0) -> _Line:
    """What the parameters, input number `index` of an expression, say of an axis."""
    return _Line(size, *(Load(WIDE, index, number(INDEX, row * rank + axis)) for row in range(5)))


def _parameters(node: OnnxNode, x: Value, scales_at: int, form: Form) -> Value:
    """float64[5 · rank]: scales, widths, sizes, starts and ends of the region."""
    rank = x.type.rank
    axes = [node.normal_axis(a, rank) for a in node.optional_integers("axes") or range(rank)]
    policy = node.choice("keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
    scales_given, sizes_given = node.optional(scales_at), node.optional(scales_at + 1)
    by_scale = scales_given is not None and scales_given.type.elements > 0
    given = scales_given if by_scale else sizes_given
    if given is None or given.type.elements != len(axes):
        raise ShapeError(f"node `{node.label}`: scales or sizes for {len(axes)} axes are wanted")
    inputs = [given]
    asked = [cast(Load(given.dtype, 0, number(INDEX, j)), WIDE) for j in range(len(axes))]
    scales, widths, sizes = [_one(1.0)] * rank, [_one(float(d)) for d in x.shape], [_one(float(d)) for d in x.shape]
    ratios: list[Expr] = asked if by_scale else [v / float(x.shape[a]) for a, v in zip(axes, asked, strict=True)]
    common = ratios[0]
    for ratio in ratios[1:]:
        common = common.at_most(ratio) if policy == "not_larger" else common.at_least(ratio)
    for axis, wanted, ratio in zip(axes, asked, ratios, strict=True):
        size = float(x.shape[axis])
        if by_scale:
            scales[axis], widths[axis], sizes[axis] = ratio, ratio * size, apply("floor", ratio * size)
        elif policy == "stretch":
            scales[axis], widths[axis], sizes[axis] = ratio, wanted, wanted
        else:
            whole = apply("floor", common * size + 0.5)
            scales[axis], widths[axis], sizes[axis] = common, common * size, whole
    starts, ends = [_one(0.0)] * rank, [_one(1.0)] * rank
    region = node.optional(1) if form.coordinate == "tf_crop_and_resize" else None
    if region is not None:
        inputs.append(region)
        for j, axis in enumerate(axes):
            starts[axis], ends[axis] = (
                cast(Load(region.dtype, 1, number(INDEX, at)), WIDE) for at in (j, j + len(axes))
            )
    return dynamic.table(node, [*scales, *widths, *sizes, *starts, *ends], *inputs)


def _checked_shrink(node: OnnxNode, parameters: Value, rank: int) -> Value:
    fits: Expr = number("bool", 1)
    for axis in range(rank):
        fits = apply("and", fits, _line(1, axis, rank).scale >= 1 / SHRINK)
    flag = node.add(Map(fits, ()), parameters)
    return node.add(Require(f"node `{node.label}`: smaller than 1/{SHRINK} with antialias"), flag, parameters)


def _tables(node: OnnxNode, place: Value, parameters: Value, line: _Line, form: Form) -> tuple[Value, Value]:
    """Elements int32[size, taps] and weights float32[size, taps] for coordinates float64[size]."""
    count = place.shape[0]
    x, last = Load(WIDE, 0, Position(INDEX, 0)), float(line.size - 1)
    if form.mode == "nearest":
        at = cast(NEAREST[form.rounding](x).at_least(0.0).at_most(last), INDEX)
        return node.add(Map(at, (count, 1)), place), node.add(Map(number("float32", 1.0), (count, 1)))
    kernel, radius = (_triangle, 1) if form.mode == "linear" else (_keys, 2)
    reach = min(radius * line.size, radius * SHRINK) if form.antialias else radius
    first = apply("floor", x) - (reach - 1.0)
    at = first + cast(Position(INDEX, 1), WIDE)
    stretch = (
        Load(WIDE, 1, line.scale.at).at_most(1.0) if form.antialias and isinstance(line.scale, Load) else _one(1.0)
    )
    weight = kernel((at - x) * stretch, form.cubic_a)
    if form.excludes:
        inside = apply("and", at >= 0.0, at <= last)
        weight = apply("select", inside, weight, _one(0.0))
    shape = (count, 2 * reach)
    weights = node.add(Map(weight, shape), place, parameters)
    total = node.add(Reduce("sum", (1,)), weights)
    share = Arg(WIDE, 0) / Arg(WIDE, 1)
    indices = node.add(Map(cast(at.at_least(0.0).at_most(last), INDEX), shape), place)
    return indices, node.add(Map(cast(share, "float32")), weights, total)
