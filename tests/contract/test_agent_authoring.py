"""What `littoral agent` does without a Rust compiler: crates written, sections written, cases read and held, checks."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.artifact import AgentManifest, custom_section
from littoral.authoring.build import as_agent, build_agent
from littoral.authoring.cases import Case, read_cases, run_cases
from littoral.authoring.check import check_agent, needed_grants
from littoral.authoring.scaffold import Port, new_agent, type_name
from littoral.authoring.toolchain import Toolchain
from littoral.errors import ArtifactError, ConflictError, InputError, NotFoundError, SettingError
from littoral.runtime.agents import Agent
from modules_in_text import ECHO, LOG, agent, binary, packed
from tracked import ROOT

WASI = '(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))'


@pytest.mark.parametrize("takes", ["bytes", "tensors"])
@pytest.mark.parametrize("gives", ["bytes", "tensors"])
def test_a_new_crate_has_all_that_it_is_built_from(tmp_path: Path, takes: Port, gives: Port) -> None:
    folder = tmp_path / "crop-faces"
    files = new_agent("crop-faces", folder, takes=takes, gives=gives)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)
    assert tomllib.loads((folder / "Cargo.toml").read_text())["package"]["name"] == "crop-faces"
    manifest = AgentManifest.decode((folder / "manifest.json").read_bytes())
    assert (manifest.name, manifest.input == "bytes", manifest.output == "bytes") == (
        "crop-faces",
        takes == "bytes",
        gives == "bytes",
    )
    source = (folder / "src/lib.rs").read_text()
    assert "struct CropFaces {" in source
    assert "$" not in source.replace("$type", "")
    assert [case.name for case in read_cases(folder / "tests/cases")] == ["scales", "too-many"]


def test_the_crates_own_sdk_is_the_sdk(tmp_path: Path) -> None:
    new_agent("a", tmp_path / "a")
    theirs = {path.name: path.read_text() for path in (tmp_path / "a/littoral-sdk/src").iterdir()}
    assert theirs == {path.name: path.read_text() for path in (ROOT / "guests/sdk/src").iterdir()}
    ours = tomllib.loads((ROOT / "guests/Cargo.toml").read_text())["workspace"]["package"]
    package = tomllib.loads((tmp_path / "a/littoral-sdk/Cargo.toml").read_text())["package"]
    assert all(package[key] == ours[key] for key in ("version", "edition", "rust-version", "license"))


def test_the_lock_is_sorted_and_has_the_versions_of_the_guests(tmp_path: Path) -> None:
    new_agent("memory-meter", tmp_path / "a")
    mine = tomllib.loads((tmp_path / "a/Cargo.lock").read_text())["package"]
    names = [package["name"] for package in mine]
    assert names == sorted(names)
    known = tomllib.loads((ROOT / "guests/Cargo.lock").read_text())["package"]
    pins = {(package["name"], package["version"], package.get("checksum")) for package in known}
    unknown = [
        package for package in mine if (package["name"], package["version"], package.get("checksum")) not in pins
    ]
    assert unknown == [{"name": "memory-meter", "version": "0.1.0", "dependencies": ["littoral-sdk"]}]


@pytest.mark.parametrize("name", ["", "Crop", "1st", "a b", "a/b", "../a", "x" * 65, "fn", "self", "serde_json", "syn"])
def test_a_name_that_no_crate_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"agent name `{re.escape(name)}`: "):
        new_agent(name, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="is there already"):
        new_agent("a", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_types_are_named_after_the_agent() -> None:
    assert [type_name(name) for name in ("a", "crop-faces", "config", "self", "x_1")] == [
        "A", "CropFaces", "ConfigAgent", "SelfAgent", "X1",
    ]  # fmt: skip


def test_building_what_is_no_crate(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no `Cargo.toml` · hint: make an agent by `littoral agent new NAME`"):
        build_agent(tmp_path)


def test_no_flag_of_the_user_reaches_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_PROFILE_RELEASE_LTO"):
        monkeypatch.setenv(name, "-C debuginfo=2")
    found = Toolchain(Path("rustc"), Path("cargo"), "sources", {}).environment()
    assert [name for name, value in found.items() if value == "-C debuginfo=2"] == []
    flags = found["CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS"]
    assert flags == '-C target-feature=+simd128 --cfg getrandom_backend="custom"'


def test_the_section_says_what_is_imported(tmp_path: Path) -> None:
    wasm, _, manifest = as_agent(agent(imports=LOG + WASI), tmp_path / "manifest.json")
    assert manifest.imports == ("littoral.log", "wasi_snapshot_preview1")
    assert AgentManifest.decode(custom_section(wasm, "littoral.agent") or b"") == manifest
    assert as_agent(wasm, tmp_path)[0] == wasm


def test_a_module_without_a_section_takes_the_file(tmp_path: Path) -> None:
    bare = agent().replace(b"littoral.agent", b"littoral.other")
    with pytest.raises(ArtifactError, match=r"the module has no section `littoral.agent`, and .*manifest.json"):
        as_agent(bare, tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text('{"format": 1, "name": "b", "version": "2"}')
    assert as_agent(bare, tmp_path / "manifest.json")[2].name == "b"


def test_what_no_node_would_load_is_not_built(tmp_path: Path) -> None:
    for wasm, why in [
        (agent(imports='(import "env" "exec" (func))'), r"import `env\.exec` is refused"),
        (binary("(module)", "littoral.agent", {"name": "a", "version": "1"}), "no exported function `alloc`"),
        (agent(deadline_ms=0), "`deadline_ms` is 0"),
    ]:
        with pytest.raises(ArtifactError, match=why):
            as_agent(wasm, tmp_path)


def echo(case: Case) -> Agent:
    refuse = "(if (i32.eqz (local.get $size)) (then (return (i64.const -7))))"
    return Agent.open(agent(refuse + ECHO), case.config, files=case.files)


def test_cases_are_held_against_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "picture.bin").write_bytes(b"\0\xff")
    (tmp_path / "a.json").write_text(
        json.dumps(
            [
                {"input": {"text": "é"}, "output": {"base64": "w6k="}},
                {"name": "file", "input": {"file": "picture.bin"}, "output": {"file": "picture.bin"}},
                {"input": {"text": "x"}, "output": {"text": "y"}},
                {"input": {"text": ""}, "error": {"number": -7, "text": "not my type"}},
                {"input": {"text": ""}, "error": {"number": -6}},
                {"input": {"text": ""}, "output": {"text": ""}},
                {"input": {"text": "x"}, "error": {"number": -7}},
            ]
        )
    )
    (tmp_path / "b.py").write_text(
        "from littoral.authoring.cases import Case\n"
        "def check(answer):\n    assert answer == b'z', 'no z'\n"
        "def cases():\n    yield Case('good', b'z', check=check)\n    yield Case('bad', b'x', check=check)\n"
    )
    results = list(run_cases(read_cases(tmp_path), echo))
    assert [(result.name, result.why) for result in results] == [
        ("a[0]", ""),
        ("file", ""),
        ("a[2]", "answer b'x', expected b'y'"),
        ("a[3]", ""),
        ("a[4]", "error -7, expected -6: agent `a`: not my type"),
        ("a[5]", "agent `a`: not my type (AgentError)"),
        ("a[6]", "an answer, expected error -7"),
        ("good", ""),
        ("bad", "check failed: no z"),
    ]


def test_tensors_are_compared_by_type_shape_and_value() -> None:
    values = [{"name": "x", "dtype": "float32", "shape": [-1]}]
    frame = ECHO  # the same frame comes back
    x = np.array([1, 2], "<f4")

    def outcome(wanted: Any, tolerance: float = 0.0) -> str:
        case = Case("c", {"x": x}, {"x": wanted}, tolerance=tolerance)
        (result,) = run_cases([case], lambda _: Agent.open(agent(frame, input=values, output=values)))
        return result.why

    assert outcome(x) == ""
    assert outcome(x + np.float32(0.5), 0.5) == ""
    assert outcome(x + np.float32(0.5)) == "`x`[0] is 1.0, expected 1.5 within 0"
    assert outcome(x.astype("<f8")) == "`x` is float32[2], expected float64[2]"
    assert outcome(x[:1]) == "`x` is float32[2], expected float32[1]"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Input data was truncated"),
        ('{"input": {"text": "x"}}', "`a` expects nothing"),
        ('{"input": {}, "output": {"text": ""}}', "must have one of `text`, `base64`, `file` and `tensors`"),
        ('{"input": {"text": "x", "base64": ""}, "output": {"text": ""}}', "must have one of"),
        ('{"input": {"base64": "?"}, "output": {"text": ""}}', "`a`: `input`"),
        ('{"input": {"text": ""}, "error": {"number": 5}}', "-1"),
        ('{"inptu": {}, "output": {"text": ""}}', "inptu"),
        ('{"input": {"tensors": {"x": {"dtype": "f4", "shape": [], "data": []}}}, "error": {"number": -1}}', "`f4`"),
        ('{"input": {"tensors": {"x": {"dtype": "int8", "shape": [3], "data": [1]}}}, "error": {"number": -1}}', "`x`"),
        (
            '{"input": {"tensors": {"x": {"dtype": "int8", "shape": [1], "data": [900]}}}, "error": {"number": -1}}',
            "90",
        ),
    ],
)
def test_a_wrong_case_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_cases(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in caught.value.message
    assert why in caught.value.message
    with pytest.raises(NotFoundError):
        read_cases(tmp_path / "b.json")


def test_check_says_what_a_node_would(tmp_path: Path) -> None:
    path = tmp_path / "a.wasm"
    path.write_bytes(agent(imports=LOG + WASI, config={"type": "object"}))
    assert needed_grants(path) == ("wasi_snapshot_preview1",)
    checked = check_agent(path)
    assert (checked.name, checked.version, checked.takes, checked.gives) == ("a", "1.0.0", "bytes", "bytes")
    assert checked.imports == ("littoral.log", "wasi_snapshot_preview1.sched_yield")
    assert (checked.memory_bytes, checked.memory_bytes_max, checked.deadline_ms) == (2 << 16, 1 << 20, 1000)
    assert checked.is_configurable
    with pytest.raises(ArtifactError, match=r'is not granted · hint: `grants = \["wasi_snapshot_preview1"\]`'):
        check_agent(path, grants=[])
    with pytest.raises(SettingError, match="grant `files` is unknown"):
        check_agent(path, grants=["files"])
    path.write_bytes(agent(init="(i32.const -4)", last_error=packed(16, 11)))
    with pytest.raises(Exception, match="agent `a`: not my type"):
        check_agent(path)
