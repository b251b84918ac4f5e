"""The documentation as a whole: links lead somewhere, every page is listed, code is code."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from fenced import code_blocks, without_code
from tracked import ROOT, texts

PAGES = [name for name in texts() if name.endswith(".md")]
LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc(?:set)?=\"([^\"]+)\"")
PARSERS = {"python": ast.parse, "json": json.loads, "toml": tomllib.loads}
FOLDERS = "src|tests|docs|bench|tools|guests|locks|compiler|runtime|node"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+\.(?:py|md|rs|toml|txt|json))`")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for first, second in LINK.findall(without_code(texts()[name])):
        target, _, anchor = (first or second).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        page = (ROOT / name).parent / target if target else ROOT / name
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(first or second)
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_names_are_there(name: str) -> None:
    inside = (ROOT, ROOT / "src/littoral", (ROOT / name).parent)
    named = {path for path in PATH.findall(texts()[name]) if "NAME" not in path}
    assert [path for path in sorted(named) if not any((folder / path).exists() for folder in inside)] == []


@pytest.mark.parametrize("name", PAGES)
def test_code_can_be_parsed(name: str) -> None:
    for language, code in code_blocks(texts()[name]):
        if language in PARSERS:
            PARSERS[language](code)


def test_every_page_is_listed_in_the_index() -> None:
    index = texts()["docs/README.md"]
    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/") and name != "docs/README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []


def test_the_index_has_the_title_of_every_decision() -> None:
    index = texts()["docs/README.md"]
    for page in sorted((ROOT / "docs/adr").glob("*.md")):
        number, _, title = page.read_text().partition("\n")[0].removeprefix("# ").partition(" ")
        assert f"| [{number}](adr/{page.name}) | {title} |" in index


def test_the_layers_of_the_architecture_page_are_those_of_the_contract() -> None:
    layers = tomllib.loads(texts()["pyproject.toml"])["tool"]["importlinter"]["contracts"][0]["layers"]
    order = [[part for part in re.split(r" \| ", layer) if part[0] not in "(_"] for layer in reversed(layers)]
    rows = re.findall(r"^\| (`[a-z`, /]+) \| .* \|$", texts()["ARCHITECTURE.md"], re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([a-z]+)/?`", row)]
    rank = {part: i for i, parts in enumerate(order) for part in parts}
    ranks = [rank[name] for name in told if name != "testing"]
    assert ranks == sorted(ranks)
    assert set(told) - {"testing"} == rank.keys()
