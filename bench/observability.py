"""What being seen costs: searches of 16 clients at a node that is traced, logged and scraped, and at one that is not.

Two nodes with the same points, asked in turn; figures are medians over pairs of rounds. Of the requests 1 % are traced,
to a collector that throws it away; every request may have a line of the log; `/metrics` is read every second. Processor
time of the node for a search is told beside throughput, which needs a machine that does nothing else.
"""

import contextlib
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import numpy as np

from bench.load import Load, http_request, under_load
from bench.rows import Row, row
from bench.search import FRESH, POINTS, SITE, ask, put, sampled, search_body, status
from littoral.node.beside import RunningNode, running_node

__all__ = ["run"]

COUNT, QUERIES, SIZE = 20_000, 1000, 128
EF = 32
PAIRS, SECONDS, CLIENTS = 9, 1.5, 16
SCRAPE_S = 1.0
SHARE_MAX = 0.03
CPU = "process_cpu_seconds_total"
METRICS_MS_MAX = 10.0
PLAIN = '[telemetry.logs]\nrequests = "none"\n'
SEEN = """
[telemetry.traces]
endpoint = "http://127.0.0.1:{port}"
ratio = 0.01
[telemetry.logs]
requests = "all"
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, collector() as port, contextlib.ExitStack() as opened:
        nodes = []
        for i, tables in enumerate((PLAIN, SEEN.format(port=port))):
            folder = Path(name) / str(i)
            folder.mkdir()
            (folder / "site.toml").write_text(f'{SITE}data = "{folder}/data"\n{tables}')
            nodes.append(opened.enter_context(running_node(folder / "site.toml")))
        return measured(*nodes)


def measured(plain: RunningNode, seen: RunningNode) -> list[Row]:
    vectors = sampled(COUNT, 1)
    for node in (plain, seen):
        fill(node, vectors)
    requests = [http_request("POST", f"{POINTS}/query", search_body(one, EF), FRESH) for one in sampled(QUERIES, 2)]

    def loaded(node: RunningNode) -> tuple[Load, float]:
        """And microseconds of the node's processor for a search."""
        before = told(node, CPU)
        found = under_load(node.address, requests, clients=CLIENTS, seconds=SECONDS)
        if found.failed:
            raise SystemExit(f"bench: {found.failed} requests failed")
        return found, (told(node, CPU) - before) / found.answers * 1e6

    with scraped(seen) as scrapes_ms:
        for node in (plain, seen):
            loaded(node)
        scrapes_ms.clear()
        pairs = [(loaded(plain), loaded(seen)) for _ in range(PAIRS)]
    shares = [1 - after.per_second() / before.per_second() for (before, _), (after, _) in pairs]
    cpu_shares = [after_us / before_us - 1 for (_, before_us), (_, after_us) in pairs]
    loads = [(before, after) for (before, _), (after, _) in pairs]
    return [
        row("processor time that being seen costs", max(0.0, median(cpu_shares)), "share", limit=SHARE_MAX),
        row("node's processor for a search, not seen", median(us for (_, us), _ in pairs), "µs"),
        row("node's processor for a search, seen", median(us for _, (_, us) in pairs), "µs"),
        row("throughput that being seen costs", max(0.0, median(shares)), "share", limit=SHARE_MAX),
        row("searches a second, not seen", median(before.per_second() for before, _ in loads), "/s"),
        row("searches a second, seen", median(after.per_second() for _, after in loads), "/s"),
        row("p99, not seen", median(before.at_ms(0.99) for before, _ in loads), "ms"),
        row("p99, seen", median(after.at_ms(0.99) for _, after in loads), "ms"),
        row("`/metrics` meanwhile, median", median(scrapes_ms), "ms"),
        row("`/metrics` of an idle node, median", idle_ms(seen), "ms", limit=METRICS_MS_MAX),
        row("spans that were sent", told(seen, "littoral_trace_spans_exported_total"), ""),
        row("spans that were dropped", told(seen, "littoral_trace_spans_dropped_total"), "", limit=0),
    ]


def fill(node: RunningNode, vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    ask(node, "PUT", "/collections/bench", {"vectors": {"size": SIZE, "distance": "Cosine"}})
    put(node, vectors, 0)
    while status(node)["status"] != "green":
        time.sleep(0.2)


def read(node: RunningNode) -> str:
    with urllib.request.urlopen(f"{node.url}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def told(node: RunningNode, metric: str) -> float:
    """Of all its series."""
    return sum(float(line.rpartition(" ")[2]) for line in read(node).splitlines() if line.startswith(metric))


def timed_ms(node: RunningNode) -> float:
    began = time.perf_counter()
    read(node)
    return (time.perf_counter() - began) * 1000


def idle_ms(node: RunningNode) -> float:
    return median(timed_ms(node) for _ in range(50))


@contextlib.contextmanager
def scraped(node: RunningNode) -> Iterator[list[float]]:
    """Every second; what each took."""
    times_ms: list[float] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_S):
            times_ms.append(timed_ms(node))

    with _thread(scrape):
        try:
            yield times_ms
        finally:
            over.set()


@contextlib.contextmanager
def collector() -> Iterator[int]:
    """Its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        with _thread(server.serve_forever):
            try:
                yield server.server_address[1]
            finally:
                server.shutdown()


@contextlib.contextmanager
def _thread(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
