"""`docs/guides/write-an-agent.md`: what it quotes is in a new crate, and its commands run in their order."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from command import littoral as cli
from fenced import code_blocks
from littoral.authoring.cases import read_cases, run_cases
from littoral.authoring.scaffold import new_agent
from littoral.runtime.agents import Agent
from own_agent import BUILD_S_MAX, use_toolchain
from tracked import ROOT

PAGE = (ROOT / "docs/guides/write-an-agent.md").read_text()
BLOCKS = code_blocks(PAGE)
COMMANDS = [line for language, code in BLOCKS if not language for line in code.splitlines()]


def block(language: str) -> str:
    (found,) = [code for named, code in BLOCKS if named == language]
    return found


def test_what_is_quoted_is_in_a_new_crate(tmp_path: Path) -> None:
    new_agent("loudness", tmp_path / "loudness", takes="tensors", gives="tensors")
    source = (tmp_path / "loudness/src/lib.rs").read_text()
    quoted = [code for language, code in BLOCKS if language == "rust"]
    assert len(quoted) == 3
    assert [code for code in quoted if code not in source] == []


@pytest.mark.e2e
def test_its_commands_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toolchain(monkeypatch)
    assert [command.split()[:3] for command in COMMANDS] == [
        ["littoral", *words] for words in (["agent", "new"], ["agent", "test"], ["agent", "build"], ["agent", "check"])
    ] + [["littoral", "up", "--check"]]
    (tmp_path / "site.toml").write_text(block("toml"))
    for command in COMMANDS:
        done = cli(*shlex.split(command)[1:], folder=tmp_path, timeout_s=BUILD_S_MAX)
        assert done.code == 0, (command, done.err)
        if "agent test" in command:
            assert done.out.splitlines()[-1] == "2 of 2 cases hold in the sandbox"
    cases = tmp_path / "loudness/tests/cases"
    (cases / "one.json").write_text(block("json"))
    (cases / "computed.py").write_text(block("python"))
    path = tmp_path / "loudness/loudness.wasm"
    results = list(run_cases(read_cases(cases), lambda case: Agent.open(path, case.config)))
    assert [(result.name, result.why) for result in results] == [
        (name, "") for name in ("ramp", "louder", "one", "scales", "too-many")
    ]
    with Agent.open(path) as agent:
        assert agent.input != "bytes"
        answer = agent.infer({"values": np.ones(3, np.float32)})
    assert isinstance(answer, dict)


def test_the_keys_of_a_case_are_those_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(json.loads(block("json")) | {"files": {}, "name": "n"}))
    assert read_cases(tmp_path)[0].name == "n"
