"""Operators that make constants, change shapes, and move elements."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from littoral.compiler.ir.expr import Arg, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Concat, Gather, Map, Pad, Reshape, Slice, Transpose, broadcast_shape
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic, unknown_size
from littoral.compiler.onnx.tensors import read_tensor
from littoral.errors import ShapeError

CONCATENATED_MAX = 8192


@operator("Constant", keeps_halves=True)
def constant(node: OnnxNode) -> Value:
    """Every form of the attribute but text and sparse tensors."""
    name = next((a.name for a in node.proto.attribute), "value")
    if name == "value" and (attribute := node.attribute(name, 4)) is not None and attribute.t is not None:
        return node.build.weight(*read_tensor(attribute.t, None))
    numbers: dict[str, Callable[[], Any]] = {
        "value_float": lambda: np.float32(node.number(name, 0.0)),
        "value_floats": lambda: np.asarray(node.numbers(name, ()), np.float32),
        "value_int": lambda: np.int64(node.integer(name, 0)),
        "value_ints": lambda: np.asarray(node.integers(name, ()), np.int64),
    }
    if name not in numbers:
        node.unsupported("is not supported", attribute=name, supported=("value", *numbers))
    return node.constant(numbers[name]())


@operator("ConstantOfShape", keeps_halves=True)
def constant_of_shape(node: OnnxNode) -> Value:
    value = node.tensor("value")
    if node.input(0).data is None:
        filling = node.constant(np.zeros(1, np.float32) if value is None else value.reshape(1))
        return dynamic.filled(node, node.input(0), filling)
    shape = tuple(int(d) for d in node.array(0, "shape"))
    fill = np.zeros((), np.float32) if value is None else value.reshape(())
    made = TensorType(fill.dtype.name, shape)
    if node.build.takes(made.bytes):
        return node.constant(np.full(shape, fill))
    return node.add(Map(Arg(made.dtype, 0), shape), node.constant(fill))


@operator("Shape", keeps_halves=True)
def shape_of(node: OnnxNode) -> Value:
    if node.input(0) in node.dims:
        return _dims_at_run_time(node, node.dims[node.input(0)])
    dims = node.input(0).shape
    start, stop = node.integer("start", 0), node.integer("end", len(dims)) if node.has("end") else len(dims)
    return node.constant(np.asarray(dims[start:stop], np.int64))


def _dims_at_run_time(node: OnnxNode, dims: Value) -> Value:
    rank = dims.shape[0]
    picked = range(rank)[node.integer("start", 0) : node.integer("end", rank)]
    return node.add(Slice((picked.start if len(picked) else 0,), (1,), (len(picked),)), dims)


@operator("Size", keeps_halves=True)
def size_of(node: OnnxNode) -> Value:
    if node.input(0) in node.dims:
        return unknown_size.size_of(node, node.input(0))
    return node.constant(np.int64(node.input(0).type.elements))


@operator("Reshape", keeps_halves=True)
def reshape(node: OnnxNode) -> Value:
    """0 keeps a dimension (unless `allowzero`), −1 takes what is left."""
    x, keeps_zero = node.input(0), bool(node.integer("allowzero", 0))
    if node.opset >= 5 and node.input(1).data is None:
        _refuse_unknown(node, "shape")
        return dynamic.reshape(node, x, node.input(1), keeps_zero)
    wanted = node.integers("shape", ()) if node.opset < 5 else tuple(int(d) for d in node.array(1, "shape"))
    if x in node.dims:
        return unknown_size.reshape(node, x, wanted, keeps_zero)
    dims = [x.shape[i] if d == 0 and not keeps_zero and i < x.type.rank else d for i, d in enumerate(wanted)]
    if dims.count(-1) == 1:
        rest = math.prod(d for d in dims if d != -1)
        dims[dims.index(-1)] = x.type.elements // rest if rest else 0
    return node.add(Reshape(tuple(dims)), x)


@operator("Flatten", keeps_halves=True)
def flatten(node: OnnxNode) -> Value:
    x = node.input(0)
    axis = node.integer("axis", 1)
    axis = axis + x.type.rank if axis < 0 else axis
    return node.add(Reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))), x)


def _refuse_unknown(node: OnnxNode, what: str) -> None:
    """Data may say how a tensor is changed, or how large it is, not both."""
    if node.input(0) in node.dims:
        node.unsupported(f"of a tensor of unknown size needs `{what}` to be constant")


def _axes(node: OnnxNode) -> tuple[int, ...] | None:
    """`axes`: an attribute before opset 13, an input since."""
    if node.opset < 13:
        return node.optional_integers("axes")
    found = node.optional_array(1, "axes")
    return None if found is None else tuple(int(a) for a in found.reshape(-1))


@operator("Squeeze", keeps_halves=True)
def squeeze(node: OnnxNode) -> Value:
    given = node.optional(1)
    if given is not None and given.data is None:
        _refuse_unknown(node, "axes")
        return dynamic.squeeze(node, node.input(0), given)
    x, axes = node.input(0), _axes(node)
    if x in node.dims:
        if axes is None:
            node.unsupported("of a tensor of unknown size needs `axes`")
        return unknown_size.squeeze(node, x, axes)
    if axes is None:
        gone = {i for i, d in enumerate(x.shape) if d == 1}
    else:
        gone = {node.normal_axis(a, x.type.rank) for a in axes}
    if any(x.shape[a] != 1 for a in gone):
        raise ShapeError(f"node `{node.label}`: axes {sorted(gone)} of {x.type} are not all 1")
    return node.add(Reshape(tuple(d for i, d in enumerate(x.shape) if i not in gone)), x)


@operator("Unsqueeze", keeps_halves=True)
def unsqueeze(node: OnnxNode) -> Value:
    given = node.optional(1)
    if given is not None and given.data is None:
        _refuse_unknown(node, "axes")
        return dynamic.unsqueeze(node, node.input(0), given)
    x, axes = node.input(0), _axes(node) or ()
    if x in node.dims:
        return unknown_size.unsqueeze(node, x, axes)
    rank = x.type.rank + len(axes)
    new = {node.normal_axis(a, rank) for a in axes}
    if len(new) != len(axes):
        raise ShapeError(f"node `{node.label}`: axes {list(axes)} name an axis twice")
    old = iter(x.shape)
    return node.add(Reshape(tuple(1 if i in new else next(old) for i in range(rank))), x)


@operator("Transpose", keeps_halves=True)
def transpose(node: OnnxNode) -> Value:
    x = node.input(0)
    order = node.integers("perm", tuple(range(x.type.rank))[::-1])
    if x in node.dims:
        return dynamic.transpose(node, x, order)
    return node.add(Transpose(order), x)


@operator("Concat", keeps_halves=True)
def concat(node: OnnxNode) -> Value:
    inputs = node.inputs()
    axis = node.axis("axis", 1, inputs[0].type.rank)
    if len(inputs) > CONCATENATED_MAX:
        node.unsupported(f"joins {len(inputs)} tensors, at most {CONCATENATED_MAX}")
    if len(inputs) > 1 and any(v in node.dims for v in inputs):
        return unknown_size.concat(node, inputs, axis)
    return inputs[0] if len(inputs) == 1 else node.add(Concat(axis), *inputs)


@operator("Split", keeps_halves=True)
def split(node: OnnxNode) -> Sequence[Value]:
    x = node.input(0)
    axis = node.axis("axis", 0, x.type.rank)
    sizes_in = node.optional(1)
    if sizes_in is not None and sizes_in.data is None:
        return dynamic.split(node, x, sizes_in, axis)
    given = node.optional_integers("split") if node.opset < 13 else node.optional_array(1, "split")
    if given is not None:
        sizes = [int(s) for s in given]
    else:
        count = node.integer("num_outputs", len(node.proto.output))
        if count != len(node.proto.output):
            node.unsupported(f"is {count}, the node has {len(node.proto.output)}", attribute="num_outputs")
        most = -(-x.shape[axis] // count)
        sizes = [min(most, max(x.shape[axis] - i * most, 0)) for i in range(count)]
    if sum(sizes) != x.shape[axis]:
        raise ShapeError(f"node `{node.label}`: sizes {sizes} do not add up to {x.shape[axis]}")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [_cut(node, x, axis, int(start), size) for start, size in zip(starts, sizes, strict=False)]


def _cut(node: OnnxNode, x: Value, axis: int, start: int, size: int) -> Value:
    starts, shape = [0] * x.type.rank, list(x.shape)
    starts[axis], shape[axis] = start, size
    return node.add(Slice(tuple(starts), (1,) * x.type.rank, tuple(shape)), x)


@operator("Slice", keeps_halves=True)
def slice_of(node: OnnxNode) -> Value:
    """numpy's rules for bounds beyond the ends, but what starts before the first element and goes back starts at it."""
    x = node.input(0)
    rank = x.type.rank
    if node.opset < 10:
        begins, ends = node.integers("starts", ()), node.integers("ends", ())
        axes, strides = node.integers("axes", range(len(begins))), (1,) * len(begins)
    elif x in node.dims or any(v is not None and v.data is None for v in (node.optional(i) for i in range(1, 5))):
        return dynamic.slice_of(node, x, node.input(1), node.input(2), node.optional(3), node.optional(4))
    else:
        begins, ends = (tuple(int(v) for v in node.array(i, w)) for i, w in ((1, "starts"), (2, "ends")))
        given = node.optional_array(3, "axes")
        axes = tuple(range(len(begins))) if given is None else tuple(int(a) for a in given)
        given = node.optional_array(4, "steps")
        strides = (1,) * len(begins) if given is None else tuple(int(s) for s in given)
    starts, steps, shape = [0] * rank, [1] * rank, list(x.shape)
    for begin, end, axis, step in zip(begins, ends, axes, strides, strict=True):
        if step == 0:
            raise ShapeError(f"node `{node.label}`: a step of 0")
        a = node.normal_axis(axis, rank)
        first = max(begin, -x.shape[a]) if step < 0 else begin
        picked = range(x.shape[a])[first:end:step]
        starts[a], steps[a], shape[a] = (picked.start if len(picked) else 0), step, len(picked)
    return node.add(Slice(tuple(starts), tuple(steps), tuple(shape)), x)


