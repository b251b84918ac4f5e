"""Convolutions by minimal filtering, products in parts of their depth: against ONNX Runtime, at every remainder."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model, optimize
from littoral.compiler.plan import program_of
from model_host import run_bare
from onnx_models import single

LIMIT = 5e-6  # of the largest value


def steps_of(model: bytes) -> list[str]:
    program = program_of(optimize(onnx.import_model(onnx.decode_model(model), {}, None)))
    return [step.kernel.kind for call in program.calls() for step in call.lowered.steps]


def assert_agrees(model: bytes, feeds: Mapping[str, Any]) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, dict(feeds))
    (got,) = run_bare(compile_model(model).wasm, feeds).values()
    assert np.abs(got - want).max() <= LIMIT * np.abs(want).max()


@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 2, 1)])
@pytest.mark.parametrize(("high", "wide"), [(16, 16), (17, 18), (19, 16), (18, 21)])
def test_a_window_of_nine_by_minimal_filtering(high: int, wide: int, pads: tuple[int, ...]) -> None:
    rng = np.random.default_rng(high * wide)
    x = rng.normal(size=(2, 32, high, wide)).astype("f4")
    constants = {"w": rng.normal(size=(36, 32, 3, 3)).astype("f4"), "b": rng.normal(size=36).astype("f4")}
    model = single("Conv", {"x": x}, constants, pads=pads)
    assert {"winograd-in", "winograd-out"} <= set(steps_of(model))
    assert_agrees(model, {"x": x})


@pytest.mark.parametrize(
    ("channels", "made", "size", "options"),
    [(32, 32, 16, {"strides": [2, 2]}), (32, 32, 32, {"dilations": [2, 2]}), (30, 32, 16, {}), (32, 32, 8, {})],
)
def test_where_it_does_not_pay_or_fit_the_direct_way_is_taken(
    channels: int, made: int, size: int, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(size)
    x, w = rng.normal(size=(1, channels, size, size)).astype("f4"), rng.normal(size=(made, channels, 3, 3)).astype("f4")
    model = single("Conv", {"x": x}, {"w": w}, **options)
    assert "winograd-in" not in steps_of(model)
    assert_agrees(model, {"x": x})


@pytest.mark.parametrize("count", [16, 17, 19, 30])
def test_a_deep_product_is_made_in_parts(count: int) -> None:
    rng = np.random.default_rng(count)
    a, b = rng.normal(size=(count, 2100)).astype("f4"), rng.normal(size=(2100, 413)).astype("f4")
    model = single("Gemm", {"a": a}, {"b": b, "c": rng.normal(size=413).astype("f4")})
    assert steps_of(model).count("gemm") > 1
    assert_agrees(model, {"a": a})


def test_a_deep_convolution_is_made_in_parts() -> None:
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(1, 260, 7, 7)).astype("f4"), rng.normal(size=(264, 260, 3, 3)).astype("f4")
    model = single("Conv", {"x": x}, {"w": w}, pads=(1, 1, 1, 1))
    assert steps_of(model).count("gemm") > 1
    assert_agrees(model, {"x": x})


@pytest.mark.parametrize("following", ["Softplus", "Mish", "Erf", "Sin"])
def test_what_has_no_vector_form_follows_by_itself(following: str) -> None:
    """Functions that are computed in float64 are no epilogue of a product."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(5, 12)).astype("f4"), rng.normal(size=(12, 9)).astype("f4")
    nodes = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node(following, ["m"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "after",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, a.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (5, 9))],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert_agrees(model.SerializeToString(), {"a": a})
