"""Reading between the elements of an image: GridSample, and the grid of an affine map."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.errors import ShapeError

INDEX = "int32"
MODES = {"linear": "linear", "bilinear": "linear", "nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}
_CUBIC_A = -0.75


class _Tap(NamedTuple):
    """Which element along an axis (int32), and its weight; both for every place of the grid."""

    place: Value
    weight: Value


class _Axis(NamedTuple):
    """Size of an axis of the image, and where it begins and ends for padding."""

    size: int
    low: float
    high: float
    padding: str

    def inside(self, x: Expr) -> Expr:
        """A coordinate or element number brought inside, where the padding does that."""
        if self.padding == "zeros":
            return x
        out = apply("or", x < self.low, x > self.high)
        if self.padding == "border":
            return apply("select", out, x.at_least(0.0).at_most(float(self.size - 1)), x)
        if self.high <= self.low:
            return x * 0.0
        span = self.high - self.low
        periods = apply("floor", (x - self.low) / (2 * span))
        there = (x - self.low) - periods * (2 * span)
        back = apply("select", there > span, 2 * span - there, there) + self.low
        return apply("select", out, back, x)


@operator("GridSample")
def grid_sample(node: OnnxNode) -> Value:
    """x[n, c, …] read at grid[n, …], whose last axis is a place from −1 to 1 in each dimension, the last one first."""
    x, grid = node.input(0), node.input(1)
    mode = MODES[node.choice("mode", "linear" if node.opset >= 20 else "bilinear", tuple(MODES))]
    padding = node.choice("padding_mode", "zeros", ("zeros", "border", "reflection"))
    corners = bool(node.integer("align_corners", 0))
    rank = x.type.rank - 2
    if grid.type.rank != x.type.rank or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise ShapeError(f"node `{node.label}`: grid {grid.type} for {x.type}")
    out = grid.shape[1:-1]
    taps = []
    for i, size in enumerate(x.shape[2:]):
        limits = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
        axis = _Axis(size, *limits, padding)
        taps.append(_taps(node, _place(node, grid, rank - 1 - i, axis, mode, corners), axis, mode))
    return _weighted_sum(node, x, taps, (*x.shape[:2], *out))


def _place(node: OnnxNode, grid: Value, part: int, axis: _Axis, mode: str, corners: bool) -> Value:
    """Coordinates along an axis, [n, 1, …]."""
    strides = contiguous(grid.shape)
    at: Expr = Position(INDEX, 0) * strides[0] + part
    for i, stride in enumerate(strides[1:-1]):
        at = at + Position(INDEX, 2 + i) * stride
    given = Load(grid.dtype, 0, at) + 1.0
    x = given / 2.0 * (axis.size - 1.0) if corners else (given * float(axis.size) - 1.0) / 2.0
    if mode == "nearest":
        x = apply("round", x)
    if mode != "cubic":  # a cubic kernel keeps its place, and its taps alone are brought inside
        x = axis.inside(x)
    return node.add(Map(x, (grid.shape[0], 1, *grid.shape[1:-1])), grid)


def _taps(node: OnnxNode, place: Value, axis: _Axis, mode: str) -> list[_Tap]:
    dtype = place.dtype
    x = Arg(dtype, 0)
    base: Expr = x if mode == "nearest" else apply("floor", x)
    ratio = x - base
    if mode == "nearest":
        terms: list[tuple[float, Expr]] = [(0.0, number(dtype, 1.0))]
    elif mode == "linear":
        terms = [(0.0, 1.0 - ratio), (1.0, ratio)]
    else:
        terms = list(zip((-1.0, 0.0, 1.0, 2.0), _cubic(ratio), strict=True))
    found = []
    for offset, share in terms:
        at = base + offset if offset else base
        weight = share
        if axis.padding == "zeros":
            there = apply("and", at >= 0.0, at < float(axis.size))
            weight = apply("select", there, share, number(dtype, 0.0))
        index = cast(axis.inside(at).at_least(0.0).at_most(float(axis.size - 1)), INDEX)
        found.append(_Tap(node.add(Map(index), place), node.add(Map(weight, place.shape), place)))
    return found


def _cubic(t: Expr) -> list[Expr]:
    """Keys' kernel at the distances 1 + t, t, 1 − t and 2 − t."""
    a = _CUBIC_A

    def near(d: Expr) -> Expr:
        return (d * (a + 2) - (a + 3)) * d * d + 1.0

    def far(d: Expr) -> Expr:
        return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]


def _weighted_sum(node: OnnxNode, x: Value, taps: Sequence[Sequence[_Tap]], shape: tuple[int, ...]) -> Value:
    """Along one axis after the other, the last first: Σ weight · element."""
    inputs = [x]

    def arg(value: Value) -> Arg:
        inputs.append(value)
        return Arg(value.dtype, len(inputs) - 1)

    strides = contiguous(x.shape)
    start: Expr = Position(INDEX, 0) * strides[0] + Position(INDEX, 1) * strides[1]
    named = [[(arg(t.place), arg(t.weight)) for t in axis] for axis in taps]

    def along(axis: int, at: Expr) -> Expr:
        if axis == len(named):
            return Load(x.dtype, 0, at)
        terms = [
            along(axis + 1, at + index * strides[2 + axis]) * cast(weight, x.dtype) for index, weight in named[axis]
        ]
        return reduce(lambda a, b: a + b, terms)

    total = along(0, start)
    return node.add(Map(total, shape), *inputs)


@operator("AffineGrid")
def affine_grid(node: OnnxNode) -> Value:
    """theta[n] applied to the places of an image of `size` (N, C, spatial…), each from −1 to 1."""
    theta, size = node.input(0), node.input(1)
    corners = bool(node.integer("align_corners", 0))
    rank = theta.shape[1]
    if size.shape != (rank + 2,) or theta.shape[2] != rank + 1:
        raise ShapeError(f"node `{node.label}`: theta {theta.type} for size {size.type}")
    rows = [dynamic.whole(theta.shape[0]), *(dynamic.at(size, 0, 2 + i) for i in range(rank)), dynamic.whole(rank)]
    result = dynamic.sized(node, rows, [theta.shape[0], *(dynamic.DIM_ROOM,) * rank, rank], size)

    def element(c: list[Expr], dims: int) -> Expr:
        row = (c[0] * rank + c[-1]) * (rank + 1)
        total: Expr = Load(theta.dtype, 0, row + rank)
        for i in range(rank):
            along = cast(Load("int64", dims, number(INDEX, rank - i)), theta.dtype)
            total = total + Load(theta.dtype, 0, row + i) * _grid_place(c[rank - i], along, corners)
        return total

    return result.fill(theta.dtype, element, theta)


def _grid_place(at: Expr, size: Expr, corners: bool) -> Expr:
    steps = cast(at, size.dtype)
    if corners:
        return steps * (2.0 / (size - 1.0).at_least(1.0)) - 1.0
    return (steps * 2.0 + 1.0) / size - 1.0
