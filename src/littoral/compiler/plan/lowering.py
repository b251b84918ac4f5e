"""Which kernel does each node: the table of lowerings, with the fast ones first and generic loops for the rest."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.graph import Node, Op, Value
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
    Reshape,
    Scatter,
    Slice,
    Softmax,
    Spread,
    TopK,
    Transpose,
    Window,
)
from littoral.compiler.ir.types import contiguous
from littoral.compiler.kernels import (
    PLANES,
    TILE,
    Depthwise,
    Frame,
    FromPlanes,
    Gemm,
    Panels,
    Rows,
    SoftmaxRows,
    ToPlanes,
)
from littoral.compiler.kernels.elements import ELEMENTS
from littoral.compiler.plan import generic
from littoral.compiler.plan.steps import Argument, Lowered, Part, Repeated, Scratch, Step, Weights, Zeros
from littoral.compiler.plan.weights import pack_columns, pack_depthwise, pack_panels, pack_planes
from littoral.errors import UnsupportedOperatorError

__all__ = ["lower"]

_FLOAT = 4  # bytes
SPLIT_BYTES = 1 << 20  # of a product's right side at once, where it is read again for every few rows
SPLIT_ROWS_MIN = 16
SPLIT_DEPTH = 256
WINOGRAD_CHANNELS_MIN = 32
WINOGRAD_TILES_MIN = 16


def lower(node: Node) -> Lowered:
    """The steps of a node. Raises UnsupportedOperatorError for element types that no kernel holds."""
    for value in (*node.inputs, *node.outputs):
        if value.dtype not in ELEMENTS:
            raise UnsupportedOperatorError(
                node.op.name,
                node.label,
                why=f"of {value.dtype}, which cannot be computed with",
                supported=tuple(ELEMENTS),
            )
    if isinstance(node.op, Reshape):
        return Lowered(node.label, "reshape", alias_of=node.inputs[0])
    if node.outputs[0].type.elements == 0:
        return Lowered(node.label, node.op.name)
    for lowering in LOWERINGS[type(node.op)]:
        steps = lowering(node, node.op)
        if steps is not None:
            return Lowered(node.label, node.op.name, steps)
    raise AssertionError(f"no lowering for {node.op.name}")


def _constant(values: Sequence[Value]) -> bool:
    return all(v.data is not None for v in values)


def _extras(values: Sequence[Value], out: Value) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
    """Form and argument of each further input of an epilogue."""
    forms: list[str] = []
    arguments: list[Argument] = []
    for value in values:
        row = value.shape != out.shape
        forms.append("row" if row else "full")
        arguments.append(Weights(pack_columns(value.data)) if row and value.data is not None else value)
    return tuple(forms), tuple(arguments)


def _rows_fit(values: Sequence[Value], out: Value) -> bool:
    """Whether further inputs can be read in whole vectors: rows that change from call to call are not padded."""
    return all(v.shape == out.shape or v.data is not None for v in values)


class _Product(NamedTuple):
    """A part of a product's depth: its kernel, and the constants that it reads after the left side."""

    gemm: Gemm
    constants: tuple[Argument, ...]

    @property
    def macs(self) -> int:
        return self.gemm.rows.count * self.gemm.rows.depth * self.gemm.width


