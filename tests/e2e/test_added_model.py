"""A model that the site file did not name: brought to the page of a real node, added, there after a start, removed."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from browser import Browser, browser
from command import command, environment
from littoral.artifact.sections import digest
from littoral.node.site import read_site
from onnx_models import Network
from ports import free_port
from raw_http import Reply, send, send_json
from site_folder import TEXT, site_folder
from supervised import short_folder
from waiting import until

pytestmark = pytest.mark.e2e

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
CARD = ".build[data-name='fresh.onnx']"
OTHER_MODEL = """
[models.spare] # nobody asks it
path = "embedder.wasm"
instances = { min = 1, max = 2 }
pipeline = false
"""


class Up:
    """`littoral up` on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.text = TEXT.replace("127.0.0.1:0", self.address).replace("\n[agents", f"{OTHER_MODEL}\n[agents", 1)
        self.site = site_folder(folder, self.text)
        self.errors = folder / "stderr.txt"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self.errors.open("ab") as errors:
            process = subprocess.Popen(command("up", self.site), env=environment(), stderr=errors)
        try:
            until(lambda: self.is_ready() or process.poll() is not None)
            assert process.poll() is None, self.errors.read_text()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return send(self.address, "GET", "/readyz").status == 200
        return False

    def infer(self, model: str) -> Reply:
        asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
        return send_json(self.address, "POST", f"/v2/models/{model}/infer", asked)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with short_folder() as folder:
        yield Up(folder)


def test_a_model_is_added_from_the_page_stays_and_is_removed(up: Up, tmp_path: Path) -> None:
    network = Network((1, 3))
    network.node("Add", "x", "x")
    brought = tmp_path / "fresh.onnx"
    brought.write_bytes(network.bytes())
    with browser(tmp_path / "profile") as page:
        with up.running():
            page.open(f"http://{up.address}/pages/models")
            page.until("#model-file")
            page.one("#model-file").send_keys(str(brought))
            page.until(f"{CARD} .build-form")
            page.one(f"{CARD} button[type=submit]").click()
            page.until(f"{CARD}[data-state=made] [data-way=add]")
            refused_and_added(page, up)
            assert page.accessibility(AXE) == []
            assert up.infer("fresh").json["outputs"][0]["data"] == [2, 4, 6]
            table = read_site(up.site).models["fresh"]
            assert table.sha256 == digest(read_site(up.site).path_of(table.path).read_bytes())
            assert up.site.read_text().startswith(up.text.rstrip("\n")), "all else is as it was"
            replaced_and_taken_back(up)
            assert page.complaints() == [] or all("409" in line for line in page.complaints())
        with up.running():
            assert up.infer("fresh").json["outputs"][0]["data"] == [2, 4, 6], "after a start"
            page.open(f"http://{up.address}/pages/models")
            removed(page, "fresh")
            assert up.infer("fresh").status == 404
            assert "fresh" not in up.site.read_text()
            assert [*up.site.parent.glob("data/models/*.former")] == []
            removed(page, "spare")
            assert up.site.read_text().rstrip() == up.text.replace(OTHER_MODEL, "").rstrip()
            ask(page, "embedder")
            until(lambda: any("must be a model of this file" in text for text in page.texts("#models .notice")))
            assert up.infer("embedder").status != 404


def refused_and_added(page: Browser, up: Up) -> None:
    named(page, "embedder")
    page.until(f"{CARD} .notice.failed")
    assert "is there already" in page.text(f"{CARD} .notice.failed")
    named(page, "fresh")
    until(lambda: "fresh serves, and stands in the site file" in page.text("#builds .said"))
    page.until("#models [data-name=fresh] tbody .state[data-state=good]")


def replaced_and_taken_back(up: Up) -> None:
    """By a file of another content: the site file follows it there and back, and one version before stays."""
    before, table = up.site.read_text(), read_site(up.site).models["fresh"]
    network = Network((1, 3))
    network.node("Mul", "x", "x")
    brought = send(up.address, "POST", "/api/builds?file=next.onnx", network.bytes()).json["id"]
    at = f"/api/builds/{brought}"
    assert send_json(up.address, "POST", f"{at}/start", {"name": "fresh"}).status == 202
    until(lambda: send(up.address, "GET", at).json["state"] == "made", attempts=300_000)
    loaded = send_json(up.address, "POST", f"{at}/load", {"model": "fresh"})
    assert (loaded.status, loaded.json["number"], loaded.json["is_kept"]) == (200, 2, True), loaded.body
    assert up.infer("fresh").json["outputs"][0]["data"] == [1, 4, 9]
    after = up.site.read_text()
    new = read_site(up.site).models["fresh"]
    assert new.sha256 == digest(read_site(up.site).path_of(new.path).read_bytes()) != table.sha256
    assert send_json(up.address, "POST", f"{at}/load", {"model": "fresh"}).status == 409
    for text, answer in ((before, [2, 4, 6]), (after, [1, 4, 9]), (before, [2, 4, 6])):
        back = send_json(up.address, "POST", "/api/models/fresh/back", {})
        assert (back.status, back.json["is_kept"]) == (200, True), back.body
        assert up.infer("fresh").json["outputs"][0]["data"] == answer
        assert up.site.read_text() == text
    folder = read_site(up.site).path_of(new.path).parent
    assert len([*folder.glob("fresh-*.wasm")]) == 2


def named(page: Browser, name: str) -> None:
    page.run("document.querySelector(arguments[0]).value = arguments[1]", f"{CARD} [data-way=fresh]", name)
    page.one(f"{CARD} [data-way=add]").click()


def removed(page: Browser, model: str) -> None:
    ask(page, model)
    until(lambda: f"{model}: taken out of the site file" in page.text("#models .said"))
    until(lambda: page.all(f"#models [data-name={model}]") == [])


def ask(page: Browser, model: str) -> None:
    page.until(f"[data-way=remove][data-model={model}]")
    page.one(f"[data-way=remove][data-model={model}]").click()
    page.until(f"[data-way=remove][data-model={model}][data-sure]")
    page.one(f"[data-way=remove][data-model={model}][data-sure]").click()
