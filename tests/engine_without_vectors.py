"""Wasmtime with everything off that can be: no SIMD, no bulk memory, no reference types, no multi-value."""

import atexit

import wasmtime
from wasmtime import _bindings

__all__ = ["ENGINE"]

_OFF = (
    "wasm_component_model",
    "wasm_gc",
    "wasm_function_references",
    "wasm_exceptions",
    "wasm_tail_call",
    "wasm_threads",
    "wasm_relaxed_simd",
    "wasm_simd",
    "wasm_reference_types",
    "wasm_bulk_memory",
    "wasm_multi_value",
    "wasm_multi_memory",
)


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    for name in _OFF:
        setattr(config, name, False)
    _bindings.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)  # has no property, needs the others
    return wasmtime.Engine(config)


ENGINE = _engine()
atexit.register(ENGINE.close)
