"""Wasmtime, with Python's standard library alone: plain.py CASES OUT."""

import ctypes
import json
import sys
import threading
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi


class SharedMemory(wasmtime.SharedMemory):
    """wasmtime-py's cannot be given to an instance: it hands on a pointer to its pointer."""

    def _as_extern(self) -> ffi.wasmtime_extern_t:
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


def run(engine: wasmtime.Engine, wasm: bytes, case: dict[str, Any], data: bytes) -> bytes:
    store, module = wasmtime.Store(engine), wasmtime.Module(engine, wasm)
    if case["threads"] > 1:
        return run_together(store, module, case, data)
    exports = wasmtime.Instance(store, module, []).exports(store)
    memory: Any = exports["memory"]
    return call(store, exports, view(memory.data_ptr(store), memory.data_len(store)), case, data)


def run_together(store: wasmtime.Store, module: wasmtime.Module, case: dict[str, Any], data: bytes) -> bytes:
    """One instance a thread, over one memory."""
    limits = wasmtime.Limits(case["pages"], case["pages"])
    engine = store.engine
    memory = SharedMemory(engine, wasmtime.MemoryType(limits, shared=True))
    exports: Any = wasmtime.Instance(store, module, [memory]).exports(store)

    def help_with(number: int) -> None:
        own = wasmtime.Store(engine)
        helps: Any = wasmtime.Instance(own, module, [memory]).exports(own)["help"]
        helps(own, number)

    others = [threading.Thread(target=help_with, args=(number,)) for number in range(1, case["threads"])]
    for thread in others:
        thread.start()
    try:
        return call(store, exports, view(memory.data_ptr(), memory.data_len()), case, data)
    finally:
        exports["stop"](store)
        for thread in others:
            thread.join()


def view(pointer: Any, size: int) -> memoryview:
    address = ctypes.cast(pointer, ctypes.c_void_p).value or 0
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")


def call(store: wasmtime.Store, exports: Any, memory: memoryview, case: dict[str, Any], data: bytes) -> bytes:
    at = 0
    for offset, size in case["writes"]:
        memory[offset : offset + size] = data[at : at + size]
        at += size
    exports[case["entry"]](store)
    return b"".join(memory[offset : offset + size] for offset, size in case["reads"])


def main(cases: Path, out: Path) -> None:
    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    config.wasm_threads = config.shared_memory = True
    with wasmtime.Engine(config) as engine:
        for case in json.loads((out / "plan.json").read_text()):
            wasm, data = ((cases / case[part]).read_bytes() for part in ("module", "input"))
            (out / case["output"]).write_bytes(run(engine, wasm, case, data))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
