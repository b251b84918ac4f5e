"""The page of a node, driven in real Chromium.

Each test runs against every host of `HOSTS`: a context manager that gives the address of a node with the pipelines
`similar` and `classify`, one model, and one collection of `page_pictures()` with `source`, `seconds` and `thumbnail`.
"""

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser import WIDE, Browser, browser
from page_host import node_page
from page_pictures import draw, jpeg, page_pictures, png
from page_server import CSP, serve_page
from ports import free_port
from waiting import until

pytestmark = pytest.mark.e2e

HOSTS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "stand-in": lambda: serve_page(page_pictures()),
    "node": lambda: node_page(page_pictures()),
}

ALLOWED = {"'none'", "'self'", "data:", "blob:"}
NARROW = (360, 780)
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
TOO_MANY_BYTES = (16 << 20) + 1
TAB = ("Tab", 9)
STOPS_MAX = 40


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module", params=HOSTS)
def address(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[str]:
    with HOSTS[request.param]() as address:
        yield address
        chromium.driver.get("about:blank")  # a page whose node has ended complains, in the test after it
        chromium.complaints()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Browser]:
    """The page, ready to be asked with; after the test nothing may have been complained of."""
    ready(chromium, address)
    yield chromium
    assert chromium.complaints() == []


def ready(page: Browser, address: str, **visit: Any) -> None:
    page.open(address, **visit)
    page.until("#samples button", count=6)
    page.until("#live[data-state=good]")
    page.until(".layers svg")


def ask(page: Browser, file: Path) -> None:
    page.one("#picture").send_keys(str(file))


def answered(page: Browser) -> None:
    """Waits for the pictures and the classes of what was asked last."""
    page.until("#search[data-state=answered] #classes[aria-busy=false] li")


def asked(page: Browser) -> list[int]:
    """HTTP status of each search, 0 for one that was ended."""
    entries = "performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/pipelines/similar'))"
    return list(page.run(f"return {entries}.map((entry) => entry.responseStatus)"))


def nearest(page: Browser) -> str:
    return page.texts("#neighbours .hint")[0]


@pytest.fixture
def query(tmp_path: Path) -> Path:
    """Between the fourth and the fifth frame of the market."""
    path = tmp_path / "query.jpg"
    path.write_bytes(jpeg(draw(1, 3.4)))
    return path


