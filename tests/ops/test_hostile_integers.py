"""Quantised models and calibration feeds that are wrong: an error in words, or what ONNX Runtime makes of it."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from hostile_models import model_of
from littoral.compiler.driver import planned, written
from littoral.compiler.ir.reference import interpret
from littoral.compiler.quantize import Int8
from littoral.compiler.wasm import TARGETS
from littoral.errors import InputError, LittoralError, ShapeError, UnsupportedOperatorError
from model_host import run_bare

SCALES = (0.0, -0.0, -0.1, np.nan, np.inf, -np.inf, 1e-45, 1e-38, 3e38)
SHAPE = [1, 3, 4, 4]
WEIGHTS = np.arange(-8, 7, dtype=np.int8).reshape(5, 3, 1, 1)


def picture() -> Any:
    x = np.linspace(-3, 9, 48, dtype="f4").reshape(SHAPE)
    x.flat[:4] = [np.nan, np.inf, -np.inf, 3e38]
    return x


def pair(scale: Any, zero: Any, **attributes: Any) -> bytes:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "y", **attributes),
    ]
    return model_of(nodes, {"x": SHAPE}, {"s": scale, "z": zero})


def convolution(scale: Any, weight_scale: Any, end: str = "Relu", bias: float = 0.5, **attributes: Any) -> bytes:
    """Between bytes, with weights in int8."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], "weights", **attributes),
        helper.make_node("Conv", ["d", "v", "b"], ["c"]),
        helper.make_node(end, ["c"], ["e"]),
        helper.make_node("QuantizeLinear", ["e", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    scales = np.asarray(weight_scale, np.float32)
    constants = {"s": np.float32(scale), "z": np.uint8(3), "w": WEIGHTS, "ws": scales}
    constants |= {"wz": np.zeros(scales.shape, np.int8), "b": np.full(5, bias, np.float32)}
    return model_of(nodes, {"x": SHAPE}, constants)


def run_all(model: bytes, feeds: Mapping[str, Any]) -> Any:
    """The same on every target."""
    found = planned(model)
    first, *others = (run_bare(written(found, target=target).wasm, feeds)["y"] for target in TARGETS)
    for other in others:
        np.testing.assert_array_equal(other, first)
    return first


def peer(model: bytes, feeds: Mapping[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(255), np.int8(-128), np.int8(127), np.uint8(3)], ids=repr)
def test_a_scale_that_is_none(scale: float, zero: Any) -> None:
    model, feeds = pair(np.float32(scale), zero), {"x": picture()}
    np.testing.assert_array_equal(run_all(model, feeds), peer(model, feeds))


@pytest.mark.parametrize("bias", [0.5, 0.0, np.inf, np.nan, -3e38])
@pytest.mark.parametrize("end", ["Relu", "Sigmoid", "Neg"])
@pytest.mark.parametrize("scale", SCALES)
def test_weights_with_a_scale_that_is_none(scale: float, end: str, bias: float) -> None:
    """In one channel; the others stay what they are. Sums in bytes do not overflow where those in float32 do.

    A NaN becomes the least byte that its place allows, behind a ReLU that of 0; ONNX Runtime's is the least of all.
    """
    model = convolution(0.1, [0.1, scale, 0.1, 0.2, 0.3], end, bias, axis=0)
    feeds = {"x": np.linspace(-3, 9, 48, dtype="f4").reshape(SHAPE)}
    got, want = run_all(model, feeds), peer(model, feeds)
    want = np.maximum(want, 0) if end == "Relu" else want
    if scale > 1e30:
        got, want = (np.delete(y, 1, 1) for y in (got, want))
    np.testing.assert_allclose(got, want, rtol=0, atol=0.1001)


@pytest.mark.parametrize("end", ["Relu", "Neg"])
@pytest.mark.parametrize("scale", SCALES)
def test_sums_of_bytes_with_a_scale_that_is_none(scale: float, end: str) -> None:
    model, feeds = convolution(scale, np.full(5, 0.1), end, axis=0), {"x": picture()}
    got = run_all(model, feeds)
    if scale == scale and abs(scale) < 1e30:
        np.testing.assert_allclose(got, peer(model, feeds), rtol=0, atol=abs(scale) * 1.001)


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (pair(np.float32(0.1), np.int32(3)), UnsupportedOperatorError, "node `q`: .* to int32"),
        (pair(np.float32(0.1), np.float32(3)), UnsupportedOperatorError, "node `q`: .* to float32"),
        (pair(np.float32(0.1), np.zeros(2, "u1")), ShapeError, "node `q`: .*uint8.2. for axis 1"),
        (pair(np.full((1, 3), 0.1, "f4"), np.zeros((1, 3), "u1")), ShapeError, "node `q`: .*for axis 1"),
        (pair(np.full(2, 0.1, "f4"), np.zeros(2, "u1"), axis=1), ShapeError, "node `q`: .*2. for axis 1"),
        (pair(np.zeros(0, "f4"), np.zeros(0, "u1")), ShapeError, "node `q`: .*0. for axis 1"),
        (pair(np.full(3, 0.1, "f4"), np.zeros(3, "u1"), axis=4), ShapeError, "node `q`: axis 4 of rank 4"),
        (convolution(0.1, np.full(5, 0.1), axis=7), ShapeError, "node `weights`: axis 7 of rank 4"),
        (convolution(0.1, np.full(5, 0.1), axis=-9), ShapeError, "node `weights`: axis -9 of rank 4"),
        (convolution(0.1, np.full(5, 0.1), axis=1), ShapeError, r"node `weights`: .*float32\[5\] for axis 1"),
        (convolution(0.1, np.full(4, 0.1), axis=0), ShapeError, r"node `weights`: .*float32\[4\] for axis 0"),
    ],
)
def test_what_does_not_fit_is_told(model: bytes, error: type[LittoralError], said: str) -> None:
    with pytest.raises(error, match=said):
        planned(model)


