"""Runs compiled models with a plain Wasmtime, as any host would: nothing of littoral but the manifest's layout."""

import atexit
from collections.abc import Mapping
from typing import Any

import numpy as np
import wasmtime

from littoral.artifact import Manifest, custom_section

_config = wasmtime.Config()
_config.wasm_relaxed_simd = True
ENGINE = wasmtime.Engine(_config)
atexit.register(ENGINE.close)


def run_bare(wasm: bytes, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs by name."""
    section = custom_section(wasm, "littoral.model")
    assert section is not None
    variant = Manifest.decode(section).variants[0]
    store = wasmtime.Store(ENGINE)
    exports = wasmtime.Instance(store, wasmtime.Module(ENGINE, wasm), []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (exports["memory"].data_len(store),))

    def view(port: Any) -> Any:
        return memory[port.offset : port.offset + port.bytes].view(port.dtype).reshape(port.shape)

    for port in variant.inputs:
        assert feeds[port.name].shape == port.shape
        view(port)[...] = feeds[port.name]
    exports[variant.entry](store)
    return {port.name: view(port).copy() for port in variant.outputs}
