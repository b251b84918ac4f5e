"""Modules to measure with, made here: a model with as many weights as one likes, and an agent that echoes."""

import json

import wasmtime

from littoral.artifact import Store, custom_section_bytes, digest
from littoral.artifact.sections import leb_u32

__all__ = ["echo_agent", "model_of"]

WEIGHTS_AT = 1024
PAGE_BYTES = 65536
LAYERS = 100


def model_of(weights_bytes: int) -> bytes:
    """y = x + w for float32[4], with `weights_bytes` of weights, compiled "here": it runs trusted."""
    arena = -(-(WEIGHTS_AT + weights_bytes) // 64) * 64
    pages = (arena + 4 * PAGE_BYTES) // PAGE_BYTES
    text = f"""(module (memory (export "memory") {pages} {pages})
      (func (export "run") (v128.store (i32.const {arena + 64})
        (f32x4.add (v128.load (i32.const {arena})) (v128.load (i32.const {WEIGHTS_AT}))))))"""
    manifest = {
        "format": 1,
        "name": "weights",
        "version": "1.0.0",
        "compiler": "bench",
        "target": "simd128",
        "threads": 1,
        "source_sha256": "",
        "memory": {"pages": pages, "weights": [WEIGHTS_AT, weights_bytes], "arena": [arena, 4096]},
        "variants": [
            {
                "entry": "run",
                "key": {},
                "inputs": [{"name": "x", "dtype": "float32", "shape": [4], "offset": arena}],
                "outputs": [{"name": "y", "dtype": "float32", "shape": [4], "offset": arena + 64}],
            }
        ],
        "layers": [{"name": f"layer.{i}", "kind": "conv", "function": 0, "macs": 1, "bytes": 1} for i in range(LAYERS)],
    }
    wasm = bytes(wasmtime.wat2wasm(text))
    wasm += _data_section(WEIGHTS_AT, bytes(range(256)) * (weights_bytes // 256))
    wasm += custom_section_bytes("littoral.model", json.dumps(manifest).encode())
    Store().record(digest(wasm))
    return wasm


def _data_section(address: int, data: bytes) -> bytes:
    body = b"\1\0\x41" + _leb_i32(address) + b"\x0b" + leb_u32(len(data)) + data
    return b"\x0b" + leb_u32(len(body)) + body


def _leb_i32(value: int) -> bytes:
    out = bytearray()
    while not 0 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def echo_agent(tensors: list[dict[str, object]] | None = None) -> bytes:
    """Gives back the bytes it gets; `tensors`: what it says they are."""
    text = """(module (memory (export "memory") 64 64) (global $top (mut i32) (i32.const 1024))
      (func (export "alloc") (param $size i32) (result i32) (local $at i32)
        (local.set $at (global.get $top))
        (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
        (local.get $at))
      (func (export "reset") (global.set $top (i32.const 1024)))
      (func (export "init") (param i32 i32) (result i32) (i32.const 0))
      (func (export "infer") (param $at i32) (param $size i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size))))
      (func (export "last_error") (result i64) (i64.const 0)))"""
    manifest = {"format": 1, "name": "echo", "version": "1.0.0", "memory_bytes_max": 64 * PAGE_BYTES}
    manifest |= {"output": tensors or "bytes"}
    return bytes(wasmtime.wat2wasm(text)) + custom_section_bytes("littoral.agent", json.dumps(manifest).encode())
