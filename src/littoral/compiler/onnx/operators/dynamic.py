"""Operators whose result has a shape that depends on data.

The result is a buffer for the largest shape, its actual dimensions, and a check that they fit. Its elements are packed
for the actual shape: element i of the buffer finds its coordinates by dividing i by the actual dimensions, and from
them what it is made of. Nothing here has loops of unknown length.
"""

from collections.abc import Callable, Sequence

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number, substitute
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Require, Reshape, Scatter
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode
from littoral.errors import ShapeError
from littoral.tensors import DTYPES, element_count

__all__ = ["DIM_ROOM", "Sized", "at", "pick", "sized", "table", "whole"]

INDEX = "int32"
LONG = "int64"
DIM_ROOM = 64  # how much larger than its input a dimension without a natural bound may become
ELEMENTS_MAX = 1 << 26


def whole(value: float) -> Expr:
    return number(LONG, value)


def at(value: Value, index: int, place: Expr | int) -> Expr:
    """Element `place` of an input, as int64."""
    where = number(INDEX, place) if isinstance(place, int) else place
    return cast(Load(value.dtype, index, where), LONG)


def pick(rows: Sequence[Expr]) -> Expr:
    """Row number `Position(0)`."""
    found = rows[-1] if rows else whole(0)
    for i, row in reversed(list(enumerate(rows[:-1]))):
        found = apply("select", apply("eq", Position(INDEX, 0), number(INDEX, i)), row, found)
    return found


def table(node: OnnxNode, rows: Sequence[Expr], *inputs: Value) -> Value:
    """int64[len(rows)], each computed from the inputs."""
    return node.add(Map(pick(rows), (len(rows),)), *inputs)


class Sized:
    """A result under construction: its largest shape and its actual dimensions. Known dimensions are its shape."""

    def __init__(self, node: OnnxNode, dims: Value, largest: Sequence[int]) -> None:
        self.is_known = dims.data is not None
        if dims.data is not None:
            largest = [int(d) for d in dims.data]
            if any(d < 0 for d in largest):
                raise ShapeError(f"node `{node.label}`: a result of shape {largest}")
        if element_count(largest) > ELEMENTS_MAX:
            node.unsupported(f"may become {list(largest)}, which is too large")
        self.node = node
        self.largest = tuple(largest)
        if self.largest and not self.is_known:
            fits: Expr = number("bool", 1)
            for axis, most in enumerate(self.largest):
                d = at(dims, 0, axis)
                fits = apply("and", fits, apply("and", d >= whole(0), d <= whole(most)))
            flag = node.add(Map(fits, ()), dims)
            why = f"node `{node.label}`: the result is larger than {list(self.largest)}"
            dims = node.add(Require(why), flag, dims)
        self.dims = dims

    def fill(self, dtype: str, element: Callable[[list[Expr], int], Expr], *inputs: Value) -> Value:
        """The result. element: from coordinates (int32), and the number of the input that holds the dimensions."""
        place = len(inputs)
        if self.is_known:
            positions: list[Expr] = [Position(INDEX, axis) for axis in range(len(self.largest))]
            return self.node.add(Map(element(positions, place), self.largest), *inputs, self.dims)
        count = element_count(self.largest)
        rest: Expr = Position(INDEX, 0)
        coordinates: list[Expr] = []
        for axis in reversed(range(len(self.largest))):
            size = cast(at(self.dims, place, axis), INDEX).at_least(1)
            coordinates.append(apply("rem", rest, size))
            rest = apply("div", rest, size)
        value = element(coordinates[::-1], place)
        flat = self.node.add(Map(value, (count,)), *inputs, self.dims)
        return self.take(self.node.add(Reshape(self.largest), flat) if flat.dtype == dtype else flat)

    def take(self, data: Value) -> Value:
        """Says that a buffer holds this result."""
        if not self.is_known:
            self.node.dims[data] = self.dims
        return data


def sized(node: OnnxNode, rows: Sequence[Expr], largest: Sequence[int], *inputs: Value) -> Sized:
    """A result with dimensions computed from the inputs."""
    return Sized(node, table(node, rows, *inputs), largest)


