"""Softmax: its kernel at every remainder, and the general form for other axes and numbers."""

import numpy as np
import pytest

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model, optimize
from littoral.compiler.plan import program_of
from model_host import run_bare
from onnx_models import single

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 13, 15, 16, 17, 19, 31, 64, 197, 1500)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x.astype("f8") - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def compiled(x: np.ndarray, axis: int) -> np.ndarray:
    (got,) = run_bare(compile_model(single("Softmax", {"x": x}, axis=axis)).wasm, {"x": x}).values()
    return got


def kinds(x: np.ndarray, axis: int) -> set[str]:
    model = single("Softmax", {"x": x}, axis=axis)
    program = program_of(optimize(onnx.import_model(onnx.decode_model(model), {}, None)))
    return {step.kernel.kind for call in program.calls() for step in call.lowered.steps}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_rows(width: int, scale: float) -> None:
    x = (np.random.default_rng(width).normal(size=(3, 2, width)) * scale).astype("f4")
    got = compiled(x, -1)
    assert np.abs(got - softmax(x, -1)).max() <= 4e-7
    assert kinds(x, -1) == {"softmax"}


@pytest.mark.parametrize("place", [0, 6, 8])
def test_what_is_no_number_stays_in_its_row(place: int) -> None:
    x = np.zeros((3, 9), np.float32)
    x[1, place] = np.nan
    got = compiled(x, -1)
    assert np.isnan(got[1]).all()
    assert np.allclose(got[[0, 2]], 1 / 9)


def test_masked_places_get_nothing() -> None:
    x = np.zeros((2, 7), np.float32)
    x[0, 3:] = -np.inf
    x[1, :6] = np.finfo(np.float32).min
    want = [[1 / 3] * 3 + [0] * 4, [0] * 6 + [1]]
    assert np.abs(compiled(x, -1) - want).max() <= 1e-7


@pytest.mark.parametrize(("axis", "dtype"), [(0, "f4"), (1, "f4"), (2, "f8"), (1, "f8")])
def test_other_axes_and_numbers(axis: int, dtype: str) -> None:
    x = np.random.default_rng(axis).normal(size=(3, 5, 6)).astype(dtype)
    got = compiled(x, axis)
    assert got.dtype == x.dtype
    assert np.abs(got - softmax(x, axis)).max() <= 4e-7
    assert kinds(x, axis) == {"loops"}
