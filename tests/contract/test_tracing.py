"""`LITTORAL_DEBUG` tells of every pass and changes nothing."""

import pytest

from littoral import settings
from littoral.compiler.driver import compile_model
from littoral.compiler.passes import PASSES
from onnx_models import inverted_residual


def test_each_pass_is_told_and_the_bytes_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = compile_model(inverted_residual())
    assert capsys.readouterr().err == ""
    with settings.override(LITTORAL_DEBUG="2"):
        told = compile_model(inverted_residual())
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines if " ms, " in line] == list(PASSES)
    assert any(line.startswith("+") for line in lines)
    assert told.digest == quiet.digest
