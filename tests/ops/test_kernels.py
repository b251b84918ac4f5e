"""Kernels alone: every remainder of tiles and vectors against numpy."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from kernel_host import CANARY, run
from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.ir.ops import Conv, Window
from littoral.compiler.ir.types import contiguous
from littoral.compiler.kernels import Access, Depthwise, Gemm, LoopNest, Panels, ResamplePlaces, Rows
from littoral.compiler.plan.weights import pack_columns, pack_depthwise, pack_panels


@pytest.mark.parametrize(
    ("count", "depth", "width"),
    [*product((1, 2, 3, 4, 5, 7, 9), (1, 2, 5, 12), (1, 3, 4, 6, 8, 13, 41)), (130, 96, 24), (6, 700, 17)],
)
def test_matrix_product(count: int, depth: int, width: int) -> None:
    rng = np.random.default_rng(count * 1000 + depth * 50 + width)
    a, b = rng.normal(size=(count, depth)).astype("f4"), rng.normal(size=(depth, width)).astype("f4")
    bias, other = rng.normal(size=width).astype("f4"), rng.normal(size=(count, width)).astype("f4")
    x, y = Arg("float32", 0), Arg("float32", 1)
    gemm = Gemm(Rows(1, count, 0, 4 * depth, ((0, depth),)), width, True, (x + y).at_least(0.0), ("full",))
    got = run(gemm, [a, pack_panels(b), pack_columns(bias), other], (count, width))
    want = np.maximum(a.astype(np.float64) @ b + bias + other, 0)
    assert np.abs(got - want).max() <= 1e-5 * max(np.abs(want).max(), 1)


def test_sums_are_exact_in_their_stated_order() -> None:
    """Bias first, then K in order, every product and every sum rounded: the bits are defined."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 33)).astype("f4"), rng.normal(size=(33, 11)).astype("f4")
    bias = rng.normal(size=11).astype("f4")
    want = np.broadcast_to(bias, (5, 11)).copy()
    for k in range(33):
        want = (a[:, k : k + 1] * b[k]) + want
    gemm = Gemm(Rows(1, 5, 0, 4 * 33, ((0, 33),)), 11, True)
    assert np.array_equal(run(gemm, [a, pack_panels(b), pack_columns(bias)], (5, 11)), want)


