"""Movement of tensors of unknown size: their buffers are packed for the actual dimensions, which come beside them.

What only changes the shape moves nothing: the buffer stays, and other dimensions come with it.
"""

from collections.abc import Sequence

from littoral.compiler.ir.expr import Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Reshape, Slice
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode
from littoral.compiler.onnx.operators import dynamic
from littoral.errors import ShapeError
from littoral.tensors import element_count

__all__ = ["concat", "gather", "reshape", "size_of", "squeeze", "unsqueeze"]

INDEX = "int32"
LONG = "int64"


def _dim(node: OnnxNode, x: Value, axis: int, sources: list[Value]) -> Expr:
    """A dimension as int64; `sources` are the inputs of the expression, to which the dimensions of x are added."""
    if x not in node.dims:
        return dynamic.whole(x.shape[axis])
    dims = node.dims[x]
    if dims not in sources:
        sources.append(dims)
    return dynamic.at(dims, sources.index(dims), axis)


def size_of(node: OnnxNode, x: Value) -> Value:
    """How many elements there are, int64."""
    total: Expr = dynamic.whole(1)
    for axis in range(x.type.rank):
        total = total * dynamic.at(node.dims[x], 0, axis)
    return node.add(Map(total, ()), node.dims[x])


def _renamed(node: OnnxNode, x: Value, rows: Sequence[Expr], largest: Sequence[int], *sources: Value) -> Value:
    """The same elements under other dimensions."""
    result = dynamic.sized(node, rows, largest, *sources)
    wanted = element_count(largest)
    flat = node.add(Reshape((x.type.elements,)), x)
    if wanted < x.type.elements:
        flat = node.add(Slice((0,), (1,), (wanted,)), flat)
    elif wanted > x.type.elements:
        last = max(x.type.elements - 1, 0)
        flat = node.add(Map(Load(x.dtype, 0, Position(INDEX, 0).at_most(last)), (wanted,)), flat)
    return result.take(node.add(Reshape(tuple(largest)), flat))


def unsqueeze(node: OnnxNode, x: Value, axes: Sequence[int]) -> Value:
    rank = x.type.rank + len(axes)
    new = {node.normal_axis(a, rank) for a in axes}
    old = iter(range(x.type.rank))
    kept = [None if i in new else next(old) for i in range(rank)]
    return _picked(node, x, kept)


def squeeze(node: OnnxNode, x: Value, axes: Sequence[int]) -> Value:
    gone = {node.normal_axis(a, x.type.rank) for a in axes}
    return _picked(node, x, [a for a in range(x.type.rank) if a not in gone])


def _picked(node: OnnxNode, x: Value, axes: Sequence[int | None]) -> Value:
    """Some of the dimensions, 1 where there is None."""
    dims = node.dims[x]
    rows = [dynamic.whole(1) if a is None else dynamic.at(dims, 0, a) for a in axes]
    return _renamed(node, x, rows, [1 if a is None else x.shape[a] for a in axes], dims)


def reshape(node: OnnxNode, x: Value, shape: Sequence[int], keeps_zero: bool) -> Value:
    """To a shape that is known but for one dimension, and for those that stay."""
    dims = node.dims[x]
    total: Expr = dynamic.whole(1)
    for axis in range(x.type.rank):
        total = total * dynamic.at(dims, 0, axis)
    stays = [d == 0 and not keeps_zero and i < x.type.rank for i, d in enumerate(shape)]
    largest = [x.shape[i] if kept else d for i, (d, kept) in enumerate(zip(shape, stays, strict=True))]
    rows = [
        dynamic.at(dims, 0, i) if kept else dynamic.whole(d)
        for i, (d, kept) in enumerate(zip(shape, stays, strict=True))
    ]
    if shape.count(-1) > 1:
        raise ShapeError(f"node `{node.label}`: shape {list(shape)} leaves two dimensions open")
    if -1 in shape:
        place = shape.index(-1)
        known: Expr = dynamic.whole(1)
        for i, row in enumerate(rows):
            known = known if i == place else known * row
        fixed = element_count([d for d, kept in zip(shape, stays, strict=True) if d > 0 and not kept])
        rows[place], largest[place] = apply("div", total, known.at_least(1)), x.type.elements // max(fixed, 1)
    return _renamed(node, x, rows, largest, dims)


def _packed(node: OnnxNode, x: Value, parts: Sequence[Expr], sources: list[Value], index: int) -> Expr:
    """Element of input `index` at coordinates; a place outside gives one inside."""
    if x in node.dims:
        at: Expr = number(INDEX, 0)
        for axis, part in enumerate(parts):
            at = at * cast(_dim(node, x, axis, sources), INDEX) + part
    else:
        at = dynamic.flat_index(contiguous(x.shape), parts)
    return Load(x.dtype, index, at.at_least(0).at_most(max(x.type.elements - 1, 0)))


def concat(node: OnnxNode, inputs: Sequence[Value], axis: int) -> Value:
    """One after the other along an axis."""
    first, sources = inputs[0], list[Value]()
    rows = [_dim(node, first, a, sources) for a in range(first.type.rank)]
    for x in inputs[1:]:
        rows[axis] = rows[axis] + _dim(node, x, axis, sources)
    largest = [max(sizes) for sizes in zip(*(x.shape for x in inputs), strict=True)]
    largest[axis] = sum(x.shape[axis] for x in inputs)
    result = dynamic.sized(node, rows, largest, *sources)
    read = list(inputs)

    def element(c: list[Expr], _: int) -> Expr:
        found: Expr = number(first.dtype, 0)
        start: Expr = number(INDEX, 0)
        for i, x in enumerate(inputs):
            here = _packed(node, x, [p - start if a == axis else p for a, p in enumerate(c)], read, i)
            found = apply("select", c[axis] >= start, here, found)
            start = start + cast(_dim(node, x, axis, read), INDEX)
        return found

    element([Position(INDEX, 0)] * first.type.rank, 0)  # names every source before the buffer is filled
    return result.fill(first.dtype, element, *read)


def gather(node: OnnxNode, x: Value, indices: Value, axis: int) -> Value:
    """Slices of x by indices; either or both are of unknown size."""
    sources: list[Value] = []
    width = indices.type.rank
    rows = [_dim(node, x, a, sources) for a in range(axis)]
    rows += [_dim(node, indices, a, sources) for a in range(width)]
    rows += [_dim(node, x, a, sources) for a in range(axis + 1, x.type.rank)]
    largest = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    result = dynamic.sized(node, rows, largest, *sources)
    read = [x, indices]

    def element(c: list[Expr], _: int) -> Expr:
        size = cast(_dim(node, x, axis, read), INDEX)
        index = cast(_packed(node, indices, c[axis : axis + width], read, 1), INDEX)
        index = apply("select", index < 0, index + size, index).at_least(0).at_most(size - 1)
        return _packed(node, x, [*c[:axis], index, *c[axis + width :]], read, 0)

    element([Position(INDEX, 0)] * len(largest), 0)  # names every source before the buffer is filled
    return result.fill(x.dtype, element, *read)
