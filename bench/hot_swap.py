"""A hundred versions that take over while requests come at 70 % of what the node can do: failures, times, memory."""

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import littoral
from bench.convolutional import mobilenet_v2
from bench.oip_client import Client, infer_request, post
from bench.rows import Row, row
from littoral.artifact import Store, custom_section_bytes, digest
from littoral.node.beside import running_node

__all__ = ["run"]

SWAPS = 100
VERSIONS = 5  # files with machine code of their own; which one is next changes each time
CLIENTS = 6
SHARE = 0.7
MEASURE_S = 3.0
BEFORE_S = 8.0
PAUSE_S = 0.25
P99_RATIO_MAX = 1.5
MEMORY_RATIO_MAX = 1.1
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.m]
path = "m.wasm"
instances = { min = 2, max = 2 }
"""


class Asked(NamedTuple):
    failed: int
    times_ms: list[float]


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        files = _versions()
        (folder / "m.wasm").write_bytes(files[0])
        (folder / "site.toml").write_text(SITE)
        with running_node(folder / "site.toml") as node:
            request = infer_request("m", {"pixels": np.random.default_rng(1).normal(size=(1, 3, 224, 224))})
            swap = _Swaps(node.address, folder / "m.wasm", files)
            for _ in range(2 * VERSIONS):
                swap.next()  # machine code is made once, and memory has grown to what two versions take
            with Client(node.address) as client:
                assert client.ask(request)[0] == 200
            rate = SHARE * _capacity(node.address, request)
            with _asking(node.address, request, rate) as before:
                time.sleep(BEFORE_S)
            memory = _memory_mb(node.pid)
            with _asking(node.address, request, rate) as during:
                took_ms = [swap.next() for _ in range(SWAPS)]
            return _rows(before.result(), during.result(), took_ms, memory, _memory_mb(node.pid), rate)


def _rows(
    before: Asked, during: Asked, took_ms: list[float], memory_mb: float, after_mb: float, rate: float
) -> list[Row]:
    p99 = _p99(before.times_ms)
    return [
        row("requests a second, 70 % of what the node can do", rate, "1/s"),
        row("failed, of the requests during 100 swaps", before.failed + during.failed, "requests", limit=0),
        row("p50 before", statistics.median(before.times_ms), "ms"),
        row("p50 during", statistics.median(during.times_ms), "ms"),
        row("p99 before", p99, "ms"),
        row("p99 during", _p99(during.times_ms), "ms", limit=P99_RATIO_MAX * p99, peer="before", peer_value=p99),
        row("one swap, from the request to its answer, p50", statistics.median(took_ms), "ms"),
        row(
            "memory of the node after 100 swaps",
            after_mb,
            "MB",
            limit=MEMORY_RATIO_MAX * memory_mb,
            peer="before",
            peer_value=memory_mb,
        ),
    ]


def _versions() -> list[bytes]:
    """One network, and a section by which each file is another; all compiled here, as far as the node can tell."""
    wasm = littoral.compile(mobilenet_v2(), name="m").wasm
    files = [wasm + custom_section_bytes("version", bytes([i])) for i in range(VERSIONS)]
    for file in files:
        Store().record(digest(file))
    return files


class _Swaps:
    def __init__(self, address: str, path: Path, files: list[bytes]) -> None:
        self._client = Client(address)
        self._path = path
        self._files = files
        self._count = 0

    def next(self) -> float:
        """Milliseconds of the request; a pause after it."""
        self._count += 1
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(self._files[self._count % len(self._files)])
        fresh.replace(self._path)
        status, took_ms = self._client.ask(post("/v2/repository/models/m/load", {}))
        assert status == 200
        time.sleep(PAUSE_S)
        return took_ms


class _Asking:
    """Requests at a steady rate, whether answers come or not: time counts from when a request was due."""

    def __init__(self, address: str, request: bytes, rate: float) -> None:
        self._address = address
        self._request = request
        self._rate = rate
        self._ends = threading.Event()
        self._threads = ThreadPoolExecutor(CLIENTS)
        began = time.perf_counter()
        self._found = [self._threads.submit(self._ask, began + i / rate) for i in range(CLIENTS)]

    def _ask(self, due: float) -> Asked:
        failed, times_ms = 0, []
        with Client(self._address) as client:
            while not self._ends.is_set():
                time.sleep(max(0.0, due - time.perf_counter()))
                status, _ = client.ask(self._request)
                failed += status != 200
                times_ms.append((time.perf_counter() - due) * 1000)
                due += CLIENTS / self._rate
        return Asked(failed, times_ms)

    def end(self) -> None:
        self._ends.set()

    def result(self) -> Asked:
        parts = [found.result() for found in self._found]
        self._threads.shutdown()
        return Asked(sum(part.failed for part in parts), [ms for part in parts for ms in part.times_ms])


@contextlib.contextmanager
def _asking(address: str, request: bytes, rate: float) -> Iterator[_Asking]:
    asking = _Asking(address, request, rate)
    try:
        yield asking
    finally:
        asking.end()


def _capacity(address: str, request: bytes) -> float:
    """Answers a second with as many clients as there are instances, and one more."""
    ends = time.perf_counter() + MEASURE_S

    def ask(_: int) -> int:
        count = 0
        with Client(address) as client:
            while time.perf_counter() < ends:
                client.ask(request)
                count += 1
        return count

    with ThreadPoolExecutor(3) as threads:
        return sum(threads.map(ask, range(3))) / MEASURE_S


def _memory_mb(supervisor: int) -> float:
    """Proportional share of memory of the node, the one child of its supervisor."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    rollup = Path(f"/proc/{children[0]}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _p99(times_ms: list[float]) -> float:
    return statistics.quantiles(times_ms, n=100)[98]
