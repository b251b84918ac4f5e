"""Models and agents written in text format, with the manifests that make them one."""

import json
from typing import Any

import wasmtime

from littoral.artifact import Store, custom_section_bytes, digest

PAGE = 65536


def binary(text: str, section: str, manifest: object) -> bytes:
    """A binary module with one custom section; `manifest` as JSON unless it is bytes."""
    payload = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    return bytes(wasmtime.wat2wasm(text)) + custom_section_bytes(section, payload)


def port(name: str, dtype: str, shape: list[int], offset: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape, "offset": offset, **more}


X = port("x", "float32", [4], 1024)
Y = port("y", "float32", [4], 1088)
DOUBLE = """(v128.store (i32.const 1088) (f32x4.add (v128.load (i32.const 1024)) (v128.load (i32.const 1024))))"""


def variant(entry: str = "run", inputs: Any = (X,), outputs: Any = (Y,), **key: int) -> dict[str, Any]:
    return {"entry": entry, "key": key, "inputs": list(inputs), "outputs": list(outputs)}


def model(
    body: str = DOUBLE,
    *,
    pages: str = "2 2",
    extra: str = "",
    variants: Any = None,
    section: str = "littoral.model",
    **manifest: Any,
) -> bytes:
    """A model whose `run` is `body`; by default y = x + x for float32[4]."""
    about = {
        "format": 1,
        "name": "m",
        "version": "1.0.0",
        "compiler": "by hand",
        "target": "simd128",
        "threads": 1,
        "source_sha256": "",
        "memory": {"pages": int(pages.split(maxsplit=1)[0]), "weights": [0, 0], "arena": [1024, 4096]},
        "variants": [variant()] if variants is None else variants,
        "layers": [],
    }
    text = f'(module (memory (export "memory") {pages}) (func (export "run") {body}) {extra})'
    return binary(text, section, about | manifest)


def compiled_here(wasm: bytes) -> bytes:
    """As if this installation had compiled the module: it runs in the engine without epochs."""
    Store().record(digest(wasm))
    return wasm


ALLOC = """(local $at i32)
  (local.set $at (global.get $top))
  (global.set $top (i32.add (global.get $top) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -16))))
  (local.get $at)"""
ECHO = """(i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))"""
LOG = '(import "littoral" "log" (func $log (param i32 i32 i32)))'


def packed(pointer: int, length: int) -> str:
    return f"(i64.const {pointer << 32 | length})"


def agent(
    infer: str = ECHO,
    *,
    alloc: str = ALLOC,
    init: str = "(i32.const 0)",
    reset: str = "(global.set $top (i32.const 4096))",
    last_error: str = packed(16, 11),
    memory: str = "2 16",
    imports: str = "",
    extra: str = "",
    **manifest: Any,
) -> bytes:
    """An agent; by default it gives back the bytes that it gets. Its `last_error` is `not my type`."""
    text = f"""(module {imports}
      (memory (export "memory") {memory})
      (global $top (mut i32) (i32.const 4096))
      (data (i32.const 16) "not my type")
      (func (export "alloc") (param $size i32) (result i32) {alloc})
      (func (export "reset") {reset})
      (func (export "init") (param $at i32) (param $size i32) (result i32) {init})
      (func (export "infer") (param $at i32) (param $size i32) (result i64) {infer})
      (func (export "last_error") (result i64) {last_error})
      {extra})"""
    about = {"format": 1, "name": "a", "version": "1.0.0", "memory_bytes_max": 16 * PAGE, "deadline_ms": 1000}
    return binary(text, "littoral.agent", about | manifest)
