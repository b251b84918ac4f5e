"""The pages' files: none missing, none inline, none from elsewhere, the vendored ones unchanged, all in the wheel."""

import hashlib
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from flit_core.wheel import make_wheel_in

from page_server import ASSETS

ROOT = Path(__file__).parents[2]
OWN = [path for path in sorted(ASSETS.rglob("*")) if path.is_file() and "vendor" not in path.parts]
MODULES = [path for path in OWN if path.suffix == ".js" and path.name != "early_theme.js"]
PAGE_BYTES_MAX = 180_000
IMPORT = re.compile(r'^import .* from "([^"]+)";$', re.MULTILINE)
FORBIDDEN = {
    ".js": re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://(?!www\.w3\.org/2000/svg)"
    ),
    ".css": re.compile(r"@import|url\(|https?:"),
    ".html": re.compile(r"<style|javascript:|https?:"),
    ".svg": re.compile(r"<script|<style|https?://(?!www\.w3\.org/2000/svg)"),
}


class Tags(HTMLParser):
    """What a page refers to and what it holds inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.preloaded: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.referred: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in given:
            self.inline.append("script")
        if tag in ("script", "link", "img") and (address := given.get("src") or given.get("href")):
            self.addresses.append(address)
        if given.get("rel") == "modulepreload":
            self.preloaded.append(given["href"])
        self.ids += [given["id"]] if "id" in given else []
        for name in ("aria-labelledby", "aria-describedby", "for"):
            self.referred += given.get(name, "").split()


@pytest.fixture(scope="module")
def tags() -> Tags:
    return Tags((ASSETS / "index.html").read_text())


def test_all_that_the_page_names_is_there(tags: Tags) -> None:
    assert [address for address in tags.addresses if not (ASSETS / address.removeprefix("/assets/")).is_file()] == []
    assert [name for name in tags.referred if name not in tags.ids] == []
    assert len(set(tags.ids)) == len(tags.ids)


def test_nothing_is_inline(tags: Tags) -> None:
    assert tags.inline == []


def test_every_module_is_fetched_at_once_and_used(tags: Tags) -> None:
    """A module that is not preloaded would be found one round trip later."""
    preloaded = {ASSETS / address.removeprefix("/assets/") for address in tags.preloaded}
    assert preloaded == set(MODULES)
    imported = {(path.parent / name).resolve() for path in MODULES for name in IMPORT.findall(path.read_text())}
    assert imported == preloaded - {ASSETS / "js" / "node" / "page.js"}


def test_ids_that_scripts_ask_for_are_there(tags: Tags) -> None:
    asked = {name for path in MODULES for name in re.findall(r'byId\("([\w-]+)"\)', path.read_text())}
    assert asked
    assert asked <= set(tags.ids)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_parses_html_or_refers_elsewhere(path: Path) -> None:
    assert FORBIDDEN[path.suffix].findall(path.read_text()) == []


def test_the_page_stays_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < PAGE_BYTES_MAX


def test_vendored_files_are_those_that_the_notice_names() -> None:
    named = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (ROOT / "NOTICE").read_text(), re.MULTILINE))
    vendored = [path for path in ASSETS.rglob("*") if path.is_file() and "vendor" in path.parts]
    assert vendored
    for path in vendored:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in named, path
        assert named[hashlib.sha256(path.read_bytes()).hexdigest()] == path.name


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    wheel = make_wheel_in(ROOT / "pyproject.toml", tmp_path).file
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("littoral/web/assets/")}
    expected = {
        str(PurePosixPath("littoral/web/assets", path.relative_to(ASSETS)))
        for path in ASSETS.rglob("*")
        if path.is_file()
    }
    assert packed == expected
