"""`examples/recommendation`: the figures of its page made again; answers are those of numpy, factors the best ones."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from command import environment
from tracked import ROOT

pytestmark = pytest.mark.e2e
EXAMPLE = ROOT / "examples/recommendation"
FIGURES = json.loads((EXAMPLE / "figures.json").read_text())
ASKED = 500


def test_the_figures_are_those_of_the_script() -> None:
    command = [sys.executable, str(EXAMPLE / "run.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() - FIGURES.keys() == {"ms"}
    for name, wanted in FIGURES.items():
        # Products rounded otherwise may turn round two goods that are next to each other.
        assert found[name] == pytest.approx(wanted, abs=0.01 if isinstance(wanted, float) else 3), name
    assert found["synthetic"] is True
    assert found["purchases"] > 2.5 * found["famous"]


def test_the_page_has_them() -> None:
    page = (EXAMPLE / "README.md").read_text()
    for name in ("famous", "own vector", "purchases", "purchases and returns"):
        assert f"| {FIGURES[name]:.1%} |" in page, name
    counted = [value for name, value in FIGURES.items() if "as computed" in name]
    assert counted == [ASKED] * 3


def test_no_other_vectors_fit_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row's loss, weights and shrinkage as in the paper, rises in every direction."""
    monkeypatch.syspath_prepend(EXAMPLE)
    factors = importlib.import_module("factors")
    rng = np.random.default_rng(3)
    seen, others = (rng.random((4, 30)) < 0.3).astype(float), rng.standard_normal((30, factors.SIZE))
    solved = factors.solve(seen, others)

    def loss(rows: np.ndarray) -> np.ndarray:
        weights = 1 + factors.WEIGHT * seen
        return (weights * (seen - rows @ others.T) ** 2).sum(1) + factors.SHRINK * (rows**2).sum(1)

    for _ in range(50):
        assert (loss(solved + 0.01 * rng.standard_normal(solved.shape)) > loss(solved)).all()