def flat_index(strides: Sequence[int], parts: Sequence[Expr]) -> Expr:
    total: Expr = number(INDEX, 0)
    for stride, part in zip(strides, parts, strict=True):
        total = total + part * stride
    return total


def packed_index(parts: Sequence[Expr], dims: Value, index: int) -> Expr:
    """The place of an element in a tensor packed for its actual dimensions, which are input number `index`."""
    total: Expr = number(INDEX, 0)
    for axis, part in enumerate(parts):
        total = total * cast(at(dims, index, axis), INDEX) + part
    return total


def transpose(node: OnnxNode, x: Value, order: Sequence[int]) -> Value:
    """Of a tensor of unknown size."""
    known = node.dims[x]
    result = sized(node, [at(known, 0, a) for a in order], [x.shape[a] for a in order], known)

    def element(c: list[Expr], _: int) -> Expr:
        parts = [c[order.index(a)] for a in range(x.type.rank)]
        return Load(x.dtype, 0, packed_index(parts, known, 1).at_most(max(x.type.elements - 1, 0)))

    return result.fill(x.dtype, element, x, known)


def reshape(node: OnnxNode, x: Value, shape: Value, keeps_zero: bool) -> Value:
    rank, total = shape.shape[0], x.type.elements
    given = [at(shape, 0, i) for i in range(rank)]
    kept = [
        d if keeps_zero or i >= x.type.rank else apply("select", apply("eq", d, whole(0)), whole(x.shape[i]), d)
        for i, d in enumerate(given)
    ]
    known: Expr = whole(1)
    for d in kept:
        known = known * apply("select", d < whole(0), whole(1), d)
    rest = apply("div", whole(total), known)
    rows = [apply("select", d < whole(0), rest, d) for d in kept]
    result = sized(node, rows, [total or DIM_ROOM] * rank, shape)
    flat = node.add(Reshape((total,)), x)
    spread = node.add(
        Map(Load(x.dtype, 0, Position(INDEX, 0).at_most(max(total - 1, 0))), (element_count(result.largest),)), flat
    )
    return result.take(node.add(Reshape(result.largest), spread))


def expand(node: OnnxNode, x: Value, shape: Value) -> Value:
    length = shape.shape[0]
    rank = max(length, x.type.rank)
    own = (1,) * (rank - x.type.rank) + x.shape
    rows = []
    for axis in range(rank):
        asked = at(shape, 0, axis - (rank - length)) if axis >= rank - length else whole(1)
        rows.append(apply("select", apply("eq", asked, whole(1)), whole(own[axis]), asked))
    result = sized(node, rows, [d if d > 1 else DIM_ROOM for d in own], shape)
    strides = contiguous(own)

    def element(c: list[Expr], _: int) -> Expr:
        return Load(x.dtype, 0, flat_index([s if d > 1 else 0 for s, d in zip(strides, own, strict=True)], c))

    return result.fill(x.dtype, element, x)


def tile(node: OnnxNode, x: Value, repeats: Value) -> Value:
    rows = [at(repeats, 0, i) * whole(d) for i, d in enumerate(x.shape)]
    result = sized(node, rows, [d * 16 for d in x.shape], repeats)

    def element(c: list[Expr], _: int) -> Expr:
        inside = [apply("rem", part, number(INDEX, max(d, 1))) for part, d in zip(c, x.shape, strict=True)]
        return Load(x.dtype, 0, flat_index(contiguous(x.shape), inside))

    return result.fill(x.dtype, element, x)


def chosen(
    rank: int, axis: int, axes: Callable[[int], Expr], count: int, value: Callable[[int], Expr], default: Expr
) -> Expr:
    """value(j) for the j whose axis is this one, counted from either end."""
    found = default
    for j in range(count):
        given = axes(j)
        hit = apply("or", apply("eq", given, whole(axis)), apply("eq", given, whole(axis - rank)))
        found = apply("select", hit, value(j), found)
    return found


