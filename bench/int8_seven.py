"""The seven architectures in integers of 8 bits, one thread, beside ONNX Runtime's float32, native and in WebAssembly.

All run in turn, so that a change of the machine's speed meets all. Weights are random (`bench/networks.py`), and so are
the feeds: what is measured is time alone.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import littoral
from bench.compiler import beside, here
from bench.networks import SEVEN
from bench.onnxruntime_web import install
from bench.rows import Row, row
from bench.seven import NATIVE, WEB, WIDE, Times, geometric_mean, in_turn, native_width
from littoral.tensors import Array

__all__ = ["run"]

NATIVE_MEAN_MAX, NATIVE_MEAN_MAX_WIDE = 1.3, 1.8
WEB_MAX, WEB_MEAN_MAX = 0.45, 0.33
FEEDS = 4
WORDS = 1000


def run() -> list[Row]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("int8_seven: without ONNX Runtime Web, which needs node and npm", file=sys.stderr)
        node = None
    else:
        install(npm)
    width = native_width()
    rows, times = [row("native product of matrices, of the strict limit in WebAssembly", width, "×")], []
    for name, make in SEVEN.items():
        with tempfile.TemporaryDirectory() as folder, here(folder):
            found, more = measured(name, make, Path(folder), node)
        times.append(found)
        rows += more
    native_max = NATIVE_MEAN_MAX_WIDE if width > WIDE else NATIVE_MEAN_MAX
    mean = geometric_mean([t.ours / t.native for t in times])
    rows.append(row(f"all: geometric mean, of {NATIVE}, float32", mean, "×", limit=native_max))
    if in_web := [t.ours / t.web for t in times if t.web is not None]:
        rows.append(row(f"all: geometric mean, of {WEB}, float32", geometric_mean(in_web), "×", limit=WEB_MEAN_MAX))
    return rows


def measured(name: str, make: Callable[[], bytes], folder: Path, node: str | None) -> tuple[Times, list[Row]]:
    source = make()
    (folder / "model.onnx").write_bytes(source)
    began = time.perf_counter()
    model = littoral.compile(source, int8=random_feeds(source))
    compile_s = time.perf_counter() - began
    with littoral.load(model) as session:
        times = in_turn(session, source, folder / "model.onnx", node)
    rows = [row(f"{name}: run", times.ours, "ms", peer=f"{NATIVE}, float32", peer_value=times.native)]
    if times.web is not None:
        key, limit = f"{name}: run, in turn with", WEB_MAX * times.web
        rows.append(row(key, times.ours, "ms", peer=f"{WEB}, float32", peer_value=times.web, limit=limit))
    rows += [
        row(f"{name}: quantise with {FEEDS} feeds and compile", compile_s, "s"),
        row(f"{name}: memory", model.manifest.memory.pages / 16, "MiB"),
    ]
    return times, rows


def random_feeds(source: bytes) -> list[dict[str, Array]]:
    """Noise; of whole numbers words, and masks of ones."""
    rng = np.random.default_rng(7)

    def array(name: str, shape: list[int], kind: str) -> Array:
        if "int64" not in kind:
            return rng.standard_normal(shape).astype(np.float32)
        return np.ones(shape, np.int64) if "mask" in name else rng.integers(0, WORDS, shape)

    ports = beside(source).get_inputs()
    return [{port.name: array(port.name, port.shape, port.type) for port in ports} for _ in range(FEEDS)]
