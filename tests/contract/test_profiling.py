"""Linux perf finds the names of layers: in a map that is written where asked, and in cached machine code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import littoral
from littoral import settings
from littoral.compiler.driver import compile_model
from littoral.compiler.emit import LAYER_LETTERS_MAX
from onnx_models import squeeze_excite

LOADS = "import littoral, os, sys; littoral.load(sys.argv[1]).close(); print(os.getpid())"
NAME = "gemm.4x8@mul_2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.wasm"
    with settings.override(LITTORAL_STATE=str(tmp_path), LITTORAL_CACHE=str(tmp_path)):
        littoral.compile(squeeze_excite(16)).save(path)
    return path


def load(path: Path, **setting: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Loads a model in a process of its own; what stands in the map that it leaves."""
    own = settings.environment(LITTORAL_STATE=str(path.parent), LITTORAL_CACHE=str(path.parent), **setting)
    done = subprocess.run([sys.executable, "-c", LOADS, path], env=own, cwd=path.parent, capture_output=True, text=True)
    written = Path(f"/tmp/perf-{done.stdout.strip() or 0}.map")
    lines = written.read_text().splitlines() if written.exists() else []
    written.unlink(missing_ok=True)
    return done, lines


def test_a_map_is_written_where_asked_also_for_cached_code(path: Path) -> None:
    assert load(path)[1] == []
    for _ in range(2):
        done, lines = load(path, LITTORAL_PERF="perfmap")
        assert done.returncode == 0, done.stderr
        rows = dict(line.split(" ", 2)[::2] for line in lines)
        assert any(name.endswith(NAME) for name in rows.values())
        assert all(re.fullmatch("0x[0-9a-f]+", address) for address in rows)


def test_cached_machine_code_names_its_functions(path: Path) -> None:
    load(path)
    (code,) = path.parent.rglob("*.code")
    with code.open("rb") as file:
        names = [symbol.name for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()]
    assert f"wasm[0]::function[2]::{NAME}" in names


def test_another_profiler_is_refused(path: Path) -> None:
    done, _ = load(path, LITTORAL_PERF="gprof")
    assert "`LITTORAL_PERF` is `gprof`, must be perfmap or jitdump" in done.stderr


def test_names_tell_of_layers_that_share_a_function_and_are_short() -> None:
    model = compile_model(squeeze_excite(16))
    found = re.findall(rb"[a-z-]+(?:\.[0-9x]+)?@[\w./:+-]+", model.wasm)
    assert NAME.encode() in found
    assert all(len(name) <= LAYER_LETTERS_MAX + 40 for name in found)
