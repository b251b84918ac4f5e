"""A bundle in browsers: the node's vectors and hits, pictures that stay where they are, a page without a network."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from browser import Browser, browser
from engines.firefox import firefox_at
from littoral import settings
from littoral.bundle.browser import plan_browser
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.writing import write
from littoral.errors import InputError
from littoral.node.site import read_site
from littoral.tensors import decode_frame
from node_fixture import Served, node_in_thread
from page_pictures import page_pictures
from raw_http import send, send_json
from site_folder import TEXT as SITE
from site_folder import site_folder
from supervised import short_folder
from text_node import SITE as TEXT_SITE
from text_node import text_node
from waiting import until

PICTURES = [shown.data for shown in page_pictures()[::4]]
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
}
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
FRAME = "application/x-safetensors"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PROBE = """<!doctype html><script type="module">
  import { open } from "./littoral-similar.mjs";
  const tell = (name, body) => fetch(`/told/${name}`, { method: "POST", body });
  try {
    const pipeline = open();
    for (let i = 0; i < COUNT; i++) {
      const picture = await (await fetch(`/picture/${i}`)).blob();
      await tell(i, await pipeline.embed(picture));
    }
    await tell("done", "");
  } catch (error) { await tell("failed", String(error)); }
</script>"""
SHOW = """
  const [picture, done] = arguments;
  const element = document.querySelector("littoral-similar");
  const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
  element.addEventListener("result", ({ detail }) => done(detail), { once: true });
  element.addEventListener("failure", ({ detail }) => done(detail), { once: true });
  element.show(new Blob([bytes]));
"""
EMBED = """
  const [pictures, done] = arguments;
  const { open } = await import("./littoral-similar.mjs");
  const told = [];
  const pipeline = open({ onProgress: (loaded, total) => told.push(loaded / total) });
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const vectors = await Promise.all(pictures.map((picture) => pipeline.embed(bytes(picture))));
  const refused = await pipeline.embed(new Uint8Array(99)).catch(({ status, message }) => ({ status, message }));
  pipeline.close();
  const closed = await pipeline.embed(new Uint8Array(99)).catch(({ message }) => message);
  done({ vectors: vectors.map((vector) => Array.from(vector)), told, refused, closed });
