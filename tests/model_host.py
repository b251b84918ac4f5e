"""Runs compiled models with a plain Wasmtime, as any host would: nothing of littoral but the manifest's layout."""

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import wasmtime

from littoral.artifact import Manifest, custom_section
from littoral.tensors import DTYPES, element_count

_config = wasmtime.Config()
_config.wasm_relaxed_simd = True
ENGINE = wasmtime.Engine(_config)
atexit.register(ENGINE.close)


def run_bare(
    wasm: bytes, feeds: Mapping[str, Any], entries: Sequence[str] | None = None, engine: wasmtime.Engine = ENGINE
) -> dict[str, Any]:
    """Outputs by name. entries: exports to call in order, instead of the variant's own."""
    section = custom_section(wasm, "littoral.model")
    assert section is not None
    variant = Manifest.decode(section).variants[0]
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, wasm), []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (exports["memory"].data_len(store),))

    def view(port: Any, shape: Sequence[int]) -> Any:
        storage = DTYPES[port.dtype].storage
        size = element_count(shape) * storage.itemsize
        return memory[port.offset : port.offset + size].view(storage).reshape(shape)

    def actual(port: Any) -> list[int]:
        at = port.dims_offset
        return port.shape if at is None else memory[at : at + 8 * len(port.shape)].view(np.int64).tolist()

    for port in variant.inputs:
        assert feeds[port.name].shape == port.shape
        view(port, port.shape)[...] = feeds[port.name]
    for entry in [variant.entry] if entries is None else entries:
        exports[entry](store)
    return {port.name: view(port, actual(port)).copy() for port in variant.outputs}
