"""`LITTORAL_DEBUG` tells of every pass and changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from onnx import parser

from littoral import settings
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.expr import Arg
from littoral.compiler.ir.graph import Builder, Graph
from littoral.compiler.ir.ops import Map
from littoral.compiler.ir.types import TensorType
from littoral.compiler.passes import PASSES
from littoral.compiler.tracing import Trace
from littoral.errors import SetupError
from onnx_models import NETWORKS, inverted_residual, squeeze_excite


def told(level: int, capsys: pytest.CaptureFixture[str], **more: str) -> list[str]:
    with settings.override(LITTORAL_DEBUG=str(level), **more):
        compile_model(squeeze_excite(16))
    return capsys.readouterr().err.splitlines()


def test_each_pass_is_told_and_the_bytes_are_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    quiet = compile_model(inverted_residual())
    assert capsys.readouterr().err == ""
    for level in range(1, 6):
        with settings.override(LITTORAL_DEBUG=str(level), LITTORAL_DEBUG_FOLDER=str(tmp_path)):
            assert compile_model(inverted_residual()).digest == quiet.digest
        lines = capsys.readouterr().err.splitlines()
        assert [line.partition(":")[0] for line in lines if " ms, " in line] == list(PASSES)
        assert any(line.startswith("+") for line in lines) == (level >= 2)


def test_choices_are_told_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(3, capsys)
    assert "  `sigmoid_1` and `mul_2` are one" in lines
    assert "  `mul_5` and `mul_12` stay two: what it gives is read 2 times" in lines
    assert any(line.startswith("`mul_2` (conv): frame, then gemm 4×8") for line in lines)
    assert not any("stay two" in line for line in told(2, capsys))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_pass_moves_a_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with settings.override(LITTORAL_DEBUG="4"):
        compile_model(NETWORKS[name](16))
    found = [line.split() for line in capsys.readouterr().err.splitlines() if line.startswith("  values: ")]
    assert len(found) == len(PASSES)
    assert all(float(words[3]) <= 1e-5 * max(1.0, float(words[8].rstrip(","))) for words in found)


def negated(by: float) -> Graph:
    build = Builder()
    x = build.input("x", TensorType("float32", (4,)))
    return build.finish([("y", build.add(Map(Arg("float32", 0) * by), x))])


def test_a_pass_that_changes_values_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with settings.override(LITTORAL_DEBUG="4"):
        Trace().run("wrong", lambda _: negated(2.0), negated(1.0), is_body=False)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  values: ")]
    x = np.abs(np.random.default_rng(0).standard_normal(4).astype(np.float32)).max()
    assert line == f"  values: largest difference {x:.3g} where outputs go to {x:.3g}, in `y`"


def test_what_a_variant_may_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    graph = "g (float[batch, 4] x) => (float[batch, 4] y) { y = Softmax<axis = 0>(x) }"
    source = parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> {graph}').SerializeToString()
    with settings.override(LITTORAL_DEBUG="1"):
        compile_model(source, variants=[{"x": (2, 4)}, {"x": (3, 4)}])
    assert "variants: `batch` is neither padded nor split: node" in capsys.readouterr().err


def test_files_hold_each_graph_the_layout_and_the_functions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told(5, capsys, LITTORAL_DEBUG_FOLDER=str(tmp_path / "debug"))
    names = sorted(path.name for path in (tmp_path / "debug").iterdir())
    graphs = [f"{i:03d}-{handle}.txt" for i, handle in enumerate(["import", *PASSES])]
    assert names == [*graphs, "functions.wat", "layout.txt"]
    assert "arena " in (tmp_path / "debug/layout.txt").read_text()
    assert "(func $run" in (tmp_path / "debug/functions.wat").read_text()
    (tmp_path / "taken").write_text("")
    with pytest.raises(SetupError, match="taken"):
        told(5, capsys, LITTORAL_DEBUG_FOLDER=str(tmp_path / "taken"))
