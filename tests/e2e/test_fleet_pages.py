"""Every page of an orchestrator, in real Chromium: each does what it is for, in both themes."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from browser import Browser, browser
from fleet_filled import MODEL, fill
from fleet_pages import FILE, FleetPages, fleet_pages
from littoral.orchestrator.pages import PAGES
from littoral.updates.wire import Answered, CheckIn
from onnx_models import Network
from waiting import until

pytestmark = pytest.mark.e2e

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
NARROW = (390, 844)
COUNT = 30
FILLED = {
    "": "#nodes tbody tr",
    "rollouts": "#rollouts .rings li",
    "registry": "#registry .card tbody tr",
    "groups": "#groups .card tbody tr",
    "claims": "#claims tbody tr",
    "inference": "#centre tbody tr",
    "audit": "#audit tbody tr",
    "node": "#running tbody tr",
}
"""What is there when a page has read what it shows."""
TAB, ENTER, RIGHT = ("Tab", 9), ("Enter", 13), ("ArrowRight", 39)
STOPS_MAX = 40
SOON_ATTEMPTS = 20_000
"""A browser ends by itself what kept pages hold, after a minute."""
BROKEN_WORDS = """return [...document.querySelectorAll(arguments[0])].flatMap((cell) => {
  const node = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT).nextNode();
  return [...node.data.matchAll(/\\w+/g)].filter(({ index, 0: word }) => {
    const range = document.createRange();
    range.setStart(node, index);
    range.setEnd(node, index + word.length);
    return range.getClientRects().length > 1;
  }).map(([word]) => word);
})"""
"""Of cells: those that begin on one line and end on another."""
NODE = "gw-004"
AUTH = '\n[auth]\ntokens = "tokens.json"\n'


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def fleet(chromium: Browser) -> Iterator[FleetPages]:
    with fleet_pages() as found:
        fill(found, COUNT)
        yield found
        chromium.driver.get("about:blank")  # a page whose orchestrator has ended complains


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """After the test nothing may have been complained of."""
    yield chromium
    assert chromium.complaints() == []


def visit(page: Browser, fleet: FleetPages, name: str, **how: object) -> None:
    path = "/" if not name else f"/pages/node?name={NODE}" if name == "node" else f"/pages/{name}"
    page.open(f"{fleet.url}{path}", **how)  # type: ignore[arg-type]
    page.until(FILLED[name])
    page.until("#node-state:not([data-state=waiting])")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_in_both_themes_and_on_a_phone(page: Browser, fleet: FleetPages, name: str) -> None:
    for theme in ("light", "dark"):
        visit(page, fleet, name, theme=theme)
        assert page.accessibility(AXE) == []
    assert len(page.all(".sections [aria-current=page]")) == 1
    page.command("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    until(lambda: page.run("return innerWidth") == NARROW[0])
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_nodes_are_found_by_state_group_and_words_and_one_is_opened_by_keyboard(
    page: Browser, fleet: FleetPages
) -> None:
    visit(page, fleet, "")
    assert len(page.all(".fleet-cells a")) == COUNT
    page.run(
        "const look = document.querySelector('#look'); look.value = 'offline';"
        "look.dispatchEvent(new Event('input', { bubbles: true }));"
    )
    until(lambda: page.texts("#nodes tbody th") == ["gw-009", "gw-019", "gw-029"])
    page.one("#text").send_keys("region=south")
    until(lambda: page.texts("#nodes tbody th") == ["gw-019"])
    page.run("document.querySelector('#look').value = ''")
    page.one("#text").clear()
    page.one("#text").send_keys("spotter/1 region=west")
    until(lambda: len(page.all(".fleet-cells a")) == len(page.all("#nodes tbody tr")) > 3)
    for _ in range(STOPS_MAX):
        page.press(*TAB)
        if page.run("return document.activeElement.classList.contains('fleet-cell')"):
            break
    page.press(*RIGHT)
    chosen = page.run("return document.activeElement.dataset.node")
    page.press(*ENTER, text="\r")
    until(lambda: page.run("return location.pathname + location.search") == f"/pages/node?name={chosen}")
    until(lambda: page.text("#node-title") == chosen)


def test_what_happened_to_a_node_is_told_in_whole_words_on_a_phone(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "node", size=NARROW)
    page.until("#history tbody td")
    assert "enrolled" in page.texts("#history td:nth-child(2)")
    assert page.run(BROKEN_WORDS, "#history td:nth-child(-n+2)") == []


def test_a_node_that_changes_is_seen_at_once(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "node")
    assert "p99 is 1.9" in page.text("#node .link-line")
    page.until("#node .state[data-state=good]")
    assert page.texts("#running tbody td") == ["spotter 1", "spotter 1", "Same"]

    async def settles() -> None:
        fleet.found.fleet.saw(
            NODE, CheckIn(deployment=1, state="settled", running={"models/spotter": "models/a/7.wasm"})
        )

    fleet.run(settles())
    until(lambda: page.texts("#running tbody td") == ["a 7", "spotter 1", "Differs"])
    until(lambda: "Drifted" in page.text("#node .link-line"))
    page.one("#labels").send_keys(" rack=7")
    page.one("#node form button[type=submit]").click()
    until(lambda: fleet.asked("GET", f"/api/fleet/nodes/{NODE}")["labels"].get("rack") == "7")


def test_a_page_that_was_left_holds_no_connection_and_follows_again_when_it_is_back(
    page: Browser, fleet: FleetPages
) -> None:
    """A browser has six for an address, and keeps pages for the way back."""
    events = fleet.found.fleet.events
    visit(page, fleet, "rollouts")
    page.run("window.mine = true")
    visit(page, fleet, "groups")
    until(lambda: events.listener_count == 1, attempts=SOON_ATTEMPTS)
    page.driver.back()
    assert page.run("return window.mine"), "the browser kept the page"
    until(lambda: page.texts("#rollouts > header .state") == ["Live"])
    until(lambda: events.listener_count == 1, attempts=SOON_ATTEMPTS)


def test_a_node_is_asked_and_answers(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "node")
    page.one("[data-ask=logs]").click()
    asks = fleet.found.asks
    until(lambda: asks.of(NODE))
    (asked,) = asks.of(NODE)
    fleet.run(asks.answer(NODE, asked.id, Answered(kind="logs", body=["lens of `gate` is dirty"])))
    until(lambda: page.texts("#answer pre") == ["lens of `gate` is dirty"])


def test_a_rollout_is_followed_paused_and_aborted(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "rollouts")
    assert page.texts(".rings strong") == ["canary", "all"]
    until(lambda: page.texts(".rings .held") == ["Held by nodes: 2 of 2 are at it"])
    until(lambda: "30 nodes · " in page.text("#node-facts") and "1 rollout running" in page.text("#node-facts"))
    (rollout,) = fleet.asked("GET", "/api/fleet/rollouts")
    fleet.run(_settled(fleet, rollout["id"]))
    until(lambda: "2 of 2 done" in page.text(".rings li:first-child"))
    until(lambda: page.text(".rings li:first-child .state") == "Done")
    page.one("[data-way=pause]").click()
    until(lambda: page.text("#rollouts article > header .state") == "Paused")
    page.until("[data-way=resume]")
    page.one("[data-way=abort]").click()
    until(lambda: page.text("[data-way=abort]") == "Abort it")
    assert fleet.asked("GET", "/api/fleet/rollouts")[0]["state"] == "paused"
    page.one("[data-way=abort]").click()
    until(lambda: page.text("#rollouts article > header .state") == "Aborted")
    page.one("#next form button[type=submit]").click()
    until(lambda: len(page.all("#rollouts article")) == 2)


def _write(page: Browser, control: str, text: str) -> None:
    page.one(control).clear()
    page.one(control).send_keys(text)


def test_a_rollout_has_the_terms_of_its_group_or_others_that_are_checked(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "rollouts")
    page.until(".terms .hint:not(:empty)")
    page.run(
        "const g = document.querySelector('#rollout-group'); g.value = 'west'; g.dispatchEvent(new Event('change'))"
    )
    until(lambda: page.text(".terms [role=status]") == "As group west has them")
    held = {
        one: page.one(f"#rollout-{one}").get_property("value") for one in ("errors_max", "watch_s", "memory_mb_max")
    }
    assert held == {"errors_max": "1", "watch_s": "60", "memory_mb_max": ""}
    assert page.one(".windows input[type=time]").get_property("value") == "02:00"
    before = fleet.asked("GET", "/api/fleet/rollouts")
    for control, text in (("watch_s", "-3"), ("canary_requests_min", "2.5"), ("rings", "50, 20"), ("share", "")):
        _write(page, f"#rollout-{control}", text)
    page.run("for (const box of document.querySelectorAll('.days input:checked')) box.click()")
    page.one("#next form button[type=submit]").click()
    wrong = ["Must be percents that grow, 1 to 100", "Must be 0 to 100", "Must be a whole number, 0 to 1000000000"]
    assert [text for text in page.texts(".wrong") if text] == [*wrong, "Must be 0 to 604800", "Choose a day"]
    assert page.run("return document.activeElement.id") == "rollout-rings"
    assert page.accessibility(AXE) == []
    for control, text in (("watch_s", "5"), ("canary_requests_min", "7"), ("rings", "50, 100"), ("share", "20")):
        _write(page, f"#rollout-{control}", text)
    page.run("for (const box of [...document.querySelectorAll('.days input')].slice(0, 2)) box.click()")
    for control, text in (("errors_max", "2.5"), ("total_bytes_per_s_max", "512"), ("hook", "http://example.org/")):
        _write(page, f"#rollout-{control}", text)
    assert page.text(".terms [role=status]") == "Other than group west has them, for this rollout alone"
    page.one("#next form button[type=submit]").click()
    until(lambda: page.text("#rollout-hook-wrong") == "Must be an address of the node itself")
    assert fleet.asked("GET", "/api/fleet/rollouts")[0]["id"] == before[0]["id"]
    assert ["(Bad Request)" in told for told in page.complaints()] == [True]
    _write(page, "#rollout-hook", "127.0.0.1:9000/ready")
    page.one("#next form button[type=submit]").click()
    until(lambda: len(fleet.asked("GET", "/api/fleet/rollouts")) == len(before) + 1)
    plan = fleet.asked("GET", "/api/fleet/rollouts")[0]["plan"]
    gates = {"errors_max": 0.025, "canary_requests_min": 7, "watch_s": 5.0, "hook": "http://127.0.0.1:9000/ready"}
    assert plan["gates"].items() >= gates.items()
    assert plan["windows"] == [{"days": [0, 1], "from_minute": 120, "to_minute": 300}]
    assert (plan["total_bytes_per_s_max"], [ring["percent"] for ring in plan["rings"]]) == (512_000, [50.0, 100.0])
    assert fleet.asked("GET", "/api/fleet/groups/west")["gates"]["watch_s"] == 60
    until(lambda: "of 512" in page.text("#rollouts article"))
    page.one(".terms .actions button").click()
    until(lambda: page.text(".terms [role=status]") == "As group west has them")


async def _settled(fleet: FleetPages, rollout: str) -> None:
    """Those of the first ring run what they were told."""
    kept = fleet.found.fleet
    for member in kept.members[rollout].values():
        if member.ring == 0:
            running = {"models/spotter": MODEL.format(2)}
            kept.saw(member.node, CheckIn(deployment=member.deployment, state="settled", running=running))


def test_a_group_is_made_frozen_and_deleted(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "groups")
    page.one("#group-name").send_keys("harbour")
    page.one("#group-match").send_keys("site=harbour")
    page.one("#group form button[type=submit]").click()
    page.until("#groups [data-name=harbour]")
    page.run("document.querySelector('#groups [data-name=harbour] .actions button').click()")
    until(lambda: fleet.asked("GET", "/api/fleet/groups/harbour")["is_frozen"])
    until(lambda: "Frozen" in page.text("#groups [data-name=harbour] header"))
    page.run("document.querySelector('#groups [data-name=harbour] .actions button:last-child').click()")
    page.run("document.querySelector('#groups [data-name=harbour] .actions button:last-child').click()")
    until(lambda: not page.all("#groups [data-name=harbour]"))


def test_claims_are_told_once_and_every_act_is_in_the_audit_log(page: Browser, fleet: FleetPages) -> None:
    visit(page, fleet, "claims")
    page.one("#claim-count").clear()
    page.one("#claim-count").send_keys("3")
    page.one("#claim form button[type=submit]").click()
    until(lambda: len(page.text("#codes").split()) == 3)
    assert all(code.startswith("claim_") for code in page.text("#codes").split())
    visit(page, fleet, "audit")
    until(lambda: page.texts("#audit tbody td:nth-child(3)")[0] == "POST claims")
    page.command("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    until(lambda: page.run("return innerWidth") == NARROW[0])
    assert page.run(BROKEN_WORDS, "#audit td:nth-child(-n+4)") == []
    page.one("#text").send_keys("frobnicate")
    until(lambda: page.texts("#audit .nothing") == ["Nothing like that was done"])


def test_onnx_is_dropped_and_becomes_an_artifact_with_its_lineage(
    page: Browser, fleet: FleetPages, tmp_path: Path
) -> None:
    network = Network((1, 3, 8, 8))
    network.conv(8)
    network.node("Relu", network.at)
    source = tmp_path / "harbour.onnx"
    source.write_bytes(network.bytes())
    visit(page, fleet, "registry")
    at = page.run(
        "const box = document.querySelector('#uploads .drop'); box.scrollIntoView();"
        "const { x, y, width, height } = box.getBoundingClientRect(); return [x + width / 2, y + height / 2]"
    )
    page.drop(source, (int(at[0]), int(at[1])))
    page.until("#uploads .build-form")
    page.one("#uploads .build-form input[placeholder='as in the file']").send_keys("harbour")
    page.one("#uploads .build-form button[type=submit]").click()
    until(lambda: page.texts("#uploads .registered code") == ["models/harbour/1.wasm"])
    page.until("#registry [data-name=harbour]")
    assert "Published" in page.text("#registry [data-name=harbour]")
    page.one("#registry [data-name=harbour] button").click()
    until(lambda: any("harbour 1" in text for text in page.texts("#lineage .link-line")))
    assert page.texts(".lineage h3") == ["Source", "Made", "Artifact", "Wanted by", "Runs on"]
    assert page.texts("#lineage .facts dt")[0] == "p50"
    page.one("#uploads .registered + a").click()
    until(lambda: page.run("return document.querySelector('#rollout-target')?.value") == "models/harbour/1.wasm")


def test_what_cannot_be_used_is_told(page: Browser, fleet: FleetPages, tmp_path: Path) -> None:
    network = Network((1, 3))
    network.node("Frobnicate", "x")
    odd = tmp_path / "odd.onnx"
    odd.write_bytes(network.bytes())
    visit(page, fleet, "registry")
    page.one("#upload").send_keys(str(odd))
    until(lambda: "operators that are not supported: Frobnicate" in page.text("#brought"))
    assert json.dumps(fleet.asked("GET", "/api/fleet/uploads")).count("odd.onnx") == 0


def test_a_page_asks_for_a_token_where_one_is_needed(page: Browser) -> None:
    with fleet_pages(FILE + AUTH) as fleet:
        page.open(f"{fleet.url}/")
        page.until("#login[open]")
        page.driver.get("about:blank")
        assert all("401" in told for told in page.complaints())
