"""Modules from elsewhere are compiled within time and memory, whatever they hold; what is small, or ours, at once."""

import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

import littoral
from littoral.artifact.manifest import AGENT_SECTION
from littoral.artifact.sections import with_custom_section
from littoral.errors import ArtifactError, SetupError
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.runtime import foreign_code
from littoral.runtime.agents import Agent
from littoral.runtime.foreign_code import CODE_BYTES_MAX, STRANGERS, check_code_size, compile_foreign
from littoral.runtime.sandbox import Guest, Limits
from modules_in_text import DOUBLE, agent, model
from quadratic_modules import quadratic_module

CHEWED_ON = quadratic_module(64 << 10)
LARGE = "(nop)" * 20_000
ENDS_WITHIN_S = 100


def test_a_compiler_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(ArtifactError, match=r"not compiled in 1 s.*compile = \{ time_s") as caught:
        compile_foreign(CHEWED_ON, STRANGERS._replace(time_s=1))
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert caught.value.hint is not None


def test_a_compiler_that_takes_too_much_memory_is_ended() -> None:
    with pytest.raises(ArtifactError, match="its compiler needs more than 160 MiB"):
        compile_foreign(CHEWED_ON, STRANGERS._replace(memory_bytes=160 << 20))


def test_many_functions_share_the_bounds() -> None:
    with pytest.raises(ArtifactError, match="its compiler needs more than 160 MiB|not compiled in 5 s"):
        compile_foreign(quadratic_module(12 << 10, 500), STRANGERS._replace(memory_bytes=160 << 20, time_s=5))


@pytest.mark.parametrize("text", [LARGE, ""])
def test_a_model_from_elsewhere_computes_the_same(text: str) -> None:
    with littoral.load(model(text + DOUBLE)) as session:
        assert (session.engine, session.is_cached) == ("guarded", False)
        assert session.run({"x": np.arange(4, dtype=np.float32)})["y"].tolist() == [0, 2, 4, 6]
    with littoral.load(model(text + DOUBLE)) as session:
        assert session.is_cached


def test_what_wasmtime_refuses_is_told_as_ever() -> None:
    damaged = bytearray(quadratic_module(16 << 10))
    damaged[-3] = 0xFF
    with pytest.raises(ArtifactError, match=r"^WebAssembly module refused: .*unknown local"):
        compile_foreign(bytes(damaged), STRANGERS)


def test_small_modules_and_ours_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", os.devnull)
    compile_foreign(quadratic_module(4 << 10), STRANGERS)
    Agent.open(agent()).close()
    Agent.open("builtin:image", {"width": 8, "height": 8}).close()
    with pytest.raises(SetupError, match="no process to compile a module from elsewhere in"):
        compile_foreign(quadratic_module(12 << 10), STRANGERS)


def test_a_compiler_that_fails_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ArtifactError, match="its compiler failed: exit code 1"):
        compile_foreign(quadratic_module(12 << 10), STRANGERS)


def test_code_is_bounded_and_the_table_can_raise_it() -> None:
    wasm = quadratic_module(4 << 10, 300)
    with pytest.raises(ArtifactError, match=r"code of \d+ bytes, at most 1048576 .* `compile = \{ code_mb = 2 \}`"):
        compile_foreign(wasm, STRANGERS._replace(code_bytes=1 << 20))
    assert check_code_size(wasm) > 1 << 20
    with pytest.raises(ArtifactError, match=f"at most {CODE_BYTES_MAX}$"):
        check_code_size(quadratic_module(1 << 20, 66))


def test_the_machine_code_does_the_same_as_if_compiled_here(monkeypatch: pytest.MonkeyPatch) -> None:
    wasm = agent(extra=f"(func {LARGE})")
    elsewhere = compile_foreign(wasm, STRANGERS)
    monkeypatch.setattr(foreign_code, "SMALL_SQUARES", 1 << 60)
    here = compile_foreign(wasm, STRANGERS)
    assert elsewhere.interface == here.interface
    assert elsewhere.serialize() == here.serialize()
    Guest(elsewhere, Limits(1 << 20, 1000), name="guest", imports={}).close()


@pytest.mark.parametrize(
    ("wasm", "told", "said"),
    [
        (CHEWED_ON, "time_s = 1", "not compiled in 1 s"),
        (CHEWED_ON, "memory_mb = 160", "needs more than 160 MiB"),
        (quadratic_module(4 << 10, 300), "code_mb = 1", r"code of \d+ bytes, at most 1048576"),
    ],
    ids=["time", "memory", "code"],
)
def test_a_site_file_sets_the_bounds_of_an_agent(wasm: bytes, told: str, said: str, tmp_path: Path) -> None:
    manifest = msgspec.json.encode({"format": 1, "name": "chewed on", "version": "1"})
    (tmp_path / "a.wasm").write_bytes(with_custom_section(wasm, AGENT_SECTION, manifest))
    site = tmp_path / "site.toml"
    site.write_text(f'[agents.a]\npath = "a.wasm"\ncompile = {{ {told} }}\n')
    with pytest.raises(ArtifactError, match=f"`agents.a`.*{said}"):
        check_site(read_site(site))