@operator("Expand", keeps_halves=True)
def expand(node: OnnxNode) -> Value:
    x, shape = node.input(0), node.input(1)
    if shape.data is None:
        return dynamic.expand(node, x, shape)
    return _expanded(node, x, tuple(int(d) for d in node.array(1, "shape")))


def _expanded(node: OnnxNode, x: Value, shape: tuple[int, ...]) -> Value:
    if broadcast_shape(x.shape, shape) == x.shape:
        return x
    return node.add(Map(Arg(x.dtype, 0), shape), x)


@operator("Tile", keeps_halves=True)
def tile(node: OnnxNode) -> Value:
    x = node.input(0)
    if node.input(1).data is None:
        return dynamic.tile(node, x, node.input(1))
    counts = [int(c) for c in node.array(1, "repeats")]
    doubled = node.add(Reshape(tuple(v for d in x.shape for v in (1, d))), x)
    spread = _expanded(node, doubled, tuple(v for c, d in zip(counts, x.shape, strict=True) for v in (c, d)))
    return node.add(Reshape(tuple(c * d for c, d in zip(counts, x.shape, strict=True))), spread)


@operator("Pad", keeps_halves=True)
def pad(node: OnnxNode) -> Value:
    """Negative pads cut; they are a slice first."""
    x = node.input(0)
    rank = x.type.rank
    mode = node.choice("mode", "constant", ("constant", "edge", "reflect", "wrap"))
    if node.opset < 11:
        given, value = node.integers("pads", ()), node.constant(node.number("value", 0.0), x.dtype)
    else:
        value = node.optional(2) or node.constant(0, x.dtype)
        if any(v is not None and v.data is None for v in (node.input(1), node.optional(3))):
            return dynamic.pad(node, x, node.input(1), value, node.optional(3), mode)
        given = tuple(int(p) for p in node.array(1, "pads"))
    found = node.optional_array(3, "axes")
    axes = range(rank) if found is None else [node.normal_axis(int(a), rank) for a in found]
    pads = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pads[axis] = (given[i], given[i + len(given) // 2])
    if any(p < 0 for pair in pads for p in pair):
        shape = tuple(d + min(a, 0) + min(b, 0) for d, (a, b) in zip(x.shape, pads, strict=True))
        x = node.add(Slice(tuple(max(-a, 0) for a, _ in pads), (1,) * rank, shape), x)
        pads = [(max(a, 0), max(b, 0)) for a, b in pads]
    if not any(p for pair in pads for p in pair):
        return x
    return node.add(Pad(tuple(pads), mode), *([x, value] if mode == "constant" else [x]))


@operator("Gather", keeps_halves=True)
def gather(node: OnnxNode) -> Value:
    x, indices = node.inputs()
    axis = node.axis("axis", 0, x.type.rank)
    if indices.dtype not in ("int32", "int64"):
        node.unsupported(f"by indices of {indices.dtype}")
    if x in node.dims or indices in node.dims:
        return unknown_size.gather(node, x, indices, axis)
    if indices.data is not None and indices.data.size == 1:
        at = int(indices.data.reshape(-1)[0])
        if not -x.shape[axis] <= at < x.shape[axis]:
            raise ShapeError(f"node `{node.label}`: element {at} of a dimension of {x.shape[axis]}")
        cut = _cut(node, x, axis, at % x.shape[axis], 1)
        return node.add(Reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :]), cut)
    if indices.data is not None and indices.data.size:
        low, high = int(indices.data.min()), int(indices.data.max())
        if low < -x.shape[axis] or high >= x.shape[axis]:
            raise ShapeError(f"node `{node.label}`: elements {low}..{high} of a dimension of {x.shape[axis]}")
    return node.add(Gather(axis), x, indices)


