"""Guests in their box: one instance per store, with a memory cap, a stack cap and, in the guarded engine, a deadline.

Whatever a guest does costs its caller an error and the instance its life, never the process.
"""

import ctypes
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import wasmtime
from wasmtime import _ffi as ffi
from wasmtime import _func as wasmtime_func

from littoral.errors import (
    ArtifactError,
    DeadlineError,
    MemoryCapError,
    SandboxError,
    TrapError,
    UnavailableError,
)
from littoral.runtime.engine import MachineCode, SharedMemory, increment_epoch, one_line
from littoral.runtime.epochs import EpochTicker
from littoral.runtime.interface import Import
from littoral.runtime.printable import printable
from littoral.runtime.thread_stack import require_stack
from littoral.tensors import Array

__all__ = ["TICKER", "Guest", "HostFunction", "Limits"]

TABLE_ELEMENTS_MAX = 100_000
TABLES_MAX = 4
# A guest that traps with this share of its cap in use ran out of memory: allocators trap when `memory.grow` is refused.
NEAR_CAP = 7 / 8

TICKER = EpochTicker(increment_epoch)

_TRAPS = {
    "STACK_OVERFLOW": "call stack exhausted",
    "MEMORY_OUT_OF_BOUNDS": "out of bounds memory access",
    "TABLE_OUT_OF_BOUNDS": "out of bounds table access",
    "INDIRECT_CALL_TO_NULL": "uninitialized element",
    "BAD_SIGNATURE": "indirect call type mismatch",
    "INTEGER_DIVISION_BY_ZERO": "integer divide by zero",
    "BAD_CONVERSION_TO_INTEGER": "invalid conversion to integer",
}


class Limits(NamedTuple):
    """What a guest may use. `deadline_ms` is per call, and holds in the guarded engine only."""

    memory_bytes: int
    deadline_ms: int

    def shortened(self, deadline_ms: int | None) -> "Limits":
        """With the nearer of the two deadlines."""
        return self if deadline_ms is None else self._replace(deadline_ms=min(self.deadline_ms, deadline_ms))


class HostFunction(NamedTuple):
    """A function given to a guest, of integers and with one i32 or no result; it must not raise.

    call: gets the guest's memory as uint8[n] (valid during the call) and the guest's arguments.
    """

    signature: str
    call: Callable[..., int | None]


