"""Where integers could go wrong: lanes at their extremes, scales and zero points at their ends, what is no number."""

from typing import Any

import numpy as np
import pytest

from integer_graphs import PLAIN, assert_same, convolution, kinds_of, residual, to_byte
from littoral.compiler.ir.bounds import magnitude
from littoral.compiler.ir.expr import Arg, Expr, apply, cast, number
from littoral.compiler.ir.graph import Builder
from littoral.compiler.ir.ops import Map, Reduce, Window
from littoral.compiler.ir.quanta import Scheme, dequantized, quantized
from littoral.compiler.ir.types import TensorType
from littoral.compiler.wasm import TARGETS, Target

LIMITS = {"dot": (0, 127), "pairs": (0, 127), "wide_u": (0, 255), "wide_s": (-128, 127)}
WEIGHTS = {"dot": (-128, 127), "pairs": (-64, 64), "wide_u": (-128, 127), "wide_s": (-128, 127)}
ODD = [np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 0.0, -0.0]
SHAPES = {
    "dense": ((1, 1), (0, 0, 0, 0), 24, 20, 1),
    "gathered": ((3, 3), (1, 1, 1, 1), 5, 18, 1),
    "in groups": ((3, 3), (1, 0, 0, 1), 12, 8, 2),
    "depthwise": ((3, 3), (1, 1, 1, 1), 37, 37, 37),
    "depthwise, 5": ((5, 5), (2, 2, 2, 2), 16, 16, 16),
}


