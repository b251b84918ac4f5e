"""The theme of a page changes while it is open: every colour is then what a fresh visit has, on canvases too."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from browser import Browser, browser
from littoral.node.shown.outlines import PAGES
from page_pictures import page_pictures
from pages_node import PagesNode, pages_node
from raw_http import send
from waiting import until

pytestmark = pytest.mark.e2e

ATTEMPTS = 4_000
READY = {
    "": "#latency canvas",
    "pipelines": "#pipelines .card .rate-bars",
    "models": "#models .card tbody tr",
    "collections": "#map circle",
    "agents": "#agents .card .facts",
    "caches": "#caches .card .facts",
    "mqtt": "#mqtt .card .facts",
    "gateway": "#answers li details",
    "logs": "#logs .state",
    "audit": "#entries .log li",
    "doctor": "#doctor .findings li",
}
COLOURS = """
const kinds = ["color", "backgroundColor", "borderTopColor", "borderLeftColor", "outlineColor", "fill", "stroke",
  "boxShadow", "caretColor", "textDecorationColor"];
const named = (e) => `${e.tagName}.${e.getAttribute("class") ?? ""}#${e.id}[${e.dataset.state ?? ""}]`;
const path = (e) => (e.parentElement ? `${path(e.parentElement)} > ${named(e)}` : named(e));
const told = (e, part) => {
  const style = getComputedStyle(e, part);
  return kinds.map((kind) => style[kind]).join("; ");
};
const found = {};
for (const e of document.querySelectorAll("body, body *:not(#theme *, #theme)"))
  for (const part of ["", "::before", "::after"]) found[path(e) + part] = told(e, part || null);
return found;
"""
PASSING = """
getComputedStyle(document.body).color;
return document.getAnimations().filter(({ transitionProperty: name }) => /color|fill|stroke/.test(name ?? "")).length;
"""
"""Colours that are on their way: in a tab that is not looked at they would not arrive."""
INKS = """
return [...document.querySelectorAll("canvas")].flatMap((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 250) continue;
    const ink = `${data[i]},${data[i + 1]},${data[i + 2]}`;
    counts.set(ink, (counts.get(ink) ?? 0) + 1);
  }
  return [...counts];
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, page: Browser) -> Iterator[PagesNode]:
    with pages_node(tmp_path_factory.mktemp("themes")) as found:
        yield found
        page.driver.get("about:blank")


def colours(page: Browser) -> dict[str, str]:
    return dict(page.run(COLOURS))


def inks(page: Browser) -> Counter[str]:
    """What canvases are drawn in, by pixels."""
    return Counter(dict(page.run(INKS)))


def grid(page: Browser) -> str | None:
    """What most is drawn in."""
    return next((ink for ink, _ in inks(page).most_common(1)), None)


def of_dots(page: Browser) -> str:
    """In the legend, which is no canvas, as the canvas says it."""
    colour = page.run("return getComputedStyle(document.querySelector('#chart-legend .swatch')).backgroundColor")
    return str(colour).removeprefix("rgb(").removesuffix(")").replace(" ", "")


def prefer(page: Browser, theme: str) -> None:
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])


def differing(page: Browser, wanted: dict[str, str]) -> list[Any]:
    return [(path, now, wanted[path]) for path, now in colours(page).items() if wanted.get(path, now) != now]


@pytest.mark.parametrize("name", ["", *PAGES])
def test_a_change_of_the_theme_leaves_no_colour_behind(page: Browser, node: PagesNode, name: str) -> None:
    address = f"{node.served.url}/{f'pages/{name}' if name else ''}"
    wanted, grids = {}, {}
    for theme in ("dark", "light"):
        page.open(address, theme=theme)
        page.until(READY[name])
        page.until("#node-state[data-state=good]")
        until(lambda: page.run("return document.getAnimations().length") == 0)
        wanted[theme], grids[theme] = colours(page), grid(page)
    assert wanted["light"] != wanted["dark"]
    for theme in ("dark", "light", "dark"):
        for other in ("light", "dark", "light"):  # faster than any transition
            prefer(page, other)
        prefer(page, theme)
        assert page.run(PASSING) == 0
        until(lambda theme=theme: grid(page) == grids[theme])
        until(lambda theme=theme: differing(page, wanted[theme]) == [], attempts=ATTEMPTS)
    for theme in ("light", "dark"):
        page.one(f"#theme input[value={theme}]").find_element("xpath", "..").click()
        until(lambda theme=theme: differing(page, wanted[theme]) == [], attempts=ATTEMPTS)


def test_what_is_under_the_pointer_changes_too(page: Browser, node: PagesNode) -> None:
    page.open(node.served.url, theme="light")
    page.until(READY[""])
    page.until("#live[data-state=good]")
    for picture in page_pictures()[:3]:
        assert send(node.served.address, "POST", "/pipelines/similar", picture.data).status == 200
    until(lambda: inks(page)[of_dots(page)] > 0)
    page.run("document.querySelector('#chart').scrollIntoView({ block: 'center' })")
    box = page.run(
        "const { right, y, height } = document.querySelector('.u-over').getBoundingClientRect();"
        "return [right, y + height / 2]"
    )
    page.command("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] - 2, y=box[1])
    until(lambda: marked(page) == of_dots(page))
    before = of_dots(page)
    prefer(page, "dark")
    until(lambda: of_dots(page) != before)
    until(lambda: marked(page) == of_dots(page), attempts=ATTEMPTS)
    until(lambda: inks(page)[of_dots(page)] > 0 and inks(page)[before] == 0, attempts=ATTEMPTS)


def marked(page: Browser) -> str | None:
    """The colour of the first mark that shows what the pointer is at; none where it is at nothing."""
    mark = "document.querySelector('.u-cursor-pt:not(.u-off)')"
    colour = page.run(f"return {mark} && getComputedStyle({mark}).backgroundColor")
    return colour and str(colour).removeprefix("rgb(").removesuffix(")").replace(" ", "")
