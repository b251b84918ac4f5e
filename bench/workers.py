"""Bundles in workerd and Chromium beside the node and ONNX Runtime Web: sizes, cold starts, milliseconds.

Their memory is measured by `isolate_memory`.
"""

import http.client
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import littoral
from bench.image_agent import picture
from bench.isolated import PACKAGES, Isolate, in_workerd, installed, workerd_of
from bench.main_job import Quiet
from bench.networks import DEMO
from bench.onnxruntime_web import INSTALLED, install, peer
from bench.rows import Row, row
from littoral.bundle.browser import plan_browser
from littoral.bundle.plan import Options, gzip_bytes
from littoral.bundle.recipe import Recipe, read_recipe
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import write
from littoral.demo.run import Options as DemoOptions
from littoral.demo.run import demo
from littoral.node.beside import RunningNode, running_node
from littoral.node.site import read_site

__all__ = ["run"]

ROOT = Path(__file__).parents[1]
ISOLATES = Path(".cache/isolates").resolve()
NODE = Path(".cache/node").resolve()
SIDES = (640, 480)
WARM_UP, ROUNDS = 150, 60
STARTS = 7
SIZE_MAX, PACKED_MAX = 6e6, 5e6
START_MS_MAX, PAGE_MS_MAX, SLOWER_MAX, OF_WEB_MAX = 100, 300, 1.6, 0.5
P50_MS_MAX, P95_MS_MAX, HIT_MS_MAX = 25, 35, 3
HEADERS = {"content-type": "image/jpeg", "accept": "application/octet-stream", "cache-control": "no-store"}
WEB_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = """<!doctype html><script type="module">
  const began = performance.now();
  const { open } = await import("./littoral-similar.mjs");
  const pipeline = open();
  const picture = await (await fetch("/picture")).blob();
  await pipeline.embed(picture);
  await fetch("/told", { method: "POST", body: String(performance.now() - began) });
</script>"""
COMPILE = """
  const { readFileSync } = await import("node:fs");
  const files = ["agent", "model"].map((name) => readFileSync(`${process.argv[1]}/${name}.wasm`));
  const began = performance.now();
  for (const bytes of files) new WebAssembly.Module(bytes);
  console.log(performance.now() - began);
"""


def run() -> list[Row]:
    if shutil.which("npm") is None:
        print("workers: not run, it needs npm", file=sys.stderr)
        return []
    workerd = workerd_of(installed(PACKAGES, ISOLATES))
    node24 = next(installed(ROOT / "tests/engines/node", NODE).glob("node_modules/node-linux-*/bin/node"))
    install(str(shutil.which("npm")))
    site = DEMO / "site.toml"
    if not site.exists():
        with demo(DemoOptions(DEMO, "127.0.0.1:0"), Quiet()):
            print("workers: the demo's node is there", file=sys.stderr)
    with running_node(site, listen="127.0.0.1:0") as node, tempfile.TemporaryDirectory() as folder:
        recipe = read_recipe(read_site(site), "similar")
        places = written(recipe, Path(folder))
        rows = [*sizes(recipe), *compiling(node24, places["lazy"])]
        rows += [found for name in ("lazy", "eager") for found in cold(workerd, places[name], name)]
        rows += in_chromium(places["browser"])
        with in_workerd(workerd, places["lazy"], bindings(node)) as worker:
            rows += [*embedding(node, worker, node24), *similarity(node, worker)]
    return rows


def written(recipe: Recipe, folder: Path) -> dict[str, Path]:
    plans = {
        "lazy": plan_workers(recipe, Options("lazy")),
        "eager": plan_workers(recipe, Options("eager")),
        "browser": plan_browser(recipe, Options()),
    }
    for name, plan in plans.items():
        write(dict(plan.files), folder / name)
    return {name: folder / name for name in plans}


def bindings(node: RunningNode) -> dict[str, str]:
    return {"ENDPOINTS": json.dumps([{"url": node.url}])}


def jpeg(seed: int = 0) -> bytes:
    """Of the size that is measured; seed: another picture of about as many bytes."""
    file = io.BytesIO()
    picture(SIDES[0] + seed, SIDES[1]).crop((seed, 0, SIDES[0] + seed, SIDES[1])).save(file, "JPEG", quality=85)
    return file.getvalue()


def sizes(recipe: Recipe) -> list[Row]:
    ours = [
        data for name, data in plan_workers(recipe, Options()).files.items() if name.endswith(("wasm", "worker.mjs"))
    ]
    web = [(INSTALLED / "node_modules/onnxruntime-web/dist" / name).read_bytes() for name in WEB_FILES]
    theirs = [*web, (DEMO / "efficientnet_lite0.onnx").read_bytes()]
    name = "ONNX Runtime Web and the model in float32"
    pairs = {"bundle": (len, SIZE_MAX), "bundle, gzip": (gzip_bytes, PACKED_MAX)}
    return [
        row(key, sum(map(size, ours)) / 1e6, "MB", limit=most / 1e6, peer=name, peer_value=sum(map(size, theirs)) / 1e6)
        for key, (size, most) in pairs.items()
    ]


def compiling(node24: Path, bundle: Path) -> list[Row]:
    command = [node24, "--input-type=module", "--eval", COMPILE, bundle]
    ms = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(STARTS)]
    return [row("both modules, compiled in Node 24", statistics.median(ms), "ms")]


