"""What rots in a repository when nobody looks: stray files, machine paths, notes to oneself, locks, decisions."""

import re
import tomllib
from pathlib import Path

import pytest

import littoral
from tracked import ROOT, texts, tracked_files

FILE_BYTES_MAX = 1_000_000
LARGER_BYTES = {"text.wasm": 3_500_000}  # holds the tables of Unicode and of regular expressions
TOP_LEVEL = {
    ".ci", ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "NOTICE",
    "README.md", "bench", "deploy", "docs", "examples", "guests", "locks", "pyproject.toml", "src", "tests", "tools",
}  # fmt: skip
THIS = "tests/tidy/test_repository.py"
# What must not be in a text, and which files may say it because it is their subject.
FORBIDDEN = {
    "a path of one machine": (r"/(?:root|home|Users|work|opt)/\w", set()),
    "a file beside the repository": (r"\.\./shared\b", set()),
    "an address of a package index": (
        r"pypi\.org|pythonhosted|npmjs\.(?:org|com)|--(?:extra-)?index-url|--find-links|crates\.io(?!-index\")",
        set(),
    ),
    "a note to oneself": (r"\b(?:TODO|FIXME|XXX|HACK)\b", set()),
    "a number of an issue": (r"\bissues? #?\d", set()),
    "a merge left half done": (r"^(?:<{7}|>{7}) ", set()),
    "a secret": (r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b", set()),
}


def test_nothing_stray_lies_at_the_top() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} <= TOP_LEVEL


def test_what_is_ignored_is_not_tracked() -> None:
    """Also no virtual environment under any name."""
    names = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    built = re.compile(r"(?:^|/)(?:pyvenv\.cfg|site-packages|__pycache__|node_modules|target|\.venv)(?:/|$)|\.pyc$")
    assert [name for name in names if built.search(name)] == []


def test_files_are_small() -> None:
    most = {path: LARGER_BYTES.get(path.name, FILE_BYTES_MAX) for path in tracked_files()}
    assert [path.name for path in most if path.stat().st_size > most[path]] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_has(what: str) -> None:
    pattern, allowed = FORBIDDEN[what]
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for name, text in texts().items()
        if name not in allowed | {THIS}
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]
    assert found == []


def test_lines_end_as_they_should() -> None:
    wrong = [name for name, text in texts().items() if "\r\n" in text or (text and not text.endswith("\n"))]
    assert wrong == []


@pytest.mark.parametrize("path", sorted((ROOT / "locks").glob("*.txt")), ids=lambda path: path.stem)
def test_a_lock_pins_every_package_with_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert entries
    assert [line for line in entries if not re.match(r"[a-z0-9._-]+==\S+(?: ; .+)? \\$", line)] == []
    assert len(re.findall(r"\\\n {4}--hash=sha256:[0-9a-f]{64}", text)) >= len(entries)
    assert "://" not in text
    assert path.with_suffix(".in").exists()


def test_locks_agree_with_each_other() -> None:
    versions: dict[str, set[str]] = {}
    for path in (ROOT / "locks").glob("*.txt"):
        for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    # numpy and others may differ by Python version, inside one lock; never between two.
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_decisions_are_numbered_in_sequence_and_say_their_status() -> None:
    pages = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [page.name[:4] for page in pages] == [f"{i:04d}" for i in range(1, len(pages) + 1)]
    for page in pages:
        lines = page.read_text().splitlines()
        assert lines[0].startswith(f"# {page.name[:4]} "), page.name
        assert lines[2].startswith("Status: "), page.name


def test_the_version_is_one_and_the_changelog_has_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == littoral.__version__
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert littoral.__version__ in headings


def test_python_versions_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "PYTHON_MIN = (3, 11)" in (ROOT / "tools/venv.py").read_text()


def test_scripts_can_be_run() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111 == 0o111
