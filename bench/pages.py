"""Pages of a node in real Chromium, as a first visit: until something is painted, and until what it is for is there.

Nothing is in the browser's cache; the node holds two models, an agent, pipelines, a collection, a gateway to a service
that nothing is asked of, a log and an audit log.
"""

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

import littoral
from bench.rows import Row, row
from littoral.errors import SetupError
from littoral.node.beside import RunningNode, running_node
from littoral.node.shown.outlines import PAGES

__all__ = ["run"]

VISITS = 7
FIRST_MS_MAX = OWN_MS_MAX = 500.0
POINTS, SIZE = 200, 64
SIDE = 32
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync")
OWN = {
    "": "#collections .facts",
    "pipelines": "#pipelines .card .rate-bars",
    "models": "#models .card tbody tr",
    "collections": "#points tbody tr",
    "agents": "#agents .card .facts",
    "caches": "#caches .card .facts",
    "mqtt": "#mqtt .nothing, #mqtt .card",
    "gateway": "#gateway .facts",
    "logs": "#logs .log li",
    "audit": "#audit .facts",
    "doctor": "#doctor .findings li",
}
"""What a page is for: there once the node has answered."""
WATCH = """
globalThis.watched = (selector) => new Promise((done) => {
  const painted = () => requestAnimationFrame(() => setTimeout(() => done(performance.now())));
  if (document.querySelector(selector)) return painted();
  const observer = new MutationObserver(() => {
    if (!document.querySelector(selector)) return;
    observer.disconnect();
    painted();
  });
  observer.observe(document, { childList: true, subtree: true });
});
globalThis.own = SELECTOR && watched(SELECTOR);
"""
TOLD = """
const done = arguments[0];
const first = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
own.then((ms) => {
  const tell = () => (first() === undefined ? setTimeout(tell, 5) : done([first(), ms]));
  tell();
});
"""
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.embedder]
path = "embedder.wasm"

[models.other]
path = "embedder.wasm"

[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32, layout = "nchw", dtype = "float32" }

[collections.frames]
vectors = { size = 64, distance = "Cosine" }

[gateway]

[[gateway.upstreams]]
name = "nobody"
url = "http://127.0.0.1:9/v1"
models = ["large"]

[gateway.cache]
collection = "remembered"

[audit]
commit_ms = 20

[pipelines.embed]
steps = [{ agent = "decode" }, { model = "embedder" }]

[pipelines.similar]
steps = [{ agent = "decode" }, { model = "embedder" }, { search = "frames" }]
"""


def run() -> list[Row]:
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise SetupError("no Chromium and no driver of it", hint="Debian: `chromium`, `chromium-driver`")
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="littoral-pages-") as folder,
        _node(Path(folder)) as node,
        _browser(chromium, driver, Path(folder) / "profile") as browser,
    ):
        for page in ("", *PAGES):
            rows += _page(browser, node, page)
    return rows


def _page(browser: webdriver.Chrome, node: RunningNode, page: str) -> list[Row]:
    address = f"{node.url}/{f'pages/{page}' if page else ''}"
    visits = [_visit(browser, address, OWN[page]) for _ in range(VISITS + 1)][1:]
    first, own = (statistics.median(times) for times in zip(*visits, strict=True))
    name = page or "overview"
    return [
        row(f"{name}: first content", first, "ms", limit=FIRST_MS_MAX),
        row(f"{name}: what it is for", own, "ms", limit=OWN_MS_MAX),
    ]


def _visit(browser: webdriver.Chrome, address: str, selector: str) -> tuple[float, float]:
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    source = WATCH.replace("SELECTOR", repr(selector))
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        browser.get(address)
        first, own = browser.execute_async_script(TOLD)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    return float(first), float(own)


@contextmanager
def _browser(chromium: str, driver: str, profile: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1440,900"):
        options.add_argument(flag)
    found = webdriver.Chrome(options=options, service=Service(driver))
    found.set_script_timeout(60)
    found.execute_cdp_cmd("Network.enable", {})
    found.execute_cdp_cmd("Page.enable", {})
    try:
        yield found
    finally:
        found.quit()


@contextmanager
def _node(folder: Path) -> Iterator[RunningNode]:
    littoral.compile(_embedder(), name="embedder", version="1.0.0").save(folder / "embedder.wasm")
    site = folder / "site.toml"
    site.write_text(SITE)
    with running_node(site) as node:
        vectors = np.random.default_rng(5).normal(size=(POINTS, SIZE)).round(4).tolist()
        points = [{"id": i, "vector": vector, "payload": {"kind": "ab"[i % 2]}} for i, vector in enumerate(vectors)]
        node.client().collection("PUT", "frames", "/points?wait=true", {"points": points})
        yield node


def _embedder() -> bytes:
    weights = np.random.default_rng(4).normal(size=(3 * SIDE * SIDE, SIZE)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["embedding"])]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, SIZE])
    graph = helper.make_graph(nodes, "embedder", [image], [out], [numpy_helper.from_array(weights, "w")])
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
