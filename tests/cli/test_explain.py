"""`littoral explain`: layers, what was fused and why not, memory, machine code."""

import platform
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from command import littoral as cli
from littoral.cli.memory_map import ROWS, memory_map, memory_text
from littoral.compiler.driver import compile_model, planned
from littoral.errors import SetupError
from littoral.quality.assembly import assembly_of
from needs import need
from onnx_models import NETWORKS, squeeze_excite


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "small.onnx"
    path.write_bytes(squeeze_excite(16))
    return path


@pytest.fixture(scope="module")
def rows(source: Path) -> dict[str, Any]:
    return {row["name"]: row for row in cli("explain", source, "--json").json}


def test_a_layer_tells_what_was_fused_into_it(rows: dict[str, Any]) -> None:
    assert rows["mul_2"]["fused"] == ["conv_0", "sigmoid_1", "mul_2"]
    assert (rows["mul_2"]["kernel"], rows["mul_2"]["tile"]) == ("gemm", "4×8, 13 packed")
    assert rows["gemm_16"]["fused"] == []


def test_a_layer_tells_what_was_not_fused_and_why(rows: dict[str, Any]) -> None:
    assert rows["mul_12"]["not_fused"] == [
        {"before": "sigmoid_11", "why": "it gives [1, 1, 1, 12], read for each of [1, 16, 16, 12]"},
        {"before": "mul_5", "why": "what it gives is read 2 times"},
    ]


def test_people_read_the_same(source: Path) -> None:
    done = cli("explain", source, "--layer", "mul")
    assert done.code == 0, done.err
    assert "mul_2  = conv_0 + sigmoid_1 + mul_2" in done.out
    assert "not one with mul_5: what it gives is read 2 times" in done.out


@pytest.mark.parametrize("name", NETWORKS)
def test_no_two_buffers_that_live_together_overlap(name: str) -> None:
    layout = planned(NETWORKS[name]()).layouts[0]
    found = memory_map(layout)
    start, size = found["arena"]
    assert found["buffers"]
    for b in found["buffers"]:
        assert start <= b["address"] <= b["address"] + b["bytes"] <= start + size
        assert -1 <= b["first"] <= b["last"] <= found["layers"]
    for a, b in combinations(found["buffers"], 2):
        lives_apart = a["last"] < b["first"] or b["last"] < a["first"]
        lies_apart = a["address"] + a["bytes"] <= b["address"] or b["address"] + b["bytes"] <= a["address"]
        assert lives_apart or lies_apart, (a, b)


def test_the_memory_map_is_that_of_the_manifest(source: Path) -> None:
    found = cli("explain", source, "--memory", "--json").json["memory"]
    memory = compile_model(source).manifest.memory
    assert found["bytes"] == memory.pages * 65536
    assert (tuple(found["constants"]), tuple(found["arena"])) == (memory.weights, memory.arena)


def test_the_picture_has_every_large_buffer(source: Path) -> None:
    found = memory_map(planned(source).layouts[0])
    picture = memory_text(found).splitlines()
    drawn = [line.split()[1] for line in picture[3 : 3 + ROWS]]
    assert {len(line) for line in drawn} == {found["layers"]}
    letters = {line.split()[0] for line in picture[4 + ROWS :]}
    assert set("".join(drawn)) <= letters | {"·"}
    assert len(picture) == 4 + ROWS + len(found["buffers"])
    assert memory_text(found) in cli("explain", source, "--memory").out


def test_machine_code_of_a_layer(source: Path) -> None:
    need(platform.machine() in ("x86_64", "aarch64"), "an x86-64 or aarch64 machine")
    done = cli("explain", source, "--layer", "mul_2", "--asm")
    assert done.code == 0, done.err
    assert "ret" in done.out
    if platform.machine() == "x86_64":
        assert "mulps" in done.out


def test_machine_code_needs_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    need(platform.machine() in ("x86_64", "aarch64"), "an x86-64 or aarch64 machine")
    model = compile_model(squeeze_excite(16))
    for package, module in (("pyelftools", "elftools.elf.elffile"), ("capstone", "capstone")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SetupError, match=f"needs the package `{package}` · hint: install the extra"):
            assembly_of(model.wasm)
