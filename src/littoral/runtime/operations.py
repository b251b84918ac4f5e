"""How many instructions a compiled model executes: counted by the engine, the same on every machine."""

from collections.abc import Mapping

import wasmtime

from littoral.errors import ArtifactError

__all__ = ["OPERATIONS_MAX", "executed"]

OPERATIONS_MAX = 1 << 36


def executed(wasm: bytes, entry: str, inputs: Mapping[int, bytes]) -> int:
    """WebAssembly instructions of one run, without those that only shape the code (`block`, `loop`, `end`, `nop`).

    inputs: bytes by address. Raises ArtifactError for a module that cannot be run so, or needs more than 2³⁶.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=1 << 32, instances=1, memories=1, tables=1)
    store.set_fuel(OPERATIONS_MAX)
    try:
        exports = wasmtime.Instance(store, wasmtime.Module(engine, wasm), []).exports(store)
        memory, run = exports["memory"], exports[entry]
        if not isinstance(memory, wasmtime.Memory) or not isinstance(run, wasmtime.Func):
            raise ArtifactError(f"model: its instructions cannot be counted: `{entry}` is no function")
        for at, data in inputs.items():
            memory.write(store, bytearray(data), at)
        before = store.get_fuel()
        run(store)
    except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, IndexError) as error:
        raise ArtifactError(f"model: its instructions cannot be counted: {error}") from error
    return before - store.get_fuel()
