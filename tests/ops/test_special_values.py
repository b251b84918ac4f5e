"""NaN, infinities, denormals, both zeros and the ends of the range through what is computed by element, and fused."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from model_host import run_bare
from onnx_models import single

UNARY = (
    *("Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "LeakyRelu", "Neg", "Reciprocal", "Relu", "Round"),
    *("Sigmoid", "Sign", "Softsign", "Sqrt", "Tanh", "Elu", "Selu", "HardSigmoid", "Celu", "Softplus", "Log"),
    *("Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Identity", "IsNaN", "IsInf"),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "GreaterOrEqual", "Pow")
ZEROS_ARE_ALIKE = {"Max", "Min", "Relu"}  # of two zeros, which one is the larger is not defined
# What ONNX Runtime's own kernels do with a NaN or at an end of the range, where they follow no definition.
PEER_DIFFERS = {"Sin", "Cos", "Elu", "Celu", "Selu", "Softsign", "HardSwish", "Erf", "Relu", "LeakyRelu"}


def specials(dtype: str) -> Any:
    about = np.finfo(dtype)
    ends = [about.max, about.smallest_normal, about.smallest_subnormal, about.eps, 0.0, np.inf]
    plain = [0.5, 1.0, 1.5, 2.5, 3.0, 7.0, 20.0, 88.0, 89.0, 104.0]
    return np.asarray([*(s * v for v in (*ends, *plain) for s in (1, -1)), np.nan], dtype)


def ways(model: bytes, feeds: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The module, the interpreter, ONNX Runtime."""
    with np.errstate(all="ignore"):
        (meant,) = interpret(onnx.import_model(onnx.decode_model(model), {}, None), feeds).values()
    (got,) = run_bare(compile_model(model).wasm, feeds).values()
    (want,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)
    return got, meant, want


def assert_same_bits(got: Any, meant: Any, signs: bool = True) -> None:
    assert got.dtype == meant.dtype
    assert np.array_equal(got, meant, equal_nan=got.dtype.kind == "f"), (got[got != meant], meant[got != meant])
    if got.dtype.kind == "f" and signs:
        assert np.array_equal(np.signbit(got[got == 0]), np.signbit(meant[got == 0]))


def assert_close(got: Any, want: Any) -> None:
    assert np.array_equal(np.isnan(got), np.isnan(want))
    with np.errstate(all="ignore"):
        near = np.abs(got.astype("f8") - want) <= 4e-6 * np.abs(want) + 2e-7
    assert (near | (got == want) | np.isnan(want)).all(), (got[~near], want[~near])


@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str) -> None:
    feeds = {"x": specials("f4")}
    got, meant, want = ways(single(op, feeds), feeds)
    assert_same_bits(got, meant, op not in ZEROS_ARE_ALIKE)
    if op in ("Sin", "Cos"):
        assert np.nanmax(np.abs(got)) <= 1
    if op not in PEER_DIFFERS and want.dtype.kind == "f":
        assert_close(got, want)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("op", BINARY)
def test_binary(op: str, dtype: str) -> None:
    x = specials(dtype)
    feeds = {"a": x[:, None], "b": x}
    got, meant, want = ways(single(op, feeds), feeds)
    assert_same_bits(got, meant, op not in ZEROS_ARE_ALIKE)
    if want.dtype.kind == "f":
        assert_close(got, want)
    else:
        assert np.array_equal(got, want)


@pytest.mark.parametrize(
    "op", ["Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "LeakyRelu", "Exp", "Abs", "Neg", "Sqrt"]
)
@pytest.mark.parametrize("width", [1, 3, 4, 9])
def test_behind_a_product_it_is_what_it_is_alone(op: str, width: int) -> None:
    """Four at once in registers, or one by one: the same bits."""
    x = specials("f4")[:, None]
    ones = np.ones((1, width), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node(op, ["m"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "after",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (len(x), width))],
        [numpy_helper.from_array(ones, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    (got,) = run_bare(compile_model(model).wasm, {"x": x}).values()
    (made,) = run_bare(compile_model(single("MatMul", {"x": x}, {"w": ones})).wasm, {"x": x}).values()
    (want,) = run_bare(compile_model(single(op, {"m": made})).wasm, {"m": made}).values()
    assert_same_bits(got, want, op != "Neg")  # a sign goes into the weights, and sums of nothing are +0


@pytest.mark.parametrize(("op", "want"), [("ReduceSum", 0.0), ("ReduceProd", 1.0), ("ReduceSumSquare", 0.0)])
@pytest.mark.parametrize("axes", [(0, 1), (0,)])
def test_a_reduction_of_nothing(op: str, want: float, axes: tuple[int, ...]) -> None:
    """Even where the tensor would begin beyond the memory."""
    x = np.zeros((0, 3), np.float32)
    constants, more = ({"axes": np.asarray(axes)}, {}) if op == "ReduceSum" else ({}, {"axes": axes})
    got, meant, other = ways(single(op, {"x": x}, constants, keepdims=0, **more), {"x": x})
    assert np.array_equal(got, np.full(other.shape, want, np.float32))
    assert np.array_equal(meant, other)


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1)])
def test_empty_and_scalar(op: str, shape: tuple[int, ...]) -> None:
    feeds = {"x": np.full(shape, 0.25, np.float32)}
    got, meant, want = ways(single(op, feeds), feeds)
    assert got.shape == want.shape
    assert_same_bits(got, meant)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd"])
@pytest.mark.parametrize("axes", [[0], [1], [0, 1]])
def test_reductions(op: str, axes: list[int]) -> None:
    x = np.stack([np.roll(specials("f4"), k) for k in range(3)])[:, ::4]
    x[np.abs(x) > 1e30] = np.inf  # sums near the end of the range depend on their order
    constants, more = ({"axes": np.asarray(axes)}, {}) if op == "ReduceSum" else ({}, {"axes": axes})
    got, meant, _ = ways(single(op, {"x": x}, constants, keepdims=0, **more), {"x": x})
    assert np.array_equal(np.isnan(got), np.isnan(meant))
    assert_close(got, meant)


def test_a_product_with_what_is_no_number() -> None:
    """A zero times an infinity is no number, and stays in its row and column."""
    a, b = np.ones((5, 6), np.float32), np.ones((6, 9), np.float32)
    a[1, 2], a[3, 3], b[4, 7], b[5, 0] = np.nan, np.inf, -np.inf, 0
    a[4, 4] = 0
    got, meant, want = ways(single("MatMul", {"a": a}, {"b": b}), {"a": a})
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(got, meant, equal_nan=True)