def tiny() -> bytes:
    """One convolution of one input."""
    constants = {"w": np.ones((2, 3, 1, 1), np.float32)}
    return model_of([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": SHAPE}, constants)


GOOD = np.ones(SHAPE, np.float32)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": GOOD}, "one `dict`, must be a series · hint: a list of inputs by name"),
        (7, "one `int`, must be a series"),
        ("x", "feed 0 is a `str`, must be inputs by name"),
        ([GOOD], "feed 0 is a `ndarray`, must be inputs by name"),
        ([{"x": GOOD}, None], "feed 1 is a `NoneType`"),
        ([{"x": [[1, 2], [3]]}], "feed 0: `x` is no array"),
        ([{"x": GOOD.astype("f8")}], r"feed 0: `x` is float64\[1, 3, 4, 4\], expected float32\[1,3,4,4\]"),
        ([{"x": "picture"}], "feed 0: `x` is "),
        ([{"x": np.float32(1)}], r"feed 0: `x` is float32\[\]"),
        ([{}], "feed 0 lacks input `x`"),
        ([{"X": GOOD}], "feed 0 lacks input `x`"),
        ([{"x": GOOD}, {"x": GOOD * np.nan}], "input `x` is not finite on calibration feed 1"),
        ([], "0 calibration feeds"),
        (iter(()), "0 calibration feeds"),
    ],
)
def test_feeds_that_are_wrong_are_told(feeds: Any, said: str) -> None:
    with np.errstate(over="ignore"), pytest.raises(InputError, match=f"int8: .*{said}"):
        planned(tiny(), int8=feeds)


def test_masks_with_infinities_do_not_disturb_the_report() -> None:
    w = np.eye(4, dtype="f4")
    mask = np.float32([[0, -np.inf, 0, 0], [-np.inf, 0, 0, 0]])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "mask"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=-1),
    ]
    model = model_of(nodes, {"x": [2, 4]}, {"w": w, "mask": mask})
    x = np.float32([[1, 2, 3, 4], [0, 1, -1, 2]])
    got = run_bare(written(planned(model, int8=[{"x": x}])).wasm, {"x": x})["y"]
    np.testing.assert_allclose(got, peer(model, {"x": x}), atol=0.03)


