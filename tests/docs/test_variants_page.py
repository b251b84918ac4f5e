"""The code in `docs/guides/variants.md` runs as it stands."""

from pathlib import Path

import pytest
from onnx import parser

from fenced import code_blocks
from tracked import ROOT

MODEL = '<ir_version: 9, opset_import: ["": 18]> g (float[batch, 64] x) => (float[batch, 64] y) { y = Relu(x) }'
ENCODER = """<ir_version: 9, opset_import: ["": 18]> g (int64[1, tokens] ids, int64[1, tokens] mask)
    => (int64[1, 1] y) <int64[1] along = {1}> { m = Mul(ids, mask)  y = ReduceSum(m, along) }"""


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {"model": MODEL, "encoder": ENCODER}.items():
        (tmp_path / f"{name}.onnx").write_bytes(parser.parse_model(text).SerializeToString())
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/guides/variants.md").read_text()
    names: dict[str, object] = {}
    for language, block in code_blocks(page):
        assert language == "python"
        exec(block, names)
    assert capsys.readouterr().out == "(19, 64)\n"
    assert names["lengths"].manifest.axes["tokens"].pad == {"ids": 0, "mask": 0}
