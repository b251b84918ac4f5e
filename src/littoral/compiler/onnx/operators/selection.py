"""Operators that pick, place, rank or accumulate elements."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import ArgReduce, Cumulate, Map, Pad, Reduce, Reshape, Scatter, Slice, TopK
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic, picking
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError

INDEX = "int32"


@operator("ArgMax", "ArgMin")
def arg_reduce(node: OnnxNode) -> Value:
    x = node.input(0)
    axis, keep = node.axis("axis", 0, x.type.rank), node.integer("keepdims", 1)
    found = node.add(ArgReduce(axis, node.op == "ArgMax", bool(node.integer("select_last_index", 0))), x)
    return found if keep else node.add(Reshape(x.shape[:axis] + x.shape[axis + 1 :]), found)


@operator("CumSum", "CumProd")
def cumulate(node: OnnxNode) -> Value:
    x, chosen = node.input(0), node.input(1)
    combine = "sum" if node.op == "CumSum" else "prod"
    exclusive, reverse = bool(node.integer("exclusive", 0)), bool(node.integer("reverse", 0))
    known = scalar_constant(chosen)
    if known is not None:
        axis = node.normal_axis(int(known.value), x.type.rank)
        return node.add(Cumulate(combine, axis, exclusive, reverse), x)
    runs = [node.add(Cumulate(combine, axis, exclusive, reverse), x) for axis in range(x.type.rank)]
    found = Arg(x.dtype, 1)
    given = cast(Load(chosen.dtype, 0, number(INDEX, 0)), "int64")
    picked: Expr = found
    for axis in range(1, x.type.rank):
        hit = apply("or", *(apply("eq", given, number("int64", a)) for a in (axis, axis - x.type.rank)))
        picked = apply("select", hit, Arg(x.dtype, 1 + axis), picked)
    return node.add(Map(picked), chosen, *runs)


@operator("TopK")
def top_k(node: OnnxNode) -> Sequence[Value]:
    x = node.input(0)
    node.ignore("sorted")
    axis, largest = node.axis("axis", -1, x.type.rank), bool(node.integer("largest", 1))
    asked = node.optional(1)
    if node.opset >= 10 and asked is not None and asked.data is None:
        return _any_top_k(node, x, axis, largest, asked)
    count = node.integer("k", 1) if node.opset < 10 else int(node.array(1, "K").reshape(-1)[0])
    return node.build.add_all(TopK(axis, count, largest), x)


def _any_top_k(node: OnnxNode, x: Value, axis: int, largest: bool, count: Value) -> list[Value]:
    """All of them in order, of which the first few are taken."""
    ordered = node.build.add_all(TopK(axis, x.shape[axis], largest), x)
    rows = [dynamic.at(count, 0, 0) if a == axis else dynamic.whole(d) for a, d in enumerate(x.shape)]
    result = dynamic.sized(node, rows, x.shape, count)
    return [
        result.fill(v.dtype, lambda c, _, v=v: Load(v.dtype, 0, _flat(contiguous(x.shape), c)), v)  # type: ignore[misc]
        for v in ordered
    ]


@operator("Hardmax")
def hardmax(node: OnnxNode) -> Value:
    """1 at the first largest element along the axis, 0 elsewhere."""
    x = node.input(0)
    axis = node.axis("axis", -1 if node.opset >= 13 else 1, x.type.rank)
    flat = x
    if node.opset < 13:
        outer = int(np.prod(x.shape[:axis], dtype=np.int64))
        flat, axis = node.add(Reshape((outer, x.type.elements // max(outer, 1))), x), 1
    place = node.add(ArgReduce(axis), flat)
    hit = apply("eq", Arg("int64", 0), cast(Position(INDEX, axis), "int64"))
    found = node.add(Map(cast(hit, x.dtype), flat.shape), place)
    return found if flat is x else node.add(Reshape(x.shape), found)


def wrapped_index(index: Expr, size: int) -> Expr:
    """An index that counts from the end where it is negative, kept inside, as int32."""
    at = cast(index, INDEX)
    return apply("select", at < 0, at + size, at).at_least(0).at_most(max(size - 1, 0))


def _flat(strides: Sequence[int], parts: Sequence[Expr]) -> Expr:
    at: Expr = number(INDEX, 0)
    for stride, part in zip(strides, parts, strict=True):
        at = at + part * stride
    return at


@operator("GatherElements", keeps_halves=True)
def gather_elements(node: OnnxNode) -> Value:
    """out[i, j, …] = x with the index in place of one coordinate."""
    x, indices = node.inputs()
    axis = node.axis("axis", 0, x.type.rank)
    parts: list[Expr] = [Position(INDEX, a) for a in range(x.type.rank)]
    parts[axis] = wrapped_index(Arg(indices.dtype, 1), x.shape[axis])
    return node.add(Map(Load(x.dtype, 0, _flat(contiguous(x.shape), parts)), indices.shape), x, indices)


@operator("GatherND", keeps_halves=True)
def gather_nd(node: OnnxNode) -> Value:
    """Slices of x at index tuples; the first `batch_dims` axes go together."""
    x, indices = node.inputs()
    batch, width = node.integer("batch_dims", 0), indices.shape[-1]
    if not 0 <= batch <= min(x.type.rank, indices.type.rank) - 1 or batch + width > x.type.rank:
        raise ShapeError(f"node `{node.label}`: {batch} batch axes and indices {indices.type} for {x.type}")
    lead, strides = indices.type.rank - 1, contiguous(x.shape)
    shape = (*indices.shape[:-1], *x.shape[batch + width :])
    row = _flat(contiguous(indices.shape)[:-1], [Position(INDEX, a) for a in range(lead)])
    parts: list[Expr] = [Position(INDEX, a) for a in range(batch)]
    parts += [wrapped_index(Load(indices.dtype, 1, row + number(INDEX, k)), x.shape[batch + k]) for k in range(width)]
    parts += [Position(INDEX, lead + a) for a in range(x.type.rank - batch - width)]
    return node.add(Map(Load(x.dtype, 0, _flat(strides, parts)), shape), x, indices)


_REDUCTIONS = {"none": "", "add": "add", "mul": "mul", "max": "max", "min": "min"}


@operator("ScatterElements", "Scatter", keeps_halves=True)
def scatter_elements(node: OnnxNode) -> Value:
    x, indices, updates = node.inputs()
    axis = node.axis("axis", 0, x.type.rank)
    combine = _REDUCTIONS[node.choice("reduction", "none", tuple(_REDUCTIONS))]
    parts: list[Expr] = [Position(INDEX, a) for a in range(x.type.rank)]
    parts[axis] = wrapped_index(Arg(indices.dtype, 1), x.shape[axis])
    at = _flat(contiguous(x.shape), parts)
    return node.add(Scatter(indices.shape, at, Arg(updates.dtype, 2), combine), x, indices, updates)


@operator("ScatterND", keeps_halves=True)
def scatter_nd(node: OnnxNode) -> Value:
    x, indices, updates = node.inputs()
    combine = _REDUCTIONS[node.choice("reduction", "none", tuple(_REDUCTIONS))]
    width, lead = indices.shape[-1], indices.type.rank - 1
    row = _flat(contiguous(indices.shape)[:-1], [Position(INDEX, a) for a in range(lead)])
    parts: list[Expr] = [
        wrapped_index(Load(indices.dtype, 1, row + number(INDEX, k)), x.shape[k]) for k in range(width)
    ]
    parts += [Position(INDEX, lead + a) for a in range(x.type.rank - width)]
    at = _flat(contiguous(x.shape), parts)
    return node.add(Scatter(updates.shape, at, Arg(updates.dtype, 2), combine), x, indices, updates)


@operator("TensorScatter", keeps_halves=True)
def tensor_scatter(node: OnnxNode) -> Value:
    """A row of updates written into a cache at each batch's own place."""
    x, update, writes = node.input(0), node.input(1), node.optional(2)
    axis, mode = node.axis("axis", -2, x.type.rank), node.choice("mode", "linear", ("linear", "circular"))
    parts: list[Expr] = [Position(INDEX, a) for a in range(x.type.rank)]
    inputs = [x, update]
    if writes is not None:
        inputs.append(writes)
        parts[axis] = parts[axis] + cast(Load(writes.dtype, 2, Position(INDEX, 0)), INDEX)
    if mode == "circular":
        parts[axis] = apply("mod", parts[axis], number(INDEX, x.shape[axis]))
    return node.add(Scatter(update.shape, _flat(contiguous(x.shape), parts), Arg(update.dtype, 1)), *inputs)