def slice_of(node: OnnxNode, x: Value, starts: Value, ends: Value, axes: Value | None, steps: Value | None) -> Value:
    rank, count = x.type.rank, starts.shape[0]
    inputs = [starts, ends, *(v for v in (axes, steps) if v is not None)]
    step_at = 3 if axes is not None else 2
    known = node.dims.get(x)
    inputs += [known] if known is not None else []

    def axis_of(j: int) -> Expr:
        return whole(j) if axes is None else at(axes, 2, j)

    begins, strides, sizes = [], [], []
    for axis, size in enumerate(x.shape):
        d: Expr = whole(size) if known is None else at(known, len(inputs) - 1, axis)
        zero = whole(0)
        step: Expr = whole(1)
        if steps is not None:
            step = chosen(rank, axis, axis_of, count, lambda j: at(steps, step_at, j), whole(1))
        back = step < zero
        absent = apply("select", back, d - 1, zero), apply("select", back, -d - 1, d)
        begin = chosen(rank, axis, axis_of, count, lambda j: at(starts, 0, j), absent[0])
        end = chosen(rank, axis, axis_of, count, lambda j: at(ends, 1, j), absent[1])
        begin, end = (apply("select", v < zero, v + d, v) for v in (begin, end))
        low, high = apply("select", back, whole(-1), zero), apply("select", back, d - 1, d)
        begin, end = begin.at_least(zero).at_most(high), end.at_least(low).at_most(high)
        span = apply("select", back, begin - end, end - begin)
        pace = apply("abs", step).at_least(whole(1))
        begins.append(begin)
        strides.append(step)
        sizes.append(apply("div", span + pace - 1, pace).at_least(zero))
    result = sized(node, sizes, x.shape, *inputs)
    first, pace_of = table(node, begins, *inputs), table(node, strides, *inputs)

    def element(c: list[Expr], _: int) -> Expr:
        parts = [cast(at(first, 1, a), INDEX) + c[a] * cast(at(pace_of, 2, a), INDEX) for a in range(rank)]
        if known is not None:
            return Load(x.dtype, 0, packed_index(parts, known, 3).at_least(0).at_most(max(x.type.elements - 1, 0)))
        inside = [p.at_least(0).at_most(max(d - 1, 0)) for p, d in zip(parts, x.shape, strict=True)]
        return Load(x.dtype, 0, flat_index(contiguous(x.shape), inside))

    return result.fill(x.dtype, element, x, first, pace_of, *([known] if known is not None else []))


def pad(node: OnnxNode, x: Value, pads: Value, value: Value, axes: Value | None, mode: str) -> Value:
    rank, count = x.type.rank, pads.shape[0] // 2
    inputs = [pads, *([axes] if axes is not None else [])]

    def axis_of(j: int) -> Expr:
        return whole(j) if axes is None else at(axes, 1, j)

    befores = [chosen(rank, a, axis_of, count, lambda j: at(pads, 0, j), whole(0)) for a in range(rank)]
    afters = [chosen(rank, a, axis_of, count, lambda j: at(pads, 0, j + count), whole(0)) for a in range(rank)]
    rows = [whole(d) + b + e for d, b, e in zip(x.shape, befores, afters, strict=True)]
    result = sized(node, rows, [d + DIM_ROOM for d in x.shape], *inputs)
    before = table(node, befores, *inputs)

    def element(c: list[Expr], _: int) -> Expr:
        inside: Expr = number("bool", 1)
        parts = []
        for a, d in enumerate(x.shape):
            place = c[a] - cast(at(before, 2, a), INDEX)
            inside = apply("and", inside, apply("and", place >= 0, place < d))
            parts.append(_mirrored(mode, place, d).at_least(0).at_most(max(d - 1, 0)))
        found = Load(x.dtype, 0, flat_index(contiguous(x.shape), parts))
        if mode != "constant":
            return found
        return apply("select", inside, found, Load(value.dtype, 1, number(INDEX, 0)))

    return result.fill(x.dtype, element, x, value, before)


def _mirrored(mode: str, place: Expr, size: int) -> Expr:
    """Which element a padded place shows."""
    if mode == "wrap":
        return apply("mod", place, number(INDEX, max(size, 1)))
    if mode == "reflect":
        return (size - 1) - apply("abs", (size - 1) - apply("abs", place))
    return place


