"""Graphs in which sizes are found at run time: interpreter and module give what ONNX Runtime gives."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import parser

from graphs_in_text import GRAPHS, HEAD, feeds_of, model_of
from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from littoral.errors import UnsupportedOperatorError
from model_host import run_bare


def interpreted(data: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    return interpret(onnx.import_model(onnx.decode_model(data), {}, None), feeds)


def compiled(data: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    return run_bare(compile_model(data).wasm, feeds)


@pytest.mark.parametrize("runner", [interpreted, compiled])
@pytest.mark.parametrize("name", GRAPHS)
def test_sizes_found_at_run_time(name: str, runner) -> None:  # type: ignore[no-untyped-def]
    model = model_of(name)
    data, feeds = model.SerializeToString(), feeds_of(model)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    got = runner(data, feeds)
    for output, want in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        assert got[output.name].shape == want.shape
        np.testing.assert_allclose(got[output.name], want, 1e-6)


def test_what_cannot_take_unknown_sizes_says_so() -> None:
    text = (
        "(float[4] x) => (float[n] y) { found = NonZero(x) line = Cast<to=1>(found) y = ReduceSum<keepdims=0>(line) }"
    )
    with pytest.raises(UnsupportedOperatorError, match="`ReduceSum` .* of a tensor whose shape depends on data"):
        compile_model(parser.parse_model(f"{HEAD} g {text}").SerializeToString())