@pytest.fixture
def no_picture(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jpg"
    path.write_text("this is no picture")
    return path


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
        return json.load(answer)


# --- what is there at once ---


def test_the_first_content_needs_no_answer_of_the_node(page: Browser, address: str) -> None:
    with page.held("*/api/*"):
        page.open(address)
        until(lambda: bool(page.run("return performance.getEntriesByName('first-contentful-paint').length")))
        assert page.all("#samples button") == []
    ready(page, address)


def test_it_is_served_under_a_policy_that_lets_nothing_in_from_elsewhere(address: str) -> None:
    request = urllib.request.Request(address, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        policy = dict(part.split(maxsplit=1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert set(CSP.split("; ")) <= {f"{name} {sources}" for name, sources in policy.items()}
        assert {source for sources in policy.values() for source in sources.split()} <= ALLOWED
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_everything_comes_from_the_node(page: Browser, address: str) -> None:
    names = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(names) > 20
    assert [name for name in names if not name.startswith((address, "data:", "blob:"))] == []


# --- asking with a picture ---


def test_a_chosen_picture_finds_five(page: Browser, address: str, query: Path) -> None:
    ask(page, query)
    answered(page)

    script = "return [...document.querySelectorAll('#neighbours img')].map((i) => i.complete && i.naturalWidth)"
    until(lambda: page.run(script) == [160] * 5)
    scores = [float(text) for text in page.texts("#neighbours .score span")]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert nearest(page).startswith("market")
    assert page.text("#search-status").startswith("5 most similar from frames, in ")
    assert page.text("#query-facts") == f"query.jpg · 320 × 180 · {query.stat().st_size / 1000:.1f}\u202fkB"
    assert page.run("return document.getElementById('query-picture').naturalWidth") == 320

    assert page.text(".stages-note").startswith("1 of 1 node answered · ")

    steps = next(p["steps"] for p in get(address, "/api/pipelines") if p["name"] == "similar")
    names = [step["name"] for step in steps]
    stages = page.run("return [...document.querySelectorAll('.stage-bar span')].map((e) => e.dataset.stage)")
    assert stages[: len(names)] == names
    widths = page.run("return [...document.querySelectorAll('.stage-bar span')].map((e) => e.offsetWidth)")
    assert min(widths) >= 2
    assert page.texts(".stage-table tbody th")[: len(names)] == names
    assert all(text.endswith("ms") for text in page.texts(".stage-table td:nth-child(2)"))

    (model,) = get(address, "/api/models")
    labels = get(address, f"/api/models/{model['name']}")["labels"] or [f"class {i}" for i in range(1000)]
    classes = page.texts(".class-list li > span:first-child")
    assert len(classes) == 5
    assert set(classes) <= set(labels)


def test_a_dropped_picture_is_asked_with(page: Browser, query: Path) -> None:
    page.drop(query)
    answered(page)
    assert nearest(page).startswith("market")
    assert page.run("return 'dragging' in document.documentElement.dataset") is False


def test_a_pasted_picture_is_asked_with(page: Browser) -> None:
    page.paste(png(draw(2, 5)))
    answered(page)
    assert nearest(page).startswith("workshop")


def test_a_sample_finds_itself(page: Browser) -> None:
    sample = page.all("#samples button")[-1]
    label = str(sample.get_attribute("aria-label")).removeprefix("Search with ")
    sample.click()
    answered(page)
    found = page.run("return [...document.querySelectorAll('#neighbours img')].map((image) => image.alt)")
    assert label in found
    assert page.run("return document.getElementById('query-picture').alt") == f"Asked with: {label}"


def test_samples_come_from_every_source(page: Browser) -> None:
    script = "return [...document.querySelectorAll('#samples button')].map((b) => b.title.split(' ')[0])"
    assert page.run(script) == ["harbour", "harbour", "market", "market", "workshop", "workshop"]


def test_the_keyboard_is_enough(page: Browser) -> None:
    """Every stop on the way is seen; a sample is reached and asked with."""
    for _ in range(STOPS_MAX):
        page.press(*TAB)
        assert page.run(
            """
            const stop = document.activeElement;
            const shown = [stop, ...(stop.labels ?? [])];
            return stop.matches('.skip') || shown.some((element) => getComputedStyle(element).outlineStyle !== 'none');
            """
        ), page.run("return document.activeElement.outerHTML.slice(0, 200)")
        if page.run("return document.activeElement.matches('#samples button')"):
            break
    page.press("Enter", 13, "\r")
    answered(page)
    assert len(page.all("#neighbours li")) == 5


def test_the_file_chooser_is_a_stop_with_a_name(page: Browser) -> None:
    assert page.one("#picture").accessible_name.startswith("Choose a picture")
    page.run("document.getElementById('picture').focus()")
    assert page.run("return document.activeElement.id") == "picture"


def test_a_new_picture_ends_the_request_before_it(page: Browser, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jpg", tmp_path / "second.jpg"
    first.write_bytes(jpeg(draw(0, 2)))
    second.write_bytes(jpeg(draw(2, 7)))
    with page.held("*/pipelines/similar"):
        ask(page, first)
        page.until("#search[data-state=asking] .answer[aria-busy=true]")
        assert page.text("#search-status") == "Asking the node"
        assert page.text("#query-facts").startswith("first.jpg")
        ask(page, second)
        until(lambda: page.text("#query-facts").startswith("second.jpg"))
    answered(page)
    assert nearest(page).startswith("workshop")
    assert page.text("#query-facts").startswith("second.jpg")
    until(lambda: asked(page) == [0, 200])


# --- what goes wrong ---


def test_what_the_node_refuses_is_said_in_its_words(page: Browser, address: str, query: Path, no_picture: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/pipelines/similar", data=no_picture.read_bytes(), timeout=60)
    message = json.load(refused.value)["status"]["error"]
    refused.value.close()

    ask(page, query)
    answered(page)
    ask(page, no_picture)
    page.until("#search[data-state=failed] #search-error[role=alert]")
    said = page.text("#search-error").replace("Hint: ", " · hint: ")
    assert said.removeprefix("The search failed") == message.replace("`", "")
    assert page.one("#neighbours").is_displayed() is False
    assert page.one("#how").is_displayed() is False
    assert [f"status of {refused.value.code}" in line for line in page.complaints()] == [True]

    ask(page, query)
    answered(page)
    assert page.one("#search-error").is_displayed() is False
    assert page.one("#neighbours").is_displayed()


def test_a_file_that_is_too_large_is_not_sent(page: Browser, query: Path, tmp_path: Path) -> None:
    ask(page, query)
    answered(page)
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(TOO_MANY_BYTES)
    ask(page, large)
    page.until("#search-error:not([hidden])")
    assert page.text("#search-error") == "Nothing to search withlarge.jpg has 16.0 MB, at most 16 MB can be asked with"
    until(lambda: asked(page) == [200])
    assert len(page.all("#neighbours li")) == 5


def test_a_folder_is_refused(page: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    page.drop(folder)
    page.until("#search-error:not([hidden])")
    assert "pictures" in page.text("#search-error")


def test_a_lost_connection_is_said_and_mended(page: Browser, query: Path) -> None:
    page.disconnect()
    ask(page, query)
    page.until("#search[data-state=failed]")
    assert "The node cannot be reached" in page.text("#search-error")
    until(lambda: page.text("#node-state") == "No connection")
    assert page.all(".card")
    page.connect()
    page.one("#search-error button").click()
    answered(page)
    until(lambda: page.text("#node-state") == "Ready")
    assert all("ERR_INTERNET_DISCONNECTED" in line for line in page.complaints())


def test_a_node_that_stops_is_said_and_found_again(chromium: Browser, query: Path) -> None:
    port = free_port()
    with serve_page(page_pictures(), port=port) as address:
        ready(chromium, address)
    until(lambda: chromium.text("#node-state") == "No connection")
    until(lambda: chromium.text("#live") == "Connecting")
    with serve_page(page_pictures(), port=port):
        until(lambda: (chromium.text("#node-state"), chromium.text("#live")) == ("Ready", "Live"))
        ask(chromium, query)
        answered(chromium)
        chromium.driver.get("about:blank")
    assert all("net::ERR_" in line for line in chromium.complaints())


# --- what the node tells of itself ---


def test_the_node_its_models_and_collections_are_shown(page: Browser, address: str) -> None:
    node, (model,), (collection,) = (get(address, f"/api/{name}") for name in ("node", "models", "collections"))
    assert page.text("#node-name") == node["name"]
    assert page.driver.title == f"{node['name']} · Littoral"
    assert f"version {node['version']} · up " in page.text("#node-facts")

    facts = dict(zip(page.texts("#models dt"), page.texts("#models dd"), strict=True))
    assert facts["Layers"] == str(model["layer_count"])
    assert facts["Memory, fixed"] == f"{model['memory_bytes'] / 1e6:.1f}\u202fMB"
    assert page.text("#models .badge") == model["engine"]
    layers = get(address, f"/api/models/{model['name']}")["layers"]
    assert page.texts("#models .scroll tbody th") == [layer["name"] for layer in layers]
    assert len(page.all(".layer-chart rect")) == len(layers)
    assert page.texts("#models .ports tbody th") == [port["name"] for port in model["inputs"] + model["outputs"]]

    facts = dict(zip(page.texts("#collections dt"), page.texts("#collections dd"), strict=True))
    assert facts["Points"] == f"{collection['points_count']:,}"
    assert facts["Dimension"] == f"{collection['size']:,}"
    assert page.text("#collections .state") == collection["status"]


def test_pipelines_are_shown_with_the_types_on_their_edges(page: Browser, address: str) -> None:
    for pipeline in get(address, "/api/pipelines"):
        card = f"#pipelines [data-name={pipeline['name']}]"
        assert page.texts(f"{card} .step strong") == [step["name"] for step in pipeline["steps"]]
        edges = [text.replace("`", "") for text in (*(s["takes"] for s in pipeline["steps"]), pipeline["gives"])]
        shown = page.texts(f"{card} .edge")
        assert ["".join(text.split()) for text in shown] == [
            "".join(text.replace("], ", "]").split()) for text in edges
        ]


def test_latency_is_live(page: Browser, query: Path) -> None:
    assert page.run("return document.getElementById('chart').getAttribute('aria-label')") == (
        "No request in the last two minutes"
    )
    assert coloured_pixels(page) == 0
    before = requests_of(page)
    ask(page, query)
    answered(page)
    label = "return document.getElementById('chart').getAttribute('aria-label')"
    until(lambda: page.run(label).startswith("2 requests in the last two minutes, the latest: classify in "))
    until(lambda: coloured_pixels(page) > 0)
    until(lambda: requests_of(page) == before | {name: before[name] + 1 for name in ("similar", "classify")})
    assert {"similar", "classify", "failed"} <= set(page.texts("#chart-legend li"))


def requests_of(page: Browser) -> dict[str, int]:
    names, counts = page.texts("#latency-table tbody th"), page.texts("#latency-table td:nth-child(2)")
    return dict(zip(names, map(int, counts), strict=True))


def coloured_pixels(page: Browser) -> int:
    """Axes and grid are grey, dots are not."""
    url = page.run("return document.querySelector('#chart canvas').toDataURL()")
    with urllib.request.urlopen(url) as data:
        image = Image.open(io.BytesIO(data.read())).convert("RGBA")
    pixels = image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()
    return sum(alpha > 200 and max(rgb) - min(rgb) > 60 for *rgb, alpha in pixels)


def test_a_node_without_anything_says_so(chromium: Browser) -> None:
    with serve_page([], pipelines=()) as address:
        chromium.open(address)
        until(lambda: chromium.text("#collections").endswith("No collection yet"))
        until(lambda: chromium.text("#models").endswith("No model yet"))
        until(lambda: chromium.text("#pipelines").endswith("No pipeline yet"))
        assert chromium.text("#search-status") == "This node has no pipeline similar, so it cannot be searched"
        assert chromium.one("#samples").is_displayed() is False
        assert chromium.complaints() == []
        chromium.driver.get("about:blank")


def test_without_a_classifier_there_are_no_classes(chromium: Browser, query: Path) -> None:
    with serve_page(page_pictures(), pipelines=("similar",)) as address:
        ready(chromium, address)
        ask(chromium, query)
        chromium.until("#search[data-state=answered] #neighbours li", count=5)
        assert chromium.one("#classes").is_displayed() is False
        assert chromium.complaints() == []
        chromium.driver.get("about:blank")


# --- for every eye and hand ---


def test_the_theme_is_remembered(page: Browser, address: str) -> None:
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    light = page.run(ground)
    page.one("#theme input[value=dark]").find_element("xpath", "..").click()
    dark = page.run(ground)
    assert dark != light
    page.driver.get(address)
    assert page.run(ground) == dark
    assert page.one("#theme input[value=dark]").is_selected()
    page.one("#theme input[value=system]").find_element("xpath", "..").click()
    assert page.run(ground) == light
    page.driver.get(address)
    assert page.run(ground) == light
    page.open(address, theme="dark")
    assert page.run(ground) == dark


@pytest.mark.parametrize("size", [NARROW, (768, 1024), WIDE], ids=["narrow", "middle", "wide"])
def test_nothing_is_wider_than_the_screen(page: Browser, address: str, query: Path, size: tuple[int, int]) -> None:
    width = "return document.documentElement.scrollWidth"
    ready(page, address, size=size)
    assert page.run(width) <= size[0]
    ask(page, query)
    answered(page)
    page.one("#models summary").click()
    assert page.run(width) <= size[0]


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    page: Browser, address: str, query: Path, no_picture: Path, size: tuple[int, int], theme: str
) -> None:
    ready(page, address, size=size, theme=theme)
    assert page.accessibility(AXE) == []
    ask(page, query)
    answered(page)
    page.one("#models summary").click()
    until(lambda: page.run("return document.getAnimations().length") == 0)
    assert page.accessibility(AXE) == []
    ask(page, no_picture)
    page.until("#search[data-state=failed]")
    assert page.accessibility(AXE) == []
    assert all("422" in line for line in page.complaints())
