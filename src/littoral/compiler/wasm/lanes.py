"""Vectors as lists of scalars: the values that `scalarize` calculates with, and their views.

A lane of 8 or 16 bits is an i32 that is always sign-extended, so that loads, comparisons (unsigned ones too) and
products need no further step. A view in lanes of another width is made by shifts; between floats and integers of one
width it is a reinterpretation. Code may be written once only, so what is needed twice goes through `Scratch.atom`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Union

from littoral.compiler.wasm.code import Code, const, load, op

__all__ = [
    "SHAPES",
    "Constant",
    "Lanes",
    "Loaded",
    "Mask",
    "Rule",
    "Scratch",
    "Shape",
    "Value",
    "Vector",
    "as_scalar",
    "as_vector",
    "common_shape",
    "wrap",
]


class Shape(NamedTuple):
    """kind: of the scalar that holds a lane."""

    kind: str
    bits: int

    @property
    def lanes(self) -> int:
        return 128 // self.bits


SHAPES = {
    "i8x16": Shape("i32", 8),
    "i16x8": Shape("i32", 16),
    "i32x4": Shape("i32", 32),
    "i64x2": Shape("i64", 64),
    "f32x4": Shape("f32", 32),
    "f64x2": Shape("f64", 64),
}
INTEGERS = {8: "i8x16", 16: "i16x8", 32: "i32x4", 64: "i64x2"}
_LOADS = {
    "i8x16": "i32.load8_s",
    "i16x8": "i32.load16_s",
    "i32x4": "i32.load",
    "i64x2": "i64.load",
    "f32x4": "f32.load",
    "f64x2": "f64.load",
}
_UNPACK = {"i8x16": "<16b", "i16x8": "<8h", "i32x4": "<4i", "i64x2": "<2q"}


class Scratch(Protocol):
    """Where code goes that is to be read more than once."""

    def atom(self, code: Code) -> Code:
        """The same value, free to be written any number of times: a constant or a local."""


Value = Union[Code, "Vector"]
Rule = Callable[[Scratch, Sequence[Value]], Value]  # operands as they were pushed → the result


class Vector:
    """128 bits. shape: the view that costs nothing; None where any does."""

    shape: str | None = None

    def lanes(self, shape: str, scratch: Scratch) -> list[Code]:
        """The lanes in a view, lane 0 first; each may be written once."""
        raise NotImplementedError

    def codes(self) -> list[Code]:
        """What is not calculated yet."""
        return []


class Lanes(Vector):
    def __init__(self, shape: str, codes: Sequence[Code]) -> None:
        assert len(codes) == SHAPES[shape].lanes
        self.shape: str = shape
        self._codes = list(codes)

    def lanes(self, shape: str, scratch: Scratch) -> list[Code]:
        return _viewed(list(self._codes), self.shape, shape, scratch)

    def codes(self) -> list[Code]:
        return self._codes


class Constant(Vector):
    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def lanes(self, shape: str, _scratch: Scratch) -> list[Code]:
        integers = INTEGERS[SHAPES[shape].bits]
        found = [const(SHAPES[integers].kind, value) for value in struct.unpack(_UNPACK[integers], self.octets)]
        if shape == integers:
            return found
        kind = SHAPES[shape].kind  # the bits as they are: a NaN keeps its own
        size, code = SHAPES[shape].bits // 8, const(kind, 0).data[:1]
        return [Code(kind, code + self.octets[at : at + size]) for at in range(0, 16, size)]


class Loaded(Vector):
    """Memory at `base` + offset, loaded as it is used. present: bytes that are there, zeros follow; or they repeat."""

    def __init__(self, base: Code, offset: int, present: int = 16, repeats: bool = False) -> None:
        self.base = base
        self.offset = offset
        self.present = present
        self.repeats = repeats

    def lanes(self, shape: str, scratch: Scratch) -> list[Code]:
        size = SHAPES[shape].bits // 8
        if size > self.present:
            narrow = INTEGERS[8 * self.present]
            return _viewed(self.lanes(narrow, scratch), narrow, shape, scratch)
        there = [load(_LOADS[shape], self.base, self.offset + at) for at in range(0, self.present, size)]
        missing = SHAPES[shape].lanes - len(there)
        if not self.repeats:
            return there + [const(SHAPES[shape].kind, 0)] * missing
        return [scratch.atom(code) for code in there] * (SHAPES[shape].lanes // len(there))

    def codes(self) -> list[Code]:
        return [load("i32.load8_s", self.base, self.offset)]


class Mask(Vector):
    """All ones in the lanes whose condition is 1, zeros where it is 0."""

    def __init__(self, shape: str, conditions: Sequence[Code]) -> None:
        self.shape: str = INTEGERS[SHAPES[shape].bits]
        self.conditions = list(conditions)

    def lanes(self, shape: str, scratch: Scratch) -> list[Code]:
        kind = SHAPES[self.shape].kind
        wide = [op("i64.extend_i32_u", c) if kind == "i64" else c for c in self.conditions]
        return _viewed([const(kind, 0) - c for c in wide], self.shape, shape, scratch)

    def codes(self) -> list[Code]:
        return self.conditions


def as_vector(value: Value) -> Vector:
    assert isinstance(value, Vector)
    return value


def as_scalar(value: Value) -> Code:
    assert isinstance(value, Code)
    return value


def common_shape(*vectors: Vector) -> str:
    """The view in lanes of integers or floats that costs least for all of these."""
    shapes = {v.shape for v in vectors if v.shape is not None}
    if len(shapes) == 1:
        return shapes.pop()
    widths = {SHAPES[s].bits for s in shapes}
    return INTEGERS[widths.pop()] if len(widths) == 1 else "i32x4"


def wrap(bits: int, code: Code) -> Code:
    """The lowest bits as a signed number."""
    if bits >= 32:
        return code
    return op("i32.shr_s", code << 32 - bits, const("i32", 32 - bits))


def _viewed(codes: list[Code], shape: str, wanted: str, scratch: Scratch) -> list[Code]:
    if shape == wanted:
        return codes
    source, target = SHAPES[shape], SHAPES[wanted]
    if source.kind[0] == "f":
        integer = f"i{source.bits}"
        codes = [op(f"{integer}.reinterpret_{source.kind}", code) for code in codes]
        return _viewed(codes, INTEGERS[source.bits], wanted, scratch)
    if target.kind[0] == "f":
        codes = _viewed(codes, shape, INTEGERS[target.bits], scratch)
        return [op(f"{target.kind}.reinterpret_i{target.bits}", code) for code in codes]
    if source.bits > target.bits:
        return [part for code in codes for part in _split(scratch.atom(code), source.bits, target.bits)]
    count = target.bits // source.bits
    return [_joined(codes[at : at + count], source.bits, target.bits) for at in range(0, len(codes), count)]


def _split(word: Code, bits: int, part_bits: int) -> list[Code]:
    """A word's parts, the lowest first."""
    if bits == 64:
        halves = [op("i32.wrap_i64", word), op("i32.wrap_i64", word >> 32)]
        if part_bits == 32:
            return halves
        shifted = [op("i32.wrap_i64", word >> at if at else word) for at in range(0, 64, part_bits)]
        return [wrap(part_bits, part) for part in shifted]
    return [
        op("i32.shr_s", word if at == 32 else word << 32 - at, const("i32", 32 - part_bits))
        for at in range(part_bits, bits + 1, part_bits)
    ]


def _joined(parts: list[Code], part_bits: int, bits: int) -> Code:
    """The word of parts, the lowest first; the sign of the last one is the word's."""
    if part_bits < 32:
        parts = [part & (1 << part_bits) - 1 for part in parts[:-1]] + parts[-1:]
    if bits == 64:
        parts = [op("i64.extend_i32_u", part) for part in parts]
    word = parts[0]
    for i, part in enumerate(parts[1:], 1):
        word = word | part << i * part_bits
    return word
