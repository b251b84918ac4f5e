"""The site on the page of a node, in real Chromium: sites that are whole, hurt, large, and none."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from browser import WIDE, Browser, browser
from littoral.clock import SYSTEM
from littoral.node.mesh_told import MeshTold
from mesh_pictured import NOW_S, hurt_site, large_site, whole_site
from page_node import PageNode
from page_pictures import draw, jpeg, page_pictures
from page_server import serve_node
from waiting import until

pytestmark = pytest.mark.e2e

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
NARROW = (390, 800)
SIZES = {"narrow": NARROW, "wide": WIDE}
FOCUSED = "return document.activeElement.dataset"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[PageNode, str]]:
    """A node without pipelines, and its address."""
    node = PageNode([], ())
    with serve_node(node) as address:
        yield node, address


@pytest.fixture
def page(chromium: Browser, served: tuple[PageNode, str]) -> Iterator[Browser]:
    """Of a hurt site; after the test nothing may have been complained of."""
    visit(chromium, served, hurt_site())
    yield chromium
    assert chromium.complaints() == []


def visit(page: Browser, served: tuple[PageNode, str], told: MeshTold, **how: Any) -> None:
    node, address = served
    node.mesh = as_json(told)
    page.open(address, **how)
    page.until(".site-map .node", count=len(told.members))


def as_json(told: MeshTold) -> dict[str, Any]:
    """Moved to now."""
    said: dict[str, Any] = json.loads(msgspec.json.encode(told))
    for member in said["members"]:
        member["since_s"] += SYSTEM.wall() - NOW_S
    return said


def chosen(page: Browser) -> str:
    return page.text(".chosen h3")


def label(page: Browser, node: str) -> str:
    return str(page.run(f"return document.querySelector('[data-node={node}]').getAttribute('aria-label')"))


def test_nodes_are_told_with_their_state_in_words_and_signs(page: Browser) -> None:
    assert label(page, "gw-1") == "gw-1, here, region north, 2 shards, 200 points, the node of this page"
    assert label(page, "gw-3") == "gw-3, missing, 2 shards, 202 points"
    assert page.texts(".node .node-word") == ["missing", "frozen"]
    signs = page.run("return [...document.querySelectorAll('.site-map .sign')].map((sign) => sign.getAttribute('d'))")
    assert len(set(signs)) == 3
    assert page.texts(".region-name") == ["north", "south"]
    assert page.text("#mesh-state") == "5 problems"
    assert page.text(".site-summary").startswith("Site shop: 3 of 5 nodes here · shard map 3, written by gw-1")


def test_links_have_their_time_and_a_cut_one_says_so(page: Browser) -> None:
    assert sorted(page.texts(".link-label")) == ["19\u202fms", "19\u202fms", "cut"]
    assert len(page.all(".link.cut")) == 1
    dashes = "return getComputedStyle(document.querySelector('.link.cut')).strokeDasharray"
    assert page.run(dashes) != "none"


def test_what_is_wrong_is_said_with_what_to_do(page: Browser) -> None:
    first = page.text(".problems li")
    assert first.startswith("node gw-3 is missing")
    assert "is it running" in first
    assert page.text(".problems summary") == "1 more"


def test_a_click_shows_the_facts_of_a_node_and_of_a_shard(page: Browser) -> None:
    assert chosen(page) == "gw-1"
    page.one("[data-node=gw-4] .dot").click()
    assert chosen(page) == "gw-4"
    facts = dict(zip(page.texts(".chosen dt"), page.texts(".chosen dd"), strict=True))
    assert (facts["State"], facts["Points"], facts["Page"]) == ("here", "203", "10.0.0.4:8642")
    assert page.texts(".chosen tbody tr:first-child :is(th, td)")[:2] == ["gw-1", "cut"]
    page.one("[data-key='notes 1 gw-2']").click()
    assert chosen(page) == "notes, shard 1"
    assert page.texts(".chosen tbody th") == ["gw-2", "gw-3"]
    assert page.texts(".chosen tbody td:nth-child(3)") == ["17 writes behind, for 42\u202fs", "missing"]
    assert len(page.all(".cell[aria-pressed=true]")) == 2, "it is marked on both nodes"


def test_shards_lie_in_the_rows_of_their_nodes(page: Browser) -> None:
    rows = page.run(
        "return [...document.querySelectorAll('.cells li')].map((row) => row.innerText.split(/\\s+/).join(' '))"
    )
    assert rows == ["gw-1 0 4", "gw-2 0 1 −17", "gw-3 missing 1 2", "gw-4 2 3", "gw-5 frozen 3 4"]
    assert page.text(".moves li p") == "notes: shard 4 moves, from gw-3 to gw-4: copying, 40 % done"


def test_arrows_go_from_node_to_node_and_enter_chooses(page: Browser) -> None:
    assert len(page.all(".site-map [tabindex='0']")) == 1, "Tab stops once in the map"
    page.run("document.querySelector('[data-node=gw-1]').focus()")
    page.press("ArrowRight", 39)
    assert page.run(FOCUSED)["node"] == "gw-2"
    page.press("ArrowLeft", 37)
    page.press("ArrowLeft", 37)
    assert page.run(FOCUSED)["node"] == "gw-5"
    page.press("Enter", 13, "\r")
    assert chosen(page) == "gw-5"
    ring = "return getComputedStyle(document.activeElement.querySelector('.reach')).strokeWidth"
    assert page.run(ring) == "3px"
    page.run("document.querySelector('.cell[tabindex=\"0\"]').focus()")
    page.press("ArrowDown", 40)
    page.press("Enter", 13, "\r")
    assert chosen(page) == "notes, shard 4"


def test_it_is_live_and_keeps_the_focus(page: Browser, served: tuple[PageNode, str]) -> None:
    page.run("document.querySelector('[data-node=gw-2]').focus()")
    page.one(".site-tables summary").click()
    page.run("document.querySelector('[data-node=gw-2]').focus()")
    served[0].mesh = as_json(whole_site(5))
    until(lambda: page.text("#mesh-state") == "All well")
    assert label(page, "gw-3").startswith("gw-3, here")
    assert page.run(FOCUSED)["node"] == "gw-2"
    assert page.run("return document.querySelector('.site-tables').open") is True
    assert not page.one(".problems").is_displayed()
    assert page.all(".moves") == []
    served[0].mesh = as_json(whole_site(4))
    until(lambda: len(page.all(".site-map .node")) == 4)


def test_all_of_it_is_there_as_tables(page: Browser) -> None:
    names = page.run("return [...document.querySelectorAll('.site-tables .scroll')].map((e) => e.ariaLabel)")
    assert names == ["Nodes", "Links between nodes that are here", "Replicas"]
    rows = page.run(
        "return [...document.querySelectorAll('.site-tables .scroll:nth-of-type(2) tbody tr')]"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert ["gw-1", "gw-4", "cut"] in rows


def test_a_node_without_a_mesh_says_so(chromium: Browser, served: tuple[PageNode, str]) -> None:
    served[0].mesh = {"site": None}
    chromium.open(served[1])
    until(lambda: chromium.text("#mesh-state") == "Alone")
    assert chromium.text("#mesh-body").startswith("This node stands alone.")
    assert chromium.complaints() == []


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_fifty_nodes_are_still_readable(chromium: Browser, served: tuple[PageNode, str], size: tuple[int, int]) -> None:
    """No two names lie upon each other, none leaves the screen."""
    visit(chromium, served, large_site(), size=size)
    assert chromium.run("return document.documentElement.scrollWidth") <= size[0]
    upon = """
    const marks = [...document.querySelectorAll('.site-map .node .dot')].map((mark) => mark.getBoundingClientRect());
    const apart = (a, b) => Math.hypot(a.x + a.width / 2 - b.x - b.width / 2, a.y + a.height / 2 - b.y - b.height / 2);
    return Math.min(...marks.flatMap((a, i) => marks.slice(i + 1).map((b) => apart(a, b))));
    """
    assert chromium.run(upon) >= 10
    outside = """
    return [...document.querySelectorAll('.site-map .node-name')].map((name) => name.getBoundingClientRect())
      .filter(({ left, right }) => left < 0 || right > innerWidth).length;
    """
    assert chromium.run(outside) == 0
    assert chromium.complaints() == []


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(chromium: Browser, served: tuple[PageNode, str], size: tuple[int, int], theme: str) -> None:
    visit(chromium, served, hurt_site(), size=size, theme=theme)
    assert chromium.run("return document.documentElement.scrollWidth") <= size[0]
    for selector in (".site-tables summary", ".problems summary", ".cell.behind"):
        chromium.run("document.querySelector(arguments[0]).click()", selector)
    until(lambda: chromium.run("return document.getAnimations().length") == 0)
    assert chromium.accessibility(AXE) == []
    assert chromium.complaints() == []


def test_a_search_says_which_nodes_are_missing(chromium: Browser, tmp_path: Path) -> None:
    query = tmp_path / "query.jpg"
    query.write_bytes(jpeg(draw(1, 3.4)))
    node = PageNode(page_pictures(), ("similar",))
    node.searched = {"asked": 3, "answered": 2, "missing": ["gw-3"], "certified": False, "expected_recall": None}
    with serve_node(node) as address:
        chromium.open(address)
        chromium.until("#samples button", count=6)
        chromium.one("#picture").send_keys(str(query))
        chromium.until("#search[data-state=answered] #neighbours li", count=5)
        assert chromium.text(".stages-note") == "2 of 3 nodes answered · missing: gw-3 · no promise on recall"
        assert chromium.complaints() == []
        chromium.driver.get("about:blank")