def _products(
    rows: Rows,
    right: np.ndarray[Any, Any],
    bias: np.ndarray[Any, Any] | None,
    epilogue: Expr | None,
    forms: tuple[str, ...],
    out_bytes: int = 0,
) -> list[_Product]:
    """rows times right f32[depth, width], in parts of the depth where the right side outgrows the second cache."""
    depth, width = right.shape
    parts = 1 if rows.count < SPLIT_ROWS_MIN else max(1, min(round(right.nbytes / SPLIT_BYTES), depth // SPLIT_DEPTH))
    ends = [depth * (i + 1) // parts for i in range(parts)]
    found = []
    for start, end in zip([0, *ends], ends, strict=False):
        is_first, is_last = start == 0, end == depth
        gemm = Gemm(
            rows.part(start, end),
            width,
            bias is not None and is_first,
            epilogue if is_last else None,
            forms if is_last else (),
            out_bytes,
            accumulate=not is_first,
        )
        constants: list[Argument] = [Weights(pack_panels(right[start:end]))]
        if bias is not None and is_first:
            constants.append(Weights(pack_columns(bias)))
        found.append(_Product(gemm, tuple(constants)))
    return found


def _product_steps(
    products: Sequence[_Product], left: Argument, extras: Sequence[Argument], out: Argument, scratch: Scratch
) -> list[Step]:
    return [
        Step(p.gemm, (left, *p.constants, *(extras if p.gemm.extras else ()), out, scratch), p.macs) for p in products
    ]


def lower_dense(node: Node, op: MatMul) -> list[Step] | None:
    """Constant right side, no batches there: one product over all rows."""
    a, b, *rest = node.inputs
    if op.left or op.right or op.result:
        return None
    if a.dtype != "float32" or b.data is None or math.prod(b.shape[:-2]) != 1 or not _rows_fit(rest, node.outputs[0]):
        return None
    depth = a.shape[-1]
    count = a.type.elements // depth if depth else 0
    if count == 0 or depth == 0 or b.type.rank > a.type.rank:
        return None
    rows = Rows(1, count, 0, _FLOAT * depth, ((0, depth),))
    bias = rest.pop(0) if op.bias else None
    if bias is not None and bias.data is None:
        return None
    (out,) = node.outputs
    forms, extras = _extras(rest, out)
    products = _products(rows, b.data.reshape(b.shape[-2:]), None if bias is None else bias.data, op.epilogue, forms)
    return _product_steps(products, a, extras, out, _scratch(products))


def _scratch(products: Sequence[_Product]) -> Scratch:
    """Room for whichever needs most of it."""
    return Scratch(max(p.gemm.scratch_bytes for p in products))


def lower_batched(node: Node, op: MatMul) -> list[Step] | None:
    """Both sides come at run time, or the right one has batches: panels are made of it first, batch by batch."""
    a, b, *rest = node.inputs
    (out,) = node.outputs
    if a.dtype != "float32" or out.dtype != "float32" or op.bias or any(v.shape != out.shape for v in rest):
        return None
    left, right = _sides(a, op.left), _sides(b, op.right)
    made = _sides(out, tuple(op.result.index(i) for i in range(len(op.result))))
    count, depth, width = left.shape[-2], left.shape[-1], right.shape[-1]
    if not depth:
        return None
    batch = made.shape[:-2]
    panels = Panels(depth, width, right.strides_bytes[-2], right.strides_bytes[-1])
    gemm = Gemm(
        Rows(1, count, 0, left.strides_bytes[-2], ((0, depth),)),
        width,
        epilogue=op.epilogue,
        extras=("full",) * len(rest),
        out_bytes=made.strides_bytes[-2],
    )
    packed = _Sides.of((*right.shape[:-2], panels.out_bytes), 1)
    to_panels = _repeats(right.shape[:-2], (right.strides_bytes[:-2], packed.strides_bytes[:-1]))
    written = made.strides_bytes[:-2]
    products = _repeats(
        batch,
        (
            left.batch_strides(batch),
            _Sides((*packed.shape, 1), (*packed.strides_bytes, 1)).batch_strides(batch),
            *(written for _ in rest),
            written,
            (0,) * len(batch),
        ),
    )
    scratch = Scratch(math.prod(packed.shape))
    return [
        Step(panels, (b, scratch), 0, to_panels),
        Step(
            gemm,
            (a, scratch, *rest, out, Scratch(gemm.scratch_bytes)),
            math.prod(batch) * count * depth * width,
            products,
        ),
    ]


class _Sides(NamedTuple):
    """A tensor as a stack of matrices: size of each axis, and bytes from one index to the next."""

    shape: tuple[int, ...]
    strides_bytes: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int], element_bytes: int) -> "_Sides":
        return cls(tuple(shape), tuple(element_bytes * s for s in contiguous(shape)))

    def batch_strides(self, batch: Sequence[int]) -> tuple[int, ...]:
        """Bytes from one index of each batch axis to the next, 0 where this tensor is broadcast."""
        own = list(zip(self.shape[:-2], self.strides_bytes[:-2], strict=True))
        missing = len(batch) - len(own)
        return (0,) * missing + tuple(0 if size == 1 else step for size, step in own)


def _sides(value: Value, perm: Sequence[int]) -> _Sides:
    """The tensor with its axes taken in another order."""
    whole = _Sides.of(value.shape, _FLOAT)
    if not perm:
        return whole
    return _Sides(tuple(whole.shape[i] for i in perm), tuple(whole.strides_bytes[i] for i in perm))


def _repeats(batch: Sequence[int], strides: Sequence[tuple[int, ...]]) -> tuple[Repeated, ...]:
    """Loops over the batch axes; neighbouring axes that every argument walks through evenly are one loop."""
    loops: list[Repeated] = []
    for count, *moves in zip(batch, *strides, strict=True):
        if count == 1:
            continue
        if loops and all(outer == inner * count for outer, inner in zip(loops[-1].moves_bytes, moves, strict=True)):
            loops[-1] = Repeated(loops[-1].times * count, tuple(moves))
        else:
            loops.append(Repeated(count, tuple(moves)))
    return tuple(loops)


def _as_2d(node: Node, op: Conv | Pool) -> tuple[tuple[int, int, int, int], Window] | None:
    """A one- or two-dimensional window as a two-dimensional one: (batch, height, width, channels) of the input."""
    shape, window = node.inputs[0].shape, op.window
    if len(window.kernel) == 2:
        return (shape[0], shape[1], shape[2], shape[3]), window
    if len(window.kernel) == 1:
        flat = Window((1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads))
        return (shape[0], 1, shape[1], shape[2]), flat
    return None


def lower_depthwise(node: Node, op: Conv) -> list[Step] | None:
    found = _as_2d(node, op)
    x, w, *rest = node.inputs
    (out,) = node.outputs
    if found is None or not op.last or x.dtype != "float32" or not _constant(node.inputs[1 : 2 + op.bias]):
        return None
    (batch, high, wide, channels), window = found
    if op.groups != channels or w.shape[0] != channels or not _rows_fit(rest, out):
        return None
    assert w.data is not None
    bias = rest.pop(0).data if op.bias else np.zeros(channels, np.float32)
    assert bias is not None
    forms, extras = _extras(rest, out)
    out_high, out_wide = window.output((high, wide))
    kernel = Depthwise(
        channels,
        (high, wide),
        (out_high, out_wide),
        (window.kernel[0], window.kernel[1]),
        (window.strides[0], window.strides[1]),
        (window.dilations[0], window.dilations[1]),
        (window.pads[0], window.pads[1]),
        op.epilogue,
        forms,
    )
    weights = Weights(pack_depthwise(w.data, bias))
    zeros = Zeros(kernel.zeros_bytes)
    image, made = _FLOAT * high * wide * channels, _FLOAT * out_high * out_wide * channels
    macs = out_high * out_wide * channels * math.prod(window.kernel)
    return [
        Step(kernel, (_at(x, n * image), weights, zeros, *_shifted(extras, forms, n * made), _at(out, n * made)), macs)
        for n in range(batch)
    ]


def _at(value: Value | Weights | Scratch, offset: int) -> Argument:
    return Part(value, offset) if offset else value


def _shifted(extras: Sequence[Argument], forms: Sequence[str], offset: int) -> list[Argument]:
    """Extras of one image of a batch: those laid out as the output move on with it."""
    return [
        _at(e, offset) if form == "full" and isinstance(e, Value | Weights) else e
        for e, form in zip(extras, forms, strict=True)
    ]


def lower_conv(node: Node, op: Conv) -> list[Step] | None:
    """Patches as rows of a matrix product, group by group; padding is copied around the input first."""
    found = _as_2d(node, op)
    x, w, *rest = node.inputs
    (out,) = node.outputs
    if found is None or not op.last or x.dtype != "float32" or not _constant(node.inputs[1 : 2 + op.bias]):
        return None
    (batch, high, wide, channels), window = found
    if not _rows_fit(rest, out) or (op.groups > 1 and rest[op.bias :]):
        return None
    bias = rest.pop(0).data if op.bias else None
    assert w.data is not None
    weights = w.data.reshape(w.shape[0], w.shape[1], *window.kernel)
    out_high, out_wide = window.output((high, wide))
    frame, line = _frame(window, high, wide, channels)
    padded = Scratch(frame.out_bytes) if frame is not None else None
    forms, extras = _extras(rest, out)
    inner, made = channels // op.groups, w.shape[0] // op.groups
    rows = Rows(
        out_high,
        out_wide,
        line * window.strides[0],
        _FLOAT * channels * window.strides[1],
        _pieces(window, line, channels, inner),
    )
    out_bytes = _FLOAT * w.shape[0] if op.groups > 1 else 0
    groups = [
        _products(
            rows,
            _as_matrix(weights[g * made : (g + 1) * made]),
            None if bias is None else bias[g * made : (g + 1) * made],
            op.epilogue,
            forms,
            out_bytes,
        )
        for g in range(op.groups)
    ]
    scratch = _scratch(groups[0])
    image, result = _FLOAT * high * wide * channels, _FLOAT * out_high * out_wide * w.shape[0]
    steps: list[Step] = []
    for n in range(batch):
        if frame is not None and padded is not None:
            steps.append(Step(frame, (_at(x, n * image), padded)))
        shifted = _shifted(extras, forms, n * result)
        for g, products in enumerate(groups):
            base = padded if padded is not None else x
            left = _at(base, _FLOAT * g * inner + (0 if padded is not None else n * image))
            target = _at(out, n * result + _FLOAT * g * made)
            steps += _product_steps(products, left, shifted, target, scratch)
    return steps


def lower_winograd(node: Node, op: Conv) -> list[Step] | None:
    """3×3 windows with enough channels and tiles that a quarter of the products is worth two transforms."""
    x, w, *rest = node.inputs
    (out,) = node.outputs
    plain = Window((3, 3), (1, 1), (1, 1), op.window.pads)
    if op.window != plain or op.groups > 1 or not op.last or x.dtype != "float32" or not _rows_fit(rest, out):
        return None
    if not _constant(node.inputs[1 : 2 + op.bias]) or w.data is None or not _pays(x.shape, out.shape):
        return None
    batch, high, wide, channels = x.shape
    _, out_high, out_wide, made = out.shape
    down, along = -(-out_high // TILE), -(-out_wide // TILE)
    (above, _), (left, _) = op.window.pads
    below, right = TILE * down + 2 - high - above, TILE * along + 2 - wide - left
    line, pixel = _FLOAT * wide * channels, _FLOAT * channels
    frame = Frame(high, line, above, below, pixel * left, pixel * right)
    to_planes = ToPlanes(down, along, channels, frame.out_line_bytes)
    gemm = Gemm(Rows(1, down * along, 0, pixel, ((0, channels),)), made)
    forms, extras = _extras(rest[op.bias :], out)
    from_planes = FromPlanes(out_high, out_wide, made, op.bias, op.epilogue, forms)
    padded, planes = Scratch(frame.out_bytes), Scratch(to_planes.out_bytes)
    products, scratch = Scratch(PLANES * down * along * made * _FLOAT), Scratch(gemm.scratch_bytes)
    weights = Weights(pack_planes(w.data))
    bias = [Weights(pack_columns(rest[0].data))] if op.bias and rest[0].data is not None else []
    plane = Repeated(PLANES, (down * along * pixel, weights.data[0].nbytes, down * along * made * _FLOAT, 0))
    steps: list[Step] = []
    for n in range(batch):
        target = n * out_high * out_wide * made * _FLOAT
        shifted = _shifted(extras, forms, target)
        steps += [
            Step(frame, (_at(x, n * high * line), padded)),
            Step(to_planes, (padded, planes)),
            Step(gemm, (planes, weights, products, scratch), PLANES * down * along * channels * made, (plane,)),
            Step(from_planes, (products, *bias, *shifted, _at(out, target))),
        ]
    return steps


def _pays(shape: Sequence[int], out_shape: Sequence[int]) -> bool:
    """Whether the planes' weights, four times as many, are used often enough, and few tiles reach past the edge."""
    channels, (_, high, wide, made) = shape[3], out_shape
    tiles = -(-high // TILE) * -(-wide // TILE)
    is_wide = channels % 4 == made % 4 == 0 and min(channels, made) >= WINOGRAD_CHANNELS_MIN
    return is_wide and tiles >= WINOGRAD_TILES_MIN and tiles * TILE * TILE <= 1.5 * high * wide


def _as_matrix(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """O, I, kh, kw to f32[kh · kw · I, O]."""
    return weights.transpose(2, 3, 1, 0).reshape(-1, weights.shape[0])


def _frame(window: Window, high: int, wide: int, channels: int) -> tuple[Frame | None, int]:
    """What copies the padding around the input, if there is any, and the bytes of a line after it."""
    line = _FLOAT * wide * channels
    (above, below), (left, right) = window.pads
    if not (above or below or left or right):
        return None, line
    frame = Frame(high, line, above, below, _FLOAT * channels * left, _FLOAT * channels * right)
    return frame, frame.out_line_bytes


def _pieces(window: Window, line: int, channels: int, inner: int) -> tuple[tuple[int, int], ...]:
    """A patch as runs of consecutive values: whole lines of the window where its columns touch."""
    kh, kw = window.kernel
    down, along = window.dilations
    if (along == 1 or kw == 1) and inner == channels:
        return tuple((i * down * line, kw * channels) for i in range(kh))
    pixel = _FLOAT * channels
    return tuple((i * down * line + j * along * pixel, inner) for i in range(kh) for j in range(kw))


def lower_softmax(node: Node, _op: Softmax) -> list[Step]:
    (x,), (out,) = node.inputs, node.outputs
    width = x.shape[-1]
    return [Step(SoftmaxRows(x.type.elements // width, width), (x, out))]


Lowering = Callable[[Node, Any], list[Step] | None]

LOWERINGS: dict[type[Op], tuple[Lowering, ...]] = {
    Map: (generic.lower_map,),
    Transpose: (generic.lower_transpose,),
    Slice: (generic.lower_slice,),
    Pad: (generic.lower_pad,),
    Spread: (generic.lower_spread,),
    Concat: (generic.lower_concat,),
    Gather: (generic.lower_gather,),
    Reduce: (generic.lower_reduce,),
    Pool: (generic.lower_pool,),
    Resample: (generic.lower_resample,),
    ArgReduce: (generic.lower_arg_reduce,),
    Cumulate: (generic.lower_cumulate,),
    TopK: (generic.lower_top_k,),
    Scatter: (generic.lower_scatter,),
    Softmax: (lower_softmax,),
    Require: (generic.lower_require,),
    MatMul: (lower_dense, lower_batched, generic.lower_matmul_generic),
    Conv: (lower_depthwise, lower_winograd, lower_conv, generic.lower_conv_generic),
}
