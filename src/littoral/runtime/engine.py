"""The one door to wasmtime's compiler: three engines, and modules as machine code.

*trusted*: no epochs and no fuel, for modules this installation compiled; epochs nearly double a model's inner loops.
*threaded*: as trusted, and with shared memories, for modules made for several threads, which are trusted too.
*guarded*: epochs, so that a deadline stops a guest, for every other module.

Text format never reaches wasmtime, and `Config.target` is never set: a foreign target aborts the process.
"""

import ctypes
import functools
import importlib.metadata
import mmap
import threading
from typing import Literal

import wasmtime
from wasmtime import _ffi as ffi

from littoral.artifact.sections import HEADER
from littoral.errors import ArtifactError, MemoryCapError, SettingError
from littoral.runtime.interface import PAGE_BYTES, Interface, read_interface
from littoral.runtime.printable import printable
from littoral.settings import text

__all__ = [
    "STACK_BYTES_MAX",
    "EngineKind",
    "MachineCode",
    "SharedMemory",
    "compile_module",
    "configuration",
    "engine_version",
    "increment_epoch",
    "machine_code_of",
    "map_machine_code",
    "one_line",
]

EngineKind = Literal["trusted", "threaded", "guarded"]

STACK_BYTES_MAX = 256 << 10
PROFILERS = ("perfmap", "jitdump")

_SETTINGS: dict[str, bool | int | str] = {
    "cranelift_opt_level": "speed",
    "parallel_compilation": True,
    "max_wasm_stack": STACK_BYTES_MAX,
    # The whole 32-bit address space is reserved: the base address is fixed and loads need no bounds check.
    "memory_reservation": 4 << 30,
    "memory_guard_size": 32 << 20,
    "memory_may_move": False,
    "memory_init_cow": True,
    "wasm_simd": True,
    "wasm_relaxed_simd": True,
    "wasm_relaxed_simd_deterministic": False,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_tail_call": False,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_memory64": False,
    "wasm_multi_memory": False,
    "wasm_custom_page_sizes": False,
    "wasm_wide_arithmetic": False,
    "wasm_exceptions": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "wasm_stack_switching": False,
}


def configuration(kind: EngineKind) -> dict[str, bool | int | str]:
    """Every setting of an engine; part of the key under which its machine code is cached."""
    is_threaded = kind == "threaded"
    return _SETTINGS | {
        "epoch_interruption": kind == "guarded",
        "consume_fuel": False,
        "wasm_threads": is_threaded,
        "shared_memory": is_threaded,
    }


_engines: dict[EngineKind, wasmtime.Engine] = {}
_making = threading.Lock()


def _engine(kind: EngineKind) -> wasmtime.Engine:
    with _making:  # one of a kind: a module of one engine in a store of another ends the process
        if kind not in _engines:
            config = wasmtime.Config()
            for name, value in configuration(kind).items():
                setattr(config, name, value)
            _tell_profiler(config)
            _engines[kind] = wasmtime.Engine(config)
        return _engines[kind]


def _tell_profiler(config: wasmtime.Config) -> None:
    """Where asked, every module that is loaded is told to Linux perf; the machine code is the same."""
    profiler = text("LITTORAL_PERF")
    if profiler not in ("", *PROFILERS):
        raise SettingError(f"environment variable `LITTORAL_PERF` is `{profiler}`, must be {' or '.join(PROFILERS)}")
    if profiler:
        config.profiler = profiler


def increment_epoch() -> None:
    """One tick for every deadline in the guarded engine."""
    _engine("guarded").increment_epoch()


@functools.cache
def engine_version() -> str:
    """Version of wasmtime; machine code of one version is nothing to another."""
    return importlib.metadata.version("wasmtime")


class MachineCode:
    """A module compiled for one engine. Immutable, shared by all its instances and threads."""

    def __init__(self, module: wasmtime.Module, kind: EngineKind, interface: Interface) -> None:
        self.module = module
        self.kind: EngineKind = kind
        self.interface = interface

    def store(self) -> wasmtime.Store:
        """A fresh, empty store in the module's engine."""
        return wasmtime.Store(_engine(self.kind))

    def shared_memory(self) -> "SharedMemory":
        """A fresh memory as the module imports it, for a store a thread. Raises ArtifactError where it imports none."""
        if (shape := self.interface.shared) is None or shape.bytes_max is None:
            raise ArtifactError("WebAssembly module: imports no shared memory")
        limits = wasmtime.Limits(shape.bytes_min // PAGE_BYTES, shape.bytes_max // PAGE_BYTES)
        try:
            memory = SharedMemory(_engine(self.kind), wasmtime.MemoryType(limits, shared=True))
            _ask_for_large_pages(memory)
            return memory
        except wasmtime.WasmtimeError as error:
            raise MemoryCapError(f"a shared memory of {shape.bytes_max} bytes: {one_line(error)}") from error

    def serialize(self) -> bytes:
        """The machine code, to be written to a file that `map_machine_code` reads."""
        return bytes(self.module.serialize())


def _ask_for_large_pages(memory: wasmtime.SharedMemory) -> None:
    """Weights are copied in, not mapped: with pages of 2 MiB that takes a third of the time. No is an answer too."""
    if (advice := getattr(mmap, "MADV_HUGEPAGE", None)) is not None:
        address = ctypes.cast(memory.data_ptr(), ctypes.c_void_p)
        ctypes.CDLL(None).madvise(address, ctypes.c_size_t(memory.data_len()), advice)


class SharedMemory(wasmtime.SharedMemory):
    """wasmtime-py's, which cannot be given to an instance as it is: it hands on a pointer to its pointer."""

    def _as_extern(self) -> ffi.wasmtime_extern_t:
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


def compile_module(wasm: bytes, kind: EngineKind) -> MachineCode:
    """Machine code of a binary module; nothing can interrupt it, and its time grows faster than a function's size.

    Raises ArtifactError for text format, components and invalid modules.
    """
    if wasm[: len(HEADER)] != HEADER:
        raise ArtifactError(f"not a WebAssembly module: starts with `{wasm[:8].hex()}`, expected `{HEADER.hex()}`")
    try:
        module = wasmtime.Module(_engine(kind), wasm)
    except wasmtime.WasmtimeError as error:
        raise ArtifactError(f"WebAssembly module refused: {one_line(error)}") from error
    return MachineCode(module, kind, read_interface(wasm))


def machine_code_of(code: bytes, wasm: bytes, kind: EngineKind) -> MachineCode:
    """Machine code that `MachineCode.serialize` gave for this module: **the caller has it from a process of ours**."""
    try:
        return MachineCode(wasmtime.Module.deserialize(_engine(kind), code), kind, read_interface(wasm))
    except wasmtime.WasmtimeError as error:
        raise ArtifactError(f"machine code refused: {one_line(error)}") from error


def map_machine_code(path: str, kind: EngineKind, interface: Interface) -> MachineCode:
    """Machine code in a file, which wasmtime maps as it is: **the caller has proved that we wrote this file**.

    Raises ArtifactError where wasmtime finds it was made by another version or for another machine.
    """
    try:
        return MachineCode(wasmtime.Module.deserialize_file(_engine(kind), path), kind, interface)
    except wasmtime.WasmtimeError as error:
        raise ArtifactError(f"machine code refused: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """wasmtime's message without its line breaks and back trace, safe to show: it may quote names of the module."""
    return printable(" ".join(str(error).split()))
