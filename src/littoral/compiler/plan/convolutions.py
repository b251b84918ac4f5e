"""Convolutions, channels last: how they become steps, the fastest way that fits first."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import Conv, IntegerConv, Pool, Window
from littoral.compiler.kernels import PLANES, TILE, Depthwise, Frame, FromPlanes, Gemm, Rows, ToPlanes
from littoral.compiler.plan.choice import Choice, tiled
from littoral.compiler.plan.products import FLOAT_BYTES, extras_of, product_steps, products_of, rows_fit, scratch_of
from littoral.compiler.plan.steps import Argument, Part, Repeated, Scratch, Step, Weights, Zeros
from littoral.compiler.plan.weights import pack_columns, pack_depthwise, pack_planes

__all__ = [
    "as_2d",
    "frame_of",
    "lower_conv",
    "lower_depthwise",
    "lower_winograd",
    "pieces_of",
]

DEPTHWISE_TAPS_MAX = 1024  # its code goes through them one by one
WINOGRAD_CHANNELS_MIN = 32
WINOGRAD_TILES_MIN = 16
LINES_BYTES_MAX = 1 << 15  # under a window, for the first-level cache to keep them


def _constant(values: Sequence[Value]) -> bool:
    return all(v.data is not None for v in values)


def as_2d(node: Node, op: Conv | IntegerConv | Pool) -> tuple[tuple[int, int, int, int], Window] | None:
    """A one- or two-dimensional window as a two-dimensional one: (batch, height, width, channels) of the input."""
    shape, window = node.inputs[0].shape, op.window
    if len(window.kernel) == 2:
        return (shape[0], shape[1], shape[2], shape[3]), window
    if len(window.kernel) == 1:
        flat = Window((1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads))
        return (shape[0], 1, shape[1], shape[2]), flat
    return None


def lower_depthwise(node: Node, op: Conv, choice: Choice) -> list[Step] | None:
    found = as_2d(node, op)
    x, w, *rest = node.inputs
    (out,) = node.outputs
    if found is None or not op.last or x.dtype != "float32" or not _constant(node.inputs[1 : 2 + op.bias]):
        return None
    (batch, high, wide, channels), window = found
    if math.prod(window.kernel) > DEPTHWISE_TAPS_MAX:
        return None
    if op.groups != channels or w.shape[0] != channels or not rows_fit(rest, out):
        return None
    assert w.data is not None
    bias = rest.pop(0).data if op.bias else np.zeros(channels, np.float32)
    assert bias is not None
    forms, extras = extras_of(rest, out)
    out_high, out_wide = window.output((high, wide))
    by_columns = window.kernel[0] * wide * channels * FLOAT_BYTES > LINES_BYTES_MAX
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
        choice.group,
        by_columns if choice.by_columns is None else choice.by_columns,
    )
    weights = Weights(pack_depthwise(w.data, bias))
    zeros = Zeros(kernel.zeros_bytes)
    image, made = FLOAT_BYTES * high * wide * channels, FLOAT_BYTES * out_high * out_wide * channels
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


def lower_conv(node: Node, op: Conv, choice: Choice) -> list[Step] | None:
    """Patches as rows of a matrix product, group by group; padding is copied around the input first."""
    found = as_2d(node, op)
    x, w, *rest = node.inputs
    (out,) = node.outputs
    if found is None or not op.last or x.dtype != "float32" or not _constant(node.inputs[1 : 2 + op.bias]):
        return None
    (batch, high, wide, channels), window = found
    if not rows_fit(rest, out) or (op.groups > 1 and rest[op.bias :]):
        return None
    bias = rest.pop(0).data if op.bias else None
    assert w.data is not None
    weights = w.data.reshape(w.shape[0], w.shape[1], *window.kernel)
    out_high, out_wide = window.output((high, wide))
    frame, line = frame_of(window, high, wide, channels)
    padded = Scratch(frame.out_bytes) if frame is not None else None
    forms, extras = extras_of(rest, out)
    inner, made = channels // op.groups, w.shape[0] // op.groups
    rows = Rows(
        out_high,
        out_wide,
        line * window.strides[0],
        FLOAT_BYTES * channels * window.strides[1],
        pieces_of(window, line, channels, inner),
    )
    out_bytes = FLOAT_BYTES * w.shape[0] if op.groups > 1 else 0
    groups = [
        products_of(
            rows,
            _as_matrix(weights[g * made : (g + 1) * made]),
            None if bias is None else bias[g * made : (g + 1) * made],
            op.epilogue,
            forms,
            out_bytes,
            choice,
        )
        for g in range(op.groups)
    ]
    scratch = scratch_of(groups[0])
    image, result = FLOAT_BYTES * high * wide * channels, FLOAT_BYTES * out_high * out_wide * w.shape[0]
    steps: list[Step] = []
    for n in range(batch):
        if frame is not None and padded is not None:
            steps.append(Step(frame, (_at(x, n * image), padded)))
        shifted = _shifted(extras, forms, n * result)
        for g, products in enumerate(groups):
            base = padded if padded is not None else x
            left = _at(base, FLOAT_BYTES * g * inner + (0 if padded is not None else n * image))
            target = _at(out, n * result + FLOAT_BYTES * g * made)
            steps += product_steps(products, left, shifted, target, scratch)
    return steps


def lower_winograd(node: Node, op: Conv, choice: Choice) -> list[Step] | None:
    """3×3 windows with enough channels and tiles that a quarter of the products is worth two transforms."""
    x, w, *rest = node.inputs
    (out,) = node.outputs
    plain = Window((3, 3), (1, 1), (1, 1), op.window.pads)
    if op.window != plain or op.groups > 1 or not op.last or x.dtype != "float32" or not rows_fit(rest, out):
        return None
    if not _constant(node.inputs[1 : 2 + op.bias]) or w.data is None or not _fits(x.shape, out.shape):
        return None
    if not (_pays(out.shape) if choice.winograd is None else choice.winograd):
        return None
    batch, high, wide, channels = x.shape
    _, out_high, out_wide, made = out.shape
    down, along = -(-out_high // TILE), -(-out_wide // TILE)
    (above, _), (left, _) = op.window.pads
    below, right = TILE * down + 2 - high - above, TILE * along + 2 - wide - left
    line, pixel = FLOAT_BYTES * wide * channels, FLOAT_BYTES * channels
    frame = Frame(high, line, above, below, pixel * left, pixel * right)
    to_planes = ToPlanes(down, along, channels, frame.out_line_bytes)
    gemm = tiled(Gemm(Rows(1, down * along, 0, pixel, ((0, channels),)), made), choice)
    forms, extras = extras_of(rest[op.bias :], out)
    from_planes = FromPlanes(out_high, out_wide, made, op.bias, op.epilogue, forms)
    padded, planes = Scratch(frame.out_bytes), Scratch(to_planes.out_bytes)
    products, scratch = Scratch(PLANES * down * along * made * FLOAT_BYTES), Scratch(gemm.scratch_bytes)
    weights = Weights(pack_planes(w.data, choice.panel))
    bias = [Weights(pack_columns(rest[0].data))] if op.bias and rest[0].data is not None else []
    plane = Repeated(PLANES, (down * along * pixel, weights.data[0].nbytes, down * along * made * FLOAT_BYTES, 0))
    steps: list[Step] = []
    for n in range(batch):
        target = n * out_high * out_wide * made * FLOAT_BYTES
        shifted = _shifted(extras, forms, target)
        steps += [
            Step(frame, (_at(x, n * high * line), padded)),
            Step(to_planes, (padded, planes)),
            Step(gemm, (planes, weights, products, scratch), PLANES * down * along * channels * made, (plane,)),
            Step(from_planes, (products, *bias, *shifted, _at(out, target))),
        ]
    return steps


def _fits(shape: Sequence[int], out_shape: Sequence[int]) -> bool:
    """Whether the transforms' vectors are whole."""
    return shape[3] % 4 == out_shape[3] % 4 == 0 and min(shape[3], out_shape[3]) >= WINOGRAD_CHANNELS_MIN


