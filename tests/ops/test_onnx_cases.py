"""Operators that the oracle of the other cases lacks or half knows, by the ONNX project's own cases."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from littoral.tensors import DTYPES
from model_host import run_bare
from onnx_cases import collected

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
    "cast_",
    "castlike_",
    "causal_conv_with_state",
    "center_crop_pad",
    "col2im",
    "compress",
    "deform_conv",
    "dequantizelinear",
    "det_",
    "dft",
    "dropout",
    "einsum",
    "flexattention",
    "gridsample",
    "gru_",
    "hammingwindow",
    "hannwindow",
    "linear_attention",
    "lppool",
    "lstm_",
    "maxpool_with_argmax",
    "maxunpool",
    "melweightmatrix",
    "momentum",
    "nesterov",
    "nonmaxsuppression",
    "nonzero",
    "quantizelinear",
    "resize_",
    "rnn_seq",
    "roialign",
    "scan",
    "simple_rnn",
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


def cases() -> list[str]:
    starts = tuple(f"test_{family}" for family in FAMILIES)
    return [
        name
        for name in collected()
        if name.startswith(starts) and not name.endswith("_expanded") and name not in LEFT_OUT
    ]


def array_of(value: Any) -> Any:
    """Of an array, or of a tensor of the file format, which the cases use for narrow types."""
    return np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)


def stored(array: Any) -> Any:
    """What lies in memory: raw bits of narrow floats, a byte for each narrow integer."""
    name = array.dtype.name
    storage = DTYPES[name].storage
    return array.astype(storage) if "int" in name or storage == array.dtype else array.view(storage)


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
        feeds = {i.name: stored(array_of(v)) for i, v in zip(case.model.graph.input, inputs, strict=False)}
        got = runner(case.model.SerializeToString(), feeds)
        for value, expected in zip(case.model.graph.output, wanted, strict=True):
            want, found = array_of(expected), got[value.name]
            assert found.shape == want.shape
            assert found.dtype == stored(want).dtype
            if "int" not in want.dtype.name:
                found = found.view(want.dtype)
            np.testing.assert_allclose(found.astype(np.float64), want.astype(np.float64), case.rtol, case.atol)
