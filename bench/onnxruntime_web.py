"""Compiled models beside ONNX Runtime Web, the other way to run ONNX in WebAssembly: one thread each, in turn."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import littoral
from bench.networks import NETWORKS
from bench.rows import Row, row
from littoral import settings

__all__ = ["run"]

HERE = Path(__file__).parent / "web"
INSTALLED = Path(".cache/onnxruntime-web").resolve()
ROUNDS = 30
LIMIT = 0.7  # of the peer's time
INSTALL_TIMEOUT_S = 300


def run() -> list[Row]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("onnxruntime_web: not run, it needs node and npm", file=sys.stderr)
        return []
    install(npm)
    return [row_of(node, name, make()) for name, make in NETWORKS.items()]


def install(npm: str) -> None:
    """The pinned package, by its lock."""
    if (INSTALLED / "node_modules" / "onnxruntime-web").exists():
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(HERE / file, INSTALLED)
    command = [npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=INSTALLED, check=True, timeout=INSTALL_TIMEOUT_S)


def row_of(node: str, name: str, source: bytes) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(source)
        state = settings.override(LITTORAL_CACHE=f"{folder}/cache", LITTORAL_STATE=f"{folder}/state")
        with state, littoral.load(littoral.compile(file)) as session:
            (port,) = session.inputs
            data = np.sin(np.arange(np.prod(port.shape))).astype(np.float32).reshape(port.shape)
            with peer(node, file, port.name, port.shape) as run_peer:
                ours, theirs = [], []
                for _ in range(ROUNDS):
                    theirs.append(run_peer())
                    began = time.perf_counter()
                    session.run({port.name: data})
                    ours.append((time.perf_counter() - began) * 1000)
    our_ms, their_ms = statistics.median(ours), statistics.median(theirs)
    return row(f"{name}: run", our_ms, "ms", peer="ONNX Runtime Web", peer_value=their_ms, limit=LIMIT * their_ms)


@contextmanager
def peer(node: str, file: Path, name: str, shape: tuple[int, ...]) -> Iterator[Callable[[], float]]:
    """A call runs the model once in Node; milliseconds."""
    command = [node, str(HERE / "peer.mjs"), str(INSTALLED), str(file), name, *map(str, shape)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answers = process.stdin, process.stdout

        def run_once() -> float:
            ask.write("run\n")
            ask.flush()
            return float(answers.readline())

        if answers.readline().strip() != "ready":
            raise RuntimeError(f"ONNX Runtime Web could not load `{file.name}`")
        run_once()
        yield run_once
        ask.close()
