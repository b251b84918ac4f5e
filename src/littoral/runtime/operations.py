"""How many instructions a compiled model executes: counted by the engine, the same on every machine."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import wasmtime

from littoral.errors import ArtifactError

__all__ = ["OPERATIONS_MAX", "executed"]

OPERATIONS_MAX = 1 << 36
MARK_OPERATIONS = 2  # a constant and a call


def executed(
    wasm: bytes, entry: str, inputs: Mapping[int, bytes], mark: tuple[str, str] | None = None
) -> tuple[int, dict[int, int]]:
    """WebAssembly instructions of one run, without those that only shape the code (`block`, `loop`, `end`, `nop`).

    inputs: bytes by address. mark: the module's import that is called with a number; then also how many instructions
    were executed from each call of it with a number to the next call, by number, and before the first; the calls, each
    with its constant, do not count. Raises ArtifactError for a module that cannot be run so, or needs more than 2³⁶.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=1 << 32, instances=1, memories=1, tables=1)
    store.set_fuel(OPERATIONS_MAX)
    marks: list[tuple[int, int]] = []

    def marked(number: int) -> None:
        marks.append((number, store.get_fuel()))

    try:
        module, linker = wasmtime.Module(engine, wasm), wasmtime.Linker(engine)
        if mark is not None:
            linker.define_func(*mark, wasmtime.FuncType([wasmtime.ValType.i32()], []), marked)
        exports = linker.instantiate(store, module).exports(store)
        memory, run = exports["memory"], exports[entry]
        if not isinstance(memory, wasmtime.Memory) or not isinstance(run, wasmtime.Func):
            raise ArtifactError(f"model: its instructions cannot be counted: `{entry}` is no function")
        for at, data in inputs.items():
            memory.write(store, bytearray(data), at)
        before = store.get_fuel()
        run(store)
    except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, IndexError) as error:
        raise ArtifactError(f"model: its instructions cannot be counted: {error}") from error
    whole = before - store.get_fuel() - MARK_OPERATIONS * len(marks)
    found: Counter[int] = Counter()
    for (number, fuel), (_, later) in pairwise(marks):
        found[number] += fuel - later - MARK_OPERATIONS
    if marks:
        found[marks[-1][0]] += marks[-1][1] - store.get_fuel()
        found[marks[0][0]] += whole - found.total()
    return whole, dict(found)
