"""From an ONNX file in the page of an orchestrator to a node that serves it: what a person does, in real Chromium."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from browser import Browser
from fleet_pages import FleetPages, fleet_pages
from littoral import settings
from ports import free_port
from raw_http import send
from upped import Up
from waiting import until

__all__ = ["Site", "brought", "serving_site"]

GROUP = "harbour"
NODE = "gateway-1"
GATES = {"canary_s": 0.2, "watch_s": 1.0, "p99_ratio_max": 1000.0}
FILE = """[orchestrator]
name = "reef"
listen = "127.0.0.1:PORT"
poll_s = 1
"""
SITE = """
[node]
name = "NODE"
listen = "127.0.0.1:PORT"

[models.MODEL]
path = "fleet:MODEL"

[pipelines.run]
steps = [{ model = "MODEL" }]

[updates]
trust = "fleet.json"
node = "NODE"
claim = "claim"
poll_s = 1
"""


class Site(NamedTuple):
    """A fleet, and a node of it that waits for a model."""

    fleet: FleetPages
    node: Up
    model: str

    def is_served(self) -> bool:
        """A node may be started anew for what it never had."""
        with contextlib.suppress(OSError):
            return send(self.node.address, "GET", f"/v2/models/{self.model}/ready").status == 200
        return False


@contextlib.contextmanager
def serving_site(folder: Path, model: str) -> Iterator[Site]:
    with fleet_pages(FILE.replace("PORT", str(free_port()))) as fleet:
        fleet.asked("PUT", f"/api/fleet/groups/{GROUP}", {"gates": GATES})
        (claim,) = fleet.asked("POST", "/api/fleet/claims", {"group": GROUP})
        text = SITE.replace("NODE", NODE).replace("MODEL", model)
        node = Up(folder / "node", text)
        node.site.with_name("fleet.json").write_bytes(send(fleet.address, "GET", "/api/fleet/trust").body)
        node.site.with_name("claim").write_text(claim["code"])
        with settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")):
            node.start()
            try:
                yield Site(fleet, node, model)
            finally:
                node.end()


def brought(page: Browser, site: Site, source: Path) -> dict[str, float]:
    """Seconds from the file's drop to the end of each step."""
    url, began, took_s = site.fleet.url, 0.0, {}

    def note(what: str) -> None:
        took_s[what] = time.monotonic() - began

    page.open(f"{url}/pages/registry")
    page.until("#uploads .drop")
    began = time.monotonic()
    page.one("#upload").send_keys(str(source))
    page.until("#uploads .build-form")
    page.one("#uploads .build-form input[placeholder='as in the file']").send_keys(site.model)
    page.one("#uploads .build-form button[type=submit]").click()
    until(lambda: page.texts("#uploads .registered code") == [f"models/{site.model}/1.wasm"])
    note("registered")
    page.one("#uploads .registered + a").click()
    until(lambda: page.run("return document.querySelector('#rollout-target')?.value"))
    for name, value in (("rings", "100"), ("soak", "0")):
        page.one(f"#rollout-{name}").clear()
        page.one(f"#rollout-{name}").send_keys(value)
    page.one("#next form button[type=submit]").click()
    page.until("#rollouts article")
    note("rolled out")
    until(site.is_served)
    note("served")
    until(lambda: page.text("#rollouts article > header .state") == "Done")
    note("done")
    return took_s
