"""Runs every step of a program alone, with each of its operands in turn at the very end of memory.

A kernel may read `OVERREAD_BYTES` past an operand, which lie there too, and write nothing past it: what reads further
traps, and what is written between operands is found. As in every layout, zeros lie as high as there are many, and all
that is not constant behind them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import wasmtime

from littoral.compiler.ir.graph import Value
from littoral.compiler.kernels import OVERREAD_BYTES, Kernel
from littoral.compiler.plan.program import Program
from littoral.compiler.plan.steps import Argument, Part, Scratch, Step, Weights, Zeros
from littoral.compiler.wasm import Module
from model_host import ENGINE

__all__ = ["beyond_reach"]

PAGE, FIRST, UNTOUCHED = 65536, 1024, 0x5A


class Place(NamedTuple):
    """An operand: its buffer, and where in it the first and the last of the step's calls begin."""

    buffer: Value | Weights | Scratch | Zeros
    first: int
    last: int


def beyond_reach(program: Program) -> list[str]:
    """What steps do outside their operands, as sentences."""
    found: list[str] = []
    for call in program.calls():
        steps = [part for step in call.lowered.steps for part in step.parts or (step,) if part is not None]
        for step in steps:
            places = [_place(program, step, i) for i in range(len(step.arguments))]
            if all(place.buffer not in program.moving for place in places):
                found += [f"{call.lowered.label}: {what}" for what in _wrong(step, places)]
    return found


def _place(program: Program, step: Step, index: int) -> Place:
    argument: Argument = step.arguments[index]
    offset = argument.offset if isinstance(argument, Part) else 0
    of = argument.of if isinstance(argument, Part) else argument
    moved = sum((times - 1) * moves[index] for times, moves in step.repeats)
    moved += sum((ring.times - 1) * moves[index] for ring, moves in step.within)
    return Place(program.root(of) if isinstance(of, Value) else of, offset, offset + moved)


def _bytes(buffer: Value | Weights | Scratch | Zeros) -> int:
    if isinstance(buffer, Weights):
        return buffer.data.nbytes
    return buffer.type.bytes if isinstance(buffer, Value) else buffer.bytes


def _wrong(step: Step, places: Sequence[Place]) -> Iterator[str]:
    module = Module()
    module.add(step.kernel.function("kernel"), export="kernel")
    buffers = list(dict.fromkeys(place.buffer for place in places))
    zeros = max((b.bytes for b in buffers if isinstance(b, Zeros)), default=0)
    start = FIRST + -(-zeros // OVERREAD_BYTES) * OVERREAD_BYTES
    size = sum(_bytes(b) + 2 * OVERREAD_BYTES for b in buffers) + start
    pages = -(-size // PAGE)
    code = wasmtime.Module(ENGINE, module.encode(pages, None))
    for at_end in buffers:
        at, ends = start, pages * PAGE - OVERREAD_BYTES - _bytes(at_end)
        addresses: dict[object, int] = {}
        for buffer in buffers:
            addresses[buffer] = ends if buffer is at_end else at
            at += 0 if buffer is at_end else -(-_bytes(buffer) // OVERREAD_BYTES) * OVERREAD_BYTES + OVERREAD_BYTES
        for begins in ([p.first for p in places], [p.last for p in places]):
            called = [addresses[p.buffer] + begin for p, begin in zip(places, begins, strict=True)]
            if what := _called(code, addresses, called):
                names = [n for n, p in zip(step.kernel.params, places, strict=True) if p.buffer is at_end]
                yield f"{_named(step.kernel)}, with `{', '.join(names)}` at the end: {what}"


def _called(code: wasmtime.Module, addresses: dict[object, int], called: Sequence[int]) -> str:
    store = wasmtime.Store(ENGINE)
    exports = wasmtime.Instance(store, code, []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (exports["memory"].data_len(store),))
    memory[:] = UNTOUCHED
    for buffer, at in addresses.items():
        data = buffer.data if isinstance(buffer, Value | Weights) else None
        size = _bytes(buffer)
        memory[at : at + size] = 0 if data is None else np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    before = memory.copy()
    try:
        exports["kernel"](store, *called)
    except wasmtime.Trap as trap:
        return str(trap).splitlines()[-1]
    may_change = np.zeros(memory.size, bool)
    for buffer, at in addresses.items():
        may_change[at : at + _bytes(buffer)] = isinstance(buffer, Value | Scratch) and (
            not isinstance(buffer, Value) or buffer.data is None
        )
    changed = np.flatnonzero((memory != before) & ~may_change)
    return f"writes at {changed[0] - min(addresses.values())} of memory" if changed.size else ""


def _named(kernel: Kernel) -> str:
    return f"{kernel.kind} {kernel.tiling}".strip()
