"""What README says works: its code runs, its commands are there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fenced import code_blocks
from littoral.cli.app import VERBS
from onnx_models import inverted_residual
from tracked import texts

README = texts()["README.md"]
LITTORAL = Path(sys.executable).with_name("littoral")
WITHOUT_A_NODE = ("build", "explain")


def blocks(language: str) -> list[str]:
    return [code for named, code in code_blocks(README) if named == language]


def commands(text: str, program: str) -> list[list[str]]:
    found = re.findall(rf"^(?:\.venv/bin/)?{program} .*$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.onnx").write_bytes(inverted_residual())
    frames = np.random.default_rng(3).normal(size=(10, 3, 24, 24)).astype(np.float32)
    np.savez(tmp_path / "feeds.npz", x=frames)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_python_runs(here: Path) -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    assert [array.shape for array in outputs.values()] == [(1, 10)]


def test_its_commands_without_a_node_run(here: Path) -> None:
    ran = []
    for _, verb, *arguments in commands("\n".join(blocks("")), "littoral"):
        if verb in WITHOUT_A_NODE:
            done = subprocess.run([LITTORAL, verb, *arguments, "--json"], capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)
            ran.append(verb)
    assert ran == ["build", "build", "explain"]
    assert (here / "model.wasm").exists()


def test_every_verb_it_names_is_there() -> None:
    named = {verb for page in ("README.md", "CONTRIBUTING.md") for _, verb, *_ in commands(texts()[page], "littoral")}
    assert named <= VERBS.keys()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/README.md", "ARCHITECTURE.md", "guests/README.md"]
)
def test_every_target_of_make_is_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", texts()["Makefile"], re.MULTILINE))
    inline = re.findall(r"(?:^|`)make ([a-z-]+)", texts()[page], re.MULTILINE)
    assert set(inline) <= targets
