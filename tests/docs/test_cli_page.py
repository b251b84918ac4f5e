"""`docs/reference/cli.md` has every verb with its arguments and options, and every exit code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littoral.cli import EXIT_CODES
from littoral.cli.app import VERBS, command_of

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()


def commands() -> dict[str, Any]:
    return {name: command for verb in VERBS for name, command in leaves(f"littoral {verb}", command_of(verb))}


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Itself, or what is in its group."""
    if not (inner := getattr(command, "commands", None)):
        yield name, command
        return
    for part in inner:
        yield from leaves(f"{name} {part}".rstrip(), inner[part])


COMMANDS = commands()


def section(name: str) -> str:
    assert f"\n## `{name}`\n" in PAGE, f"no heading `{name}`"
    return PAGE.split(f"\n## `{name}`\n")[1].split("\n## ")[0]


def row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{(parameter.metavar or parameter.name).upper()}` | {parameter.help} |"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return f"| {names} | {parameter.help} |"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_is_described(name: str) -> None:
    text = section(name)
    assert COMMANDS[name].help.splitlines()[0] in text
    rows = "\n".join(row(p) for p in COMMANDS[name].params if p.name != "help")
    assert rows in text, f"expected under `{name}`:\n{rows}"


def test_no_verb_is_described_that_is_not_there() -> None:
    headings = [line[4:-1] for line in PAGE.splitlines() if line.startswith("## `littoral ")]
    assert headings == sorted(COMMANDS)


def test_every_exit_code_is_listed() -> None:
    for code in {0, 1, 2, 130, *EXIT_CODES.values()}:
        assert f"| {code} | " in PAGE