def _is_axis(axes: Value, index: int, rank: int, axis: int) -> Expr:
    found: Expr = number("bool", 0)
    for j in range(axes.type.elements):
        given = at(axes, index, j)
        found = apply("or", found, apply("or", apply("eq", given, whole(axis)), apply("eq", given, whole(axis - rank))))
    return found


def _compacted(kept: Sequence[Expr], sizes: Sequence[Expr], count: int) -> list[Expr]:
    """The sizes of the kept axes, one after the other."""
    places: list[Expr] = []
    place: Expr = whole(0)
    for flag in kept:
        places.append(place)
        place = place + cast(flag, LONG)
    rows = []
    for i in range(count):
        row: Expr = whole(1)
        for flag, at_place, size in zip(kept, places, sizes, strict=True):
            row = apply("select", apply("and", flag, apply("eq", at_place, whole(i))), size, row)
        rows.append(row)
    return rows


def _without(flag: Expr) -> Expr:
    return apply("eq", flag, number("bool", 0))


def squeeze(node: OnnxNode, x: Value, axes: Value) -> Value:
    rank = x.type.rank
    kept = [_without(_is_axis(axes, 0, rank, a)) for a in range(rank)]
    rows = _compacted(kept, [whole(d) for d in x.shape], rank - axes.type.elements)
    result = sized(node, rows, [max((*x.shape, 1))] * len(rows), axes)
    return _same_elements(node, x, result)


def unsqueeze(node: OnnxNode, x: Value, axes: Value) -> Value:
    rank = x.type.rank + axes.type.elements
    old: Expr = whole(0)
    rows = []
    for a in range(rank):
        new = _is_axis(axes, 0, rank, a)
        size: Expr = whole(1)
        for i, d in enumerate(x.shape):
            size = apply("select", apply("eq", old, whole(i)), whole(d), size)
        rows.append(apply("select", new, whole(1), size))
        old = old + cast(_without(new), LONG)
    result = sized(node, rows, [max((*x.shape, 1))] * rank, axes)
    return _same_elements(node, x, result)


def _same_elements(node: OnnxNode, x: Value, result: Sized) -> Value:
    last = max(x.type.elements - 1, 0)
    spread = Load(x.dtype, 0, Position(INDEX, 0).at_most(last))
    flat = node.add(Map(spread, (element_count(result.largest),)), node.add(Reshape((x.type.elements,)), x))
    return result.take(node.add(Reshape(result.largest), flat))


def counted(node: OnnxNode, start: Value, stop: Value, step: Value) -> Value:
    """Range: start, start + step … below stop."""
    dtype = start.dtype
    a, b, c = (Load(dtype, i, number(INDEX, 0)) for i in range(3))
    if dtype.startswith("float"):
        length = cast(apply("ceil", (b - a) / c), LONG)
    else:
        span = cast(b, LONG) - cast(a, LONG)
        pace = cast(c, LONG)
        length = apply("div", span + pace - apply("select", pace < whole(0), whole(-1), whole(1)), pace)
    result = sized(node, [length.at_least(whole(0))], [4096], start, stop, step)
    base, pace_by = Load(dtype, 0, number(INDEX, 0)), Load(dtype, 1, number(INDEX, 0))
    return result.fill(dtype, lambda i, _: base + cast(i[0], dtype) * pace_by, start, step)


def filled(node: OnnxNode, shape: Value, value: Value) -> Value:
    rank = shape.shape[0]
    result = sized(node, [at(shape, 0, i) for i in range(rank)], [DIM_ROOM] * rank, shape)
    return result.fill(value.dtype, lambda _, __: Load(value.dtype, 0, number(INDEX, 0)), value)


def split(node: OnnxNode, x: Value, sizes: Value, axis: int) -> list[Value]:
    """Pieces of runtime sizes along an axis."""
    found = []
    for i in range(sizes.shape[0]):
        begin: Expr = whole(0)
        for j in range(i):
            begin = begin + at(sizes, 0, j)
        rows = [at(sizes, 0, i) if a == axis else whole(d) for a, d in enumerate(x.shape)]
        result = sized(node, rows, x.shape, sizes)
        first = table(node, [begin], sizes)

        def element(c: list[Expr], _: int, first: Value = first) -> Expr:
            parts = list(c)
            parts[axis] = (parts[axis] + cast(at(first, 1, 0), INDEX)).at_most(max(x.shape[axis] - 1, 0))
            return Load(x.dtype, 0, flat_index(contiguous(x.shape), parts))

        found.append(result.fill(x.dtype, element, x, first))
    return found


