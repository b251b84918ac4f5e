"""The pages' files: none missing, none inline, none from elsewhere, the vendored ones unchanged, all in the wheel."""

import hashlib
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from flit_core.wheel import make_wheel_in

from littoral.node.shown.outlines import PAGES, outlined
from littoral.orchestrator.pages import FRAME, fleet_page_texts
from littoral.orchestrator.pages import PAGES as FLEET_PAGES
from littoral.web import PageAssets
from page_server import ASSETS

ROOT = Path(__file__).parents[2]
OWN = [path for path in sorted(ASSETS.rglob("*")) if path.is_file() and "vendor" not in path.parts]
MODULES = [path for path in OWN if path.suffix == ".js" and path.name != "early_theme.js"]
PAGES_BYTES_MAX = 395_000
LATER = {"updates"}
"""Panels that are there only where the node is in a fleet."""
IMPORT = re.compile(r'^import .* from "([^"]+)";$', re.MULTILINE)
ENTRIES = {"index.html": "js/node/page.js", "page.html": "js/pages/main.js"}
FLEET = fleet_page_texts(PageAssets())
TEXTS = {name: (ASSETS / name).read_text() for name in ENTRIES} | {f"fleet {page}": FLEET[page] for page in FLEET}
"""HTML of every page, as a browser gets it: files, and those that are made of them."""
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


@pytest.fixture(scope="module", params=TEXTS)
def page(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tags(page: str) -> Tags:
    return Tags(TEXTS[page])


def entry_of(page: str) -> Path:
    """The module that a page begins with."""
    return ASSETS / ENTRIES.get(page, FRAME.entry)


def test_all_that_a_page_names_is_there(tags: Tags) -> None:
    assert [address for address in tags.addresses if not (ASSETS / address.removeprefix("/assets/")).is_file()] == []
    assert [name for name in tags.referred if name not in tags.ids] == []
    assert len(set(tags.ids)) == len(tags.ids)


def test_nothing_is_inline(tags: Tags) -> None:
    assert tags.inline == []


def test_every_module_of_a_page_is_fetched_at_once(tags: Tags, page: str) -> None:
    """A module that is not preloaded would be found one round trip later."""
    preloaded = {(ASSETS / address.removeprefix("/assets/")).resolve() for address in tags.preloaded}
    assert preloaded == imported_by(entry_of(page))


def test_every_module_is_used() -> None:
    assert set(MODULES) == set().union(*(imported_by(entry_of(page)) for page in TEXTS))


def imported_by(entry: Path) -> set[Path]:
    """Itself, and what it imports, and so on."""
    found, left = set(), [entry.resolve()]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [(path.parent / name).resolve() for name in IMPORT.findall(path.read_text())]
    return found


def test_ids_that_scripts_ask_for_are_there(tags: Tags, page: str) -> None:
    modules = imported_by(entry_of(page))
    asked = {name for path in modules for name in re.findall(r'byId\("([\w-]+)"\)', path.read_text())}
    assert asked
    assert asked <= set(tags.ids)


def test_pages_have_the_same_bar() -> None:
    """But for which page is the current one."""
    bars = [(ASSETS / name).read_text().split("<header")[1].split("</header>")[0] for name in ENTRIES]
    assert bars[0].replace(' aria-current="page"', "") == bars[1]
    assert re.findall(r'href="/pages/(\w+)"', bars[1]) == list(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_first_bytes_of_a_page_have_its_title_and_its_panels(name: str) -> None:
    """No script is waited for, and none shows other panels than these, or other titles."""
    text = outlined((ASSETS / "page.html").read_text(), name)
    found = Tags(text)
    assert found.inline == []
    assert text.count("aria-current") == 1
    (title,) = re.findall(rf'<a href="/pages/{name}" aria-current="page">([^<]+)</a>', text)
    assert f"<title>{title} · Littoral</title>" in text
    assert dict(re.findall(r'<h2 id="([a-z]+)-title">([^<]+)</h2></header><div class="waiting">', text)) == PAGES[name]
    scripts = [path.read_text() for path in imported_by(ASSETS / f"js/pages/{name}.js") if path.parent.name == "pages"]
    shown = dict(re.findall(r'panel\("([a-z]+)", "([^"]+)"', "".join(scripts)))
    assert {panel: text for panel, text in shown.items() if panel not in LATER} == PAGES[name]


@pytest.mark.parametrize("name", FLEET_PAGES)
def test_the_first_bytes_of_a_fleets_page_have_its_title_and_its_panels(name: str) -> None:
    text = FLEET[name]
    assert Tags(text).inline == []
    assert text.count("aria-current") == 1
    module = {"": "nodes"}.get(name, name)
    assert (
        f'title: "{re.findall("<title>([^ ]+) · Littoral</title>", text)[0]}", show: {module}Page'
        in (ASSETS / FRAME.entry).read_text()
    )
    assert (
        dict(re.findall(r'<h2 id="([a-z]+)-title">([^<]+)</h2></header><div class="waiting">', text))
        == FLEET_PAGES[name]
    )
    scripts = (ASSETS / f"js/fleet/{module}.js").read_text()
    assert dict(re.findall(r'panel\("([a-z]+)", "([^"]+)"', scripts)) == FLEET_PAGES[name]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_parses_html_or_refers_elsewhere(path: Path) -> None:
    assert FORBIDDEN[path.suffix].findall(path.read_text()) == []


def test_pages_stay_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < PAGES_BYTES_MAX


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
