"""Functions as text: the instructions of a body, one a line, for people and for golden tests."""

import struct
from collections.abc import Iterator, Sequence

from littoral.compiler.wasm.code import KINDS, leb_u
from littoral.compiler.wasm.function import Function
from littoral.compiler.wasm.opcodes import OPCODES, Op

__all__ = ["body_text", "function_text", "instructions"]

_BY_CODE = {row.code: (name, row) for name, row in OPCODES.items()}
_OPENING = ("block", "loop", "if")
_TYPE_NAMES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self) -> int:
        start = self.at
        value = self.unsigned()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value


def instructions(body: bytes) -> Iterator[tuple[str, list[str]]]:
    """Name and printed immediates of each instruction of a body (after its locals)."""
    reader = _Reader(body)
    while reader.at < len(body):
        code = reader.take(1)
        if code in (b"\xfc", b"\xfd"):
            code += leb_u(reader.unsigned())
        name, row = _BY_CODE[code]
        yield name, [text for kind in row.immediates for text in _immediate(reader, kind, row)]


def _immediate(reader: _Reader, kind: str, row: Op) -> Iterator[str]:
    if kind == "m":
        align, offset = reader.unsigned(), reader.unsigned()
        if offset:
            yield f"offset={offset}"
        if align != row.align:
            yield f"align={1 << align}"
    elif kind in "il":
        yield str(reader.signed())
    elif kind == "f":
        yield _float(struct.unpack("<f", reader.take(4))[0])
    elif kind == "d":
        yield _float(struct.unpack("<d", reader.take(8))[0])
    elif kind == "c":
        yield "i32x4 " + " ".join(f"{lane:#010x}" for lane in struct.unpack("<4I", reader.take(16)))
    elif kind == "s":
        yield " ".join(map(str, reader.take(16)))
    elif kind == "n":
        yield str(reader.take(1)[0])
    elif kind == "u":
        yield str(reader.unsigned())
    else:
        reader.take(1)


def _float(value: float) -> str:
    if value != value:
        return "nan"
    return "inf" if value == float("inf") else "-inf" if value == float("-inf") else value.hex()


def function_text(function: Function) -> str:
    """The function in WebAssembly's text format, linear form, locals by number."""
    body = _Reader(function.body())
    body.unsigned()
    params, results = [_type_name(p.kind) for p in function.params], [_type_name(r) for r in function.results]
    return body_text(function.name, params, results, body.data[body.at :])


def body_text(name: str, params: Sequence[str], results: Sequence[str], code: bytes) -> str:
    """The same from types and code, which begins with its locals. Raises KeyError for an unknown instruction."""
    reader = _Reader(code)
    kinds = [_TYPE_NAMES[kind] for count, kind in _runs(reader) for _ in range(count)]
    head = "".join(f" (param {kind})" for kind in params) + "".join(f" (result {kind})" for kind in results)
    lines = [f"(func ${name}{head}"]
    if kinds:
        lines.append(f"  (local {' '.join(kinds)})")
    depth = 1
    for instruction, immediates in instructions(reader.data[reader.at : -1]):
        if instruction in ("end", "else"):
            depth -= 1
        lines.append("  " * depth + " ".join([instruction, *immediates]))
        if instruction in _OPENING or instruction == "else":
            depth += 1
    return "\n".join(lines) + ")\n"


def _type_name(kind: str) -> str:
    return "v128" if KINDS[kind] == "v" else kind


def _runs(reader: _Reader) -> list[tuple[int, int]]:
    return [(reader.unsigned(), reader.take(1)[0]) for _ in range(reader.unsigned())]