@operator("ReverseSequence", keeps_halves=True)
def reverse_sequence(node: OnnxNode) -> Value:
    """The first `length` elements of each batch's sequence turned round."""
    x, lengths = node.inputs()
    time, batch = node.integer("time_axis", 0), node.integer("batch_axis", 1)
    parts: list[Expr] = [Position(INDEX, a) for a in range(x.type.rank)]
    length = cast(Load(lengths.dtype, 1, Position(INDEX, batch)), INDEX)
    parts[time] = apply("select", parts[time] < length, length - parts[time] - 1, parts[time])
    return node.add(Map(Load(x.dtype, 0, _flat(contiguous(x.shape), parts)), x.shape), x, lengths)


@operator("EyeLike")
def eye_like(node: OnnxNode) -> Value:
    x, offset = node.input(0), node.integer("k", 0)
    dtype = ONNX_DTYPES[node.integer("dtype", 1)] if node.has("dtype") else x.dtype
    node.ignore("dtype")
    hit = apply("eq", Position(INDEX, 1), Position(INDEX, 0) + offset)
    return node.add(Map(cast(hit, dtype), x.shape))


@operator("CenterCropPad", keeps_halves=True)
def center_crop_pad(node: OnnxNode) -> Value:
    x = node.input(0)
    axes = [node.normal_axis(a, x.type.rank) for a in node.integers("axes", range(x.type.rank))]
    if node.input(1).data is None:
        return picking.center_crop_pad(node, x, node.input(1), axes)
    wanted = [int(d) for d in node.array(1, "shape")]
    starts, shape, pads = [0] * x.type.rank, list(x.shape), [(0, 0)] * x.type.rank
    for axis, size in zip(axes, wanted, strict=True):
        spare = x.shape[axis] - size
        if spare > 0:
            starts[axis], shape[axis] = spare // 2, size
        else:
            pads[axis] = (-spare // 2, -spare - -spare // 2)
    cut = node.add(Slice(tuple(starts), (1,) * x.type.rank, tuple(shape)), x)
    return node.add(Pad(tuple(pads)), cut, node.constant(0, x.dtype))


@operator("Col2Im")
def column_to_image(node: OnnxNode) -> Value:
    """Blocks of columns added up where they overlap: for each element, the sum over the taps that reach it."""
    x = node.input(0)
    if node.input(1).data is None or node.input(2).data is None:
        return picking.column_to_image(node, x, node.input(1), node.input(2))
    size = [int(d) for d in node.array(1, "image_shape")]
    block = [int(d) for d in node.array(2, "block_shape")]
    rank = len(size)
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    given = node.integers("pads", (0,) * (2 * rank))
    taps = int(np.prod(block))
    channels = x.shape[1] // taps
    counts = [
        (size[i] + given[i] + given[i + rank] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    if x.shape[1:] != (channels * taps, int(np.prod(counts))):
        raise ShapeError(f"node `{node.label}`: columns {list(x.shape)} for image {size}, block {block}")
    inside: Expr = number("bool", 1)
    tap: Expr = number(INDEX, 0)
    column: Expr = number(INDEX, 0)
    for i in range(rank):
        here = Position(INDEX, 2 + rank + i)
        reach = Position(INDEX, 2 + i) + given[i] - here * dilations[i]
        place = apply("div", reach, number(INDEX, strides[i]))
        fits = apply("and", reach >= 0, apply("eq", apply("rem", reach, number(INDEX, strides[i])), number(INDEX, 0)))
        inside = apply("and", inside, apply("and", fits, place < counts[i]))
        tap, column = tap * block[i] + here, column * counts[i] + place
    row = (Position(INDEX, 0) * channels + Position(INDEX, 1)) * taps + tap
    at = (row * x.shape[2] + column).at_least(0).at_most(x.type.elements - 1)
    term = apply("select", inside, Load(x.dtype, 0, at), number(x.dtype, 0))
    shape = (x.shape[0], channels, *size)
    folded = node.add(Reduce("sum", tuple(range(2 + rank, 2 + 2 * rank)), term, None, (*shape, *block)), x)
    return node.add(Reshape(shape), folded)
