"""`littoral bundle --for device`: the vibration example in interpreters, bit for bit what the node answers."""

import importlib
import json
import platform
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from bench.device import HEAP

from command import littoral as cli
from engines.interpreters import cargo_built, wasm3_built
from engines.wamr_sources import wamr_built
from littoral.bundle.device import MEMORY_BYTES_MAX
from littoral.compiler.driver import planned, written
from littoral.compiler.quantize import Int8
from littoral.tensors import decode_frame, encode_frame
from needs import need
from node_fixture import node_in_thread
from tracked import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EXAMPLE = ROOT / "examples/vibration"
HOST_S_MAX = 240
IN_V8 = """
  const { readFileSync, writeFileSync } = require("node:fs");
  const [wasm, input, given, made] = process.argv.slice(1);
  const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(wasm))).exports;
  const windows = readFileSync(input);
  for (let at = 0; at < windows.length; at += 32768) {
    new Uint8Array(memory.buffer).set(windows.subarray(at, at + 32768), +given);
    run();
    writeFileSync(1, new Uint8Array(memory.buffer, +made, 4));
  }
"""


class Made(NamedTuple):
    """folder: with the bundle `dist`. windows: float32[n, 8192]. scores: bytes of what the node answers."""

    folder: Path
    windows: np.ndarray
    scores: bytes

    @property
    def dist(self) -> Path:
        return self.folder / "dist"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The node runs the monitor with vectors, the bundle has the one without."""
    folder = tmp_path_factory.mktemp("device")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        monitor, signals = importlib.import_module("monitor"), importlib.import_module("signals")
        rng = np.random.default_rng(1)
        onnx.save(monitor.monitor(*monitor.known_good(rng)), folder / "monitor.onnx")
        calibration = monitor.feeds(rng)
        windows = [signals.window(rng, fault) for fault in signals.FAULTS for _ in range(2)]
    found = planned(folder / "monitor.onnx", int8=Int8({"samples": x[None]} for x in calibration))
    odd = np.resize(np.float32([np.nan, np.inf, -np.inf, 1e38, -0.0, 1e-45]), 8192)
    given = np.stack([*windows, np.zeros(8192, np.float32), odd])
    models = {"node": written(found), ".": written(found, target="mvp")}
    for name, model in models.items():
        (folder / name).mkdir(exist_ok=True)
        model.save(folder / name / "monitor.wasm")
        text = (EXAMPLE / "device.toml").read_text()
        (folder / name / "device.toml").write_text(text.replace(":8642", ":0"))
    done = cli("bundle", "device.toml", "--pipeline", "watch", "--for", "device", "--out", "dist", folder=folder)
    assert done.code == 0, done.err
    return Made(folder, given, answered(folder / "node", given))


def answered(folder: Path, windows: np.ndarray) -> bytes:
    scores = b""
    with node_in_thread(folder, site=folder / "device.toml") as node:
        for window in windows:
            headers = {"Accept": "application/x-safetensors", "Content-Type": "application/x-safetensors"}
            body = encode_frame({"samples": window[None]})
            request = urllib.request.Request(f"{node.url}/pipelines/watch", body, headers)
            with urllib.request.urlopen(request) as answer:
                scores += decode_frame(answer.read())["score"].tobytes()
    return scores


def in_c(made: Made, folder: Path, change: Callable[[str], str] = str, bits: int = 64) -> Path:
    """The bundle's program in C. change: of the text of its modules. bits: of pointers."""
    shutil.copytree(made.dist / "c", folder / "c")
    modules = folder / "c" / "modules.c"
    modules.write_text(change(modules.read_text()))
    wasm3_built(folder / "pipeline", *sorted((folder / "c").glob("*.c")), bits=bits)
    return folder / "pipeline"


def run(program: Sequence[str | Path], given: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(program, input=given, capture_output=True, timeout=HOST_S_MAX)


def test_a_fault_scores_above_one(made: Made) -> None:
    scores = np.frombuffer(made.scores, np.float32)
    assert (scores[:2] < 1).all()
    assert (scores[2:8] > 1).mean() > 0.8
    assert np.isfinite(scores).all()


def test_in_wasm3(made: Made, tmp_path: Path) -> None:
    done = run([in_c(made, tmp_path)], made.windows.tobytes())
    assert (done.returncode, done.stdout) == (0, made.scores)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no compiler for two widths of pointers")
def test_with_pointers_of_32_bits(made: Made, tmp_path: Path) -> None:
    done = run([in_c(made, tmp_path, bits=32)], made.windows.tobytes())
    assert (done.returncode, done.stdout) == (0, made.scores)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="built for one kind of processor")
