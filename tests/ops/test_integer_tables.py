"""Products whose bytes are looked up before they are stored, and weights of which four meet in 16 bits."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from integer_graphs import PLAIN, assert_same, convolution, to_byte
from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.ir.graph import Builder, Graph
from littoral.compiler.ir.ops import Conv, Dequantize, DequantizeWeights, Map, Window
from littoral.compiler.ir.quads import fits_pairs, quads_of, quads_sum_max, rows_of, rows_of_quads
from littoral.compiler.ir.quanta import Scheme, dequantized, quantized
from littoral.compiler.ir.types import TensorType
from littoral.compiler.passes.integer_tables import integer_tables
from littoral.compiler.plan import program_of
from littoral.compiler.quantize import fit_pairs
from littoral.compiler.quantize.pairs import least_scale
from littoral.compiler.quantize.tables import long_parts_apart, looked_up
from littoral.compiler.wasm import Target

SAME = ((1, 1), (1, 1))
POINT, AROUND = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))), Window((3, 3), (1, 1), (1, 1), SAME)


class Limits(NamedTuple):
    low: float
    high: float


def form_of(graph: Graph) -> str:
    (call,) = program_of(graph).calls()
    return str(next(s.kernel.form for s in call.lowered.steps if hasattr(s.kernel, "form")))


@pytest.mark.parametrize("parts", [1, 3, 8, 16])
@pytest.mark.parametrize("width", [8, 16, 22])
@pytest.mark.parametrize("is_depthwise", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_products_look_their_bytes_up(parts: int, width: int, is_depthwise: bool, rows: int) -> None:
    rng = np.random.default_rng(parts)
    x = rng.integers(0, 128, (1, rows, 7, width)).astype("u1")
    w = rng.integers(-127, 128, (width, 1, 3, 3) if is_depthwise else (width, width, 1, 1)).astype("i1")
    table = rng.integers(0, 256, 16 * parts).astype("u1")
    graph, feeds = convolution(
        x,
        w,
        AROUND if is_depthwise else POINT,
        to_byte(PLAIN * (parts / 32), "trunc", 0, 0, 16 * parts - 1),
        groups=width if is_depthwise else 1,
        table=table.tobytes(),
    )
    got = assert_same(graph, feeds)["y"]
    assert len(np.unique(got)) > 1 + parts


@pytest.mark.parametrize("target", ["simd128", "mvp"])
def test_tables_on_other_targets(target: Target) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 128, (1, 3, 3, 20)).astype("u1"), rng.integers(-127, 128, (20, 20, 1, 1)).astype("i1")
    table = rng.integers(0, 256, 256).astype("u1").tobytes()
    graph, feeds = convolution(x, w, POINT, to_byte(PLAIN, "trunc", 0, 0, 255), table=table)
    assert_same(graph, feeds, target)


@pytest.mark.parametrize("is_read_twice", [False, True])
def test_a_table_goes_into_the_product_that_nothing_else_reads(is_read_twice: bool) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 128, (1, 3, 3, 20)).astype("u1"), rng.integers(-127, 128, (20, 20, 1, 1)).astype("i1")
    graph, feeds = convolution(x, w, POINT, to_byte(PLAIN, "trunc"))
    scheme = Scheme("uint8", 0.02, 60, 0, 127)
    build = Builder()
    source = build.input("x", TensorType("uint8", x.shape))
    (node,) = graph.nodes
    made = build.add(node.op, source, *node.inputs[1:])
    found = build.add(Map(quantized(apply("tanh", dequantized(Arg("uint8", 0), scheme)), scheme)), made)
    outputs = [("y", found), *([("z", made)] if is_read_twice else [])]
    joined = integer_tables(build.finish(outputs))
    assert len(joined.nodes) == (2 if is_read_twice else 1)
    assert_same(joined, feeds)


def test_quads_are_a_permutation_of_the_weights() -> None:
    rows = np.arange(-66, 66, dtype="i1").reshape(3, 44)
    quads = quads_of(rows)
    assert quads.shape == (3, 12, 4)
    np.testing.assert_array_equal(quads[0, :2], [[-66, -65, -62, -61], [-64, -63, -60, -59]])
    np.testing.assert_array_equal(rows_of_quads(quads, 44), rows)
    w = np.arange(24).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(rows_of(w, 0), w.transpose(0, 2, 3, 1).reshape(2, 12))


@pytest.mark.parametrize("target", ["relaxed", "simd128"])
@pytest.mark.parametrize("sign", [1, -1])
def test_four_products_at_the_limit_of_16_bits_are_exact(sign: int, target: Target) -> None:
    assert quads_sum_max(127) == 258
    row = np.zeros(16, "i1")
    row[[0, 1, 4, 5]] = [127, 127, 4, 0]
    row[[2, 3, 6, 7]] = [-128, -128, 1, 1]
    row[[8, 9, 12, 13]] = [60, 70, -120, -127]
    w = np.tile((row.astype(int) * sign).clip(-128, 127), (16, 1)).astype("i1").reshape(16, 16, 1, 1)
    x = np.where(np.arange(48) % 3 == 2, 90, 127).astype("u1").reshape(1, 1, 3, 16)
    graph, feeds = convolution(x, w, POINT, PLAIN)
    assert form_of(graph) == "pairs"
    assert_same(graph, feeds, target)
    w[3, 5] += sign
    graph, feeds = convolution(x, w, POINT, PLAIN)
    assert form_of(graph) == "dot"
    assert_same(graph, feeds, target)


@pytest.mark.parametrize("shape", [(16, 40, 1, 1), (8, 5, 3, 3)])
def test_weights_of_eight_bits_fit_at_little_cost(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    exact = rng.normal(size=shape).astype("f4")
    reach = np.abs(exact).reshape(shape[0], -1).max(1)
    scale = np.maximum(reach / 127, least_scale(exact, 0, 127)).astype("f4")
    assert (scale < 1.6 * reach / 127).all()
    held = np.rint(exact / scale.reshape(-1, 1, 1, 1)).clip(-127, 127).astype("i1")
    build = Builder()
    x = build.input("x", TensorType("uint8", (1, 9, 9, shape[1])))
    number = build.add(Dequantize(Scheme("uint8", 0.1, 0, 0, 127)), x)
    w = build.add(DequantizeWeights(0), build.constant(held), build.constant(scale))
    window = Window(shape[2:], (1, 1), (1, 1), SAME)
    made = build.add(Conv(window, last=True), number, w)
    graph = fit_pairs(build.finish([("y", made)]))
    (weights,) = [n.inputs[0].data for n in graph.nodes if isinstance(n.op, DequantizeWeights)]
    assert weights is not None
    assert fits_pairs(rows_of(weights, 0), 127)
    assert np.abs(weights.astype(int) - held).max() <= 2
    assert (weights != held).mean() < 0.02
    assert not fits_pairs(np.full((1, 8), 127, "i1"), 127)


def test_depthwise_weights_keep_their_scale() -> None:
    assert not least_scale(np.ones((6, 1, 3, 3), "f4"), 0, 127).any()


def silu(x: Any) -> Any:
    return x / (1.0 + apply("exp", -x))


@pytest.mark.parametrize(("seen", "quantum"), [((-40.0, 3.0), 0.03), ((-1.0, 6.0), 0.05), ((0.0, 0.0), 0.1)])
def test_the_flat_ends_of_a_function_take_no_entries(seen: tuple[float, float], quantum: float) -> None:
    build = Builder()
    x = build.input("x", TensorType("float32", (1, 4, 4, 8)))
    w = build.constant(np.ones((8, 8, 1, 1), "f4"))
    conv = Conv(POINT, last=True, epilogue=silu(Arg("float32", 0)))
    made = build.add(conv, x, w)
    whole = build.finish([("y", made)])
    apart = long_parts_apart(whole, {whole.nodes[0].outputs[0]})
    sums, result = (n.outputs[0] for n in apart.nodes)
    scheme = Scheme("uint8", quantum, 20, 0, 127)
    found = looked_up(apart, {sums: scheme, result: scheme}, {sums: Limits(*seen)})[sums]
    assert -10 < -found.zero * found.scale <= max(seen[0], -found.zero * found.scale)
    assert found.scale <= quantum * 1.6
    assert found.high in range(15, 256, 16)
    assert long_parts_apart(whole, set()).nodes[0].op == conv
