"""Operators that the oracle of the other cases lacks or half knows, by the ONNX project's own cases."""

import functools
import warnings
from typing import Any

import numpy as np
import pytest

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from model_host import run_bare

FAMILIES = (
    "adagrad",
    "adam",
    "affine_grid",
    "ai_onnx_ml_array",
    "ai_onnx_ml_binarizer",
    "ai_onnx_ml_tree",
    "basic_deform",
    "batchnorm",
    "blackmanwindow",
    "causal_conv_with_state",
    "center_crop_pad",
    "col2im",
    "compress",
    "deform_conv",
    "det_",
    "dft",
    "dropout",
    "einsum",
    "flexattention",
    "gridsample",
    "hammingwindow",
    "hannwindow",
    "linear_attention",
    "lppool",
    "maxpool_with_argmax",
    "maxunpool",
    "melweightmatrix",
    "momentum",
    "nesterov",
    "nonmaxsuppression",
    "nonzero",
    "resize_",
    "roialign",
    "spacetodepth",
    "stft",
    "swiglu",
    "tfidfvectorizer",
    "training_dropout",
    "unique",
    "upsample",
)
LEFT_OUT = {  # with the reason
    "test_dft_inverse": "wants the rounding errors of a transform in float32 where the exact value is 0",
    "test_dft_inverse_opset19": "the same",
}


@functools.cache
def collected() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return {c.name: c for c in collect_testcases("") if c.data_sets}


def cases() -> list[str]:
    starts = tuple(f"test_{family}" for family in FAMILIES)
    return [
        name
        for name in collected()
        if name.startswith(starts) and not name.endswith("_expanded") and name not in LEFT_OUT
    ]


def stored(array: Any) -> Any:
    """Raw bits for what numpy lacks."""
    array = np.asarray(array)
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def interpreted(model: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    shapes = {name: np.shape(a) for name, a in feeds.items()}
    return interpret(onnx.import_model(onnx.decode_model(model), shapes, None), feeds)


def compiled(model: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    shapes = {name: np.shape(a) for name, a in feeds.items()}
    return run_bare(compile_model(model, shapes=shapes).wasm, feeds)


@pytest.mark.parametrize("runner", [interpreted, compiled])
@pytest.mark.parametrize("name", cases())
def test_onnx_case(name: str, runner) -> None:  # type: ignore[no-untyped-def]
    case = collected()[name]
    for inputs, wanted in case.data_sets:
        feeds = {i.name: stored(v) for i, v in zip(case.model.graph.input, inputs, strict=False)}
        got = runner(case.model.SerializeToString(), feeds)
        for value, expected in zip(case.model.graph.output, wanted, strict=True):
            want = np.asarray(expected)
            assert got[value.name].shape == want.shape
            assert got[value.name].dtype == stored(want).dtype
            close = [a.astype(np.float64) for a in (got[value.name].view(want.dtype), want)]
            np.testing.assert_allclose(*close, case.rtol, case.atol)
