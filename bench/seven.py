"""Seven published architectures, one thread: run, start and size, beside ONNX Runtime, native and in WebAssembly.

The three run in turn, so that a change of the machine's speed meets all of them. Weights are random
(`bench/networks.py`). What native code may be ahead by depends on the width of its vectors: that is told by its speed
in a product of two matrices, as a multiple of the most that strict float32 can do in WebAssembly here.
"""

import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

import littoral
from bench.compiler import beside
from bench.graph_layers import Layers
from bench.networks import SEVEN
from bench.onnxruntime_web import feeds_of, install, peer
from bench.rows import Row, medians_ms, row
from littoral import settings
from littoral.errors import NotOfferedError
from littoral.quality.machine_limit import Multiplications
from littoral.runtime.engine import compile_module
from littoral.runtime.instance import Session

__all__ = ["run"]

NATIVE, WEB = "ONNX Runtime", "ONNX Runtime Web"
BUDGET_MS, ROUNDS_MIN, ROUNDS_MAX = 4000, 5, 40
WEB_MAX, WEB_MEAN_MAX = 0.65, 0.48
NATIVE_MEAN_MAX, NATIVE_MEAN_MAX_WIDE = 2.5, 3.2
NATIVE_MAX = {"resnet18": 2.0}
WIDE = 2.6  # vectors of 512 bits with full throughput: four times as wide, and fused; measured behind some overhead
COMPILE_S_MAX = {"mobilenet_v2": 5.0, "whisper_tiny_encoder": 30.0}
MACHINE_CODE_S_MAX, COLD_START_MS_MAX, CODE_KIB_MAX = 1.0, 10.0, 64.0
THREADED, THREADS_MAX = ("resnet18", "deit_tiny"), 0.62
COLD_STARTS = 15
SETTLED_S = 0.1  # a file is believed to be unchanged once its last change is more than a tick of the clock ago


class Times(NamedTuple):
    """Medians in milliseconds; web: None where it cannot be run."""

    ours: float
    native: float
    web: float | None


def run() -> list[Row]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("seven: without ONNX Runtime Web, which needs node and npm", file=sys.stderr)
        node = None
    else:
        install(npm)
    width = native_width()
    rows, times = [row("native product of matrices, of the strict limit in WebAssembly", width, "×")], {}
    for name, make in SEVEN.items():
        with tempfile.TemporaryDirectory() as folder:
            here = settings.override(LITTORAL_CACHE=f"{folder}/cache", LITTORAL_STATE=f"{folder}/state")
            with here:
                times[name], found = measured(name, make, Path(folder), node)
        rows += found
    return [*rows, *means(list(times.values()), NATIVE_MEAN_MAX_WIDE if width > WIDE else NATIVE_MEAN_MAX)]


def measured(name: str, make: Callable[[], bytes], folder: Path, node: str | None) -> tuple[Times, list[Row]]:
    source = make()
    began = time.perf_counter()
    model = littoral.compile(source, name=name)
    compile_s = time.perf_counter() - began
    path = folder / "model.wasm"
    model.save(path)
    (folder / "model.onnx").write_bytes(source)
    began = time.perf_counter()
    compile_module(model.wasm, "trusted")
    machine_code_s = time.perf_counter() - began
    littoral.load(path).close()
    time.sleep(SETTLED_S)
    with littoral.load(path) as session:
        assert session.engine == "trusted"
        times = in_turn(session, source, folder / "model.onnx", node)
        cold_ms = statistics.median(cold_start_ms(path) for _ in range(COLD_STARTS))
        found = run_rows(name, times) + threads_rows(name, source, session)
    code_kib = (len(model.wasm) - model.manifest.memory.weights[1]) / 1024
    return times, [
        *found,
        row(f"{name}: compile", compile_s, "s", limit=COMPILE_S_MAX.get(name)),
        row(f"{name}: machine code", machine_code_s, "s", limit=MACHINE_CODE_S_MAX),
        row(f"{name}: start from the cache", cold_ms, "ms", limit=COLD_START_MS_MAX),
        row(f"{name}: beyond weights", code_kib, "KiB", limit=CODE_KIB_MAX if name == "mobilenet_v2" else None),
        row(f"{name}: memory", model.manifest.memory.pages * 65536 / 1e6, "MB"),
    ]


def in_turn(session: Session, source: bytes, file: Path, node: str | None) -> Times:
    feeds, native = feeds_of(session), beside(source)
    with ExitStack() as stack:
        works = [lambda: session.run(feeds), lambda: native.run(None, feeds)]
        web = None if node is None else stack.enter_context(peer(node, file, session))
        once_ms = sum(medians_ms(works, repeats=1)) + (web() if web else 0)
        rounds = min(max(int(BUDGET_MS / once_ms), ROUNDS_MIN), ROUNDS_MAX)
        found: list[list[float]] = [[], [], []]
        for _ in range(rounds):
            for work, kept in zip(works, found, strict=False):
                began = time.perf_counter()
                work()
                kept.append((time.perf_counter() - began) * 1000)
            if web is not None:
                found[2].append(web())
    ours, theirs, in_web = (statistics.median(kept) if kept else None for kept in found)
    assert ours is not None
    assert theirs is not None
    return Times(ours, theirs, in_web)


def cold_start_ms(path: Path) -> float:
    began = time.perf_counter()
    session = littoral.load(path)
    ready_ms = (time.perf_counter() - began) * 1000
    assert session.is_cached
    session.close()
    return ready_ms


def run_rows(name: str, times: Times) -> list[Row]:
    most = NATIVE_MAX.get(name)
    limit = None if most is None else most * times.native
    rows = [row(f"{name}: run", times.ours, "ms", peer=NATIVE, peer_value=times.native, limit=limit)]
    if times.web is not None:
        limit = WEB_MAX * times.web
        rows.append(row(f"{name}: run, in turn with", times.ours, "ms", peer=WEB, peer_value=times.web, limit=limit))
    return rows


def threads_rows(name: str, source: bytes, alone: Session) -> list[Row]:
    """Two threads beside one, once the compiler has them."""
    if name not in THREADED:
        return []
    try:
        model = littoral.compile(source, threads=2)
    except NotOfferedError:
        return []
    feeds = feeds_of(alone)
    with littoral.load(model) as session:
        two_ms, one_ms = medians_ms([lambda: session.run(feeds), lambda: alone.run(feeds)], repeats=ROUNDS_MIN * 3)
    limit = THREADS_MAX * one_ms
    return [row(f"{name}: two threads", two_ms, "ms", peer="one thread", peer_value=one_ms, limit=limit)]


def means(times: list[Times], native_max: float) -> list[Row]:
    native = geometric_mean([t.ours / t.native for t in times])
    rows = [row(f"all: geometric mean, of {NATIVE}", native, "×", limit=native_max)]
    in_web = [t.ours / t.web for t in times if t.web is not None]
    if in_web:
        rows.append(row(f"all: geometric mean, of {WEB}", geometric_mean(in_web), "×", limit=WEB_MEAN_MAX))
    return rows


def geometric_mean(ratios: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def native_width() -> float:
    """Speed of a native product of two matrices, as a multiple of the strict limit in WebAssembly."""
    size = 768
    net = Layers()
    product = net.dense(net.input("x", size, size), size, size, bias=False)
    native = beside(net.model("product", product, size, size))
    x = np.ones((size, size), np.float32)
    with Multiplications() as multiplications:
        best = 0.0
        for _ in range(10):
            began = time.perf_counter()
            native.run(None, {"x": x})
            best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
        return best / max(multiplications.gflops() for _ in range(10))
