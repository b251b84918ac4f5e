"""`littoral tune`, and `--tuning` of the verbs that compile."""

from pathlib import Path

import numpy as np
import pytest

from command import littoral as cli
from littoral.artifact import Model
from littoral.compiler.plan import open_tuning
from onnx_models import single


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """8 M multiply-adds in one layer."""
    rng = np.random.default_rng(5)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((128, 256), (256, 256)))
    path = tmp_path / "product.onnx"
    path.write_bytes(single("MatMul", {"a": left}, {"b": right}))
    return path


def test_a_table_is_written_told_and_taken(product: Path, tmp_path: Path) -> None:
    table = tmp_path / "here.json"
    report = cli("tune", product, "-o", table, "--budget-s", 1, "--json").json
    assert report.keys() == {"path", "tuning_sha256", "entries", "problems"}
    (row,) = report["problems"]
    sizes = {"kind": "dense", "rows": 128, "depth": 256, "width": 256}
    assert (row["problem"], row["layers"], report["entries"]) == (sizes, 1, 1)
    assert row["choice_ms"] <= row["rule_ms"]
    assert open_tuning(table).sha256 == report["tuning_sha256"]

    again = cli("tune", product, "-o", tmp_path / "again.json", "--onto", table, "--budget-s", 1)
    assert (again.code, "nothing to tune" in again.err) == (0, True)

    assert cli("build", product, "-o", tmp_path / "m.wasm", "--tuning", table).code == 0
    assert Model.open(tmp_path / "m.wasm").manifest.tuning_sha256 == report["tuning_sha256"]
    assert cli("build", product, "-o", tmp_path / "m.wasm", "--tuning", "none").code == 0
    assert Model.open(tmp_path / "m.wasm").manifest.tuning_sha256 is None


def test_a_chosen_tile_is_explained_and_measured(product: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    table.write_text(
        '{"format": 1, "machine": {"cpu": "", "engine": "", "limit_gflops": 1}, "entries": [{"problem": '
        '{"kind": "dense", "rows": 128, "depth": 256, "width": 256}, "choice": {"tile_rows": 3, "panel": 12}}]}'
    )
    (row,) = cli("explain", product, "--tuning", table, "--json").json
    assert row["tile"].startswith("3×12")
    (row,) = cli("bench", product, "-n", 2, "--layers", "--tuning", table, "--json").json["layers"]
    assert row["tile"].startswith("3×12")


def test_what_is_wrong_is_said(product: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"format": 1}')
    wrong = cli("build", product, "--tuning", tmp_path / "t.json")
    assert (wrong.code, "missing required field `machine`" in wrong.err) == (4, True)
    assert cli("build", product, "--tuning", tmp_path / "none.json").code == 4
    assert cli("tune", tmp_path / "missing.onnx").code == 4
    assert cli("build", product, "-o", tmp_path / "m.wasm").code == 0
    done = cli("bench", tmp_path / "m.wasm", "--tuning", "none")
    assert (done.code, "`--tuning` has no meaning for a compiled model" in done.err) == (4, True)
