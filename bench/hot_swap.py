"""A hundred versions that take over while requests come at 70 % of what the node can do: failures, times, memory."""

import statistics
import tempfile
import time
from pathlib import Path

import littoral
from bench.convolutional import mobilenet_v2
from bench.load import Load, begin_load, under_load
from bench.oip_client import Client, post
from bench.one_model import ONE_MODEL, pixels_request
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
DURING_S_MAX = 100.0
PAUSE_S = 0.25
P99_RATIO_MAX = 1.5
MEMORY_RATIO_MAX = 1.1


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        files = _versions()
        (folder / "m.wasm").write_bytes(files[0])
        (folder / "site.toml").write_text(ONE_MODEL)
        with running_node(folder / "site.toml") as node:
            request = pixels_request()
            swap = _Swaps(node.address, folder / "m.wasm", files)
            for _ in range(2 * VERSIONS):
                swap.next()  # machine code is made once, and memory has grown to what two versions take
            with Client(node.address) as client:
                assert client.ask(request)[0] == 200
            rate = SHARE * under_load(node.address, [request], clients=CLIENTS, seconds=MEASURE_S).per_second()
            before = under_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=BEFORE_S)
            memory = _memory_mb(node.pid)
            with begin_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=DURING_S_MAX) as asking:
                took_ms = [swap.next() for _ in range(SWAPS)]
                during = asking.end()
            return _rows(before, during, took_ms, memory, _memory_mb(node.pid), rate)


def _rows(
    before: Load, during: Load, took_ms: list[float], memory_mb: float, after_mb: float, rate: float
) -> list[Row]:
    p99 = before.at_ms(0.99)
    return [
        row("requests a second, 70 % of what the node can do", rate, "1/s"),
        row("failed, of the requests during 100 swaps", before.failed + during.failed, "requests", limit=0),
        row("p50 before", before.at_ms(0.5), "ms"),
        row("p50 during", during.at_ms(0.5), "ms"),
        row("p99 before", p99, "ms"),
        row("p99 during", during.at_ms(0.99), "ms", limit=P99_RATIO_MAX * p99, peer="before", peer_value=p99),
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


def _memory_mb(supervisor: int) -> float:
    """Proportional share of memory of the node, the one child of its supervisor."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    rollup = Path(f"/proc/{children[0]}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
