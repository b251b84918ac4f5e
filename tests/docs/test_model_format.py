"""The hosts of docs/reference/model-format.md run, and give the bits that the session gives."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wasmtime

import littoral
from engines.commands import go_program
from littoral.artifact import Model
from littoral.compiler.driver import compile_model
from needs import need
from onnx_models import NETWORKS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "model-format.md"
TESTS = Path(__file__).parents[1]
ASK = """
import { readFileSync, writeSync } from "node:fs";
import { load } from "./host.mjs";
const run = await load(readFileSync("model.wasm"));
const input = readFileSync("input");
const { y } = run({ x: new Float32Array(input.buffer, input.byteOffset, input.length / 4) });
writeSync(1, new Uint8Array(y.buffer));
"""


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module", params=NETWORKS)
def source(request: pytest.FixtureRequest) -> bytes:
    return NETWORKS[request.param](24)


@pytest.fixture(scope="module")
def model(source: bytes) -> Model:
    return compile_model(source)


@pytest.fixture
def x(model: Model) -> Any:
    (port,) = model.manifest.variants[0].inputs
    return np.random.default_rng(5).normal(size=port.shape).astype(np.float32)


@pytest.fixture
def expected(model: Model, x: Any) -> bytes:
    with littoral.load(model) as session:
        (y,) = session.run({"x": x}).values()
    return bytes(y.tobytes())


def test_python(model: Model, x: Any, expected: bytes) -> None:
    space: dict[str, Any] = {}
    exec(compile(block("python"), str(PAGE), "exec"), space)
    outputs = space["run"](model.wasm, {"variants": [as_json(model)]}, {"x": x})
    assert [y.tobytes() for y in outputs.values()] == [expected]


def as_json(model: Model) -> dict[str, Any]:
    variant = model.manifest.variants[0]
    ports = {
        kind: [{"name": p.name, "dtype": p.dtype, "shape": p.shape, "offset": p.offset} for p in getattr(variant, kind)]
        for kind in ("inputs", "outputs")
    }
    return {"entry": variant.entry, **ports}


def test_javascript(model: Model, x: Any, expected: bytes, tmp_path: Path) -> None:
    """The same bits in V8."""
    node = shutil.which("node")
    need(node, "Node (Debian: `nodejs`)")
    (name,) = (p.name for p in model.manifest.variants[0].outputs)
    for file, text in (("host.mjs", block("javascript")), ("ask.mjs", ASK.replace("{ y }", f"{{ {name}: y }}"))):
        (tmp_path / file).write_text(text)
    model.save(tmp_path / "model.wasm")
    (tmp_path / "input").write_bytes(x.tobytes())
    done = subprocess.run([str(node), "ask.mjs"], cwd=tmp_path, capture_output=True, timeout=240)
    assert (done.stderr, done.stdout) == (b"", expected)


def test_c(model: Model, x: Any, expected: bytes, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    need(compiler, "a C compiler (Debian: `gcc`)")
    library = next(Path(wasmtime.__file__).parent.glob("*/_libwasmtime.so"))
    (tmp_path / "host.c").write_text(block("c"))
    flags = ["-Wall", "-Werror", "-O1", f"-I{TESTS}", "host.c", str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run([str(compiler), *flags, "-o", "host"], cwd=tmp_path, check=True, timeout=240)
    model.save(tmp_path / "model.wasm")
    variant = model.manifest.variants[0]
    places = [str(n) for port in (*variant.inputs, *variant.outputs) for n in (port.offset, port.bytes)]
    command = ["./host", "model.wasm", *places]
    done = subprocess.run(command, cwd=tmp_path, input=x.tobytes(), capture_output=True, timeout=240)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", expected)


def test_go(source: bytes, x: Any, expected: bytes, tmp_path: Path) -> None:
    """In an engine without relaxed SIMD."""
    host = go_program("host-in-go", block("go"))
    compile_model(source, target="simd128").save(tmp_path / "model.wasm")
    done = subprocess.run([host, "model.wasm"], cwd=tmp_path, input=x.tobytes(), capture_output=True, timeout=240)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", expected)


ASK_TEAM = """
import { readFileSync, writeSync } from "node:fs";
import { load } from "./host.mjs";
const { run, stop } = await load(readFileSync("model.wasm"));
const input = readFileSync("input");
const x = new Float32Array(input.buffer, input.byteOffset, input.length / 4);
let y;
for (let i = 0; i < 20; i++) [y] = Object.values(run({ x }));
stop();
writeSync(1, new Uint8Array(y.buffer));
"""


@pytest.mark.parametrize("threads", [2, 3])
def test_javascript_with_threads(threads: int, tmp_path: Path) -> None:
    """The same bits in V8, by workers over one memory; they end by themselves."""
    node = shutil.which("node")
    need(node, "Node (Debian: `nodejs`)")
    source = NETWORKS["inverted_residual"](40)
    x = np.random.default_rng(5).normal(size=(1, 3, 40, 40)).astype(np.float32)
    with littoral.load(littoral.compile(source)) as session:
        (expected,) = session.run({"x": x}).values()
    compile_model(source, threads=threads).save(tmp_path / "model.wasm")
    for file, text in (("host.mjs", block("js")), ("ask.mjs", ASK_TEAM)):
        (tmp_path / file).write_text(text)
    (tmp_path / "input").write_bytes(x.tobytes())
    done = subprocess.run([str(node), "ask.mjs"], cwd=tmp_path, capture_output=True, timeout=240)
    assert (done.stderr, done.stdout) == (b"", expected.tobytes())
