"""The vibration example as a bundle for devices, in wasm3 and wasmi: bytes, memory, instructions, milliseconds."""

import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import littoral
from bench.rows import Row, median_ms, row
from littoral.bundle.device import FLASH_BYTES_MAX, MEMORY_BYTES_MAX, plan_device
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.writing import write
from littoral.node.site import read_site

__all__ = ["HEAP", "run"]

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/vibration"
CACHE = Path(".cache/device").resolve()
WASM3 = ROOT / "tests/engines/wasm3/requirements.txt"
WINDOWS = 30
HEAP = """
#include <malloc.h>
#include <stdio.h>
#include "littoral_device.h"
static size_t taken(void) { struct mallinfo2 found = mallinfo2(); return found.uordblks + found.hblkhd; }
int main(void) {
  struct littoral_pipeline pipeline;
  size_t before = taken();
  if (littoral_open(&pipeline) || littoral_run(&pipeline)) return 1;
  printf("%zu\\n", taken() - before);
  littoral_close(&pipeline);
  return taken() - before > 8192; /* stdout has a buffer */
}
"""


def run() -> list[Row]:
    if missing := [name for name in ("cc", "cargo") if shutil.which(name) is None]:
        print(f"device: not run, it needs {' and '.join(missing)}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        report = bundled(folder)
        dist = folder / "dist"
        flash = report["flash_bytes"]
        rows = [
            row("flash: module without sections", flash / 1024, "KiB", limit=FLASH_BYTES_MAX / 1024),
            row("memory of the module and stack", (report["memory_bytes"] + report["stack_bytes"]) / 1024, "KiB"),
            row("instructions of a window", report["operations"] / 1e6, "million"),
        ]
        sources = wasm3_sources()
        wasm3 = in_c(dist / "c", folder / "wasm3", sources)
        heap = float(output([in_c(dist / "c", folder / "heap", sources, HEAP)]))
        rows.append(
            row("memory in all, in wasm3 with 64-bit pointers", heap / 1024, "KiB", limit=MEMORY_BYTES_MAX / 1024)
        )
        known = [(dist / "known" / name).read_bytes() for name in ("input.bin", "output.bin")]
        wasmi = in_rust(dist / "rust")
        node_ms = in_the_node(folder / "monitor.wasm", known[0])
        for name, program in (("wasm3", wasm3), ("wasmi", wasmi)):
            rows += milliseconds(name, program, known[0], known[1], node_ms)
        return rows


def bundled(folder: Path) -> dict[str, int]:
    """The example's model in integers, and its bundle in `dist`."""
    subprocess.run([sys.executable, EXAMPLE / "monitor.py", "--folder", folder], check=True, stdout=subprocess.DEVNULL)
    feeds = [{"samples": x[None]} for x in np.load(folder / "feeds.npz")["samples"]]
    littoral.compile(folder / "monitor.onnx", int8=feeds, target="mvp").save(folder / "monitor.wasm")
    shutil.copy(EXAMPLE / "device.toml", folder)
    plan = plan_device(read_recipe(read_site(folder / "device.toml"), "watch"), Options())
    write(dict(plan.files), folder / "dist")
    return dict(plan.facts)


def wasm3_sources() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    asked = ["--require-hashes", "--no-binary", ":all:", "--no-deps", "--dest", CACHE, "-r", WASM3]
    if not any(CACHE.glob("*.tar.gz")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *asked], check=True)
    (packed,) = CACHE.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(CACHE, filter="data")
    return CACHE / packed.name.removesuffix(".tar.gz") / "wasm3"


def in_c(sources: Path, program: Path, wasm3: Path, main: str = "") -> Path:
    """A program of the bundle's C sources, with another `main` where one is given."""
    files = [file for file in sorted(sources.glob("*.c")) if not (main and file.name == "main.c")]
    if main:
        files.append(program.with_suffix(".c"))
        files[-1].write_text(main)
    command = [
        "cc",
        "-O3",
        "-w",
        f"-I{wasm3}",
        f"-I{sources}",
        *files,
        *sorted(wasm3.glob("*.c")),
        "-lm",
        "-o",
        program,
    ]
    subprocess.run(command, check=True)
    return program


def in_rust(crate: Path) -> Path:
    target = CACHE / "cargo"
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", target]
    subprocess.run(command, cwd=crate, check=True)
    return target / "release" / "littoral-device"


def in_the_node(model: Path, window: bytes) -> float:
    """Milliseconds of the same module in the node's engine."""
    samples = np.frombuffer(window, np.float32)[None]
    with littoral.load(model) as session:
        return median_ms(lambda: session.run({"samples": samples}), repeats=WINDOWS, warm_up=5)


def milliseconds(name: str, program: Path, window: bytes, wanted: bytes, node_ms: float) -> Iterator[Row]:
    done = subprocess.run([program, "--time"], input=window * WINDOWS, capture_output=True, check=True)
    ms = statistics.median(map(float, done.stderr.split()))
    differ = sum(done.stdout[at : at + len(wanted)] != wanted for at in range(0, len(done.stdout), len(wanted)))
    yield row(f"{name}: a window", ms, "ms", peer="the same module in the node's engine", peer_value=node_ms)
    yield row(f"{name}: answers that are not the node's", differ, "of 30", limit=0)


def output(command: Sequence[Path]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
