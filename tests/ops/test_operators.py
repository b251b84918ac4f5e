"""Every operator case on every runner: interpreter, compiled module; ONNX Runtime says what is right."""

import numpy as np
import onnxruntime
import pytest

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from model_host import run_bare
from operator_cases import CASES, Case


def interpreted(case: Case) -> dict[str, np.ndarray]:
    return interpret(onnx.import_model(onnx.decode_model(case.model), {}, None), case.feeds)


def compiled(case: Case) -> dict[str, np.ndarray]:
    return run_bare(compile_model(case.model).wasm, case.feeds)


@pytest.fixture(scope="module")
def wanted() -> dict[str, dict[str, np.ndarray]]:
    return {}


def oracle(case: Case) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, case.feeds), strict=True))


@pytest.mark.parametrize("runner", [interpreted, compiled])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_operator(case: Case, runner, wanted) -> None:  # type: ignore[no-untyped-def]
    want = wanted.setdefault(case.name, None) or oracle(case)
    wanted[case.name] = want
    got = runner(case)
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].shape == array.shape
        assert got[name].dtype == array.dtype
        compare(got[name], array, case.limit)


def compare(got: np.ndarray, want: np.ndarray, limit: float) -> None:
    if limit == 0 or want.dtype.kind != "f":
        assert np.array_equal(got, want, equal_nan=want.dtype.kind == "f")
        return
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True)
    if finite.any():
        scale = max(float(np.abs(want[finite]).max()), 1e-3)
        with np.errstate(over="ignore"):
            assert float(np.abs(got[finite].astype(np.float64) - want[finite]).max()) <= limit * scale


def test_case_names_are_unique() -> None:
    names = [c.name for c in CASES]
    assert len(names) == len(set(names))