def test_endless_feeds_end() -> None:
    taken = []

    def endless() -> Iterator[dict[str, Any]]:
        for i in itertools.count():
            taken.append(i)
            yield {"x": GOOD}

    with pytest.raises(InputError, match="more than 10000 calibration feeds, must be 1..10000"):
        planned(tiny(), int8=endless())
    assert len(taken) == 10_001


def test_feeds_are_read_once() -> None:
    taken = []
    feeds = (taken.append(i) or {"x": GOOD * np.float32(i)} for i in range(20))
    planned(tiny(), int8=Int8(feeds))
    assert taken == list(range(20))


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0, 1e-30, 1e30])
def test_feeds_that_are_all_the_same(value: float) -> None:
    """Also nothing but zeros: the scale is some number, and other inputs still give numbers."""
    feeds = {"x": np.full(SHAPE, value, np.float32)}
    found = planned(tiny(), int8=[feeds] * 3)
    got = run_bare(written(found).wasm, feeds)["y"]
    np.testing.assert_allclose(got, np.full_like(got, 3 * value), rtol=0.02, atol=1e-18)
    for target in TARGETS:
        other = run_bare(written(found, target=target).wasm, {"x": picture()})["y"]
        assert np.isfinite(other).all()


def test_weights_of_nothing_but_zeros() -> None:
    """A channel that training has switched off, and a layer of such."""
    w = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype("f4")
    w[1] = 0
    rest = {"v": np.zeros((2, 4, 1, 1), np.float32), "b": np.float32([0.5, -2])}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Conv", ["c", "v", "b"], ["y"])]
    found = planned(model_of(nodes, {"x": SHAPE}, {"w": w, **rest}), int8=[{"x": GOOD}, {"x": -GOOD}])
    got = run_bare(written(found).wasm, {"x": GOOD})["y"]
    np.testing.assert_allclose(got, np.broadcast_to(rest["b"].reshape(1, 2, 1, 1), got.shape), rtol=1e-3)


def test_bits_that_are_none() -> None:
    for bits in (0, 4, 16, -8, None, "8", np.nan, [8]):
        with pytest.raises(InputError, match="bits must be one of"):
            Int8([], bits=bits)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.05, 0.5])
def test_a_nan_stays_within_the_limits_that_products_count_on(scale: float) -> None:
    """Limits before a quantisation make bytes 0..127 of an int8; what has them is read elsewhere as well."""
    nodes = [
        helper.make_node("HardSigmoid", ["x"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["e"]),
        helper.make_node("Concat", ["e", "c"], ["y"], axis=1),
    ]
    constants = {"s": np.float32(scale), "z": np.int8(13), "w": WEIGHTS, "ws": np.float32(0.1)}
    feeds = {"x": picture()}
    found = planned(model_of(nodes, {"x": SHAPE}, constants))
    want = interpret(found.graphs[0], feeds)["y"]
    for target in TARGETS:
        got = run_bare(written(found, target=target).wasm, feeds)["y"]
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e30, 1e37])
def test_a_residual_whose_scale_is_far_from_that_of_the_sum(scale: float) -> None:
    """Counted in quanta of the result, it may be more than a float32 holds."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("QuantizeLinear", ["x", "far", "z"], ["f"]),
        helper.make_node("DequantizeLinear", ["f", "far", "z"], ["g"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["c"]),
        helper.make_node("Add", ["c", "g"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "far": np.float32(scale), "z": np.uint8(9), "w": WEIGHTS[:3]}
    for near, far in ((0.1, scale), (1 / scale, scale)):
        constants |= {"s": np.float32(near), "far": np.float32(far), "ws": np.float32(0.1)}
        model, feeds = (
            model_of(nodes, {"x": SHAPE}, constants),
            {"x": np.linspace(-3, 9, 48, dtype="f4").reshape(SHAPE)},
        )
        np.testing.assert_allclose(run_all(model, feeds), peer(model, feeds), rtol=0, atol=near * 1.001)
