"""The example in `docs/reference/agent-abi.md` is an agent."""

import json
import re
from pathlib import Path

import pytest

from littoral.errors import AgentError, MemoryCapError
from littoral.runtime.abi import EXPORTS, OPTIONAL_EXPORTS
from littoral.runtime.agents import Agent
from modules_in_text import binary

PAGE = (Path(__file__).parents[2] / "docs/reference/agent-abi.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_example_is_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "echo.wasm"
    path.write_bytes(binary(block("wat"), "littoral.agent", json.loads(block("json"))))
    with Agent.open(path) as agent:
        assert agent.infer(b"hello") == b"hello"
        assert agent.infer(bytes(500_000)) == bytes(500_000)
        with pytest.raises(AgentError, match="agent `echo`: empty input") as caught:
            agent.infer(b"")
        assert caught.value.number == -1
        with pytest.raises(MemoryCapError, match="`alloc` has no room for 2000000 bytes"):
            agent.infer(bytes(2_000_000))
    monkeypatch.chdir(tmp_path)
    exec(block("python"), {})


def test_every_export_and_its_type_is_on_the_page() -> None:
    for name, signature in (EXPORTS | OPTIONAL_EXPORTS).items():
        assert f"| `{name}` | `{signature}` |" in PAGE
