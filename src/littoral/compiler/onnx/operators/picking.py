"""Operators that keep as many elements as data say, and what is cut or placed where data say."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Cumulate, Map, Reduce, Reshape, Scatter, Slice, Transpose
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.tensors import element_count

INDEX = "int32"
LONG = "int64"
UNIQUE_MAX = 4096  # items; each is compared with each


def zeros_of(node: OnnxNode, dtype: str, shape: tuple[int, ...]) -> Value:
    """Zeros that are made at run time and take no room in the file."""
    return node.add(Map(number(dtype, 0), shape))


def numbers_of_true(node: OnnxNode, flags: Value) -> tuple[Value, Value]:
    """Where flags [n] are true: their numbers, one after the other (int64[n]), and how many there are (int64[1])."""
    (size,) = flags.shape
    run = node.add(Cumulate("sum", 0), node.add(Map(cast(Arg("bool", 0), LONG)), flags))
    count = node.constant(np.zeros(1, np.int64)) if not size else node.add(Slice((size - 1,), (1,), (1,)), run)
    place = cast(Arg(LONG, 2) - 1, INDEX)
    numbers = Scatter((size,), place, cast(Position(INDEX, 0), LONG), guard=Arg("bool", 1))
    return node.add(numbers, zeros_of(node, LONG, (size,)), flags, run), count


def _element(value: Value, index: int, at: Expr) -> Expr:
    """An element of an int64 input as int32; a place beyond the end gives the last."""
    return cast(Load(LONG, index, at.at_most(max(value.type.elements - 1, 0))), INDEX)


@operator("Compress", keeps_halves=True)
def compress(node: OnnxNode) -> Value:
    """The slices along an axis (or the elements of all) whose condition is true."""
    x, condition = node.input(0), node.input(1)
    if node.has("axis"):
        axis = node.axis("axis", 0, x.type.rank)
    else:
        x, axis = node.add(Reshape((x.type.elements,)), x), 0
    size = min(condition.type.elements, x.shape[axis])
    flags = node.add(Slice((0,), (1,), (size,)), condition)
    numbers, count = numbers_of_true(node, flags)
    rows = [dynamic.at(count, 0, 0) if a == axis else dynamic.whole(d) for a, d in enumerate(x.shape)]
    result = dynamic.sized(node, rows, [size if a == axis else d for a, d in enumerate(x.shape)], count)

    def element(c: list[Expr], _: int) -> Expr:
        parts = [_element(numbers, 1, at) if a == axis else at for a, at in enumerate(c)]
        return Load(x.dtype, 0, dynamic.flat_index(contiguous(x.shape), parts))

    return result.fill(x.dtype, element, x, numbers)


@operator("NonZero", keeps_halves=True)
def non_zero(node: OnnxNode) -> Value:
    """Coordinates of what is not 0: int64[rank, count]."""
    x = node.input(0)
    shape = x.shape or (1,)
    flat = node.add(Reshape((x.type.elements,)), x)
    flags = node.add(Map(cast(Arg(x.dtype, 0), "bool")), flat)
    numbers, count = numbers_of_true(node, flags)
    rows = [dynamic.whole(len(shape)), dynamic.at(count, 0, 0)]
    result = dynamic.sized(node, rows, [len(shape), x.type.elements], count)

    def element(c: list[Expr], _: int) -> Expr:
        at = _element(numbers, 0, c[1])
        found: Expr = number(INDEX, 0)
        for axis, (size, stride) in enumerate(zip(shape, contiguous(shape), strict=True)):
            part = apply("rem", apply("div", at, number(INDEX, stride)), number(INDEX, max(size, 1)))
            found = apply("select", apply("eq", c[0], number(INDEX, axis)), part, found)
        return cast(found, LONG)

    return result.fill(LONG, element, numbers)


@operator("Unique")
def unique(node: OnnxNode) -> list[Value]:
    """Items that differ, in order or as they come; where each first is, where each item went, and how often it is."""
    x = node.input(0)
    in_order = bool(node.integer("sorted", 1))
    if node.has("axis"):
        axis = node.axis("axis", 0, x.type.rank)
    else:
        x, axis = node.add(Reshape((x.type.elements,)), x), 0
    size = x.shape[axis]
    if size > UNIQUE_MAX:
        node.unsupported(f"of {size} items, at most {UNIQUE_MAX}")
    first, places = _places(node, x, axis, in_order)
    _, count = numbers_of_true(node, first)
    zeros = zeros_of(node, LONG, (size,))
    at = cast(Arg(LONG, 1), INDEX)
    firsts = Scatter((size,), at, cast(Position(INDEX, 0), LONG), guard=Arg("bool", 2))
    indices = node.add(firsts, zeros, places, first)
    counts = node.add(Scatter((size,), at, number(LONG, 1), "add"), zeros, places)
    rows = [dynamic.at(count, 0, 0) if a == axis else dynamic.whole(d) for a, d in enumerate(x.shape)]
    result = dynamic.sized(node, rows, x.shape, count)

    def element(c: list[Expr], _: int) -> Expr:
        parts = [_element(indices, 1, at) if a == axis else at for a, at in enumerate(c)]
        return Load(x.dtype, 0, dynamic.flat_index(contiguous(x.shape), parts))

    line = dynamic.sized(node, [dynamic.at(count, 0, 0)], [size], count)
    values = result.fill(x.dtype, element, x, indices)
    return [values, line.take(indices), places, line.take(counts)]


def _places(node: OnnxNode, x: Value, axis: int, in_order: bool) -> tuple[Value, Value]:
    """Which items (slices along an axis) are the first of their kind, and at which place their kind comes."""
    size, rank = x.shape[axis], x.type.rank
    order = (axis, *(a for a in range(rank) if a != axis))
    width = x.type.elements // max(size, 1)
    items = node.add(Reshape((size, width)), node.add(Transpose(order), x))
    i, j, k = (Position(INDEX, a) for a in range(3))
    one, other = (Load(x.dtype, 0, p * width + k) for p in (i, j))
    differs = apply("select", apply("ne", one, other), k, number(INDEX, width))
    difference = node.add(Reduce("min", (2,), differs, None, (size, size, width)), items)
    difference = node.add(Reshape((size, size)), difference)
    same = apply("eq", Arg(INDEX, 0), number(INDEX, width))
    before = node.add(Reduce("max", (1,), cast(apply("and", same, j < i), INDEX), None, (size, size)), difference)
    first = node.add(Reshape((size,)), node.add(Map(apply("eq", Arg(INDEX, 0), number(INDEX, 0))), before))
    counted = Load("bool", 1, j)
    if in_order:
        at = Arg(INDEX, 0).at_most(max(width - 1, 0))
        less = Load(x.dtype, 2, j * width + at) < Load(x.dtype, 2, i * width + at)
        ahead = apply("and", less, apply("ne", Arg(INDEX, 0), number(INDEX, width)))
        term = cast(apply("and", ahead, counted), LONG)
        places = node.add(Reduce("sum", (1,), term, None, (size, size)), difference, first, items)
        return first, node.add(Reshape((size,)), places)
    met = node.add(Reduce("min", (1,), apply("select", same, j, number(INDEX, size)), None, (size, size)), difference)
    run = node.add(Cumulate("sum", 0), node.add(Map(cast(Arg("bool", 0), LONG)), first))
    kind = Load(LONG, 1, Load(INDEX, 0, Position(INDEX, 0)).at_most(max(size - 1, 0))) - 1
    return first, node.add(Map(kind, (size,)), met, run)


def center_crop_pad(node: OnnxNode, x: Value, shape: Value, axes: Sequence[int]) -> Value:
    """The middle of x, or x in the middle of zeros, by axis."""
    rows = [dynamic.whole(d) for d in x.shape]
    for j, axis in enumerate(axes):
        rows[axis] = dynamic.at(shape, 0, j)
    room = [d + dynamic.DIM_ROOM if a in axes else d for a, d in enumerate(x.shape)]
    result = dynamic.sized(node, rows, room, shape)

    def element(c: list[Expr], dims: int) -> Expr:
        inside: Expr = number("bool", 1)
        parts = []
        for a, (at, size) in enumerate(zip(c, x.shape, strict=True)):
            spare = size - cast(dynamic.at(result.dims, dims, a), INDEX)
            place = at + apply("div", spare, number(INDEX, 2))
            inside = apply("and", inside, apply("and", place >= 0, place < size))
            parts.append(place.at_least(0).at_most(max(size - 1, 0)))
        found = Load(x.dtype, 0, dynamic.flat_index(contiguous(x.shape), parts))
        return apply("select", inside, found, number(x.dtype, 0))

    return result.fill(x.dtype, element, x)


def column_to_image(node: OnnxNode, x: Value, image: Value, block: Value) -> Value:
    """Every element of the columns is added to its place in the image, where sizes are data."""
    rank, (batch, rows_in, _) = image.shape[0], x.shape
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    taps: Expr = dynamic.whole(1)
    for i in range(rank):
        taps = taps * dynamic.at(block, 1, i)
    sizes, blocks = [[dynamic.at(v, j, i) for i in range(rank)] for j, v in enumerate((image, block))]
    counts = [
        apply("div", sizes[i] + (pads[i] + pads[i + rank] - 1) - (blocks[i] - 1) * dilations[i], _long(strides[i])) + 1
        for i in range(rank)
    ]
    channels = apply("div", dynamic.whole(rows_in), taps)
    result = dynamic.sized(
        node, [dynamic.whole(batch), channels, *sizes], [batch, rows_in, *(dynamic.DIM_ROOM,) * rank], image, block
    )
    about = dynamic.table(node, [taps, channels, *sizes, *blocks, *counts], image, block)

    def told(row: int) -> Expr:
        return cast(dynamic.at(about, 2, row), INDEX).at_least(1)

    tap = apply("rem", Position(INDEX, 1), told(0))
    column: Expr = Position(INDEX, 2)
    inside: Expr = number("bool", 1)
    flat: Expr = number(INDEX, 0)
    step: Expr = number(INDEX, 1)
    for i in reversed(range(rank)):
        size, wide, count = told(2 + i), told(2 + rank + i), told(2 + 2 * rank + i)
        place = apply("rem", column, count) * strides[i] + apply("rem", tap, wide) * dilations[i] - pads[i]
        tap, column = apply("div", tap, wide), apply("div", column, count)
        inside = apply("and", inside, apply("and", place >= 0, place < size))
        flat, step = flat + place * step, step * size
    channel = Position(INDEX, 0) * told(1) + apply("div", Position(INDEX, 1), told(0))
    buffer = zeros_of(node, x.dtype, (element_count(result.largest),))
    added = Scatter(x.shape, channel * step + flat, Arg(x.dtype, 1), "add", guard=inside)
    return result.take(node.add(Reshape(result.largest), node.add(added, buffer, x, about)))


def _long(value: int) -> Expr:
    return dynamic.whole(value)