def _pays(out_shape: Sequence[int]) -> bool:
    """Whether the planes' weights, four times as many, are used often enough, and few tiles reach past the edge."""
    _, high, wide, _ = out_shape
    tiles = -(-high // TILE) * -(-wide // TILE)
    return tiles >= WINOGRAD_TILES_MIN and tiles * TILE * TILE <= 1.5 * high * wide


def _as_matrix(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """O, I, kh, kw to f32[kh · kw · I, O]."""
    return weights.transpose(2, 3, 1, 0).reshape(-1, weights.shape[0])


def frame_of(
    window: Window, high: int, wide: int, channels: int, element_bytes: int = FLOAT_BYTES, fill: int = 0
) -> tuple[Frame | None, int]:
    """What copies the padding around the input, if there is any, and the bytes of a line after it."""
    pixel = element_bytes * channels
    line = wide * pixel
    (above, below), (left, right) = window.pads
    if not (above or below or left or right):
        return None, line
    frame = Frame(high, line, above, below, pixel * left, pixel * right, fill)
    return frame, frame.out_line_bytes


def pieces_of(
    window: Window, line: int, channels: int, inner: int, element_bytes: int = FLOAT_BYTES
) -> tuple[tuple[int, int], ...]:
    """A patch as runs of consecutive values: whole lines of the window where its columns touch."""
    kh, kw = window.kernel
    down, along = window.dilations
    if (along == 1 or kw == 1) and inner == channels:
        return tuple((i * down * line, kw * channels) for i in range(kh))
    pixel = element_bytes * channels
    return tuple((i * down * line + j * along * pixel, inner) for i in range(kh) for j in range(kw))
