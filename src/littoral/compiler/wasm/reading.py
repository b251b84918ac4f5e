"""Bodies of functions read back, instruction by instruction, by the same table that wrote them."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from littoral.compiler.wasm.code import leb_u
from littoral.compiler.wasm.opcodes import OPCODES, Op

__all__ = ["Instruction", "Reader", "instructions"]

_BY_CODE = {row.code: (name, row) for name, row in OPCODES.items()}


class Instruction(NamedTuple):
    """values: by immediate; (alignment, offset) for a memory argument, bytes for shuffles and vector constants."""

    name: str
    row: Op
    values: tuple[Any, ...]
    data: bytes

    @property
    def immediates(self) -> bytes:
        return self.data[len(self.row.code) :]


class Reader:
    """Bytes, and how far they have been read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self) -> int:
        start = self.at
        value = self.unsigned()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value


def instructions(body: bytes) -> Iterator[Instruction]:
    """The instructions of a body, after its locals and without its last `end`."""
    reader = Reader(body)
    while reader.at < len(body):
        start = reader.at
        code = reader.take(1)
        if code in (b"\xfc", b"\xfd", b"\xfe"):
            code += leb_u(reader.unsigned())
        name, row = _BY_CODE[code]
        values = tuple(_immediate(reader, kind) for kind in row.immediates)
        yield Instruction(name, row, values, body[start : reader.at])


def _immediate(reader: Reader, kind: str) -> Any:
    if kind == "m":
        return reader.unsigned(), reader.unsigned()
    if kind == "u":
        return reader.unsigned()
    if kind in "il":
        return reader.signed()
    if kind == "f":
        return struct.unpack("<f", reader.take(4))[0]
    if kind == "d":
        return struct.unpack("<d", reader.take(8))[0]
    if kind in "cs":
        return reader.take(16)
    return reader.take(1)[0]
