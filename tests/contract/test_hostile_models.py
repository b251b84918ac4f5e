"""Modules that lie or misbehave: each costs an error, and the process serves on."""

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import littoral
from littoral.artifact import custom_section_bytes
from littoral.errors import ArtifactError, DeadlineError, MemoryCapError, SandboxError, TrapError
from modules_in_text import DOUBLE, X, binary, compiled_here, model, port, variant

FEEDS = {"x": np.arange(4, dtype=np.float32)}
MISBEHAVE = {"x": np.full(4, -1, np.float32)}
LOOP = "(loop $on (br $on))"
RECURSION = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"


def model_that_may(misbehave: str, extra: str = "") -> bytes:
    """y = x + x, or `misbehave` where x[0] < 0."""
    body = f"(if (f32.lt (f32.load (i32.const 1024)) (f32.const 0)) (then {misbehave})) {DOUBLE}"
    return model(body, extra=extra)


@pytest.mark.parametrize(
    "endless",
    [LOOP, "(loop $on (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $on))", "(call $calls)"],
    ids=["loop", "fill", "calls"],
)
def test_an_endless_call_ends_at_its_deadline_and_the_session_serves_on(endless: str) -> None:
    extra = "(func $leaf) (func $calls (loop $on (call $leaf) (br $on)))"
    session = littoral.load(model_that_may(endless, extra), deadline_ms=30)
    with pytest.raises(DeadlineError, match="model `m`: `run` did not finish in 30 ms"):
        session.run(MISBEHAVE)
    assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]
    assert session.statistics().failures == 1


def test_an_endless_start_function_ends_at_the_deadline() -> None:
    with pytest.raises(DeadlineError, match="model `m`: `start` did not finish in 30 ms"):
        littoral.load(model(extra=f"(func $begin {LOOP}) (start $begin)"), deadline_ms=30)


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        ("(drop (i32.load (i32.const 131072)))", "out of bounds memory access"),
        ("(drop (i32.load offset=4294967295 (i32.const -1)))", "out of bounds memory access"),
        ("(unreachable)", "unreachable"),
        ("(drop (i32.div_s (i32.const 1) (i32.load (i32.const 4096))))", "integer divide by zero"),
        ("(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))", "integer overflow"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
        ("(call_indirect (type $t) (i32.const 0))", "uninitialized element"),
        ("(call_indirect (type $t) (i32.const 9))", "out of bounds table access"),
        ("(call_indirect (type $t) (i32.const 1))", "indirect call type mismatch"),
        ("(drop (call $deep (i32.const 0)))", "call stack exhausted"),
    ],
)
@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "guarded"])
def test_a_trap_has_its_code_and_costs_one_instance(misbehave: str, code: str, is_trusted: bool) -> None:
    wasm = model_that_may(misbehave, f"{RECURSION} (type $t (func)) (table 2 funcref) (elem (i32.const 1) $deep)")
    session = littoral.load(compiled_here(wasm) if is_trusted else wasm)
    with pytest.raises(TrapError, match=r"model `m`: `run` trapped in function .*: ") as caught:
        session.run(MISBEHAVE)
    assert caught.value.code == code
    assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]


def test_a_data_segment_outside_memory_is_a_trap_at_the_start() -> None:
    with pytest.raises(TrapError, match=r"model `m`: `start` trapped.*: out of bounds memory access"):
        littoral.load(model(extra='(data (i32.const 131071) "ab")'))


def test_a_model_over_the_memory_cap_does_not_start() -> None:
    wasm = model(pages="32 32")
    with pytest.raises(MemoryCapError, match="model `m`: needs 2097152 bytes of memory to start, may have 1048576"):
        littoral.load(wasm, memory_bytes=1 << 20)
    littoral.load(wasm, memory_bytes=2 << 20).close()


