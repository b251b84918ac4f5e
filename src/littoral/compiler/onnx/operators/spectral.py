"""Fourier transforms as products with a matrix, in float64; windows; mel filters."""

import math

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import Map, MatMul, Reduce, Reshape, Slice, Transpose
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.compiler.onnx.tensors import ONNX_DTYPES
from littoral.errors import ShapeError
from littoral.tensors import Array

INDEX = "int32"
WIDE = "float64"
WINDOW_LENGTH_MAX = 4096
MEL_SHAPE_MAX = (2049, 256)
BASIS_ELEMENTS_MAX = 1 << 23


def _basis(count: int, parts: int, length: int, inverse: bool, onesided: bool) -> Array:
    """[count · parts, bins · 2]: what each real or imaginary input adds to each real and imaginary output."""
    bins = length // 2 + 1 if onesided else length
    turns = np.outer(np.arange(count), np.arange(bins)) % length * (2 * np.pi / length)
    cosine, sine = np.cos(turns), np.sin(turns) * (1 if inverse else -1)
    rows = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)][:parts], 1)
    return rows.reshape(count * parts, bins * 2) / (length if inverse else 1)


def _basis_to_real(count: int, length: int) -> Array:
    """[count · 2, length]: real outputs of a spectrum of which one half is given."""
    bins = np.arange(count)
    turns = np.outer(bins, np.arange(length)) % length * (2 * np.pi / length)
    twice = np.where((bins == 0) | (2 * bins == length), 1.0, 2.0)[:, None] / length
    return np.stack([np.cos(turns) * twice, -np.sin(turns) * twice], 1).reshape(count * 2, length)


@operator("DFT")
def discrete_fourier(node: OnnxNode) -> Value:
    """x[…, n, …, 1 or 2]: the last axis holds the real and the imaginary part."""
    x, length_given = node.input(0), node.optional(1)
    rank = x.type.rank
    inverse, onesided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    known = None if length_given is None else scalar_constant(length_given)
    if length_given is not None and known is None:
        node.unsupported("needs `dft_length` to be constant")
    length = None if known is None else int(known.value)
    if node.opset < 20:
        return _transformed(node, x, node.axis("axis", 1, rank), length, inverse, onesided)
    axis_given = node.optional(2)
    if axis_given is None or axis_given.data is not None:
        axis = -2 if axis_given is None else int(node.array(2, "axis").reshape(-1)[0])
        return _transformed(node, x, node.normal_axis(axis, rank), length, inverse, onesided)
    forms = [_transformed(node, x, axis, length, inverse, onesided) for axis in range(rank - 1)]
    return _chosen(node, forms, axis_given, rank)