class Guest:
    """One module instantiated in its own store. For one thread at a time; useless after its first failure.

    name: opens every message, such as ``agent `decode` ``. imports: by `module.name`. shared: the memory for a module
    that imports one; other guests on other threads may have the same.
    Raises MemoryCapError, DeadlineError, TrapError or SandboxError where the module does not start, ArtifactError for
    an import that is not given, SetupError on a thread with a small stack.
    """

    def __init__(
        self,
        code: MachineCode,
        limits: Limits,
        *,
        name: str,
        imports: Mapping[str, HostFunction] | None = None,
        shared: SharedMemory | None = None,
    ) -> None:
        require_stack()
        self.name = name
        self.limits = limits
        self.is_broken = False
        self._is_guarded = code.kind == "guarded"
        self._shared = shared
        self._memory: wasmtime.Memory | None = None
        self._view: Array | None = None
        self._view_span = (0, -1)
        self._exports: Mapping[str, object] = {}
        self._signatures = code.interface.functions
        self._functions: dict[str, _Function] = {}
        shape = code.interface.memory
        if shape is not None and shape.bytes_min > limits.memory_bytes:
            raise MemoryCapError(
                f"{name}: needs {shape.bytes_min} bytes of memory to start, may have {limits.memory_bytes}"
            )
        self._can_grow = shape is not None and shape.bytes_max != shape.bytes_min
        self._store = code.store()
        self._store.set_limits(
            memory_size=limits.memory_bytes,
            table_elements=TABLE_ELEMENTS_MAX,
            instances=1,
            tables=TABLES_MAX,
            memories=1,
        )
        given = [self._given(wanted, imports or {}) for wanted in code.interface.imports]
        self._exports = self._instantiate(code, given)
        if isinstance(memory := self._exports.get("memory"), wasmtime.Memory):
            self._memory = memory

    def _given(self, wanted: Import, imports: Mapping[str, HostFunction]) -> wasmtime.Func | SharedMemory:
        if self._shared is not None and wanted.signature == "shared memory":
            return self._shared
        return self._host_function(wanted, imports)

    def _host_function(self, wanted: Import, given: Mapping[str, HostFunction]) -> wasmtime.Func:
        if (host := given.get(wanted.key)) is None:
            raise ArtifactError(f"{self.name}: import `{wanted}` is not offered")
        if host.signature != wanted.signature:
            raise ArtifactError(f"{self.name}: import `{wanted}` is {wanted.signature}, offered {host.signature}")
        kinds, results = ([getattr(wasmtime.ValType, kind)() for kind in part] for part in _kinds(host.signature))

        def call(caller: wasmtime.Caller, *values: int) -> int | None:
            memory = caller.get("memory")
            return host.call(_view(*_span(memory, caller)) if isinstance(memory, wasmtime.Memory) else _NONE, *values)

        return wasmtime.Func(self._store, wasmtime.FuncType(kinds, results), call, access_caller=True)

    def _instantiate(self, code: MachineCode, imports: list[wasmtime.Func | SharedMemory]) -> Mapping[str, object]:
        try:
            if self._is_guarded:
                self._store.set_epoch_deadline(EpochTicker.ticks_for(self.limits.deadline_ms))
                with TICKER:
                    instance = wasmtime.Instance(self._store, code.module, imports)
            else:
                instance = wasmtime.Instance(self._store, code.module, imports)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            failure = self._failure("start", error)
            self.close()
            raise failure from error
        return instance.exports(self._store)

    def call_anyway(self, entry: str, *values: int) -> int:
        """Calls an export of any guest, on any thread: what it does must need next to no stack."""
        return self._call(entry, values)

    def call(self, entry: str, *values: int) -> int:
        """Calls an export with integers; its result, or 0. Raises TrapError, DeadlineError or MemoryCapError."""
        require_stack()
        if self.is_broken:
            raise UnavailableError(f"{self.name}: this instance has failed or is closed")
        return self._call(entry, values)

    def call_after_failure(self, entry: str, *values: int) -> int:
        """Calls an export of a guest that has failed, to hear its last words. It stays broken."""
        try:
            return self._call(entry, values)
        finally:
            self.is_broken = True

    def _call(self, entry: str, values: tuple[int, ...]) -> int:
        function = self._functions.get(entry) or self._function(entry)
        self.is_broken = True  # until it is back: an exception that arrives from outside leaves its memory half done
        if self._is_guarded:
            self._store.set_epoch_deadline(EpochTicker.ticks_for(self.limits.deadline_ms))
            with TICKER:
                error = function(values)
        else:
            error = function(values)
        if error is not None:
            raise self._failure(entry, error) from error
        self.is_broken = False
        return function.result

    def _function(self, entry: str) -> "_Function":
        if not isinstance(export := self._exports.get(entry), wasmtime.Func):
            raise ArtifactError(f"{self.name}: no exported function `{entry}`")
        self._functions[entry] = _Function(self._store, export, self._signatures[entry])
        return self._functions[entry]

    def memory(self) -> Array:
        """The guest's memory, uint8[n]. A view: drop it before `close`, ask again after a call if memory can grow."""
        if self._shared is not None:
            return _shared_view(self._shared)
        if self._memory is None:
            raise ArtifactError(f"{self.name}: no export `memory`")
        span = _span(self._memory, self._store)
        if self._view is None or span != self._view_span:
            self._view, self._view_span = _view(*span), span
        return self._view

    def close(self) -> None:
        """Frees the instance and its memory; no view of it may be used any more."""
        self.is_broken = True
        self._view = None
        self._memory = None
        self._shared = None
        self._functions = {}
        self._exports = {}
        self._store.close()

    def _failure(self, entry: str, error: Exception) -> SandboxError:
        if not isinstance(error, wasmtime.Trap):
            return SandboxError(f"{self.name}: `{entry}` failed: {one_line(error)}")
        code = error.trap_code.name if error.trap_code else "HOST"
        if code == "INTERRUPT":
            return DeadlineError(f"{self.name}: `{entry}` did not finish in {self.limits.deadline_ms} ms")
        if code == "UNREACHABLE" and self._is_near_cap():
            most = self.limits.memory_bytes
            return MemoryCapError(f"{self.name}: `{entry}` needs more memory than its {most} bytes")
        where = next((f" in function {printable(f.func_name or str(f.func_index))}" for f in error.frames), "")
        words = _TRAPS.get(code, code.lower().replace("_", " "))
        return TrapError(f"{self.name}: `{entry}` trapped{where}: {words}", code=words)

    def _is_near_cap(self) -> bool:
        if self._memory is None or not self._can_grow:
            return False
        return self._memory.data_len(self._store) > self.limits.memory_bytes * NEAR_CAP


