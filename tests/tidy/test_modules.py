"""Modules say what they are, stay of a size one can read, and name what other parts may use of them."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

from tracked import ROOT

SOURCE = ROOT / "src"
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 90
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "littoral").rglob("*.py"))
}
OTHERS = sorted(path for folder in ("tests", "bench", "tools") for path in (ROOT / folder).rglob("*.py"))
READ_BY_LIBRARIES = {"NO_COLOR"}
SIMULATED = ("littoral.mesh.", "littoral.transport.", "littoral.vectors.replication.", "littoral.node.federation.")
IMPORT_RUNS_SOMETHING = {name for name in MODULES if name.endswith("__main__")}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def offered(name: str) -> set[str]:
    """`__all__` of a module."""
    for node in tree(MODULES[name]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def part(name: str) -> str:
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("path", [*MODULES.values(), *OTHERS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_it_is_and_is_of_a_readable_size(path: Path) -> None:
    text = path.read_text()
    if not text.strip():
        assert path.name == "__init__.py"
        return
    assert ast.get_docstring(tree(path)), "no docstring"
    assert text.count("\n") <= FILE_LINES_MAX


def test_tasks_and_futures_have_an_order_where_they_are_simulated() -> None:
    """A set has them by their addresses, so that a seed would not give the same run again: `dict[Future, None]`."""
    found = [
        name
        for name, path in MODULES.items()
        if name.startswith(SIMULATED) and re.search(r"\bset\[(asyncio\.)?(Task|Future)\b", path.read_text())
    ]
    assert found == []


def test_functions_are_of_a_readable_size() -> None:
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno} lines"
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("name", sorted(set(MODULES) - IMPORT_RUNS_SOMETHING))
def test_all_that_a_module_offers_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert [offer for offer in sorted(offered(name)) if not hasattr(module, offer)] == []


def test_what_another_part_imports_is_offered() -> None:
    missing = []
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ImportFrom) or node.module not in MODULES or part(node.module) == part(name):
                continue
            wanted = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in MODULES}
            missing += [f"{name} takes {node.module}.{want}" for want in sorted(wanted - offered(node.module))]
    assert missing == []


def test_every_test_module_has_a_test() -> None:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [path.name for path in paths if "def test_" not in path.read_text()] == []


def test_helpers_of_tests_are_used() -> None:
    helpers = [path for path in (ROOT / "tests").glob("*.py") if path.stem != "conftest"]
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert [path.stem for path in helpers if not re.search(rf"(?:from|import) {path.stem}\b", text)] == []


def test_every_public_error_has_its_place_in_the_tree() -> None:
    from littoral import errors

    assert [name for name in errors.__all__ if name not in (errors.__doc__ or "")] == []


def test_every_setting_is_read() -> None:
    from littoral.settings import SETTINGS

    itself = SOURCE / "littoral/settings.py"
    readers = [path for path in (*MODULES.values(), *OTHERS) if path != itself]
    read = {node.value for path in readers for node in ast.walk(tree(path)) if is_text(node)}
    once_there = [node.value for node in ast.walk(tree(itself)) if is_text(node)]
    unread = {name for name in SETTINGS if name not in read and once_there.count(name) < 2}
    assert unread <= READ_BY_LIBRARIES


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
