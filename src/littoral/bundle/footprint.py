"""What a module takes on a device: its bytes without what no engine reads, and the stack of its deepest call."""

from littoral.artifact.sections import HEADER, read_u32, sections
from littoral.compiler.wasm import written_functions
from littoral.compiler.wasm.reading import instructions

__all__ = ["bare", "code_bytes", "sizes", "stack_bytes"]

CODE, DATA = 10, 11
SLOT_BYTES = 8
SLOTS_BESIDE = 32  # of a frame: what an expression holds, arguments of a call


def bare(wasm: bytes) -> bytes:
    """The module without custom sections: manifest and names."""
    kept, at = [HEADER], len(HEADER)
    for part in sections(wasm):
        kept.append(wasm[at : part.stop] if part.id else b"")
        at = part.stop
    return b"".join(kept)


def sizes(wasm: bytes) -> dict[str, int]:
    """Bytes of code, of data, and of the rest."""
    found = {part.id: part.stop - part.start for part in sections(wasm)}
    code, data = found.get(CODE, 0), found.get(DATA, 0)
    return {"code": code, "data": data, "other": len(wasm) - code - data}


def code_bytes(wasm: bytes) -> list[int]:
    """Of each function: layers that share one share its code."""
    return [len(function.code) for function in written_functions(wasm)]


def stack_bytes(wasm: bytes) -> int:
    """Most that a run can hold: the entry, which is the last function, and the kernel it calls, which calls none."""
    *kernels, entry = (_frame_bytes(len(f.params), f.code) for f in written_functions(wasm))
    return entry + max(kernels, default=0)


def _frame_bytes(params: int, code: bytes) -> int:
    """Of locals and constants, which interpreters keep beside them."""
    slots = params + SLOTS_BESIDE
    runs, at = read_u32(code, 0, len(code))
    for _ in range(runs):
        count, at = read_u32(code, at, len(code))
        slots, at = slots + count, at + 1
    constants = {i.data for i in instructions(code[at:-1]) if i.name.endswith(".const")}
    return SLOT_BYTES * (slots + len(constants))
