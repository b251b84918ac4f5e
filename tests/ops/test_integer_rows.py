"""Products of rows with scales of their own: the interpreter's bits at every remainder, and in rows of no numbers."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from integer_graphs import assert_same, kinds_of, run_graph
from littoral.compiler.ir.expr import Arg, Expr, apply
from littoral.compiler.ir.graph import Builder, Graph
from littoral.compiler.ir.ops import DequantizeWeights, MatMul, QuantizeRows, RoundRows
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.types import TensorType
from littoral.compiler.passes import INTEGER_PASSES, PASSES
from littoral.compiler.wasm import Target

TARGETS = ("relaxed", "simd128", "mvp")


def marked(x: Any, width: int, most: int = 127, epilogue: Expr | None = None, **extras: Any) -> tuple[Graph, Any]:
    """A product of rounded rows with weights of random bytes, a bias, and what follows. Also its feeds."""
    rng = np.random.default_rng(1)
    depth = x.shape[-1]
    build = Builder()
    source = build.input("x", TensorType("float32", x.shape))
    more = [build.input(name, TensorType("float32", a.shape)) for name, a in extras.items()]
    held = build.constant(rng.integers(-most, most + 1, (depth, width)).astype("i1"))
    scale = build.constant(rng.uniform(0.001, 0.1, width).astype("f4"))
    w = build.add(DequantizeWeights(1), held, scale)
    bias = build.constant(rng.normal(size=width).astype("f4"))
    op = MatMul(bias=True, epilogue=epilogue)
    y = build.add(op, build.add(RoundRows(), source), w, bias, *more, label="product")
    return build.finish([("y", y)]), {"x": x, **extras}


def in_integers(graph: Graph) -> Graph:
    for handle in INTEGER_PASSES:
        graph = PASSES[handle](graph)
    return graph


def rows_of(count: int, depth: int) -> Any:
    rng = np.random.default_rng(0)
    spread = np.exp(rng.normal(size=(count, 1)) * 3)
    return (rng.normal(size=(count, depth)) * spread + rng.normal(size=(count, 1)) * spread).astype("f4")


@pytest.mark.parametrize("most", [64, 127])
@pytest.mark.parametrize(
    ("count", "depth", "width"),
    [*product((1, 3, 5), (1, 13, 16), (1, 6, 12, 37)), (130, 96, 24), (67, 300, 48), (700, 40, 8)],
)
def test_every_remainder(count: int, depth: int, width: int, most: int) -> None:
    graph, feeds = marked(rows_of(count, depth), width, most)
    whole = in_integers(graph)
    assert kinds_of(whole) == ["int8-rows", "int8-gemm"]
    got = assert_same(whole, feeds)["y"]
    want = interpret(graph, feeds)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("target", TARGETS)
def test_what_follows_the_sums(target: Target) -> None:
    number, row, other = (Arg("float32", i) for i in range(3))
    x, r = rows_of(9, 24), np.random.default_rng(2).normal(size=(9, 20)).astype("f4")
    long = number * 0.5 * (1.0 + apply("erf", number * 0.7)) + row
    graph, feeds = marked(x, 20, epilogue=long, r=r)
    assert_same(in_integers(graph), feeds, target)
    graph, feeds = marked(x, 20, epilogue=number * row + other, b=r[:1], r=r)
    assert_same(in_integers(graph), feeds, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("depth", [1, 7, 16, 37])
def test_rows_without_a_range(target: Target, depth: int) -> None:
    """Zeros stay zeros; a NaN, an infinity or a range beyond float32 makes no numbers of that row, and of no other."""
    huge = np.float32(3e38)
    x = rows_of(9, depth)
    x[1] = 0
    x[2, -1], x[3, 0], x[4, depth // 2] = np.nan, np.inf, -np.inf
    x[5] = np.where(np.arange(depth) % 2, -huge, huge)
    x[6] = 1e-42
    x[7] = -0.0
    build = Builder()
    source = build.input("x", TensorType("float32", x.shape))
    outputs = build.add_all(QuantizeRows(), source)
    graph = build.finish(list(zip(("q", "scale", "zero"), outputs, strict=True)))
    got = assert_same(graph, {"x": x}, target)
    assert (got["q"][[1, 2, 3, 4, 7]] == 0).all()
    assert (got["scale"][[1, 7]] == 0).all()
    assert not np.isfinite(got["scale"][2:5]).any()
    graph, feeds = marked(x, 5)
    y = assert_same(in_integers(graph), feeds, target)["y"]
    assert np.isnan(y[2:5]).all()
    assert np.isfinite(y[[0, 1, 6, 7, 8]]).all()
    without, _ = marked(x[[0, 8]], 5)
    np.testing.assert_array_equal(y[[0, 8]], run_graph(in_integers(without), {"x": x[[0, 8]]})["y"])


def test_a_byte_is_off_by_half_a_quantum() -> None:
    x = rows_of(50, 40)
    build = Builder()
    graph = build.finish([("y", build.add(RoundRows(), build.input("x", TensorType("float32", x.shape))))])
    off = np.abs(interpret(graph, {"x": x})["y"] - x)
    quantum = (np.maximum(x.max(1), 0) - np.minimum(x.min(1), 0)) / 127
    assert (off <= quantum[:, None] * 0.502).mean() > 0.99
    assert (off <= quantum[:, None] * 1.01).all()
