"""Compiled models beside ONNX Runtime Web, the other way to run ONNX in WebAssembly: one thread each, in turn."""

import json
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
from littoral.runtime.instance import Session
from littoral.tensors import Array

__all__ = ["feeds_of", "install", "peer", "run"]

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
            feeds = feeds_of(session)
            with peer(node, file, session) as run_peer:
                ours, theirs = [], []
                for _ in range(ROUNDS):
                    theirs.append(run_peer())
                    began = time.perf_counter()
                    session.run(feeds)
                    ours.append((time.perf_counter() - began) * 1000)
    our_ms, their_ms = statistics.median(ours), statistics.median(theirs)
    return row(f"{name}: run", our_ms, "ms", peer="ONNX Runtime Web", peer_value=their_ms, limit=LIMIT * their_ms)


def feeds_of(session: Session) -> dict[str, Array]:
    """What the peer takes too: sines, and ones of whole numbers."""
    return {
        port.name: np.ones(port.shape, np.int64)
        if port.dtype == "int64"
        else np.sin(np.arange(np.prod(port.shape))).astype(np.float32).reshape(port.shape)
        for port in session.inputs
    }


@contextmanager
def peer(node: str, file: Path, session: Session) -> Iterator[Callable[[], float]]:
    """A call runs the model once in Node, on the inputs of `feeds_of`; milliseconds."""
    ports = json.dumps([{"name": p.name, "dtype": p.dtype, "shape": p.shape} for p in session.inputs])
    command = [node, str(HERE / "peer.mjs"), str(INSTALLED), str(file), ports]
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
