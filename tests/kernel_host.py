"""Runs one kernel alone on float32 arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import wasmtime

from littoral.compiler.kernels import Kernel
from littoral.compiler.wasm import Module
from model_host import ENGINE

CANARY = 1234.5


def run(kernel: Kernel, inputs: Sequence[Any], out_shape: Sequence[int], scratch: str = "scratch") -> np.ndarray:
    """Runs a kernel on float32 arrays; its output lies between canaries that must survive."""
    module = Module()
    module.add(kernel.function("kernel"), export="kernel")
    at, addresses, contents = 1024, [], []
    for array in inputs:
        addresses.append(at)
        contents.append((at, np.ascontiguousarray(array)))
        at += -(-array.nbytes // 64) * 64 + 64
    out, size = at + 64, int(np.prod(out_shape)) * 4
    scratch_at = out + size + 256
    pages = (scratch_at + kernel.scratch_bytes) // 65536 + 2
    store = wasmtime.Store(ENGINE)
    exports = wasmtime.Instance(store, wasmtime.Module(ENGINE, module.encode(pages, None)), []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (exports["memory"].data_len(store),))
    memory[1024:].view(np.float32)[:] = CANARY
    for address, array in contents:
        memory[address : address + array.nbytes] = array.reshape(-1).view(np.uint8)
    exports["kernel"](store, *addresses, out, *([scratch_at] if scratch in kernel.params else []))
    assert (memory[out - 64 : out].view(np.float32) == CANARY).all(), "wrote before its output"
    assert (memory[out + size : out + size + 64].view(np.float32) == CANARY).all(), "wrote past its output"
    return memory[out : out + size].view(np.float32).reshape(out_shape).copy()
