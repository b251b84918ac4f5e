"""Scalar instructions that came after WebAssembly 1.0, in those it has: sign extension, saturation, bulk memory."""

from collections.abc import Callable

from littoral.compiler.wasm.code import Code, const, load, op, select
from littoral.compiler.wasm.expansion import Expansion
from littoral.compiler.wasm.function import Function, Local

__all__ = ["BULK", "MINIMAL"]

_WORD = 8  # bytes that are moved at once


def _sign_extended(kind: str, bits: int) -> Expansion:
    count = (32 if kind == "i32" else 64) - bits
    return lambda value: op(f"{kind}.shr_s", value << count, const(kind, count))


def _truncated(integer: str, floating: str, signed: bool) -> Expansion:
    """Truncation of what is in range; else the nearest integer, and 0 for a NaN."""
    bits = 32 if integer == "i32" else 64
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, -1)
    past = float(1 << (bits - 1 if signed else bits))

    def write(x: Code) -> Code:
        zero = const(floating, 0)
        inside = op(f"{floating}.abs", x) < past if signed else (x < past) & (x > 0)
        exact = op(f"{integer}.trunc_{floating}_{'s' if signed else 'u'}", select(inside, x, zero))
        above = select(x > 0, const(integer, highest), const(integer, 0))
        return select(inside, exact, select(x < 0, const(integer, lowest), above))

    return write


MINIMAL: dict[str, Expansion] = {
    f"{integer}.trunc_sat_{floating}_{'s' if signed else 'u'}": _truncated(integer, floating, signed)
    for integer in ("i32", "i64")
    for floating in ("f32", "f64")
    for signed in (True, False)
}
MINIMAL |= {f"i32.extend{bits}_s": _sign_extended("i32", bits) for bits in (8, 16)}
MINIMAL |= {f"i64.extend{bits}_s": _sign_extended("i64", bits) for bits in (8, 16, 32)}


def _copy() -> Function:
    """`memory.copy`: from the end where the target lies behind the source."""
    f = Function("memory.copy", dict.fromkeys(("target", "source", "bytes"), "i32"))
    target, source, left = f.params
    with f.when(op("i32.le_u", target, source)):
        _each_word(f, left, lambda name, size: _move(f, name, size, target, source))
        f.leave()
    f.step(target, left)
    f.step(source, left)
    _each_word(f, left, lambda name, size: _move_back(f, name, size, target, source))
    return f


def _move(f: Function, name: str, size: int, target: Local, source: Local) -> None:
    f.store(f"{name}.store{_narrow(size)}", target, load(f"{name}.load{_narrow(size, 'u')}", source))
    f.step(target, size)
    f.step(source, size)


def _move_back(f: Function, name: str, size: int, target: Local, source: Local) -> None:
    f.step(target, -size)
    f.step(source, -size)
    f.store(f"{name}.store{_narrow(size)}", target, load(f"{name}.load{_narrow(size, 'u')}", source))


def _fill() -> Function:
    f = Function("memory.fill", dict.fromkeys(("target", "value", "bytes"), "i32"))
    target, value, left = f.params
    octets = f.local("i64", "octets", op("i64.extend_i32_u", value & 255) * 0x0101010101010101)

    def write(name: str, size: int) -> None:
        f.store(f"{name}.store{_narrow(size)}", target, octets if size == _WORD else value)
        f.step(target, size)

    _each_word(f, left, write)
    return f


def _narrow(size: int, sign: str = "") -> str:
    return "" if size == _WORD else f"8_{sign}" if sign else "8"


def _each_word(f: Function, left: Local, write: Callable[[str, int], None]) -> None:
    """`write` for every whole word, then for every byte; `left` counts down to 0."""
    for name, size in (("i64", _WORD), ("i32", 1)):
        with f.block() as done, f.loop() as again:
            f.go(done, op("i32.lt_u", left, const("i32", size)))
            write(name, size)
            f.step(left, -size)
            f.go(again)


BULK: dict[str, Callable[[], Function]] = {"memory.copy": _copy, "memory.fill": _fill}
