"""`littoral explain`: layers, what was fused and why not, memory, machine code."""

import platform
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import littoral
from command import littoral as cli
from littoral.cli.memory_map import ROWS, memory_map, memory_text
from littoral.compiler.driver import compile_model, planned
from littoral.compiler.passes import PASSES
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


ROW = {"name", "kernel", "tile", "output", "macs", "weights_bytes", "code_bytes", "function", "fused", "not_fused"}


def test_the_rows_are_a_contract(source: Path) -> None:
    rows = cli("explain", source, "--json").json
    assert all(row.keys() == ROW for row in rows)
    (row,) = cli("explain", source, "--layer", "mul_2", "--wat", "--json").json
    assert row.keys() == ROW | {"wat"}
    assert row["wat"].startswith("(func $gemm.4x8@mul_2 (param i32)")


def test_a_compiled_model_tells_what_it_knows(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.wasm"
    littoral.compile(source).save(path)
    by_model, by_file = cli("explain", source, "--wat", "--json").json, cli("explain", path, "--wat", "--json").json
    unknown = {"output": None, "fused": None, "not_fused": None}
    for ours, told in zip(by_model, by_file, strict=True):
        tile = ours["tile"].partition(",")[0]
        assert told | {"code_bytes": 0} == ours | unknown | {"tile": tile, "code_bytes": 0}
        assert 0 < ours["code_bytes"] - told["code_bytes"] <= 5  # the length before the body
    assert "gemm       4×8" in cli("explain", path).out
    memory = cli("explain", path, "--memory", "--json").json["memory"]
    assert [b["name"] for b in memory["buffers"]] == ["x", "gemm_16"]
    assert "arena" in cli("explain", path, "--memory").out
    need(platform.machine() in ("x86_64", "aarch64"), "an x86-64 or aarch64 machine")
    assert "ret" in cli("explain", path, "--layer", "mul_2", "--asm", "--json").json[0]["asm"]
    assert "its graph is gone" in cli("explain", path, "--after", "import").err


def test_graphs_as_data(source: Path) -> None:
    graph = cli("explain", source, "--after", "fuse-epilogues", "--layer", "mul_2", "--json").json
    (node,) = graph["nodes"]
    assert node.keys() == {"op", "about", "inputs", "outputs", "label"}
    assert (node["op"], node["label"], node["inputs"][0][0]) == ("conv", "mul_2", "%")
    assert [row["name"] for row in graph["inputs"]] == ["x"]
    assert cli("explain", source, "--after", "fuse-epilogues", "--layer", "mul_2").out.count(" = ") == 1
    passes = cli("explain", source, "--passes", "--json").json
    assert [row["pass"] for row in passes] == ["import", *PASSES]
    assert f"{passes[-1]['nodes']} nodes after {passes[-1]['pass']}" in cli("explain", source, "--passes").out


def test_a_model_for_several_threads_tells_the_same(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "threaded.wasm"
    littoral.compile(source, threads=2).save(path)
    need(platform.machine() in ("x86_64", "aarch64"), "an x86-64 or aarch64 machine")
    (row,) = cli("explain", path, "--layer", "mul_2", "--wat", "--asm", "--json").json
    assert (row["kernel"], row["tile"]) == ("gemm", "4×8")
    assert "(func $gemm" in row["wat"]
    assert "ret" in row["asm"]