@pytest.mark.parametrize("bits", [64, 32])
def test_in_wamr(made: Made, tmp_path: Path, bits: int) -> None:
    c = made.dist / "c"
    sources = [made.dist / "wamr" / "littoral_device.c", c / "main.c", c / "modules.c"]
    wamr_built(tmp_path / "pipeline", c, *sources, bits=bits)
    done = run([tmp_path / "pipeline"], made.windows.tobytes())
    assert (done.returncode, done.stdout) == (0, made.scores)


def test_in_wasmi(made: Made, tmp_path: Path) -> None:
    """Whose own instructions, each of which does the work of several, are as many for every window."""
    shutil.copytree(made.dist, tmp_path / "dist")
    program = shutil.copy(cargo_built(tmp_path / "dist" / "rust"), tmp_path / "program")
    done = run([program, "--count"], made.windows.tobytes())
    assert (done.returncode, done.stdout) == (0, made.scores)
    report = json.loads((made.dist / "report.json").read_text())
    (fuel,) = {int(line) for line in done.stderr.split()}
    assert 0 < fuel < report["operations"]
    short = run([program], made.windows.tobytes()[:100])
    assert (short.returncode, short.stdout) == (1, b"")
    assert b"100 bytes, expected 32768" in short.stderr


def test_in_v8(made: Made) -> None:
    node = shutil.which("node")
    need(node, "Node (Debian: `nodejs`)")
    (made.folder / "windows").write_bytes(made.windows.tobytes())
    (port,) = places(made)
    done = run([str(node), "-e", IN_V8, made.dist / "monitor.wasm", made.folder / "windows", *port], b"")
    assert (done.returncode, done.stdout) == (0, made.scores), done.stderr


def places(made: Made) -> Iterator[list[str]]:
    """Where input and output lie, as the C table says."""
    last = (made.dist / "c" / "modules.c").read_text().splitlines()[-2]
    numbers = last.strip(" {},").split(", ")[-4:]
    yield [numbers[0], numbers[2]]


def test_the_known_answer(made: Made, tmp_path: Path) -> None:
    known = made.dist / "known"
    done = run([in_c(made, tmp_path), "--time"], (known / "input.bin").read_bytes())
    assert done.stdout == (known / "output.bin").read_bytes()
    assert float(done.stderr) > 0


def test_all_memory_of_a_run_fits_a_small_device(made: Made, tmp_path: Path) -> None:
    """The interpreter's too: module memory, stack, and what it makes of the code; here with pointers of 64 bits."""
    shutil.copytree(made.dist / "c", tmp_path / "c")
    (tmp_path / "c" / "main.c").write_text(HEAP)
    wasm3_built(tmp_path / "heap", *sorted((tmp_path / "c").glob("*.c")))
    done = run([tmp_path / "heap"], b"")
    assert done.returncode == 0
    assert int(done.stdout) <= MEMORY_BYTES_MAX


def test_the_hosts_are_small(made: Made) -> None:
    lines = [
        len((made.dist / "c" / name).read_text().splitlines()) for name in ("littoral_device.c", "littoral_device.h")
    ]
    assert sum(lines) <= 200
    assert len((made.dist / "wamr" / "littoral_device.c").read_text().splitlines()) <= 200
    rust = (made.dist / "rust" / "src").glob("*.rs")
    assert sum(len(file.read_text().splitlines()) for file in rust) <= 200


def test_input_that_ends_inside_a_window(made: Made, tmp_path: Path) -> None:
    done = run([in_c(made, tmp_path)], made.windows[:2].tobytes()[:-1])
    assert (done.returncode, done.stdout) == (1, made.scores[:4])
    assert done.stderr == b"the input ends inside a window\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", 131072, ", ", 65536, ", b"the module has another memory than it should"),
        ('"run"', '"walk"', b"function lookup failed"),
        ("  0,97,115,109,1,", "  0,97,115,109,2,", b"incompatible Wasm binary version"),
    ],
)
def test_a_module_that_is_another_one_is_refused(
    made: Made, tmp_path: Path, old: str, new: str, message: bytes
) -> None:
    done = run([in_c(made, tmp_path, lambda text: text.replace(old, new, 1))], made.windows.tobytes())
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr
