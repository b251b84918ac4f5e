"""Kernels of bytes: the interpreter's bits at every remainder of tiles, in every way to multiply, at the corners."""

from itertools import product

import numpy as np
import pytest

from integer_graphs import PLAIN, assert_same, convolution, kinds_of, residual, to_byte
from littoral.compiler.ir.expr import Arg, Expr, apply, cast
from littoral.compiler.ir.graph import Builder
from littoral.compiler.ir.ops import Concat, IntegerConv, Map, Pool, Reduce, Transpose, Window
from littoral.compiler.ir.quanta import Scheme, dequantized, quantized
from littoral.compiler.ir.types import TensorType
from littoral.compiler.wasm import Target

LIMITS = {"dot": (0, 127), "pairs": (0, 127), "wide_u": (0, 255), "wide_s": (-128, 127)}
LIMITS |= {"deep_u": (0, 255), "deep_s": (-128, 127)}
WEIGHT = {"dot": 127, "pairs": 64, "wide_u": 128, "wide_s": 128, "deep_u": 255, "deep_s": 255}
DTYPE = {"wide_s": np.int8, "deep_s": np.int8}
MOST = {form: 255 if form.startswith("deep") else min(most, 127) for form, most in WEIGHT.items()}


def bytes_of(form: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    low, high = LIMITS[form]
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(DTYPE.get(form, np.uint8))


def weights_of(form: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    most = WEIGHT[form]
    dtype = np.int16 if form.startswith("deep") else np.int8
    return np.random.default_rng(seed).integers(-most, MOST[form] + 1, shape).astype(dtype)


def window(kernel: tuple[int, int], stride: int = 1, pads: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Window:
    top, left, bottom, right = pads
    return Window(kernel, (stride, stride), (1, 1), ((top, bottom), (left, right)))


@pytest.mark.parametrize("form", LIMITS)
@pytest.mark.parametrize(
    ("count", "depth", "width"),
    [*product((1, 3, 5), (1, 13), (1, 6, 12, 37)), (130, 96, 24), (67, 300, 48), (700, 40, 8), (5, 5000, 8)],
)
def test_a_product_of_bytes(form: str, count: int, depth: int, width: int) -> None:
    x, w = bytes_of(form, (1, 1, count, depth)), weights_of(form, (width, depth, 1, 1))
    graph, feeds = convolution(x, w, window((1, 1)), to_byte(PLAIN, "trunc"), limits=LIMITS[form])
    assert_same(graph, feeds)


@pytest.mark.parametrize("target", ["relaxed", "simd128", "mvp"])
@pytest.mark.parametrize("form", LIMITS)
def test_sums_at_the_corners_do_not_saturate(form: str, target: Target) -> None:
    """All lanes at their extremes, in all signs: what a pair of products adds up to still fits."""
    low, high = LIMITS[form]
    most = WEIGHT[form]
    rows = [np.full(64, value) for value in (low, high)] + [np.where(np.arange(64) % 2, low, high)]
    x = np.array(rows, DTYPE.get(form, np.uint8)).reshape(1, 1, 3, 64)
    columns = [np.full(64, value) for value in (-most, MOST[form])]
    columns += [np.where(np.arange(64) % 2, -most, MOST[form]), np.where(np.arange(64) % 4 < 2, -most, most - 1)]
    w = np.array(columns * 4, weights_of(form, (1,)).dtype).reshape(16, 64, 1, 1)
    graph, feeds = convolution(x, w, window((1, 1)), PLAIN, limits=(low, high))
    got = assert_same(graph, feeds, target)["y"]
    assert len(np.unique(got)) > 12


@pytest.mark.parametrize("form", LIMITS)
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        ((3, 3), 1, (1, 1, 1, 1)),
        ((3, 3), 2, (0, 0, 1, 1)),
        ((5, 5), 1, (2, 2, 2, 2)),
        ((5, 3), 2, (2, 1, 1, 0)),
        ((1, 1), 2, (0, 0, 0, 0)),
        ((2, 7), 3, (0, 3, 1, 3)),
    ],
)
@pytest.mark.parametrize("channels", [3, 37])
def test_depthwise_by_columns(
    form: str, kernel: tuple[int, int], stride: int, pads: tuple[int, int, int, int], channels: int
) -> None:
    x, w = bytes_of(form, (2, 11, 17, channels)), weights_of(form, (channels, 1, *kernel))
    for fill in (0, 77) if channels == 37 else (9,):
        epilogue = to_byte(PLAIN, "trunc")
        graph, feeds = convolution(
            x, w, window(kernel, stride, pads), epilogue, groups=channels, fill=fill, limits=LIMITS[form]
        )
        assert set(kinds_of(graph)) == {"int8-depthwise"}
        assert_same(graph, feeds)


@pytest.mark.parametrize("size", range(1, 9))
def test_depthwise_on_lines_of_any_length(size: int) -> None:
    x, w = bytes_of("dot", (1, size, size, 16)), weights_of("dot", (16, 1, 3, 3))
    for stride in (1, 2):
        graph, feeds = convolution(
            x, w, window((3, 3), stride, (1, 1, 1, 1)), to_byte(PLAIN, "trunc"), groups=16, fill=5
        )
        assert_same(graph, feeds)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [((3, 3), 2, (1, 1, 0, 1)), ((1, 3), 1, (0, 1, 0, 1)), ((1, 1), 2, (0, 0, 0, 0))]
)
@pytest.mark.parametrize("channels", [2, 6, 48])
def test_any_window_gathers_its_rows(
    groups: int, kernel: tuple[int, int], stride: int, pads: tuple[int, int, int, int], channels: int
) -> None:
    x, w = bytes_of("dot", (2, 13, 9, channels)), weights_of("dot", (20, channels // groups, *kernel))
    graph, feeds = convolution(
        x, w, window(kernel, stride, pads), to_byte(PLAIN, "trunc"), groups=groups, fill=31, limits=(0, 127)
    )
    assert "int8-gemm" in kinds_of(graph)
    assert_same(graph, feeds)


def test_a_last_block_of_less_than_a_tile() -> None:
    x, w = bytes_of("dot", (1, 9, 9, 256)), weights_of("dot", (8, 256, 3, 3))
    graph, feeds = convolution(x, w, window((3, 3), 2, (1, 1, 1, 1)), to_byte(PLAIN, "trunc"))
    assert_same(graph, feeds)


@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [((1, 8), (1, 3), (1, 1)), ((2, 6), (1, 1), (2, 1)), ((2, 6), (2, 1), (1, 1)), ((3, 5), (1, 1), (1, 1))],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_images_of_a_batch_need_not_lie_one_behind_the_other(
    size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], groups: int
) -> None:
    """What a window leaves over of each image lies between them."""
    x, w = bytes_of("dot", (3, *size, 8)), weights_of("dot", (12, 8 // groups, *kernel))
    where = Window(kernel, strides, (1, 1), ((0, 0), (0, 0)))
    graph, feeds = convolution(x, w, where, to_byte(PLAIN, "trunc"), groups=groups)
    assert_same(graph, feeds)


EPILOGUES = {
    "to nearest": to_byte(PLAIN, "round", 3),
    "signed": to_byte(PLAIN, "round", -7, -128, 127),
    "signed, within": to_byte(PLAIN, "round", 0, -20, 99),
    "all of a byte": to_byte(PLAIN, "round", 9, 0, 255),
    "upper limit": to_byte(PLAIN, "trunc", 0, 4, 90),
    "floats": PLAIN,
    "residual": to_byte(residual(0.37), "trunc"),
    "residual in floats": residual(0.37),
    "long": to_byte(PLAIN * 0.1 / (1.0 + apply("exp", -(PLAIN * 0.1))), "round", 40),
}


@pytest.mark.parametrize("name", EPILOGUES)
@pytest.mark.parametrize("is_depthwise", [False, True])
@pytest.mark.parametrize("width", [16, 22])
def test_what_follows_the_sums(name: str, is_depthwise: bool, width: int) -> None:
    shape = (1, 5, 7, width)
    x = bytes_of("dot", shape)
    extras = {"r": bytes_of("dot", shape, 1)} if "residual" in name else {}
    w = weights_of("dot", (width, 1 if is_depthwise else width, 3, 3) if is_depthwise else (width, width, 1, 1))
    where = window((3, 3), 1, (1, 1, 1, 1)) if is_depthwise else window((1, 1))
    groups = width if is_depthwise else 1
    graph, feeds = convolution(x, w, where, EPILOGUES[name], groups=groups, extras=extras)
    assert_same(graph, feeds)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("form", ["full", "row"])
def test_further_inputs_of_any_type_and_form(dtype: str, form: str) -> None:
    shape = (1, 3, 5, 12) if form == "full" else (1, 1, 1, 12)
    extra = np.random.default_rng(3).integers(-9, 90, shape).astype(dtype)
    x, w = bytes_of("dot", (1, 3, 5, 20)), weights_of("dot", (12, 20, 1, 1))
    other = Arg(dtype, 1) if dtype == "float32" else cast(Arg(dtype, 1), "float32")
    for epilogue in (to_byte(PLAIN + other), PLAIN * other):
        graph, feeds = convolution(x, w, window((1, 1)), epilogue, extras={"r": extra})
        assert_same(graph, feeds)


SCHEMES = [Scheme("uint8", 0.043, 61, 0, 127), Scheme("uint8", 0.02, 0, 0, 255), Scheme("int8", 0.05, -9, -128, 127)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [1, 15, 16, 37])
def test_floats_to_bytes_and_back(scheme: Scheme, count: int) -> None:
    x = np.random.default_rng(0).normal(size=count).astype("f4") * 3
    x[: min(count, 8)] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 0.5 * scheme.scale][: min(count, 8)]
    build = Builder()
    source = build.input("x", TensorType("float32", x.shape))
    byte = build.add(Map(quantized(Arg("float32", 0), scheme)), source)
    back = build.add(Map(dequantized(Arg(scheme.dtype, 0), scheme)), byte)
    graph = build.finish([("q", byte), ("y", back)])
    assert set(kinds_of(graph)) == {"int8-map"}
    got = assert_same(graph, {"x": x})
    inside = np.isfinite(x) & (np.abs(got["y"] - x) < scheme.scale)
    assert (np.abs(got["y"] - x)[inside] <= scheme.scale * 0.5001).all()


@pytest.mark.parametrize("shape", [(1, 3, 5, 16), (2, 2, 2, 7)])
@pytest.mark.parametrize("other", ["full", "row", "one", "batch"])
def test_maps_of_two(shape: tuple[int, ...], other: str) -> None:
    rng = np.random.default_rng(1)
    forms = {"full": shape, "row": (1, 1, 1, shape[-1]), "one": (1,), "batch": (shape[0], 1, 1, shape[-1])}
    feeds = {
        "a": rng.integers(0, 128, shape).astype("u1"),
        "b": rng.integers(0, 128, forms[other]).astype("u1"),
    }
    first, second = (dequantized(Arg("uint8", i), SCHEMES[0]) for i in range(2))
    build = Builder()
    inputs = [build.input(name, TensorType("uint8", a.shape)) for name, a in feeds.items()]
    out = build.add(Map(quantized(first * second, SCHEMES[0])), *inputs)
    graph = build.finish([("y", out)])
    assert_same(graph, feeds)


@pytest.mark.parametrize("most", [127, 255])
@pytest.mark.parametrize("count", [5, 16, 40])
def test_what_is_long_to_compute_is_a_table(most: int, count: int) -> None:
    x = np.random.default_rng(2).integers(0, most + 1, count).astype("u1")
    value: Expr = dequantized(Arg("uint8", 0), SCHEMES[0])
    build = Builder()
    scheme = Scheme("uint8", 0.03, 10, 0, most)
    source = build.input("x", TensorType("uint8", x.shape))
    limited = build.add(Map(to_byte(cast(Arg("uint8", 0), "float32"), high=most)), source)
    out = build.add(Map(quantized(apply("tanh", value), scheme)), limited)
    graph = build.finish([("y", out)])
    assert kinds_of(graph) == ["int8-map", "int8-table"]
    assert_same(graph, {"x": x})


@pytest.mark.parametrize("form", ["full", "row"])
def test_groups_with_further_inputs(form: str) -> None:
    extra = np.random.default_rng(3).normal(size=(2, 5, 7, 20) if form == "full" else (20,)).astype("f4") * 9
    x, w = bytes_of("wide_u", (2, 5, 7, 12)), weights_of("wide_u", (20, 3, 3, 3))
    graph, feeds = convolution(
        x,
        w,
        window((3, 3), 1, (1, 1, 1, 1)),
        to_byte(PLAIN + Arg("float32", 1)),
        groups=4,
        limits=(0, 255),
        extras={"r": extra},
    )
    assert_same(graph, feeds)


@pytest.mark.parametrize("groups", [1, 2, 20])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_whole_sums_from_a_start_that_is_computed(groups: int, dtype: str) -> None:
    """As a zero point that is known at run time leaves them."""
    form = "wide_u" if dtype == "uint8" else "wide_s"
    x, w = bytes_of(form, (2, 6, 5, 20)), weights_of(form, (20, 20 // groups, 3, 3))
    start = np.random.default_rng(1).integers(-9999, 9999, 20).astype(np.int32)
    build = Builder()
    inputs = [build.input("x", TensorType(dtype, x.shape)), build.input("start", TensorType("int32", start.shape))]
    doubled = build.add(Map(Arg("int32", 0) * 2), inputs[1])
    op = IntegerConv(window((3, 3), 2, (1, 0, 1, 1)), groups, 3, *LIMITS[form], Arg("int32", 0))
    constants = build.constant(w), build.constant(np.ones(20, np.float32))
    out = build.add(op, inputs[0], constants[0], doubled, constants[1])
    assert_same(build.finish([("y", out)]), {"x": x, "start": start})


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (1, 7, 7, 40), (1, 33, 17, 16), (3, 4, 5, 18)])
def test_sums_over_a_picture(shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).integers(*((0, 256) if dtype == "uint8" else (-128, 128)), shape).astype(dtype)
    total = cast(Arg("int32", 0), "float32") * 0.02
    for after in (total, to_byte(total, "round", 4, 0, 255)):
        build = Builder()
        source = build.input("x", TensorType(dtype, shape))
        out = build.add(Reduce("sum", (1, 2), cast(Arg(dtype, 0), "int32"), after), source)
        graph = build.finish([("y", out)])
        assert set(kinds_of(graph)) == {"int8-sums"}
        assert_same(graph, {"x": x})


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("stride", "pads", "ceil"), [(2, (1, 1, 1, 1), False), (1, (0, 0, 0, 0), False), (3, (0, 1, 0, 0), True)]
)
def test_the_largest_byte_under_a_window(dtype: str, stride: int, pads: tuple[int, int, int, int], ceil: bool) -> None:
    for channels in (3, 16, 20):
        low = -128 if dtype == "int8" else 0
        x = np.random.default_rng(0).integers(low, low + 256, (2, 9, 12, channels)).astype(dtype)
        build = Builder()
        source = build.input("x", TensorType(dtype, x.shape))
        out = build.add(Pool("max", window((3, 3), stride, pads), ceil, last=True), source)
        graph = build.finish([("y", out)])
        assert "int8-maximum" in kinds_of(graph)
        assert_same(graph, {"x": x})


@pytest.mark.parametrize("sizes", [(256, 256), (7, 16, 3), (1, 40), (33, 150), (20,)])
@pytest.mark.parametrize("axis", [1, 3])
def test_bytes_side_by_side(sizes: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    build = Builder()
    shapes = [(2, 3, 2, n) if axis == 3 else (2, n, 3, 1) for n in sizes]
    feeds = {f"x{i}": rng.integers(0, 256, shape).astype("u1") for i, shape in enumerate(shapes)}
    inputs = [build.input(name, TensorType("uint8", a.shape)) for name, a in feeds.items()]
    graph = build.finish([("y", build.add(Concat(axis), *inputs))])
    assert len(sizes) == 1 or set(kinds_of(graph)) == {"int8-runs"}
    assert_same(graph, feeds)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (1, 48), (3, 3)])
def test_planes_to_pixels(dtype: str, channels: int, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 128, (2, channels, *size)).astype(dtype)
    build = Builder()
    source = build.input("x", TensorType(dtype, x.shape))
    graph = build.finish([("y", build.add(Transpose((0, 2, 3, 1)), source))])
    assert ("int8-interleave" in kinds_of(graph)) == (size != (3, 3))
    assert_same(graph, {"x": x})