def extremes(shape: tuple[int, ...], low: int, high: int, seed: int) -> Any:
    """Nothing but the least and the greatest: all one or the other, in turns of 1, 2, 4, and at random."""
    place = np.arange(shape[-1])
    rows = [place * 0, place * 0 + 1, place % 2, place // 2 % 2, place // 4 % 2, 1 - place % 2]
    turns = np.resize(np.concatenate(rows), shape)
    mixed = np.random.default_rng(seed).integers(0, 2, shape)
    chosen = np.where(np.random.default_rng(seed + 1).integers(0, 3, (*shape[:-1], 1)) == 0, mixed, turns)
    return np.where(chosen == 1, high, low).astype(np.int8 if low < 0 else np.uint8)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", LIMITS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_product_at_the_extremes(name: str, form: str, target: Target) -> None:
    """What is outside a picture as well; a depth of no whole step, and a width of no whole vector."""
    (high, wide), (top, left, bottom, right), given, made, groups = SHAPES[name]
    low, most = LIMITS[form]
    window = Window((high, wide), (1, 1), (1, 1), ((top, bottom), (left, right)))
    for seed, fill in ((0, low), (3, most)):
        x = extremes((2, 6, 7, given), low, most, seed)
        w = extremes((made, high, wide, given // groups), *WEIGHTS[form], seed + 5).astype(np.int8)
        w = np.ascontiguousarray(w.transpose(0, 3, 1, 2))
        graph, feeds = convolution(x, w, window, PLAIN, groups=groups, fill=fill, limits=(low, most))
        assert_same(graph, feeds, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(12))
def test_any_convolution(seed: int, target: Target) -> None:
    """Sizes, windows, strides, groups, what is added, and how it ends, drawn by lot."""
    rng = np.random.default_rng([seed, TARGETS.index(target)])
    for _ in range(4):
        form = str(rng.choice(list(LIMITS)))
        low, most = LIMITS[form]
        depthwise = bool(rng.random() < 0.4)
        groups = 1 if depthwise else int(rng.choice([1, 1, 2, 3]))
        given = groups * int(rng.choice([1, 3, 4, 7, 16, 21]))
        made = given if depthwise else groups * int(rng.choice([1, 4, 5, 16, 19]))
        groups = given if depthwise else groups
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        size = [int(k + rng.integers(0, 9)) for k in kernel]
        pads = [[int(rng.integers(0, k)) for _ in "ab"] for k in kernel]
        strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        window = Window(kernel, strides, (1, 1), ((pads[0][0], pads[0][1]), (pads[1][0], pads[1][1])))
        shape = (int(rng.integers(1, 3)), *size, given)
        x = rng.integers(low, most + 1, shape).astype(np.int8 if low < 0 else np.uint8)
        w = rng.integers(*WEIGHTS[form], (made, given // groups, *kernel), endpoint=True).astype(np.int8)
        out = (shape[0], *window.output(size), made)
        is_added = bool(rng.random() < 0.5) and (depthwise or groups == 1)
        extras = {"r": rng.integers(0, 256, out).astype("u1")} if is_added else {}
        value = residual(0.37) if is_added else PLAIN
        limits = [(0, 127), (3, 90), (0, 255), (-128, 127)][int(rng.integers(4))]
        rounding = "trunc" if rng.random() < 0.5 and limits[0] >= 0 else "round"
        zero = int(rng.integers(limits[0], limits[1] + 1)) if rounding == "round" else 0
        epilogue = value if rng.random() < 0.2 else to_byte(value, rounding, zero, *limits)
        fill = int(rng.integers(low, most + 1))
        graph, feeds = convolution(x, w, window, epilogue, groups=groups, fill=fill, limits=(low, most), extras=extras)
        assert_same(graph, feeds, target)


SCALES = (1e-45, 1e-38, 1e-20, 1e-6, 1.0, 1e6, 1e30, 3.4e38)


def both_ways(scheme: Scheme, x: Any, target: Target) -> dict[str, Any]:
    build = Builder()
    source = build.input("x", TensorType("float32", x.shape))
    byte = build.add(Map(quantized(Arg("float32", 0), scheme)), source)
    back = build.add(Map(dequantized(Arg(scheme.dtype, 0), scheme)), byte)
    return assert_same(build.finish([("q", byte), ("y", back)]), {"x": x}, target)


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", SCALES)
def test_schemes_at_their_ends(scale: float, target: Target) -> None:
    """A NaN becomes the lowest byte, an infinity the lowest or the highest, whatever the scale."""
    scale = float(np.float32(scale))
    steps = np.float64([-400, -129, -1.5, -0.5, 0.49, 0.5, 1.5, 2.5, 126.5, 127, 128, 255, 300]) * scale
    x = np.float32([*ODD, *steps.clip(-3.4e38, 3.4e38)])
    for dtype, low, high in (("uint8", 0, 127), ("uint8", 0, 255), ("int8", -128, 127), ("int8", -127, 127)):
        for zero in (low, high, (low + high) // 2):
            q = both_ways(Scheme(dtype, scale, zero, low, high), x, target)["q"].astype(int)
            assert q[:6].tolist() == [low, low, high, low, high, low] or scale > 1e35
            assert q[8] == q[9] == zero


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("is_depthwise", [False, True])
def test_numbers_that_are_none_beside_sums(is_depthwise: bool, target: Target) -> None:
    """A further input in float32 that is infinite or no number meets the sums behind a product."""
    width = 16
    shape = (1, 2, 5, width)
    x = np.random.default_rng(0).integers(0, 128, shape).astype("u1")
    w = np.random.default_rng(1).integers(-127, 128, (width, 1 if is_depthwise else width, 1, 1)).astype("i1")
    extra = np.resize(np.float32([*ODD, 1.0, -7.25, 1e9, -1e9, 4e6]), shape)
    point = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    other = Arg("float32", 1)
    with np.errstate(all="ignore"):
        for value in (PLAIN + other, PLAIN * other, (PLAIN + other).at_least(-3.0).at_most(40.0)):
            for end in (to_byte(value, "round", 7), to_byte(value, "round", 0, -128, 127), to_byte(value, "trunc")):
                graph, feeds = convolution(x, w, point, end, groups=width if is_depthwise else 1, extras={"r": extra})
                assert_same(graph, feeds, target)


@pytest.mark.parametrize("target", TARGETS)
def test_what_overflows_on_its_way_is_limited(target: Target) -> None:
    """Within bounds at the end, but not in between: such a value is no small one."""
    far = cast(Arg("uint8", 0), "float32") * number("float32", 3e38)
    near = far * number("float32", 1e-38)
    gone = (far - cast(Arg("uint8", 1), "float32") * number("float32", 3e38)) * number("float32", 1e-38)
    line = np.arange(40, dtype="u1")
    with np.errstate(all="ignore"):
        for value, feeds in ((near, {"a": line}), (gone, {"a": line, "b": line[::-1].copy()})):
            build = Builder()
            inputs = [build.input(n, TensorType("uint8", a.shape)) for n, a in feeds.items()]
            graph = build.finish([("y", build.add(Map(to_byte(value, "round", 5)), *inputs))])
            assert kinds_of(graph) == ["int8-map"]
            assert_same(graph, feeds, target)


def test_magnitudes_know_nothing_of_what_may_be_no_number() -> None:
    x, nothing = Arg("float32", 0), number("float32", float("nan"))
    unknown: list[Expr] = [
        x * number("float32", 3e38) * number("float32", 1e-38),
        apply("max", x, nothing),
        apply("max", nothing, x),
        number("float32", float("inf")) * 0.0,
    ]
    assert [magnitude(expr, [256.0]) for expr in unknown] == [float("inf")] * len(unknown)
    assert magnitude((x * 2.0).at_most(9.0) - 1.0, [256.0]) == 513


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("value", [0, 255])
def test_sums_of_many_bytes_at_the_extremes(value: int, target: Target) -> None:
    """More rows than 16 bits can add up."""
    for rows in (255, 256, 257, 600):
        x = np.full((1, rows, 1, 19), value, "u1")
        build = Builder()
        source = build.input("x", TensorType("uint8", x.shape))
        total = cast(Arg("int32", 0), "float32") * 0.001
        made = build.add(Reduce("sum", (1, 2), cast(Arg("uint8", 0), "int32"), total), source)
        assert_same(build.finish([("y", made)]), {"x": x}, target)
