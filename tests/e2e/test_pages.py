"""Every page of a node beside its overview, in real Chromium: each does what it is for, in both themes."""

import json
import logging
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from browser import WIDE, Browser, browser
from gateway_site import gatewayed_node
from littoral.node.shown.outlines import PAGES
from onnx_models import Network
from page_pictures import page_pictures
from pages_node import NOTES, PagesNode, pages_node
from raw_http import send, send_json
from waiting import until

pytestmark = pytest.mark.e2e

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
NARROW = (390, 844)
FILLED = {
    "pipelines": "#pipelines .card .rate-bars",
    "models": "#models .card tbody tr",
    "collections": "#points tbody tr",
    "agents": "#agents .card .facts",
    "caches": "#caches .card .facts",
    "mqtt": "#mqtt .card .facts",
    "gateway": "#answers li details",
    "logs": "#logs .log li",
    "audit": "#entries .log li",
    "doctor": "#doctor .findings li",
}
"""What is there when a page has read what it shows."""
TAB, ENTER = ("Tab", 9), ("Enter", 13)
STOPS_MAX = 40


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser(tmp_path_factory.mktemp("profile"), *flags) as found:
        yield found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[PagesNode]:
    with pages_node(tmp_path_factory.mktemp("pages")) as found:
        logging.getLogger("littoral.camera").warning("lens of `gate` is dirty")
        yield found
        chromium.driver.get("about:blank")  # a page whose node has ended complains


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """After the test nothing may have been complained of."""
    yield chromium
    assert chromium.complaints() == []