def one_hot(node: OnnxNode, indices: Value, depth: Value, values: Value, axis: int) -> Value:
    shape = indices.shape
    deep = cast(Load(depth.dtype, 0, number(INDEX, 0)), LONG)
    rows = [*(whole(d) for d in shape[:axis]), deep, *(whole(d) for d in shape[axis:])]
    result = sized(node, rows, [*shape[:axis], DIM_ROOM, *shape[axis:]], depth)

    def element(c: list[Expr], _: int) -> Expr:
        place = flat_index(contiguous(shape), [*c[:axis], *c[axis + 1 :]])
        size = cast(Load(depth.dtype, 2, number(INDEX, 0)), LONG)
        index = cast(Load(indices.dtype, 0, place), LONG)
        index = apply("select", index < whole(0), index + size, index)
        hit = apply("eq", index, cast(c[axis], LONG))
        return apply("select", hit, *(Load(values.dtype, 1, number(INDEX, i)) for i in (1, 0)))

    return result.fill(values.dtype, element, indices, values, depth)


_START = {"add": 0.0, "mul": 1.0, "max": float("-inf"), "min": float("inf")}


def reduce(
    node: OnnxNode,
    x: Value,
    axes: Value,
    combine: str,
    before: Expr,
    after: Callable[[Expr, Expr], Expr] | None,
    keep: bool,
) -> Value:
    """A reduction over axes known at run time: every element is added to the place of its kept coordinates.

    after: from the result and the number of elements that went into it (int64).
    """
    rank = x.type.rank
    reduced = [_is_axis(axes, 0, rank, a) for a in range(rank)]
    kept = [_without(flag) for flag in reduced]
    sizes = [apply("select", flag, whole(d), whole(1)) for flag, d in zip(kept, x.shape, strict=True)]
    rows = sizes if keep else _compacted(kept, [whole(d) for d in x.shape], rank - axes.type.elements)
    largest = [max(d, 1) for d in x.shape] if keep else [max((*x.shape, 1))] * len(rows)
    result = sized(node, rows, largest, axes)
    strides: list[Expr] = []
    step: Expr = whole(1)
    for flag, size in zip(reversed(kept), reversed(sizes), strict=True):
        strides.insert(0, apply("select", flag, step, whole(0)))
        step = step * size
    step_of = table(node, strides, axes)
    place: Expr = number(INDEX, 0)
    for axis in range(rank):
        place = place + Position(INDEX, axis) * cast(at(step_of, 2, axis), INDEX)
    dtype = before.dtype
    start = _start_of(combine, dtype)
    buffer = node.add(Map(start, (element_count(result.largest),)))
    filled_in = node.add(Scatter(x.shape, place, _second(before), combine), buffer, x, step_of)
    if after is not None:
        count: Expr = whole(1)
        for flag, d in zip(reduced, x.shape, strict=True):
            count = count * apply("select", flag, whole(d), whole(1))
        total = table(node, [count], axes)
        filled_in = node.add(Map(after(Arg(dtype, 0), at(total, 1, 0))), filled_in, total)
    return result.take(node.add(Reshape(result.largest), filled_in))


def _start_of(combine: str, dtype: str) -> Expr:
    if dtype.startswith("float") or combine in ("add", "mul"):
        return number(dtype, _START[combine])
    bits = 8 * DTYPES[dtype].bytes
    signed = not dtype.startswith("u")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return number(dtype, low if combine == "max" else high) if dtype != "bool" else number(dtype, combine == "min")


def _second(expr: Expr) -> Expr:
    """An expression of input 0, of input 1."""
    return substitute(expr, lambda n: Arg(n.dtype, 1) if isinstance(n, Arg) else None)