class _Function:
    """An export of integers, called past wasmtime-py's conversions: 2 µs instead of 10."""

    def __init__(self, store: wasmtime.Store, func: wasmtime.Func, signature: str) -> None:
        kinds, result_kinds = _kinds(signature)
        self.signature = signature
        self._is_callable = {*kinds, *result_kinds} <= {"i32", "i64"} and len(result_kinds) <= 1
        self._kinds = kinds
        self._result_kinds = result_kinds
        self._context = store._context()
        self._func = func._func
        self._params = (ffi.wasmtime_val_t * len(kinds))()
        self._results = (ffi.wasmtime_val_t * len(result_kinds))()

    def __call__(self, values: tuple[int, ...]) -> wasmtime.Trap | wasmtime.WasmtimeError | None:
        if not self._is_callable or len(values) != len(self._kinds):
            raise TypeError(f"export of type {self.signature} called with {len(values)} integers")
        for slot, kind, value in zip(self._params, self._kinds, values, strict=True):
            slot.kind = _VALUE_KINDS[kind]
            setattr(slot.of, kind, value)
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            self._context,
            ctypes.byref(self._func),
            self._params,
            len(self._params),
            self._results,
            len(self._results),
            ctypes.byref(trap),
        )
        if _is_set(error):
            return wasmtime.WasmtimeError._from_ptr(error)
        if not _is_set(trap):
            return None
        caught = wasmtime.Trap._from_ptr(trap)
        if caught.trap_code is None:  # a host function was left by an exception: Ctrl-C, since ours do not raise
            wasmtime_func.maybe_raise_last_exn()
        return caught

    @property
    def result(self) -> int:
        return int(getattr(self._results[0].of, self._result_kinds[0])) if self._result_kinds else 0


_NONE = np.empty(0, np.uint8)
_VALUE_KINDS = {"i32": ffi.WASMTIME_I32.value, "i64": ffi.WASMTIME_I64.value}


def _kinds(signature: str) -> tuple[list[str], list[str]]:
    params, results = (part.strip("()") for part in signature.split(" -> "))
    return params.split(", ") if params else [], results.split(", ") if results else []


def _is_set(pointer: object) -> bool:
    return bool(pointer)


def _span(memory: wasmtime.Memory, store: wasmtime.Store | wasmtime.Caller) -> tuple[int, int]:
    pointer = ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
    return pointer, memory.data_len(store)


def _shared_view(memory: SharedMemory) -> Array:
    """A shared memory as uint8[n]; of no use once that and all guests over it are gone."""
    return _view(ctypes.cast(memory.data_ptr(), ctypes.c_void_p).value or 0, memory.data_len())


def _view(address: int, size: int) -> Array:
    return np.frombuffer(memoryview((ctypes.c_ubyte * size).from_address(address)), np.uint8)
