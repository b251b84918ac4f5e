"""`docs/reference/operators.md` lists every operator that is imported, with the attributes that are read."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from littoral.compiler.onnx.importer import OPERATORS

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/reference/operators.md").read_text().splitlines()
    if line.startswith("| `")
]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operators_tool", ROOT / "tools/operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_operator_has_its_row(tool: ModuleType) -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in ROWS}
    current = {name: tool.attributes_of(name) for name in OPERATORS}
    assert listed == current, "rewrite the page with: make operators"


def test_what_is_measured_is_there() -> None:
    assert all(cells[5] for cells in ROWS if cells[4] != "0")
    assert sum(int(cells[4]) for cells in ROWS) > 1300