def _transformed(node: OnnxNode, x: Value, axis: int, length: int | None, inverse: bool, onesided: bool) -> Value:
    rank, size, parts = x.type.rank, x.shape[axis], x.shape[-1]
    to_real = inverse and onesided
    if parts not in (1, 2) or axis == rank - 1 or (to_real and parts == 1):
        raise ShapeError(f"node `{node.label}`: transform of {x.type} along axis {axis}")
    length = length or max(2 * (size - 1) if to_real else size, 1)
    count = min(size, length // 2 + 1 if to_real else length)
    if count * parts * length > BASIS_ELEMENTS_MAX:
        node.unsupported(f"of {count} values to {length}, which is too long")
    basis = _basis_to_real(count, length) if to_real else _basis(count, parts, length, inverse, onesided)
    parts_out = 1 if to_real else 2
    order = (*(a for a in range(rank - 1) if a != axis), axis, rank - 1)
    turned = node.add(Transpose(order), x)
    lead = turned.shape[:-2]
    cut = node.add(Slice((0,) * rank, (1,) * rank, (*lead, count, parts)), turned)
    flat = node.add(Reshape((math.prod(lead), count * parts)), cut)
    wide = node.add(Map(cast(Arg(x.dtype, 0), WIDE)), flat)
    product = node.add(MatMul(), wide, node.constant(basis))
    shaped = node.add(Reshape((*lead, basis.shape[1] // parts_out, parts_out)), product)
    back = node.add(Transpose(tuple(order.index(a) for a in range(rank))), shaped)
    return node.add(Map(cast(Arg(WIDE, 0), x.dtype)), back)


def _chosen(node: OnnxNode, forms: list[Value], axis: Value, rank: int) -> Value:
    """One result of several, by an axis that is data."""
    given = dynamic.at(axis, 0, 0)
    hits = [apply("or", *(apply("eq", given, dynamic.whole(v)) for v in (a, a - rank))) for a in range(rank - 1)]
    rows = []
    for i in range(rank):
        row: Expr = dynamic.whole(forms[0].shape[i])
        for hit, form in zip(hits[1:], forms[1:], strict=True):
            row = apply("select", hit, dynamic.whole(form.shape[i]), row)
        rows.append(row)
    result = dynamic.sized(node, rows, [max(sizes) for sizes in zip(*(f.shape for f in forms), strict=True)], axis)
    dtype = forms[0].dtype

    def element(c: list[Expr], _: int) -> Expr:
        chosen = dynamic.at(axis, len(forms), 0)
        found: Expr = number(dtype, 0.0)
        for a, form in enumerate(forms):
            at = dynamic.flat_index(contiguous(form.shape), c).at_most(form.type.elements - 1)
            hit = apply("or", *(apply("eq", chosen, dynamic.whole(v)) for v in (a, a - rank)))
            found = apply("select", hit, Load(dtype, a, at), found)
        return found

    return result.fill(dtype, element, *forms, axis)


@operator("STFT")
def short_time_fourier(node: OnnxNode) -> Value:
    """Transforms of overlapping frames: signal [batch, samples, 1 or 2] to [batch, frames, bins, 2]."""
    x, step, window, length = node.input(0), node.input(1), node.optional(2), node.optional(3)
    onesided = bool(node.integer("onesided", 1))
    known_step = scalar_constant(step)
    known = None if length is None else scalar_constant(length)
    size = int(known.value) if known is not None else window.shape[0] if window is not None else None
    if length is None and size is None:
        size = x.shape[1]
    if known_step is None or size is None:
        return _frames_at_run_time(node, x, step, window, length, onesided)
    hop, (batch, samples, parts) = int(known_step.value), x.shape
    if not 0 < size <= samples or hop < 1:
        raise ShapeError(f"node `{node.label}`: frames of {size} every {hop} of {samples} samples")
    count = 1 + (samples - size) // hop
    at = (Position(INDEX, 0) * samples + Position(INDEX, 1) * hop + Position(INDEX, 2)) * parts + Position(INDEX, 3)
    framed: Expr = Load(x.dtype, 0, at)
    if window is not None:
        framed = framed * Load(window.dtype, 1, Position(INDEX, 2))
    frames = node.add(Map(framed, (batch, count, size, parts)), x, *([window] if window is not None else []))
    return _transformed(node, frames, 2, None, inverse=False, onesided=onesided)


def _frames_at_run_time(
    node: OnnxNode, x: Value, step: Value, window: Value | None, length: Value | None, onesided: bool
) -> Value:
    """Every product of a sample and a wave, where the size of the frames or their distance is data."""
    batch, samples, parts = x.shape
    if parts != 1:
        node.unsupported("of complex samples needs `frame_step` and `frame_length` to be constant")
    longest = window.shape[0] if window is not None else samples
    size_given = dynamic.whole(longest) if length is None else dynamic.at(length, 1, 0)
    hop = dynamic.at(step, 0, 0).at_least(1)
    bins = apply("div", size_given, dynamic.whole(2)) + 1 if onesided else size_given
    count = apply("div", dynamic.whole(samples) - size_given, hop) + 1
    sources = [step, *([length] if length is not None else [])]
    result = dynamic.sized(
        node,
        [dynamic.whole(batch), count, bins, dynamic.whole(2)],
        [batch, samples, longest // 2 + 1 if onesided else longest, 2],
        *sources,
    )
    about = dynamic.table(node, [hop, size_given], *sources)
    frame, place, part, tap = (Position(INDEX, a) for a in (1, 2, 3, 4))
    pace, size = (cast(dynamic.at(about, 1, i), INDEX) for i in (0, 1))
    sample = Load(x.dtype, 0, (Position(INDEX, 0) * samples + (frame * pace + tap).at_most(samples - 1)))
    value = cast(sample, WIDE)
    if window is not None:
        value = value * cast(Load(window.dtype, 2, tap), WIDE)
    turn = cast(apply("rem", place * tap, size.at_least(1)), WIDE) * (2 * math.pi) / cast(size, WIDE)
    wave = apply("select", apply("eq", part, number(INDEX, 0)), apply("cos", turn), -apply("sin", turn))
    term = apply("select", tap < size, value * wave, number(WIDE, 0.0))
    total = Reduce("sum", (4,), term, cast(Arg(WIDE, 0), x.dtype), (*result.largest, longest))
    buffer = node.add(total, x, about, *([window] if window is not None else []))
    strides = contiguous(result.largest)
    return result.fill(x.dtype, lambda c, _: Load(x.dtype, 0, dynamic.flat_index(strides, c)), buffer)


_WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


@operator(*_WINDOWS)
def window_of(node: OnnxNode) -> Value:
    """a − b cos(2πi / N) + c cos(4πi / N); N is the size, or one less where it is not periodic."""
    size = node.input(0)
    a, b, c = _WINDOWS[node.op]
    dtype, less = ONNX_DTYPES[node.integer("output_datatype", 1)], 0 if node.integer("periodic", 1) else 1
    result = dynamic.sized(node, [dynamic.at(size, 0, 0)], [WINDOW_LENGTH_MAX], size)

    def element(places: list[Expr], dims: int) -> Expr:
        steps = cast(dynamic.at(result.dims, dims, 0) - less, WIDE).at_least(1.0)
        turn = cast(places[0], WIDE) * (2 * math.pi) / steps
        value = a - apply("cos", turn) * b
        return cast(value + apply("cos", turn * 2.0) * c if c else value, dtype)

    return result.fill(dtype, element)


@operator("MelWeightMatrix")
def mel_weights(node: OnnxNode) -> Value:
    """Triangles over the bins of a spectrum, as many as there are mel bands: [bins, bands]."""
    bands, length, *_ = node.inputs()
    dtype = ONNX_DTYPES[node.integer("output_datatype", 1)]
    rows = [dynamic.at(length, 1, 0), dynamic.at(bands, 0, 0)]
    rows[0] = apply("div", rows[0], dynamic.whole(2)) + 1
    result = dynamic.sized(node, rows, MEL_SHAPE_MAX, bands, length)

    def scalar(value: Value, index: int) -> Expr:
        return cast(Load(value.dtype, index, number(INDEX, 0)), WIDE)

    count, size, samples, lowest, highest = (scalar(v, i) for i, v in enumerate(node.inputs()))
    bottom, top = (apply("log", f / 700.0 + 1.0) * (2595 / math.log(10)) for f in (lowest, highest))
    pace = (top - bottom) / (count + 2.0)

    def edge(i: Expr) -> Expr:
        hertz = (apply("exp", (i * pace + bottom) * (math.log(10) / 2595)) - 1.0) * 700.0
        return apply("floor", (size + 1.0) * hertz / samples)

    def element(c: list[Expr], _: int) -> Expr:
        at, band = cast(c[0], WIDE), cast(c[1], WIDE)
        left, center, right = edge(band), edge(band + 1.0), edge(band + 2.0)
        zero, one = number(WIDE, 0.0), number(WIDE, 1.0)
        rising = (at - left) / (center - left)
        inside = apply("and", at >= left, at <= center)
        first = apply("select", center > left, rising, one)
        falls = apply("and", at >= center, at < right)
        found = apply("select", falls, (right - at) / (right - center), apply("select", inside, first, zero))
        return cast(found, dtype)

    return result.fill(dtype, element, *node.inputs())
