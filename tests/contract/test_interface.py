"""The reader of imports and exports: right for modules, bounded and clear for any other bytes."""

import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import ArtifactError
from littoral.runtime.interface import Import, MemoryShape, body_sizes, read_interface
from modules_in_text import agent, model


def interface_of(text: str) -> object:
    return read_interface(bytes(wasmtime.wat2wasm(text)))


def test_every_kind_of_import_and_export_is_read() -> None:
    interface = read_interface(
        bytes(
            wasmtime.wat2wasm(
                """(module
      (import "a" "f" (func (param i32 i64) (result f32)))
      (import "a" "t" (table 1 2 funcref))
      (import "a" "m" (memory 1 2))
      (import "a" "g" (global (mut v128)))
      (import "é" "" (func (param externref) (result i32 v128)))
      (func $own (param f64))
      (export "own" (func $own))
      (export "again" (func 0))
      (export "memory" (memory 0)))"""
            )
        )
    )
    assert interface.imports == (
        Import("a", "f", "(i32, i64) -> f32"),
        Import("a", "t", "table"),
        Import("a", "m", "memory"),
        Import("a", "g", "global"),
        Import("é", "", "(externref) -> (i32, v128)"),
    )
    assert interface.functions == {"own": "(f64) -> ()", "again": "(i32, i64) -> f32"}
    assert interface.memory == MemoryShape(65536, 131072)


def test_a_memory_counts_only_under_its_name_and_may_have_no_end() -> None:
    assert read_interface(model(pages="3")).memory == MemoryShape(3 * 65536, None)
    text = '(module (memory 1) (export "mem" (memory 0)))'
    assert read_interface(bytes(wasmtime.wat2wasm(text))).memory is None


def test_it_agrees_with_wasmtime_on_real_modules() -> None:
    for wasm in (model(), agent()):
        module = wasmtime.Module(wasmtime.Engine(), wasm)
        exported = {e.name for e in module.exports if isinstance(e.type, wasmtime.FuncType)}
        assert read_interface(wasm).functions.keys() == exported


def test_sizes_of_bodies_are_found() -> None:
    small, large = model("(nop)"), model("(nop)" * 1000)
    assert max(body_sizes(large)) - max(body_sizes(small)) == 999
    assert body_sizes(model("", extra="(func) (func)")) == [2, 2, 2]
    assert body_sizes(b"\0asm\1\0\0\0") == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_that_are_no_module_are_refused_and_nothing_else(data: st.DataObject) -> None:
    wasm = bytearray(data.draw(st.sampled_from([model(), agent()])))
    for _ in range(data.draw(st.integers(1, 4))):
        wasm[data.draw(st.integers(8, len(wasm) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(wasm[: data.draw(st.integers(8, len(wasm)))])
    try:
        read_interface(cut)
        body_sizes(cut)
    except ArtifactError:
        pass
