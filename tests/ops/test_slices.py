"""Slices that begin before the first element and go back: ONNX's rule, which is not numpy's."""

import numpy as np
import onnxruntime
import pytest

from littoral.compiler.driver import compile_model
from model_host import run_bare
from onnx_models import single


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("begin", "end", "step"), [(-9, -9, -1), (-5, -9, -2), (-9, 2, 1), (9, -99, -3), (3, -9, -1), (-9, 0, -1)]
)
def test_bounds_beyond_the_ends(begin: int, end: int, step: int, fixed: bool) -> None:
    x = {"x": np.arange(4, dtype=np.float32)}
    where = {"from": np.asarray([begin]), "to": np.asarray([end]), "axes": np.asarray([0]), "by": np.asarray([step])}
    feeds, constants = (x, where) if fixed else (x | where, {})
    model = single("Slice", feeds, constants)
    (want,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)
    (got,) = run_bare(compile_model(model).wasm, feeds).values()
    assert np.array_equal(got, want)
