"""Contractions of bytes, and expressions over bytes: how they become steps."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from littoral.compiler.ir.bounds import magnitude
from littoral.compiler.ir.expr import Arg, Expr, cast, walk
from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import IntegerConv, Map, Pool, Reduce
from littoral.compiler.ir.quads import fits_pairs
from littoral.compiler.ir.quanta import BYTES, as_floats, stored_form
from littoral.compiler.ir.tables import table_of
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.kernels import (
    PART,
    ByteMap,
    ByteMaximum,
    ByteSums,
    ByteTable,
    Extra,
    Finish,
    Form,
    IntegerDepthwise,
    IntegerGemm,
    Rows,
    form_of,
)
from littoral.compiler.plan.convolutions import as_2d, frame_of, pieces_of
from littoral.compiler.plan.integer_weights import pack_byte_panels, pack_byte_taps, pack_lanes
from littoral.compiler.plan.steps import Argument, Part, Scratch, Step, Weights, Zeros
from littoral.tensors import DTYPES, Array

__all__ = [
    "finish_of",
    "lower_byte_map",
    "lower_byte_maximum",
    "lower_byte_sums",
    "lower_byte_table",
    "lower_integer_conv",
    "lower_integer_depthwise",
]

SMALL = float(1 << 21)
WIDE_WEIGHT = 255  # what weights of int16 can be


def finish_of(expr: Expr, arguments: Sequence[float]) -> Finish | None:
    """What a kernel does with its sums; None where it cannot be done on four float32. arguments: their magnitudes."""
    form = stored_form(expr)
    value = as_floats(expr if form is None else form.value)
    if not isinstance(value, Arg) and not has_vector_form(value):
        return None
    if form is None:
        return Finish(value)
    is_small = magnitude(value, arguments) < SMALL
    return Finish(value, form.dtype, form.rounding, form.zero, form.low, form.high, is_small)


def _magnitudes(values: Sequence[Value]) -> list[float]:
    return [256.0 if v.dtype in BYTES else math.inf if v.data is None else float(np.abs(v.data).max()) for v in values]


def _conv_finish(node: Node, op: IntegerConv) -> Finish:
    w, bias, scale = (v.data for v in node.inputs[1:4])
    assert w is not None
    assert scale is not None
    if op.epilogue.dtype == "int32":
        return Finish(op.epilogue, "int32")
    reach = np.abs(w.astype(np.float64)).reshape(w.shape[0], -1).sum(1) * max(abs(op.lowest), abs(op.highest))
    start = np.inf if bias is None else np.abs(bias.astype(np.float64))
    largest = float(((reach + start) * np.abs(scale)).max())
    found = finish_of(op.epilogue, [largest, *_magnitudes(node.inputs[4:])])
    assert found is not None, "the passes make none that has no vector form"
    return replace(found, parts=len(op.table) // PART)


def _table(op: IntegerConv) -> list[Weights]:
    return [Weights(np.frombuffer(op.table, np.uint8))] if op.table else []


def _extras(values: Sequence[Value], out: Value) -> tuple[tuple[Extra, ...], list[Argument]]:
    forms = tuple(Extra("full" if v.shape == out.shape else "row", v.dtype) for v in values)
    rows = [Weights(pack_lanes(v.data)) if v.shape != out.shape and v.data is not None else v for v in values]
    return forms, list(rows)


def _form(op: IntegerConv, w: Array) -> Form:
    most = int(np.abs(w.astype(np.int16)).max(initial=0))
    return form_of(op.lowest, op.highest, most if w.dtype == np.int8 else WIDE_WEIGHT)


def _dense_form(op: IntegerConv, columns: Array) -> Form:
    """Of weights int8[K, outputs], which may add up to little enough for pairs although some are large."""
    form = _form(op, columns)
    return "pairs" if form == "dot" and fits_pairs(columns.T, op.highest) else form


def _moved(value: Argument, offset: int) -> Argument:
    if not offset:
        return value
    assert isinstance(value, Value | Weights | Scratch)
    return Part(value, offset)


def _moved_extras(forms: Sequence[Extra], extras: Sequence[Argument], elements: int, column: int = 0) -> list[Argument]:
    """Extras of one image of a batch, from a column on: those laid out as the output move on with the image."""
    return [
        _moved(value, (column + (elements if extra.form == "full" else 0)) * DTYPES[extra.dtype].bytes)
        for extra, value in zip(forms, extras, strict=True)
    ]


def _start(bias: Value, part: slice) -> Argument:
    """Where sums start, of some columns; what is computed at run time has no room behind it, which nothing needs."""
    if bias.data is None:
        return _moved(bias, 4 * (part.start or 0))
    return Weights(pack_lanes(bias.data[part]))


def lower_integer_depthwise(node: Node, op: IntegerConv) -> list[Step] | None:
    found = as_2d(node, op)
    x, w, bias, scale, *rest = node.inputs
    (out,) = node.outputs
    assert w.data is not None
    assert scale.data is not None
    if found is None or op.groups == 1 or op.groups != x.shape[-1] or w.shape[0] != op.groups:
        return None
    (batch, high, wide, channels), window = found
    if set(window.dilations) != {1}:
        return None
    (kh, kw), (out_high, out_wide) = window.kernel, window.output((high, wide))
    forms, extras = _extras(rest, out)
    kernel = IntegerDepthwise(
        channels,
        (high, wide),
        (out_high, out_wide),
        (kh, kw),
        (window.strides[0], window.strides[1]),
        (window.pads[0], window.pads[1]),
        _form(op, w.data),
        op.fill,
        _conv_finish(node, op),
        forms,
    )
    line: Argument = Zeros(kernel.line_bytes)
    if op.fill:
        line = Weights(np.full(kernel.line_bytes, op.fill, DTYPES[x.dtype].storage))
    constants = (
        Weights(pack_byte_taps(w.data.reshape(channels, kh, kw), kernel)),
        _start(bias, slice(None)),
        Weights(pack_lanes(scale.data)),
        line,
        *_table(op),
    )
    made = out_high * out_wide * channels
    return [
        Step(
            kernel,
            (
                _moved(x, n * high * wide * channels),
                *constants,
                *_moved_extras(forms, extras, n * made),
                _moved(out, n * made * kernel.finish.bytes),
            ),
            made * kh * kw,
        )
        for n in range(batch)
    ]


def _tiles(width: int, count: int, form: Form) -> tuple[int, int]:
    """Rows and vectors of a tile: what divides the width; few rows, or pairs, share their weights by four."""
    wide, tall, squat = (2, 4), (4, 2), (4, 3)
    order = (wide, tall, squat) if count > 60 and form != "pairs" else (tall, wide)
    return next((t for t in order if width % (4 * t[1]) == 0), wide)


def lower_integer_conv(node: Node, op: IntegerConv) -> list[Step] | None:
    """Patches as rows of a matrix product, group by group; padding is copied around the input first."""
    found = as_2d(node, op)
    x, w, bias, scale, *rest = node.inputs
    (out,) = node.outputs
    if found is None or w.data is None or scale.data is None:
        return None
    (batch, high, wide, channels), window = found
    out_high, out_wide = window.output((high, wide))
    frame, line = frame_of(window, high, wide, channels, 1, op.fill % 256)
    inner, made = channels // op.groups, w.shape[0] // op.groups
    pieces = pieces_of(window, line, channels, inner, 1)
    rows = Rows(out_high, out_wide, line * window.strides[0], channels * window.strides[1], pieces)
    is_pointwise = (out_high, out_wide) == (high, wide) and set(window.kernel) == {1}
    if batch > 1 and frame is None and is_pointwise and rows.flat().lines == 1 and rows.count:
        rows, batch = Rows(1, batch * out_high * out_wide, 0, channels, pieces), 1  # images lie one behind the other
    matrix = w.data.reshape(w.shape[0], inner, *window.kernel).transpose(2, 3, 1, 0).reshape(-1, w.shape[0])
    finish, form = _conv_finish(node, op), _dense_form(op, matrix)
    forms, extras = _extras(rest, out)
    tile_rows, vectors = _tiles(made, rows.count, form)
    kernel = IntegerGemm(
        rows,
        made,
        form,
        finish,
        forms,
        finish.bytes * w.shape[0] if op.groups > 1 else 0,
        tile_rows,
        vectors,
    )
    constants = [
        (
            Weights(pack_byte_panels(matrix[:, part], vectors, form)),
            _start(bias, part),
            Weights(pack_lanes(scale.data[part])),
            *_table(op),
        )
        for part in (slice(g * made, (g + 1) * made) for g in range(op.groups))
    ]
    padded = Scratch(frame.out_bytes) if frame is not None else None
    scratch = [Scratch(kernel.scratch_bytes)] if kernel.is_gathered else []
    steps: list[Step] = []
    macs = rows.count * rows.depth * made
    for n in range(batch):
        source = _moved(x, n * high * wide * channels)
        if frame is not None and padded is not None:
            steps.append(Step(frame, (source, padded)))
        for g, packed in enumerate(constants):
            left = _moved(padded, g * inner) if padded else _moved(x, n * high * wide * channels + g * inner)
            elements = n * out_high * out_wide * w.shape[0]
            target = _moved(out, (elements + g * made) * finish.bytes)
            others = _moved_extras(forms, extras, elements, g * made)
            steps.append(Step(kernel, (left, *packed, *others, target, *scratch), macs))
    return steps


def _mapped_form(value: Value, out: Value) -> str | None:
    """How a map of bytes reads an input: as the output lies, one value a column, or one for all."""
    if value.shape == out.shape:
        return "full"
    if value.type.elements == 1:
        return "one"
    return "row" if value.shape[-1:] == out.shape[-1:] and value.type.elements == out.shape[-1] else None


def lower_byte_table(node: Node, _op: Map) -> list[Step] | None:
    """Of one byte, and long to compute: a table."""
    table = table_of(node)
    if table is None:
        return None
    (x,), (out,) = node.inputs, node.outputs
    return [Step(ByteTable(x.type.elements, len(table) // PART), (x, Weights(np.frombuffer(table, np.uint8)), out))]


def lower_byte_map(node: Node, op: Map) -> list[Step] | None:
    """Where bytes are read as numbers, or made of them, and each input runs along the output or repeats by rows."""
    (out,) = node.outputs
    given = (*node.inputs, out)
    if not node.inputs or any(v.dtype not in (*BYTES, "float32") for v in given):
        return None
    if all(v.dtype == "float32" for v in given) or (out.dtype in BYTES and stored_form(op.expr) is None):
        return None
    finish = finish_of(op.expr, _magnitudes(node.inputs))
    forms = [_mapped_form(v, out) for v in node.inputs]
    if (
        finish is None
        or not all(forms)
        or any(isinstance(e, Arg) and e.dtype in BYTES for e in walk(as_floats(op.expr)))
    ):
        return None
    inputs = tuple(Extra(form or "", v.dtype) for form, v in zip(forms, node.inputs, strict=True))
    width = out.shape[-1] if any(e.form == "row" for e in inputs) else out.type.elements
    return [Step(ByteMap(out.type.elements // width, width, inputs, finish), (*node.inputs, out))]


def lower_byte_sums(node: Node, op: Reduce) -> list[Step] | None:
    """Sums of bytes over axes that lie side by side before the last one."""
    (out,) = node.outputs
    if len(node.inputs) != 1 or op.combine != "sum" or op.after is None or node.inputs[0].dtype not in BYTES:
        return None
    (x,), shape = node.inputs, node.inputs[0].shape
    long_axes = [i for i in range(len(shape) - 1) if shape[i] > 1]
    batch = math.prod(shape[i] for i in long_axes if i not in op.axes)
    kept_first = [i for i in long_axes if i not in op.axes]
    if op.before != cast(Arg(x.dtype, 0), "int32") or len(shape) - 1 in op.axes:
        return None
    if any(i > min(op.axes) for i in kept_first):
        return None
    width, finish = shape[-1], finish_of(op.after, [math.inf])
    if finish is None or not x.type.elements:
        return None
    rows = x.type.elements // (width * batch)
    kernel = ByteSums(rows, width, finish, x.dtype == "int8")
    steps = [(n * rows * width, n * width * finish.bytes) for n in range(batch)]
    return [Step(kernel, (_moved(x, source), _moved(out, target))) for source, target in steps]


def lower_byte_maximum(node: Node, op: Pool) -> list[Step] | None:
    found = as_2d(node, op)
    (x,), (out,) = node.inputs, node.outputs
    if found is None or op.combine != "max" or not op.last or x.dtype not in BYTES:
        return None
    (batch, high, wide, channels), window = found
    out_high, out_wide = window.output((high, wide), op.ceil)
    pads = tuple(
        (before, max(after, (count - 1) * stride + reach - size - before))
        for (before, after), count, stride, reach, size in zip(
            window.pads, (out_high, out_wide), window.strides, window.reach(), (high, wide), strict=True
        )
    )
    lowest = 128 if x.dtype == "int8" else 0
    frame, line = frame_of(replace(window, pads=pads), high, wide, channels, 1, lowest)
    taps = tuple(y * line + x * channels for y, x in window.taps())
    kernel = ByteMaximum(
        out_high,
        out_wide,
        channels,
        line * window.strides[0],
        channels * window.strides[1],
        taps,
        x.dtype == "int8",
    )
    padded = Scratch(frame.out_bytes) if frame is not None else None
    steps: list[Step] = []
    for n in range(batch):
        source, target = _moved(x, n * high * wide * channels), _moved(out, n * out_high * out_wide * channels)
        if frame is not None and padded is not None:
            steps.append(Step(frame, (source, padded)))
        steps.append(Step(kernel, (padded or source, target)))
    return steps
