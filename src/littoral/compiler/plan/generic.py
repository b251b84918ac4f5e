"""Lowering to generic loop nests: everything without a kernel of its own."""

import math
from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number, substitute, walk
from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import (
    ArgReduce,
    Concat,
    Conv,
    Cumulate,
    Gather,
    Map,
    MatMul,
    Pad,
    Pool,
    Reduce,
    Require,
    Resample,
    Scatter,
    Slice,
    Spread,
    TopK,
    Transpose,
    Window,
)
from littoral.compiler.ir.types import contiguous
from littoral.compiler.kernels import Access, Extreme, Largest, LoopNest, Running
from littoral.compiler.kernels import Require as RequireKernel
from littoral.compiler.plan.steps import Argument, Step, Weights
from littoral.tensors import Array

__all__ = [
    "lower_arg_reduce",
    "lower_concat",
    "lower_conv_generic",
    "lower_cumulate",
    "lower_gather",
    "lower_map",
    "lower_matmul_generic",
    "lower_pad",
    "lower_pool",
    "lower_reduce",
    "lower_require",
    "lower_resample",
    "lower_scatter",
    "lower_slice",
    "lower_spread",
    "lower_top_k",
    "lower_transpose",
]

INDEX = "int32"


def _broadcast(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Strides of an array of `shape` under axes of `rank`; 0 where it repeats."""
    strides = contiguous(shape)
    return (0,) * (rank - len(shape)) + tuple(0 if d == 1 else s for d, s in zip(shape, strides, strict=True))


def _whole(value: Value) -> Access:
    return Access(value.dtype, 0, contiguous(value.shape))


def _nest(out: Value, inputs: Sequence[tuple[Argument, Access]], body: Expr, **more: object) -> Step:
    nest = LoopNest(
        extents=more.pop("extents", out.shape),  # type: ignore[arg-type]
        output=more.pop("output", _whole(out)),  # type: ignore[arg-type]
        inputs=tuple(access for _, access in inputs),
        body=body,
        **more,  # type: ignore[arg-type]
    )
    return Step(nest, (*(argument for argument, _ in inputs), out))


def lower_map(node: Node, op: Map) -> list[Step]:
    (out,) = node.outputs
    rank, used = out.type.rank, _arguments(op.expr)
    strides = [_broadcast(v.shape, rank) if i in used else (0,) * rank for i, v in enumerate(node.inputs)]
    inputs = [(v, Access(v.dtype, 0, s)) for v, s in zip(node.inputs, strides, strict=True)]
    return [_nest(out, inputs, op.expr)]


def _arguments(expr: Expr) -> set[int]:
    """Inputs that an expression reads at the broadcast position."""
    return {node.index for node in walk(expr) if isinstance(node, Arg)}


def _positions_moved(expr: Expr, order: Sequence[int]) -> Expr:
    """The expression for loops that run over the axes in another order."""
    return substitute(expr, lambda n: Position(INDEX, order.index(n.axis)) if isinstance(n, Position) else None)


def lower_transpose(node: Node, op: Transpose) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    strides = contiguous(x.shape)
    return [_nest(out, [(x, Access(x.dtype, 0, tuple(strides[p] for p in op.perm)))], Arg(x.dtype, 0))]


def lower_slice(node: Node, op: Slice) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    strides = contiguous(x.shape)
    offset = sum(start * s for start, s in zip(op.starts, strides, strict=True))
    access = Access(x.dtype, offset, tuple(step * s for step, s in zip(op.steps, strides, strict=True)))
    return [_nest(out, [(x, access)], Arg(x.dtype, 0))]


def _copy_into(out: Value, x: Value, offsets: Sequence[int], steps: Sequence[int] | None = None) -> Step:
    """x into out, its first element at `offsets`, `steps` apart."""
    strides = contiguous(out.shape)
    offset = sum(o * s for o, s in zip(offsets, strides, strict=True))
    placed = tuple(s * step for s, step in zip(strides, steps or (1,) * len(strides), strict=True))
    return _nest(out, [(x, _whole(x))], Arg(x.dtype, 0), extents=x.shape, output=Access(out.dtype, offset, placed))


def _fill(out: Value, value: Value | None) -> Step:
    if value is None:
        return _nest(out, [], number(out.dtype, 0))
    return _nest(out, [(value, Access(value.dtype, 0, (0,) * out.type.rank))], Arg(out.dtype, 0))


def lower_pad(node: Node, op: Pad) -> list[Step]:
    x, (out,) = node.inputs[0], node.outputs
    if op.mode == "constant":
        return [_fill(out, node.inputs[1]), _copy_into(out, x, [before for before, _ in op.pads])]
    at: Expr = number(INDEX, 0)
    for axis, (size, (before, _), stride) in enumerate(zip(x.shape, op.pads, contiguous(x.shape), strict=True)):
        at = at + _source(op.mode, Position(INDEX, axis) - before, size) * stride
    return [_nest(out, [(x, Access(x.dtype, 0, (0,) * x.type.rank))], Load(x.dtype, 0, at))]


def _source(mode: str, position: Expr, size: int) -> Expr:
    """Which element a padded position shows."""
    if mode == "edge":
        return position.at_least(0).at_most(size - 1)
    if mode == "wrap":
        return apply("mod", position, number(INDEX, size))
    mirrored = apply("abs", position)
    return (size - 1) - apply("abs", (size - 1) - mirrored)


def lower_spread(node: Node, op: Spread) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    return [_fill(out, None), _copy_into(out, x, (0,) * x.type.rank, op.steps)]


def lower_concat(node: Node, op: Concat) -> list[Step]:
    (out,) = node.outputs
    steps, at = [], 0
    for x in node.inputs:
        if x.type.elements:
            steps.append(_copy_into(out, x, [at if axis == op.axis else 0 for axis in range(out.type.rank)]))
        at += x.shape[op.axis]
    return steps


def lower_gather(node: Node, op: Gather) -> list[Step]:
    (data, indices), (out,) = node.inputs, node.outputs
    strides, size = contiguous(data.shape), data.shape[op.axis]
    here = range(op.axis, op.axis + indices.type.rank)
    index_strides = [0] * out.type.rank
    for axis, s in zip(here, contiguous(indices.shape), strict=True):
        index_strides[axis] = s
    index = cast(Arg(indices.dtype, 1), INDEX)
    index = apply("select", index < 0, index + size, index).at_least(0).at_most(size - 1)
    at: Expr = index * strides[op.axis]
    kept = [*range(op.axis), *range(op.axis + indices.type.rank, out.type.rank)]
    for axis, s in zip(kept, [*strides[: op.axis], *strides[op.axis + 1 :]], strict=True):
        at = at + Position(INDEX, axis) * s
    inputs = [
        (data, Access(data.dtype, 0, (0,) * out.type.rank)),
        (indices, Access(indices.dtype, 0, tuple(index_strides))),
    ]
    return [_nest(out, inputs, Load(data.dtype, 0, at))]


def lower_reduce(node: Node, op: Reduce) -> list[Step]:
    (out,) = node.outputs
    shape = op.spread([v.shape for v in node.inputs])
    kept = [i for i in range(len(shape)) if i not in op.axes]

    before = op.before or Arg(node.inputs[0].dtype, 0)
    used = _arguments(before)

    def reordered(i: int, value: Value) -> Access:
        strides = _broadcast(value.shape, len(shape)) if i in used else (0,) * len(shape)
        return Access(value.dtype, 0, tuple(strides[i] for i in (*kept, *op.axes)))

    extents = tuple(shape[i] for i in kept)
    output = Access(out.dtype, 0, (*contiguous(extents), *(0,) * len(op.axes)))
    return [
        _nest(
            out,
            [(v, reordered(i, v)) for i, v in enumerate(node.inputs)],
            _positions_moved(before, (*kept, *op.axes)),
            extents=extents,
            output=output,
            folds=tuple(shape[i] for i in op.axes),
            combine=op.combine,
            after=op.after,
        )
    ]


def _window_access(
    x: Value, window: Window, last: bool, out_rank: int, channel_strides: dict[int, int]
) -> tuple[int, list[int], list[int]]:
    """Offset, strides over the output's axes, strides over the window's taps."""
    strides = contiguous(x.shape)
    spatial = range(1, x.type.rank - 1) if last else range(2, x.type.rank)
    offset = -sum(before * strides[a] for a, (before, _) in zip(spatial, window.pads, strict=True))
    outer = [0] * out_rank
    outer[0] = strides[0]
    for axis, step in zip(spatial, window.strides, strict=True):
        outer[axis] = strides[axis] * step
    for axis, stride in channel_strides.items():
        outer[axis] = stride
    return offset, outer, [strides[a] * d for a, d in zip(spatial, window.dilations, strict=True)]


def _inside(x: Value, window: Window, last: bool, tap_axes: range, out_shape: tuple[int, ...]) -> Expr | None:
    """Whether a tap lies on the input, as a guard; None where all do."""
    spatial = range(1, x.type.rank - 1) if last else range(2, x.type.rank)
    guard: Expr | None = None
    for i, (axis, tap) in enumerate(zip(spatial, tap_axes, strict=True)):
        reach = window.reach()[i]
        overflow = (out_shape[axis] - 1) * window.strides[i] + reach - window.pads[i][0] > x.shape[axis]
        if window.pads[i][0] == 0 and not overflow:
            continue
        at = Position(INDEX, axis) * window.strides[i] + Position(INDEX, tap) * window.dilations[i] - window.pads[i][0]
        here = apply("and", at >= 0, at < x.shape[axis])
        guard = here if guard is None else apply("and", guard, here)
    return guard


def lower_pool(node: Node, op: Pool) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    rank, taps = out.type.rank, len(op.window.kernel)
    channel = rank - 1 if op.last else 1
    offset, outer, inner = _window_access(x, op.window, op.last, rank, {channel: contiguous(x.shape)[channel]})
    access = Access(x.dtype, offset, (*outer, *inner))
    guard = _inside(x, op.window, op.last, range(rank, rank + taps), out.shape)
    output = Access(out.dtype, 0, (*contiguous(out.shape), *(0,) * taps))
    common = {"output": output, "folds": op.window.kernel, "guard": guard}
    if op.combine == "max":
        return [_nest(out, [(x, access)], Arg(x.dtype, 0), combine="max", **common)]
    counts = _tap_counts(x, op, out)
    total = Arg(out.dtype, 0)
    if (counts == counts.reshape(-1)[0]).all():
        after = total / float(counts.reshape(-1)[0])
        return [_nest(out, [(x, access)], Arg(x.dtype, 0), combine="sum", after=after, **common)]
    divide: list[tuple[Argument, Access]] = [
        (out, _whole(out)),
        (Weights(counts), Access(x.dtype, 0, _broadcast(counts.shape, rank))),
    ]
    return [
        _nest(out, [(x, access)], Arg(x.dtype, 0), combine="sum", **common),
        _nest(out, divide, Arg(out.dtype, 0) / Arg(out.dtype, 1)),
    ]


def _tap_counts(x: Value, op: Pool, out: Value) -> Array:
    """How many elements each average is over, broadcast over batch and channels."""
    spatial = range(1, x.type.rank - 1) if op.last else range(2, x.type.rank)
    counts = np.ones((), np.float64)
    for i, axis in enumerate(spatial):
        before, after = op.window.pads[i] if op.counts_pads else (0, 0)
        start = np.arange(out.shape[axis]) * op.window.strides[i] - op.window.pads[i][0]
        first, end = (-((start - at) // op.window.dilations[i]) for at in (-before, x.shape[axis] + after))
        here = np.clip(end, 0, op.window.kernel[i]) - np.clip(first, 0, op.window.kernel[i])
        counts = np.multiply.outer(counts, here)
    shape = (1, *counts.shape, 1) if op.last else (1, 1, *counts.shape)
    return counts.reshape(shape).astype(x.type.dtype)


def lower_resample(node: Node, op: Resample) -> list[Step]:
    (x, indices, weights), (out,) = node.inputs, node.outputs
    rank, taps = out.type.rank, indices.shape[1]
    strides = contiguous(x.shape)
    at: Expr = Arg(INDEX, 1) * strides[op.axis]
    for axis in range(rank):
        if axis != op.axis:
            at = at + Position(INDEX, axis) * strides[axis]
    table = tuple(taps if axis == op.axis else 0 for axis in range(rank))
    inputs: list[tuple[Argument, Access]] = [
        (x, Access(x.dtype, 0, (0,) * (rank + 1))),
        (indices, Access(INDEX, 0, (*table, 1))),
        (weights, Access(weights.dtype, 0, (*table, 1))),
    ]
    body = Load(x.dtype, 0, at)
    if taps == 1:
        flat = [(v, Access(a.dtype, 0, a.strides[:-1])) for v, a in inputs[:2]]
        return [_nest(out, flat, body)]
    output = Access(out.dtype, 0, (*contiguous(out.shape), 0))
    weighted = body * cast(Arg(weights.dtype, 2), x.dtype)
    return [_nest(out, inputs, weighted, output=output, folds=(taps,), combine="sum")]


def _along(x: Value, axis: int) -> tuple[str, int, int, int]:
    """dtype, and the sizes before, on and after an axis."""
    return x.dtype, math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])


def lower_arg_reduce(node: Node, op: ArgReduce) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    return [Step(Extreme(*_along(x, op.axis), op.largest, op.last), (x, out))]


def lower_cumulate(node: Node, op: Cumulate) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    combine = "add" if op.combine == "sum" else "mul"
    return [Step(Running(*_along(x, op.axis), combine, op.exclusive, op.reverse), (x, out))]


def lower_top_k(node: Node, op: TopK) -> list[Step]:
    (x,) = node.inputs
    return [Step(Largest(*_along(x, op.axis), op.count, op.largest), (x, *node.outputs))]


def lower_scatter(node: Node, op: Scatter) -> list[Step]:
    """A copy, then the writes in order; the first input's place is taken by the output itself."""
    (out,) = node.outputs
    copied = _copy_into(out, node.inputs[0], (0,) * out.type.rank)
    if 0 in op.shape:
        return [copied]
    used = {i for e in (op.at, op.value, op.guard) if e is not None for i in _arguments(e)}
    rank = len(op.shape)
    inputs: list[tuple[Argument, Access]] = [(out, Access(out.dtype, 0, (0,) * rank))]
    for i, value in enumerate(node.inputs[1:], 1):
        strides = _broadcast(value.shape, rank) if i in used else (0,) * rank
        inputs.append((value, Access(value.dtype, 0, strides)))
    body = apply(op.combine, Load(out.dtype, 0, op.at), op.value) if op.combine else op.value
    output = Access(out.dtype, 0, (0,) * rank)
    written = _nest(out, inputs, body, extents=op.shape, output=output, guard=op.guard, store_at=op.at)
    return [copied, written]


def lower_require(node: Node, _op: Require) -> list[Step]:
    (flag, x), (out,) = node.inputs, node.outputs
    return [Step(RequireKernel(x.type.bytes), (flag, x, out))]


def _finish(out: Value, node: Node, first_extra: int, bias: Value | None, epilogue: Expr | None) -> list[Step]:
    """Bias and epilogue of a generic contraction, in place."""
    if bias is None and epilogue is None:
        return []
    extras = node.inputs[first_extra:]
    inputs: list[tuple[Argument, Access]] = [(out, _whole(out))]
    inputs += [(v, Access(v.dtype, 0, _broadcast(v.shape, out.type.rank))) for v in extras]
    total: Expr = Arg(out.dtype, 0)
    if bias is not None:
        shape = (
            bias.shape if not isinstance(node.op, Conv) or node.op.last else (*bias.shape, *(1,) * (out.type.rank - 2))
        )
        inputs.append((bias, Access(bias.dtype, 0, _broadcast(shape, out.type.rank))))
        total = total + Arg(bias.dtype, len(inputs) - 1)
    if epilogue is not None:
        total = substitute(epilogue, lambda n: total if isinstance(n, Arg) and n.index == 0 else None)
    return [_nest(out, inputs, total)]


def lower_matmul_generic(node: Node, op: MatMul) -> list[Step]:
    assert (op.left, op.right, op.result) == ((), (), ()), "transposes are folded into products of float32 only"
    a, b, (out,) = node.inputs[0], node.inputs[1], node.outputs
    rank = out.type.rank
    left, right = list(_broadcast(a.shape, rank)), list(_broadcast(b.shape, rank))
    depth = a.shape[-1]
    k_left, k_right = contiguous(a.shape)[-1], contiguous(b.shape)[-2]
    left[-1], right[-2] = 0, 0
    inputs = [(a, Access(a.dtype, 0, (*left, k_left))), (b, Access(b.dtype, 0, (*right, k_right)))]
    output = Access(out.dtype, 0, (*contiguous(out.shape), 0))
    product = Arg(a.dtype, 0) * Arg(b.dtype, 1)
    bias = node.inputs[2] if op.bias else None
    return [
        _nest(out, inputs, product, output=output, folds=(depth,), combine="sum"),
        *_finish(out, node, 2 + op.bias, bias, op.epilogue),
    ]


def lower_conv_generic(node: Node, op: Conv) -> list[Step]:
    """Any rank, groups and dtype: a fold over taps and channels for every output element."""
    x, w, (out,) = node.inputs[0], node.inputs[1], node.outputs
    rank, taps = out.type.rank, len(op.window.kernel)
    per_group, channels = w.shape[0] // op.groups, w.shape[1]
    channel_axis = rank - 1 if op.last else 1
    channel_stride = contiguous(x.shape)[channel_axis]
    offset, outer, inner = _window_access(x, op.window, op.last, rank, {})

    def with_groups(strides: list[int], group: int, within: int) -> tuple[int, ...]:
        split = list(strides)
        split[channel_axis : channel_axis + 1] = [group, within]
        return tuple(split)

    extents = list(out.shape)
    extents[channel_axis : channel_axis + 1] = [op.groups, per_group]
    w_strides = contiguous(w.shape)
    out_strides = list(contiguous(out.shape))
    folds = (*op.window.kernel, channels)
    tap_axes = range(rank + 1, rank + 1 + taps)
    guard = _inside(x, op.window, op.last, tap_axes, out.shape)
    if guard is not None and not op.last:  # the split channel axis comes before the spatial ones
        guard = substitute(
            guard, lambda n: Position(INDEX, n.axis + 1) if isinstance(n, Position) and n.axis < rank else None
        )
    inputs = [
        (x, Access(x.dtype, offset, (*with_groups(outer, channels * channel_stride, 0), *inner, channel_stride))),
        (
            w,
            Access(
                w.dtype,
                0,
                (*with_groups([0] * rank, per_group * w_strides[0], w_strides[0]), *w_strides[2:], w_strides[1]),
            ),
        ),
    ]
    step = out_strides[channel_axis]
    output = Access(out.dtype, 0, (*with_groups(out_strides, per_group * step, step), *(0,) * len(folds)))
    product = Arg(x.dtype, 0) * Arg(w.dtype, 1)
    bias = node.inputs[2] if op.bias else None
    return [
        _nest(out, inputs, product, extents=tuple(extents), output=output, folds=folds, combine="sum", guard=guard),
        *_finish(out, node, 2 + op.bias, bias, op.epilogue),
    ]


def macs_of(node: Node) -> int:
    """Multiply-adds of a node: of contractions only."""
    if isinstance(node.op, MatMul):
        return node.outputs[0].type.elements * node.inputs[0].shape[-1]
    if isinstance(node.op, Conv):
        return node.outputs[0].type.elements * math.prod(node.inputs[1].shape[1:])
    return 0