class Asking:
    """One connection that stays."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def ms(self, path: str, data: bytes, **headers: str) -> float:
        began = time.perf_counter()
        told = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("POST", path, data, told)
        answer = self._connection.getresponse()
        answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"`{path}` answered {answer.status}")
        return took_ms


def cold(workerd: Path, bundle: Path, name: str) -> list[Row]:
    """first: of the first request, once it listens. busy: what of it the isolate's thread computes, whoever else does.

    whole: from the start of the process to the first vector.
    """
    data = jpeg()
    first, busy, whole = [], [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        with in_workerd(workerd, bundle) as worker:
            idle_ms = busy_ms(worker.pid)
            first.append(Asking(worker.address).ms("/embed", data))
            whole.append((time.perf_counter() - began) * 1000)
            busy.append(busy_ms(worker.pid) - idle_ms)
    return [
        row(f"workerd, {name}: first vector", statistics.median(first), "ms", limit=START_MS_MAX),
        row(f"workerd, {name}: first vector, processor time", statistics.median(busy), "ms"),
        row(f"workerd, {name}: start of the process to first vector", statistics.median(whole), "ms"),
    ]


def busy_ms(pid: int) -> float:
    """Processor time of the thread that runs the isolate."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6


def in_chromium(bundle: Path) -> list[Row]:
    program = shutil.which("chromium")
    if program is None:
        print("workers: without Chromium", file=sys.stderr)
        return []
    ms = [page_ms(program, bundle) for _ in range(3)]
    return [row("Chromium: page's module asked for to first vector", statistics.median(ms), "ms", limit=PAGE_MS_MAX)]


def page_ms(program: str, bundle: Path) -> float:
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # the browser's last processes still write there
    with page_served(bundle) as (address, told, is_told), folder as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        command = [program, *flags, f"--user-data-dir={profile}", f"{address}/page.html"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            came = is_told.wait(60)
            process.terminate()
        if not came:
            raise RuntimeError("Chromium told nothing in 60 s")
        return float(told[0])


@contextmanager
def page_served(bundle: Path) -> Iterator[tuple[str, list[bytes], threading.Event]]:
    told: list[bytes] = []
    is_told = threading.Event()
    kinds = {".mjs": "text/javascript", ".html": "text/html", ".wasm": "application/wasm"}
    made = {"/page.html": PAGE.encode(), "/picture": jpeg()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = bundle / self.path.removeprefix("/")
            data = made.get(self.path) or (file.read_bytes() if file.is_file() else b"")
            self._answer(data, kinds.get(Path(self.path).suffix, "image/jpeg"))

        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["content-length"])))
            self._answer(b"", "text/plain")
            is_told.set()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

        def _answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told, is_told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def embedding(node: RunningNode, worker: Isolate, node24: Path) -> list[Row]:
    """In turn; the isolate's compiler has done with the guests by then."""
    data, ours, at_node, web = jpeg(), [], [], []
    isolate, beside = Asking(worker.address), Asking(node.address)
    for _ in range(WARM_UP):
        isolate.ms("/embed", data)
    exported = DEMO / "efficientnet_lite0.onnx"
    with littoral.load(DEMO / "efficientnet_lite0.wasm") as session, peer(str(node24), exported, session) as run_web:
        for _ in range(ROUNDS):
            ours.append(isolate.ms("/embed", data))
            at_node.append(beside.ms("/pipelines/embed", data, accept="application/x-safetensors"))
            web.append(run_web())
    ms, node_ms, web_ms = map(statistics.median, (ours, at_node, web))
    name = "JPEG 640 × 480 to vector over HTTP, workerd, p50"
    web_name = "ONNX Runtime Web in Node 24, float32, the model alone"
    return [
        row(name, ms, "ms", peer="node", peer_value=node_ms, limit=round(SLOWER_MAX * node_ms, 2)),
        row(f"{name}, beside", ms, "ms", peer=web_name, peer_value=web_ms, limit=round(OF_WEB_MAX * web_ms, 2)),
    ]


def similarity(node: RunningNode, worker: Isolate) -> list[Row]:
    """In turn with the node's own pipeline, which the worker asks for the search alone."""
    asking, beside, pictures = Asking(worker.address), Asking(node.address), [jpeg(seed) for seed in range(8)]
    fresh, at_node = [], []
    for i in range(2 * ROUNDS):
        fresh.append(asking.ms("/similarity", pictures[i % 8]))
        at_node.append(beside.ms("/pipelines/similar", pictures[i % 8], accept="application/json"))
    asking.ms("/similarity", pictures[0], cache_control="no-cache")
    hits = [asking.ms("/similarity", pictures[0], cache_control="max-age=9") for _ in range(ROUNDS)]
    name = "JPEG 640 × 480 to hits, workerd and a node"
    figures = (("p50", statistics.median, P50_MS_MAX), ("p95", percentile_95, P95_MS_MAX))
    return [
        *(
            row(f"{name}, {which}", of(fresh), "ms", peer="the node alone", peer_value=of(at_node), limit=most)
            for which, of, most in figures
        ),
        row("the same picture again, p50", statistics.median(hits), "ms", limit=HIT_MS_MAX),
    ]


def percentile_95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[18]
