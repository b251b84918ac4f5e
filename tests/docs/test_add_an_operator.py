"""`docs/guides/add-an-operator.md`: what it quotes is the code, what it runs prints what it says."""

import platform
import re
import shlex
from pathlib import Path

import pytest

from command import littoral as cli
from fenced import code_blocks
from needs import need
from tracked import ROOT

PAGE = (ROOT / "docs/guides/add-an-operator.md").read_text()
QUOTES = re.findall(r"From `([^`]+)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\| `littoral ([^`]+)` \|", PAGE, re.MULTILINE)
OUTPUT = re.search(r"^littoral (explain \S+)\n```\n[^\n]*\n```\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the network of the page."""
    monkeypatch.chdir(tmp_path)
    quoted = {code for _, code in QUOTES}
    (script,) = [code for language, code in code_blocks(PAGE) if language == "python" and code not in quoted]
    exec(script, {})
    return tmp_path


def test_everything_quoted_has_a_source() -> None:
    assert len(QUOTES) == PAGE.count("```python") - 1 == 6


@pytest.mark.parametrize(("path", "code"), QUOTES, ids=[path for path, _ in QUOTES])
def test_what_is_quoted_is_there(path: str, code: str) -> None:
    assert code in (ROOT / "src/littoral" / path).read_text()


def test_the_layers_it_shows_are_what_is_printed(here: Path) -> None:
    assert OUTPUT is not None
    done = cli(*shlex.split(OUTPUT[1]), folder=here)
    assert (done.code, done.out) == (0, OUTPUT[2])


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(command: str, here: Path) -> None:
    if "--asm" in command:
        need(platform.machine() in ("x86_64", "aarch64"), "an x86-64 or aarch64 machine")
    done = cli(*shlex.split(command), folder=here)
    assert done.code == 0, done.err
    assert done.out