@operator("Range")
def arange(node: OnnxNode) -> Value:
    if any(v.data is None for v in node.inputs()):
        return dynamic.counted(node, *node.inputs())
    start, stop, step = (node.array(i, w).reshape(-1)[0] for i, w in enumerate(("start", "limit", "delta")))
    count = max(int(np.ceil((stop - start) / step)), 0)
    if not node.build.takes(count * start.dtype.itemsize):
        raise ShapeError(f"node `{node.label}`: gives {count} numbers, too many")
    return node.constant(start + np.arange(count).astype(start.dtype) * step)


@operator("DepthToSpace", "SpaceToDepth", keeps_halves=True)
def depth_and_space(node: OnnxNode) -> Value:
    x, block = node.input(0), node.integer("blocksize", 0)
    batch, channels, high, wide = x.shape
    if node.op == "SpaceToDepth":
        parts = node.add(Reshape((batch, channels, high // block, block, wide // block, block)), x)
        channels_last = node.choice("mode", "DCR", ("DCR", "CRD")) == "DCR"
        moved = node.add(Transpose((0, 3, 5, 1, 2, 4) if channels_last else (0, 1, 3, 5, 2, 4)), parts)
        return node.add(Reshape((batch, channels * block * block, high // block, wide // block)), moved)
    depth = channels // (block * block)
    if node.choice("mode", "DCR", ("DCR", "CRD")) == "DCR":
        parts = node.add(Reshape((batch, block, block, depth, high, wide)), x)
        moved = node.add(Transpose((0, 3, 4, 1, 5, 2)), parts)
    else:
        parts = node.add(Reshape((batch, depth, block, block, high, wide)), x)
        moved = node.add(Transpose((0, 1, 4, 2, 5, 3)), parts)
    return node.add(Reshape((batch, depth, high * block, wide * block)), moved)


@operator("OneHot", keeps_halves=True)
def one_hot(node: OnnxNode) -> Value:
    indices, values = node.input(0), node.input(2)
    if node.input(1).data is None:
        axis = node.axis("axis", -1, indices.type.rank + 1)
        return dynamic.one_hot(node, indices, node.input(1), values, axis)
    depth = int(node.array(1, "depth").reshape(-1)[0])
    rank = indices.type.rank + 1
    axis = node.axis("axis", -1, rank)
    column = node.add(Reshape((*indices.shape[:axis], 1, *indices.shape[axis:])), indices)
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    off, on = (_cut(node, values, 0, i, 1) for i in (0, 1))
    index = cast(Arg(indices.dtype, 0), "int64")
    index = apply("select", index < 0, index + depth, index)
    hit = apply("eq", index, cast(Position("int32", axis), "int64"))
    return node.add(Map(apply("select", hit, Arg(on.dtype, 1), Arg(off.dtype, 2)), shape), column, on, off)


@operator("Trilu", keeps_halves=True)
def trilu(node: OnnxNode) -> Value:
    x, offset = node.input(0), node.optional(1)
    row, column = (Position("int32", x.type.rank - 2 + i) for i in (0, 1))
    diagonal = row if offset is None else row + cast(Load(offset.dtype, 1, number("int32", 0)), "int32")
    kept = column >= diagonal if node.integer("upper", 1) else diagonal >= column
    inputs = [x, *([offset] if offset is not None else [])]
    return node.add(Map(apply("select", kept, Arg(x.dtype, 0), number(x.dtype, 0))), *inputs)