def visit(page: Browser, node: PagesNode, name: str, **how: object) -> None:
    page.open(f"{node.served.url}/pages/{name}", **how)  # type: ignore[arg-type]
    page.until(FILLED[name])
    page.until("#node-state[data-state=good]")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_in_both_themes_and_on_a_phone(page: Browser, node: PagesNode, name: str) -> None:
    for theme in ("light", "dark"):
        visit(page, node, name, theme=theme)
        assert page.accessibility(AXE) == []
        assert page.texts(".sections [aria-current=page]") == [page.run("return document.title.split(' · ')[0]")]
    page.command("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    until(lambda: page.run("return innerWidth") == NARROW[0])
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_the_bar_leads_from_page_to_page_by_keyboard(page: Browser, node: PagesNode) -> None:
    visit(page, node, "agents")
    for _ in range(STOPS_MAX):
        page.press(*TAB)
        if page.run("return document.activeElement.getAttribute('href')") == "/pages/doctor":
            break
    page.press(*ENTER, text="\r")
    until(lambda: page.run("return location.pathname") == "/pages/doctor")
    page.until(FILLED["doctor"])


def test_the_doctor_runs_again(page: Browser, node: PagesNode) -> None:
    visit(page, node, "doctor")
    count = len(page.all(".findings li"))
    extra = node.served.node.data / "collections" / "torn"
    extra.mkdir()
    try:
        page.one("#again").click()
        until(lambda: len(page.all(".findings li")) == count + 1)
    finally:
        extra.rmdir()
    (torn,) = [text for text in page.texts(".findings li.fail") if "collection torn" in text]
    assert "Mend: recover it from a snapshot" in torn


def test_lines_of_the_log_come_and_are_chosen(page: Browser, node: PagesNode) -> None:
    visit(page, node, "logs")
    page.until("#logs .state[data-state=good]")
    log = logging.getLogger("littoral.camera")
    log.error("lens of `yard` is broken")
    until(lambda: any("`" not in text and "lens of yard is broken" in text for text in page.texts(".log .message")))
    choose(page, "#level", "error")
    until(lambda: set(page.texts(".log .level")) == {"error"})
    choose(page, "#level", "debug")
    page.one("#text").send_keys("LENS OF `GATE")
    until(lambda: page.texts(".log .message") == ["lens of gate is dirty"])

    page.one("#pause").click()
    log.warning("lens of `gate` is dirty again")
    until(lambda: " new" in page.text("#logs .said"))
    assert page.texts(".log .message") == ["lens of gate is dirty"]
    page.one("#pause").click()
    until(lambda: page.texts(".log .message")[0] == "lens of gate is dirty again")


def test_entries_of_the_audit_log_are_chosen_proven_and_verified(page: Browser, node: PagesNode) -> None:
    for _ in range(3):
        assert send(node.served.address, "POST", "/pipelines/find", b"an open door").status == 200
    count = {"points": [], "exact": True}
    assert send_json(node.served.address, "POST", "/collections/notes/points/count", count).status in (200, 400)
    until(lambda: node.served.node.audit is not None and not node.served.node.audit.recorder.waiting_count)
    visit(page, node, "audit")
    assert "Takes entries" in page.text("#audit")
    assert page.texts("#audit dd")[0] == "littoral/store-12"
    choose(page, "#kind", "deploy")
    until(lambda: set(page.texts("#entries .level")) == {"deploy"})
    page.one("#who").send_keys("node")
    page.one("#on").send_keys("models/plain")
    until(lambda: {text.partition(" ")[0] for text in page.texts("#entries summary")} == {"models/plain"})
    choose(page, "#span", "last hour")
    until(lambda: " of a log of " in page.text("#entries .said"))

    keyed(page, "#entries li:first-child summary")
    page.until("#entries details[open] .json")
    assert '"did": "deploy"' in page.text("#entries .json")
    keyed(page, "#entries details[open] button")
    page.until("#entries .json", count=2)
    assert '"checkpoint"' in page.texts("#entries .json")[1]
    assert page.accessibility(AXE) == []

    choose(page, "#kind", "pruned")
    until(lambda: page.text("#entries .said") == "None fit")
    keyed(page, "#verify")
    until(lambda: "Nothing was changed" in page.text("#verified"))
    bundle = min((node.served.node.data / "audit" / "tile" / "entries").rglob("*"), key=lambda path: len(path.parts))
    bundle = next(path for path in bundle.rglob("*") if path.is_file()) if bundle.is_dir() else bundle
    data = bundle.read_bytes()
    bundle.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    try:
        keyed(page, "#verify")
        until(lambda: "wrong" in page.text("#verified"))
        assert page.all("#verified .findings li")
        assert page.accessibility(AXE) == []
    finally:
        bundle.write_bytes(data)


def test_two_versions_stand_side_by_side(page: Browser, node: PagesNode) -> None:
    visit(page, node, "models")
    page.until("#one")
    choose(page, "#one", "plain 1")
    choose(page, "#other", "plain 2")
    until(lambda: page.texts(".compare thead th") == ["What", "plain 1", "plain 2", "Differs"])
    differing = page.texts(".compare tr.differs th")
    assert "SHA-256" in differing
    assert "Inputs" not in differing


def test_a_file_that_is_dropped_is_told_of(page: Browser, node: PagesNode, tmp_path: Path) -> None:
    visit(page, node, "models")
    network = Network((1, 3))
    network.node("Frobnicate", "x")
    odd = tmp_path / "odd.onnx"
    odd.write_bytes(network.bytes())
    at = page.run(
        "const box = document.querySelector('#examined .drop'); box.scrollIntoView();"
        "const { x, y, width, height } = box.getBoundingClientRect(); return [x + width / 2, y + height / 2]"
    )
    page.drop(odd, (int(at[0]), int(at[1])))
    until(lambda: "Cannot be used here" in page.text("#report"))
    assert "operators that are not supported: Frobnicate" in page.text("#report .notice")
    page.one("#model-file").send_keys(str(node.folder / "encoder.wasm"))
    until(lambda: "Compiled model" in page.text("#report"))
    assert "Can be loaded" in page.text("#report")
    assert "input_ids" in page.text("#report .lines")


def test_a_model_is_compiled_loaded_compared_and_taken_back(page: Browser, node: PagesNode, tmp_path: Path) -> None:
    visit(page, node, "models")
    network = Network((-1, 3))
    network.node("Sub", "x", "x")
    brought = tmp_path / "fresh.onnx"
    brought.write_bytes(network.bytes())
    page.one("#model-file").send_keys(str(brought))
    card = ".build[data-name='fresh.onnx']"
    page.until(f"{card} .build-form")
    page.run("document.querySelector(arguments[0]).value = '3.0.0'", f"{card} input[placeholder='1.0.0']")
    assert page.run("return document.querySelector(arguments[0]).value", f"{card} [data-input=x]") == "1, 3"
    keyed(page, f"{card} button[type=submit]")
    page.until(f"{card}[data-state=made] [data-way=load]")
    assert page.accessibility(AXE) == []
    choose(page, f"{card} [data-way=target]", "plain")
    keyed(page, f"{card} [data-way=load]")
    until(lambda: "plain: version 3 serves" in page.text("#builds .said"))
    until(lambda: page.texts("[data-name=plain] tbody .state")[-1] == "Serves")
    assert (node.folder / "plain" / "3" / "model.wasm").exists()

    choose(page, "#one", "plain 2")
    choose(page, "#other", "plain 3")
    keyed(page, "#run-noise")
    page.until("#run-result tbody tr", count=2)
    assert [text.partition(" ")[0] for text in page.texts("#run-result dt")] == ["plain", "plain", "Nearness"]
    assert page.texts("#run-result tbody tr:last-child td")[-1] == "0 0 0"

    keyed(page, "[data-way=back][data-model=plain]")
    keyed(page, "[data-way=back][data-sure]")
    until(lambda: "plain: version 2 serves" in page.text("#models .said"))
    assert not (node.folder / "plain" / "3" / "model.wasm").exists()
    keyed(page, f"{card} [data-way=forget]")
    until(lambda: page.all(card) == [])


def test_a_model_is_quantised_with_a_report_and_cancelled(page: Browser, node: PagesNode, tmp_path: Path) -> None:
    visit(page, node, "models")
    network = Network((1, 3, 32, 32))
    network.conv(4, strides=[4, 4])
    network.node("Flatten", network.at)
    network.channels = 4 * 8 * 8
    network.dense(12)
    brought = tmp_path / "quantised.onnx"
    brought.write_bytes(network.bytes())
    pictures = []
    for i, shown in enumerate(page_pictures()[:5]):
        pictures.append(tmp_path / f"{i}.jpg")
        pictures[-1].write_bytes(shown.data)
    page.one("#model-file").send_keys(str(brought))
    card = ".build[data-name='quantised.onnx']"
    page.until(f"{card} .build-form")
    keyed(page, f"{card} button[type=submit]")
    page.until(f"{card} [data-way=cancel]")
    keyed(page, f"{card} [data-way=cancel]")
    page.until(f"{card}[data-state=cancelled] .build-form")
    choose(page, f"{card} .controls select:has([value=auto])", "8")
    choose(page, f"{card} .quantised select", "embed")
    page.one(f"{card} .quantised input[type=file]").send_keys("\n".join(map(str, pictures)))
    until(lambda: "5 files" in page.text(f"{card} .quantised [role=status]"))
    keyed(page, f"{card} button[type=submit]")
    page.until(f"{card}[data-state=made] .quantised-report")
    assert page.texts(f"{card} .quantised-report tbody th")[:2] == ["A call here", "File"]
    for theme in ("light", "dark"):
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        assert page.accessibility(AXE) == []
    page.command("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    until(lambda: page.run("return innerWidth") == NARROW[0])
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    keyed(page, f"{card} [data-way=forget]")
    until(lambda: page.all(card) == [])


def keyed(page: Browser, selector: str) -> None:
    """Pressed by keyboard, once it is there."""
    page.until(selector)
    page.run("document.querySelector(arguments[0]).focus()", selector)
    assert page.run("return document.activeElement === document.querySelector(arguments[0])", selector)
    page.press(*ENTER, text="\r")


def test_a_cache_is_emptied_after_a_second_word(page: Browser, node: PagesNode) -> None:
    for _ in range(2):
        assert send(node.served.address, "POST", "/pipelines/find", b"a door").status == 200
    visit(page, node, "caches")
    page.one("[data-cache=exact][data-way=ask]").click()
    page.until("[data-cache=exact][data-way=empty]")
    page.one("[data-cache=exact][data-way=empty]").click()
    until(lambda: "forgotten" in page.text("#caches .said"))
    until(lambda: page.texts("[data-name=exact] dd")[2] == "0")


def test_an_agent_tells_what_it_may(page: Browser, node: PagesNode) -> None:
    visit(page, node, "agents")
    told = page.text("[data-name=decode]")
    for words in ("May be called", "nothing beyond the log", "Ended by a trap", "Deadline of a call"):
        assert words in told


def test_mqtt_tells_of_messages_and_of_those_that_were_dropped(page: Browser, node: PagesNode) -> None:
    import paho.mqtt.publish as paho

    visit(page, node, "mqtt")
    until(lambda: "Messages come in: connected" in page.text("[data-name=double]"))
    good = json.dumps({"inputs": {"x": [[1.0, 2.0, 3.0]]}})
    for payload in (good, "no JSON"):
        paho.single("numbers/7/in", payload, qos=1, hostname="127.0.0.1", port=node.broker.port)
    until(lambda: page.texts("[data-name=double] dd")[1].startswith("1"))
    page.until("[data-name=double] .notice.failed")
    assert "Dropped last" in page.text("[data-name=double] .notice")


def test_points_are_browsed_searched_drawn_and_checked(page: Browser, node: PagesNode) -> None:
    visit(page, node, "collections")
    choose(page, "#collection", "frames")
    page.until("#points img")
    first = page.texts("#points tbody th")
    page.one("#on").click()
    until(lambda: page.texts("#points tbody th") not in (first, []))
    page.one("#back").click()
    until(lambda: page.texts("#points tbody th") == first)

    page.until("#map circle", count=36)
    assert sorted(page.texts("#map .legend li")) == ["harbour", "market", "workshop"]
    page.run("document.querySelector('#map circle').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    page.until("#map .map-chosen tbody tr")

    choose(page, "#collection", "notes")
    until(lambda: page.run("return document.querySelector('#find-pipeline')?.value") == "find")
    until(lambda: NOTES[0] in " ".join(page.texts("#points .payload dd")))
    page.one("#find-text").send_keys(NOTES[3])
    page.one("#find-run").click()
    until(lambda: NOTES[3] in " ".join(page.texts("#found tbody tr:first-child dd")))

    page.one("#recall-run").click()
    page.until("#recall-result .facts")
    assert page.text("#recall-result dd").startswith("100")


def test_vectors_with_names_are_searched_drawn_and_checked(page: Browser, node: PagesNode, tmp_path: Path) -> None:
    visit(page, node, "collections")
    choose(page, "#collection", "shelf")
    until(lambda: {"embed, in picture", "sentences, in words"} <= set(page.texts("#find-pipeline option")))
    picture = tmp_path / "query.jpg"
    picture.write_bytes(page_pictures()[7].data)
    page.one("#find-file").send_keys(str(picture))
    page.until("#found .points img", count=10)
    assert page.texts("#found tbody th")[0] == "7"
    choose(page, "#find-pipeline", "sentences words")
    page.one("#find-text").send_keys(NOTES[3])
    page.one("#find-run").click()
    until(lambda: NOTES[3] in " ".join(page.texts("#found tbody tr:first-child dd")))
    for vector in ("picture", "words"):
        choose(page, "#map-vector", vector)
        page.until("#map circle", count=len(NOTES))
    choose(page, "#recall-vector", "words")
    page.one("#recall-run").click()
    page.until("#recall-result .facts")
    assert page.text("#recall-result dd").startswith("100")


def test_a_pipeline_runs_with_what_the_camera_sees(page: Browser, node: PagesNode) -> None:
    visit(page, node, "pipelines")
    page.until("#tried-pipeline")
    choose(page, "#tried-pipeline", "similar")
    keyed(page, "#camera-open")
    until(lambda: page.run("return document.querySelector('video.camera').videoWidth") > 0)
    page.until("#camera-once:not([hidden])")
    assert page.accessibility(AXE) == []
    page.one("#camera-once").click()
    page.until("#tried-result .points img", count=5)
    keyed(page, "#camera-follow")
    until(lambda: len(page.all("[data-name=similar] .rate-bars rect")) >= 2)
    until(lambda: all("ms" in text for text in page.texts("[data-name=similar] .step .hint")))
    assert page.one("#camera-follow").get_attribute("aria-pressed") == "true"
    choose(page, "#tried-pipeline", "double")
    until(lambda: page.run("return document.querySelector('video.camera').srcObject") is None)


def test_a_pipeline_is_tried_with_what_it_takes(page: Browser, node: PagesNode, tmp_path: Path) -> None:
    visit(page, node, "pipelines")
    page.until("#tried-pipeline")
    page.until("#pipelines .state[data-state=good]")
    choose(page, "#tried-pipeline", "similar")
    picture = tmp_path / "query.jpg"
    picture.write_bytes(page_pictures()[7].data)
    page.one("#tried-file").send_keys(str(picture))
    page.until("#tried-result .points img", count=5)
    page.until("[data-name=similar] .rate-bars rect")

    choose(page, "#tried-pipeline", "double")
    until(lambda: page.run("return document.querySelector('#tried-text').value") == '{"inputs":{"x":[[0,0,0]]}}')
    page.run("document.querySelector('#tried-text').value = '{\"x\": [[1, 2, 3]]}'")
    page.one("#tried-run").click()
    until(lambda: "float32" in page.text("#tried-result"))

    page.run("document.querySelector('#tried-text').value = '{'")
    page.one("#tried-run").click()
    page.until("#tried-result .notice.failed")


def test_the_overview_leads_here(page: Browser, node: PagesNode) -> None:
    page.open(node.served.url, size=WIDE)
    page.until("#samples button", count=6)
    assert page.texts(".sections [aria-current=page]") == ["Overview"]
    page.one("#models > header a").click()
    page.until(FILLED["models"])


def test_the_gateway_tells_what_became_of_requests(page: Browser, node: PagesNode) -> None:
    visit(page, node, "gateway")
    told = send(node.served.address, "GET", "/api/gateway").json
    counts = page.run(
        "return Object.fromEntries([...document.querySelectorAll('.outcomes li')]"
        ".map((e) => [e.dataset.outcome, Number(e.querySelector('strong').textContent)]))"
    )
    assert counts == told["outcomes"]
    assert counts["hit"] > 0
    assert counts["off"] == 1
    assert page.texts("#upstreams h3") == ["beside", "away"]
    assert [page.texts("#upstreams .state"), len(page.texts("#budgets dt"))] == [["answers", "not asked yet"], 2]
    assert any(text.startswith("A temperature above 0.3") for text in page.texts("#rules li"))
    is_learning = told["error"]["estimate"] is None
    assert ("Too little is judged to tell anything" in page.text("#errors")) == is_learning
    assert ("within the bound" in page.text("#gateway .verdict")) != is_learning
    ahead = told["ahead"]
    assert ahead["asked"] > 0
    assert f"{ahead['given_up']} for nothing, {ahead['outrun']} faster" in page.text("#gateway")
    assert page.text("#gateway .readout").startswith(f"{counts['hit']} of ")
    page.until("#gateway canvas")


def test_a_gateway_without_an_embedder_does_not_speak_of_similar_questions(page: Browser) -> None:
    with gatewayed_node() as desk:
        page.open(f"{desk.served.url}/pages/gateway", size=(390, 844))
        page.until("#upstreams h3")
        assert "names no embedder" in page.text("#gateway")
        assert "within the bound" not in page.text("#gateway")
        assert not page.one("#errors").is_displayed()
        assert page.texts("#upstreams .state") == ["not asked yet"]
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_near_miss_is_judged_by_keys(page: Browser, node: PagesNode) -> None:
    def shown() -> str:
        return str(page.run("return document.querySelector('#misses .miss')?.dataset.id ?? ''"))

    def ids() -> list[str]:
        return [one["id"] for one in send(node.served.address, "GET", "/api/gateway/misses").json["misses"]]

    visit(page, node, "gateway")
    page.until("#misses .miss")
    before = ids()
    assert shown() == before[0]
    page.press("y", 89, text="y")  # the card has no focus yet
    page.run("document.querySelector('#misses button').focus()")
    page.press("s", 83, text="s")
    until(lambda: shown() == before[1])
    page.press("n", 78, text="n")
    until(lambda: shown() == before[2])
    until(lambda: ids() == [before[0], *before[2:]])
    page.press("y", 89, text="y")
    until(lambda: ids() == [before[0], *before[3:]])
    until(lambda: page.text("#misses .said").startswith("Kept as the same"))


def test_a_question_is_tried_and_a_remembered_answer_is_opened_and_purged(page: Browser, node: PagesNode) -> None:
    visit(page, node, "gateway")
    page.one("#question").send_keys("Who has the key?")
    page.one("#question-model").send_keys("large")
    page.one("#explain-run").click()
    until(lambda: page.texts("#explained h3") == ["Same request"])
    count = len(page.all("#answers li[data-id]"))
    seen = next(
        one for one in send(node.served.address, "GET", "/api/gateway/entries").json["entries"] if one["observed"]
    )
    page.run("document.querySelector(`#answers li[data-id='${arguments[0]}'] summary`).click()", seen["id"])
    page.until("#answers canvas")
    until(lambda: " observed, " in page.text("#answers details[open] .answer-body"))
    page.one("#answers-tag").send_keys("handbook")
    page.one("#answers form[role=search] button").click()
    until(lambda: page.texts("#answers summary")[:1] == ["Who has the key?"] and len(page.all("#answers li")) == 1)
    page.one("#answers li summary").click()
    until(lambda: "told again to the same request only" in page.text("#answers details[open] .answer-body"))
    page.one("#answers details[open] .answer-body .actions button").click()
    assert page.run("return document.activeElement.textContent") == "Purge this answer"
    page.press(*ENTER, text="\r")
    until(lambda: page.text("#answers .said") == "0" and page.all("#answers li[data-id]") == [])
    page.one("#answers-tag").clear()
    page.one("#answers form[role=search] button").click()
    until(lambda: len(page.all("#answers li[data-id]")) == count - 1)


def choose(page: Browser, selector: str, value: str) -> None:
    page.run(
        "const [selector, value] = arguments; const control = document.querySelector(selector);"
        "control.value = value;"
        "for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, { bubbles: true }))",
        selector,
        value,
    )