@pytest.mark.parametrize(("tile_rows", "panel"), [(1, 32), (2, 16), (3, 12), (4, 8), (4, 4), (5, 8), (6, 4), (8, 4)])
@pytest.mark.parametrize("unroll", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 4, 7, 13])
@pytest.mark.parametrize("width", [1, 8, 15, 41])
def test_no_tile_changes_a_bit(tile_rows: int, panel: int, unroll: int, count: int, width: int) -> None:
    """Every remainder of rows, columns and depth, with a bias, an extra input and a block of two tiles."""
    rng = np.random.default_rng(count * 100 + width)
    depth = 11
    a, b = rng.normal(size=(count, depth)).astype("f4"), rng.normal(size=(depth, width)).astype("f4")
    bias, other = rng.normal(size=width).astype("f4"), rng.normal(size=(count, width)).astype("f4")
    want = np.broadcast_to(bias, (count, width)).copy()
    for k in range(depth):
        want = (a[:, k : k + 1] * b[k]) + want
    x, y = Arg("float32", 0), Arg("float32", 1)
    gemm = Gemm(
        Rows(1, count, 0, 4 * depth, ((0, depth),)),
        width,
        True,
        x + y,
        ("full",),
        tile_rows=tile_rows,
        panel=panel,
        unroll=unroll,
        budget_bytes=2 * 16 * tile_rows * depth,
    )
    got = run(gemm, [a, pack_panels(b, panel), pack_columns(bias), other], (count, width))
    assert np.array_equal(got, want + other)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "pads", "dilation"),
    [
        (4, (7, 7), (3, 3), 1, ((1, 1), (1, 1)), 1),
        (6, (5, 30), (3, 3), 1, ((1, 1), (1, 1)), 1),
        (9, (6, 31), (3, 3), 2, ((0, 1), (0, 1)), 1),
        (5, (8, 17), (5, 5), 1, ((2, 2), (2, 2)), 1),
        (8, (9, 40), (5, 5), 2, ((2, 2), (1, 2)), 1),
        (3, (10, 25), (3, 3), 1, ((2, 2), (2, 2)), 2),
        (4, (1, 50), (1, 9), 3, ((0, 0), (4, 4)), 1),
        (2, (3, 3), (3, 3), 1, ((2, 2), (2, 2)), 1),
        (1, (4, 4), (4, 4), 1, ((0, 0), (0, 0)), 1),
    ],
)
@pytest.mark.parametrize(("group", "by_columns"), [(7, False), (7, True), (3, False), (10, True)])
def test_depthwise(
    channels: int, size: Any, kernel: Any, stride: int, pads: Any, dilation: int, group: int, by_columns: bool
) -> None:
    rng = np.random.default_rng(channels)
    x = rng.normal(size=(1, *size, channels)).astype("f4")
    w = rng.normal(size=(channels, 1, *kernel)).astype("f4")
    bias = rng.normal(size=channels).astype("f4")
    window = Window(kernel, (stride, stride), (dilation, dilation), pads)
    (want,) = Conv(window, channels, last=True, bias=True).reference(x, w, bias)
    sizes = (channels, size, window.output(size), kernel, window.strides, window.dilations, pads)
    k = Depthwise(*sizes, group=group, by_columns=by_columns)
    zeros = np.zeros(k.zeros_bytes // 4 + 16, "f4")
    arrays = [x, pack_depthwise(w, bias), zeros]
    got = run(k, arrays, want.shape)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    assert np.array_equal(got, run(Depthwise(*sizes), arrays, want.shape))
    assert np.array_equal(got, run(Depthwise(*sizes, is_rolled=True), arrays, want.shape))


@pytest.mark.parametrize("inner", [4, 5, 16, 23])
@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("outer", [1, 3])
def test_places_are_weighed(inner: int, taps: int, outer: int) -> None:
    """Taps in order; cut along either axis, the parts give the same bits."""
    rng = np.random.default_rng(inner)
    x, weights = rng.normal(size=(outer, 5, inner)).astype("f4"), rng.normal(size=(7, taps)).astype("f4")
    indices = rng.integers(0, 5, (7, taps)).astype("i4")
    want = x[:, indices[:, 0]] * (weights[:, 0, None] if taps > 1 else np.float32(1))
    for tap in range(1, taps):
        want = want + x[:, indices[:, tap]] * weights[:, tap, None]
    kernel = ResamplePlaces(outer, 5, 7, inner, taps)
    tables = [indices, weights] if taps > 1 else [indices]
    assert np.array_equal(run(kernel, [x, *tables], want.shape), want)
    by_outer, by_places = kernel.cuts()
    for start, stop in ((0, 1), (1, outer)) if outer > 1 else ():
        part = by_outer.part(start, stop).kernel
        assert np.array_equal(run(part, [x[start:], *tables], want[start:stop].shape), want[start:stop])
    for start, stop in ((0, 3), (3, 7)):
        part = replace(by_places.part(start, stop).kernel, out_bytes=0)
        got = run(part, [x, *(table[start:] for table in tables)], want[:, start:stop].shape)
        assert np.array_equal(got, want[:, start:stop])


@pytest.mark.parametrize("width", [1, 3, 4, 5, 8, 11])
def test_loop_nests_run_on_strides_and_broadcasts(width: int) -> None:
    rng = np.random.default_rng(width)
    a, b = rng.normal(size=(3, width)).astype("f4"), rng.normal(size=(width,)).astype("f4")
    column = rng.normal(size=(3, 1)).astype("f4")
    args = [Arg("float32", i) for i in range(3)]
    nest = LoopNest(
        (3, width),
        Access("float32", 0, contiguous((3, width))),
        (
            Access("float32", 0, (width, 1)),
            Access("float32", 0, (0, 1)),
            Access("float32", 0, (1, 0)),
        ),
        args[0] * args[1] + args[2],
    )
    assert np.array_equal(run(nest, [a, b, column], (3, width)), a * b + column)


def test_equal_kernels_share_a_function() -> None:
    a, b = (Gemm(Rows(1, 4, 0, 32, ((0, 8),)), 8) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)


@pytest.mark.parametrize(("depth", "width"), [*product((1, 2, 3, 4, 5, 9), (1, 3, 4, 5, 8, 11, 24)), (64, 198)])
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("panel", [4, 8, 12, 16])
def test_panels_are_what_the_compiler_packs(depth: int, width: int, is_turned: bool, panel: int) -> None:
    right = np.random.default_rng(depth * 100 + width).normal(size=(depth, width)).astype("f4")
    strides = (4, 4 * depth) if is_turned else (4 * width, 4)
    kernel = Panels(depth, width, *strides, panel)
    got = run(kernel, [right.T if is_turned else right], (kernel.out_bytes // 4,))
    real = pack_panels(np.ones_like(right), panel) == 1
    assert np.array_equal(got[real], pack_panels(right, panel)[real])


@pytest.mark.parametrize(
    ("count", "depth", "width"), [*product((1, 3, 4, 5, 9), (1, 12), (1, 3, 8, 13, 24)), (50, 700, 17)]
)
@pytest.mark.parametrize("accumulate", [False, True])
def test_a_long_epilogue_sees_each_sum_once(count: int, depth: int, width: int, accumulate: bool) -> None:
    """Rows that the last tile computes a second time are finished from their sums, not from what was finished."""
    rng = np.random.default_rng(count * 1000 + depth * 50 + width)
    a, b = rng.normal(size=(count, depth)).astype("f4"), rng.normal(size=(depth, width)).astype("f4")
    other, row = rng.normal(size=(count, width)).astype("f4"), rng.normal(size=width).astype("f4")
    x, y, z = (Arg("float32", i) for i in range(3))
    rows = Rows(1, count, 0, 4 * depth, ((0, depth),))
    gemm = Gemm(rows, width, False, x * apply("sigmoid", x) + y * z, ("full", "row"), accumulate=accumulate)
    got = run(gemm, [a, pack_panels(b), other, pack_columns(row)], (count, width))
    sums = a.astype(np.float64) @ b + (CANARY if accumulate else 0)
    want = sums / (1 + np.exp(-sums)) + other * row
    assert np.abs(got - want).max() <= 1e-5 * max(np.abs(want).max(), 1)


@pytest.mark.parametrize(
    ("count", "depth", "width"), [*product((1, 2, 3, 5, 9), (1, 2, 7, 12), (1, 3, 4, 6, 8, 13, 41)), (130, 96, 24)]
)
@pytest.mark.parametrize(("panel", "accumulate"), [(8, False), (8, True), (12, False), (4, False)])
def test_the_form_without_vectors_gives_the_same_bits(
    count: int, depth: int, width: int, panel: int, accumulate: bool
) -> None:
    rng = np.random.default_rng(count * 1000 + depth * 50 + width)
    a, b = rng.normal(size=(count, depth)).astype("f4"), rng.normal(size=(depth, width)).astype("f4")
    bias, other = rng.normal(size=width).astype("f4"), rng.normal(size=(count, width)).astype("f4")
    x, y = Arg("float32", 0), Arg("float32", 1)
    rows = Rows(1, count, 0, 4 * depth, ((0, depth),))
    gemm = Gemm(rows, width, not accumulate, (x + y).at_least(0.0), ("full",), accumulate=accumulate, panel=panel)
    inputs = [a, pack_panels(b, panel), *([] if accumulate else [pack_columns(bias)]), other]
    narrow = gemm.without_vectors()
    assert narrow.scratch_bytes <= gemm.scratch_bytes
    assert np.array_equal(run(narrow, inputs, (count, width)), run(gemm, inputs, (count, width)))