"""


class Site(NamedTuple):
    """A web server: the bundle's files, pictures, and the node's collections at the same address.

    posted: bodies that came to the collections. told: what a page said. is_over: it said that it was done, or failed.
    """

    server: ThreadingHTTPServer
    posted: list[bytes]
    told: dict[str, bytes]
    is_over: threading.Event

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def node() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder) as served,
    ):
        recipe = read_recipe(read_site(folder / "site.toml"), "similar")
        write(dict(plan_browser(recipe, Options()).files), folder / "bundle")
        found = [{"id": i, "vector": of_node(served, data).tolist()} for i, data in enumerate(PICTURES)]
        assert send_json(served.address, "PUT", "/collections/frames/points", {"points": found}).status == 200
        yield served


def of_node(served: Served, data: bytes) -> Any:
    reply = send(served.address, "POST", "/pipelines/embed", data, {"Accept": "application/x-safetensors"})
    return decode_frame(reply.body)["embedding"][0]


@contextmanager
def site_of(node: Served) -> Iterator[Site]:
    """Closed for good at the end of the block, or before by `server_close`."""
    bundle, posted, told = node.node.data.parent / "bundle", [], {}  # type: ignore[var-annotated]
    is_over = threading.Event()
    pages = {"/probe.html": PROBE.replace("COUNT", str(len(PICTURES))).encode()}
    pages |= {f"/picture/{i}": data for i, data in enumerate(PICTURES)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = "/index.html" if self.path == "/" else self.path
            file = bundle / name.removeprefix("/")
            found = pages.get(name) or (file.read_bytes() if file.is_file() else b"")
            self._answer(200 if found else 404, TYPES.get(Path(name).suffix, "application/octet-stream"), found)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.startswith("/told/"):
                told[name := self.path.removeprefix("/told/")] = body
                self._answer(200, "text/plain", b"")
                if name in ("done", "failed"):
                    is_over.set()
                return
            posted.append(body)
            reply = send(node.address, "POST", self.path, body, {"Content-Type": "application/json"})
            self._answer(reply.status, "application/json", reply.body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Site(server, posted, told, is_over)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), *CAMERA) as found:
        found.driver.set_script_timeout(120)
        yield found


def shown(chromium: Browser, data: bytes) -> Any:
    return chromium.driver.execute_async_script(SHOW, base64.b64encode(data).decode())


def test_vectors_are_the_nodes_in_chromium(node: Served, chromium: Browser) -> None:
    with site_of(node) as site:
        chromium.open(site.address)
        pictures = [base64.b64encode(data).decode() for data in PICTURES]
        script = f"(async (arguments) => {{ {EMBED} }})(arguments)"
        said = chromium.driver.execute_async_script(script, pictures)
    for data, vector in zip(PICTURES, said["vectors"], strict=True):
        assert np.array(vector, np.float32).tobytes() == of_node(node, data).tobytes()
    assert said["told"][-1] == 1
    assert said["told"] == sorted(said["told"])
    assert said["refused"] == {"status": 415, "message": "body begins with `00000000`, expected a JPEG or PNG picture"}
    assert said["closed"] == "closed"


def test_vectors_are_the_nodes_in_firefox(node: Served, tmp_path: Path) -> None:
    with site_of(node) as site, firefox_at(f"{site.address}/probe.html", tmp_path / "home"):
        assert site.is_over.wait(240)
    assert "failed" not in site.told
    for i, data in enumerate(PICTURES):
        assert site.told[str(i)] == of_node(node, data).tobytes()


def test_the_component_finds_what_the_node_finds_and_sends_the_vector_alone(node: Served, chromium: Browser) -> None:
    with site_of(node) as site:
        chromium.open(site.address)
        for data in PICTURES[:3]:
            theirs = send(node.address, "POST", "/pipelines/similar", data).json["result"]
            said = shown(chromium, data)
            assert (said["hits"], said["isOffline"]) == (theirs, False)
        assert chromium.complaints() == []
        assert len(site.posted) == 3
        assert all(body.startswith(b'{"limit":5,') and b"\xff" not in body for body in site.posted)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_shows_thumbnails_and_nothing_that_axe_finds(node: Served, chromium: Browser, theme: str) -> None:
    thumbnail = base64.b64encode(PICTURES[0]).decode()
    path = "/collections/frames/points/payload"
    assert send_json(node.address, "POST", path, {"payload": {"thumbnail": thumbnail}, "points": [0]}).status == 200
    widths = """
      const { shadowRoot } = document.querySelector("littoral-similar");
      return [...shadowRoot.querySelectorAll("li img")].map(({ naturalWidth }) => naturalWidth);
    """
    with site_of(node) as site:
        chromium.open(site.address, theme=theme)
        assert shown(chromium, PICTURES[0])["hits"][0]["payload"]["thumbnail"] == thumbnail
        until(lambda: chromium.run(widths) == [320])
        assert chromium.accessibility(AXE) == []
        assert chromium.complaints() == []


def test_a_refused_picture_is_told_on_the_page(node: Served, chromium: Browser) -> None:
    with site_of(node) as site:
        chromium.open(site.address)
        assert "cut off" in shown(chromium, PICTURES[0][:-400])["message"]
        text = "return document.querySelector('littoral-similar').shadowRoot.querySelector('[role=status]').textContent"
        assert "cut off" in chromium.run(text)


def test_the_camera_gives_a_picture(node: Served, chromium: Browser) -> None:
    click = "document.querySelector('littoral-similar').shadowRoot.querySelector('button').click()"
    wait = """
      const element = document.querySelector("littoral-similar");
      const video = element.shadowRoot.querySelector("video");
      return video.videoWidth > 0 && video.readyState >= 2;
    """
    with site_of(node) as site:
        chromium.open(site.address)
        chromium.run(
            "const element = document.querySelector('littoral-similar'); window.found = null;"
            "element.addEventListener('result', ({ detail }) => window.found = detail)"
        )
        chromium.run(click)
        until(lambda: bool(chromium.run(wait)))
        chromium.run(click)
        until(lambda: chromium.run("return window.found !== null"))
        assert len(chromium.run("return window.found.hits")) == 5
        assert chromium.run(
            "return document.querySelector('littoral-similar').shadowRoot.querySelector('video').hidden"
        )


def test_a_text_is_encoded_in_the_page_and_found_as_by_the_node(chromium: Browser) -> None:
    texts = ["Two gulls over the pier", "日本語のテキスト", "é" * 30]
    ask = """
      const [text, done] = arguments;
      const element = document.querySelector("littoral-similar");
      element.addEventListener("result", ({ detail }) => done(detail), { once: true });
      element.addEventListener("failure", ({ detail }) => done(detail), { once: true });
      const input = element.shadowRoot.querySelector("input");
      input.value = text;
      input.dispatchEvent(new Event("change"));
    """
    with text_node(TEXT_SITE) as served:
        folder = served.node.data.parent
        write(
            dict(plan_browser(read_recipe(read_site(folder / "site.toml"), "find"), Options()).files), folder / "bundle"
        )
        reply = send(served.address, "POST", "/pipelines/sentences", texts[0].encode(), {"Accept": FRAME})
        (vector,) = decode_frame(reply.body).values()
        points = [{"id": 1, "vector": vector[0].tolist(), "payload": {"text": texts[0]}}]
        assert send_json(served.address, "PUT", "/collections/notes/points", {"points": points}).status == 200
        with site_of(served) as site:
            chromium.open(site.address)
            for text in texts:
                said = chromium.driver.execute_async_script(ask, text)
                theirs = send(served.address, "POST", "/pipelines/find", text.encode()).json["result"]
                assert (said["hits"], said["isOffline"]) == (theirs, False)
            assert chromium.accessibility(AXE) == []
            assert chromium.complaints() == []
            assert all(text.encode() not in body for text in texts for body in site.posted)


def test_without_a_network_the_page_embeds_and_shows_the_last_results(node: Served, chromium: Browser) -> None:
    with site_of(node) as site:
        chromium.open(site.address)
        ready = "return navigator.serviceWorker.controller !== null"
        until(lambda: bool(chromium.run(ready)))
        last = shown(chromium, PICTURES[1])["hits"]
        address = site.address
    chromium.driver.get(f"{address}/index.html")
    said = shown(chromium, PICTURES[2])
    assert (said["hits"], said["isOffline"]) == (last, True)
    assert said["embed_ms"] > 0


def test_a_page_asks_for_pictures_and_texts_only(tmp_path: Path) -> None:
    steps = '\n[pipelines.numbers]\nsteps = [{ model = "embedder" }]\n'
    site = read_site(site_folder(tmp_path, SITE + steps))
    with pytest.raises(InputError, match="takes tensors, a page asks for a picture or a text"):
        plan_browser(read_recipe(site, "numbers"), Options())