def test_a_table_without_end_is_refused() -> None:
    with pytest.raises(SandboxError, match="table minimum size of 100000000 elements exceeds table limits"):
        littoral.load(model(extra="(table 100000000 funcref)"))


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (b"", "not a WebAssembly module: starts with ``"),
        (b"(module)", "not a WebAssembly module"),
        (b"\0asm\x0d\0\1\0", "not a WebAssembly module"),  # a component
        (b"\0asm\1\0\0\0", "has no section `littoral.model`"),
        (model()[:-3], "cut off"),
        (model() + custom_section_bytes("littoral.model", b"{}"), "2 sections `littoral.model`"),
        (model() + b"\1\5abcde", "WebAssembly module refused"),
        (model("(i32.add (i32.const 1))"[:0]) + b"\x0a\x04\x01\x02\x00\x0b", "WebAssembly module refused"),
    ],
    ids=["empty", "text", "component", "no manifest", "cut off", "two manifests", "garbage", "invalid"],
)
def test_bytes_that_are_no_model_are_refused(wasm: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        littoral.load(wasm)


def test_text_format_is_not_even_parsed() -> None:
    text = '(module (memory (export "memory") 1 1))'
    for source in (text.encode(), bytearray(text.encode())):
        with pytest.raises(ArtifactError, match="not a WebAssembly module"):
            littoral.load(source)


def lie(**manifest: Any) -> bytes:
    return model(**manifest)


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (
            lie(memory={"pages": 3, "weights": [0, 0], "arena": [0, 0]}),
            "exported memory is 131072..131072 bytes, the manifest says 196608",
        ),
        (lie(memory={"pages": 0, "weights": [0, 0], "arena": [0, 0]}), "`memory.pages` is 0"),
        (lie(memory={"pages": 1 << 40, "weights": [0, 0], "arena": [0, 0]}), "`memory.pages` is"),
        (lie(memory={"pages": 2, "weights": [0, 1 << 40], "arena": [0, 0]}), "`memory.weights` lies outside"),
        (lie(variants=[]), "no variants"),
        (lie(variants=[variant("walk")]), "export `walk` is missing"),
        (lie(variants=[variant("memory")]), "export `memory` is missing"),
        (lie(variants=[variant(inputs=[port("x", "float32", [1 << 20], 1024)])]), "lie outside memory"),
        (lie(variants=[variant(inputs=[port("x", "float32", [4], 131072)])]), "lie outside memory"),
        (lie(variants=[variant(inputs=[port("x", "float32", [4], -64)])]), "lie outside memory"),
        (lie(variants=[variant(inputs=[port("x", "float32", [4], 1025)])]), "not aligned"),
        (lie(variants=[variant(inputs=[port("x", "float32", [-4], 1024)])]), "bad shape"),
        (lie(variants=[variant(inputs=[port("x", "float32", [1 << 40, 1 << 40, 0], 1024)])]), "impossible shape"),
        (lie(variants=[variant(inputs=[port("x", "complex64", [4], 1024)])]), "unknown dtype `complex64`"),
        (lie(variants=[variant(inputs=[X, X])]), "names a tensor twice"),
        (lie(variants=[variant(outputs=[port("y", "float32", [4], 1088, dims_offset=131072)])]), "`dims_offset`"),
        (lie(variants=[variant(outputs=[port("y", "float32", [4], 1088, dims_offset=-8)])]), "`dims_offset`"),
        (lie(variants=[variant(), variant()]), "two variants take the same shapes"),
        (lie(variants=[variant(), variant(inputs=[port("z", "float32", [2], 1024)])]), "differ beyond sizes"),
        (lie(variants=[variant(), variant(inputs=[port("x", "int32", [2], 1024)])]), "differ beyond sizes"),
        (lie(format=2), "Invalid value|format"),
        (lie(name=7), "Expected `str`"),
        (model(pages="2 3"), "exported memory is 131072..196608 bytes"),
        (model(pages="2"), "exported memory is 131072.. bytes"),
        (
            model(extra='(func (export "walk") (param i32))', variants=[variant("walk")]),
            r"export `walk` is \(i32\) -> \(\)",
        ),
    ],
)
def test_a_lying_manifest_is_refused_before_an_address_is_used(wasm: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        littoral.load(wasm)


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(manifest: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"`littoral\.model`"):
        littoral.load(binary('(module (memory (export "memory") 1 1))', "littoral.model", manifest))


@pytest.mark.parametrize(
    ("imported", "name"),
    [
        ('(import "env" "f" (func))', "env.f"),
        ('(import "littoral" "log" (func (param i32 i32 i32)))', "littoral.log"),
        ('(import "env" "v" (func (param v128)))', "env.v"),
        ('(import "env" "g" (global i32))', "env.g"),
        ('(import "env" "t" (table 1 funcref))', "env.t"),
    ],
)
def test_a_model_that_imports_is_refused_with_the_name(imported: str, name: str) -> None:
    text = f'(module {imported} (memory (export "memory") 2 2) (func (export "run")))'
    manifest = littoral.Model(model()).manifest.encode()
    with pytest.raises(ArtifactError, match=f"model `m`: imports `{name}`"):
        littoral.load(binary(text, "littoral.model", manifest))


def test_memories_of_other_kinds_are_refused() -> None:
    manifest = littoral.Model(model()).manifest.encode()
    for memory in ("i64 2 2", "2 2 shared"):
        text = f'(module (memory (export "memory") {memory}) (func (export "run")))'
        with pytest.raises(ArtifactError, match="WebAssembly module refused"):
            littoral.load(binary(text, "littoral.model", manifest))
    with pytest.raises(ArtifactError, match="exported memory is none"):
        littoral.load(binary('(module (func (export "run")))', "littoral.model", manifest))


@pytest.mark.parametrize(
    "export",
    [
        '(func (export "v") (param v128) (result v128) (local.get 0))',
        '(global (export "g") v128 (v128.const i64x2 0 0))',
    ],
)
def test_a_v128_in_the_interface_does_not_end_the_process(export: str) -> None:
    with littoral.load(model(extra=export)) as session:
        assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]


def test_memory_grow_stops_at_the_cap() -> None:
    text = """(module (memory (export "memory") 2 2)
      (func (export "run") (i32.store (i32.const 1088) (memory.grow (i32.const 1)))))"""
    manifest = littoral.Model(model(variants=[variant(outputs=[port("y", "int32", [1], 1088)])])).manifest.encode()
    with littoral.load(binary(text, "littoral.model", manifest)) as session:
        assert session.run(FEEDS)["y"].tolist() == [-1]


def test_a_port_may_lie_in_the_last_bytes_of_memory() -> None:
    last = [port("x", "float32", [16], 131072 - 64)], [port("y", "float32", [16], 131072 - 64)]
    with littoral.load(model("", variants=[variant("run", *last)])) as session:
        values = np.arange(16, dtype=np.float32)
        assert session.run({"x": values})["y"].tolist() == values.tolist()


def test_the_abort_that_the_interface_reader_avoids_is_real() -> None:
    """Should wasmtime-py print a `v128` one day, `runtime/interface.py` can go."""
    code = """if True:
        import wasmtime
        text = '(module (func (export "v") (param v128)))'
        str(wasmtime.Module(wasmtime.Engine(), bytes(wasmtime.wat2wasm(text))).exports[0].type.params[0])
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGABRT
