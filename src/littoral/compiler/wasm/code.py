"""Expressions: bytes that push one value, with the kind of that value.

A kind is a scalar type (`i32`, `i64`, `f32`, `f64`) or a vector shape (`f32x4`, `i8x16` …; `v128` where no shape is
meant). Python's operators build instructions of the operands' kind, so `a * b + c` reads the same for `f32` and
`f32x4`. Integers are signed in comparisons, unsigned in `//`, `%` and `>>`. A wrong operand fails where it is written.
"""

import struct
from collections.abc import Sequence
from typing import Union

from littoral.compiler.wasm.opcodes import OPCODES, Op

__all__ = ["KINDS", "Code", "Number", "const", "leb_s", "leb_u", "load", "op", "select", "shuffle", "splat", "vector"]

Number = Union[int, float, "Code"]

KINDS = {
    "i32": "i",
    "i64": "l",
    "f32": "f",
    "f64": "d",
    "v128": "v",
    "i8x16": "v",
    "i16x8": "v",
    "i32x4": "v",
    "i64x2": "v",
    "f32x4": "v",
    "f64x2": "v",
}
LANE = {"i8x16": "i32", "i16x8": "i32", "i32x4": "i32", "i64x2": "i64", "f32x4": "f32", "f64x2": "f64"}
_SCALAR = {"i": "i32", "l": "i64", "f": "f32", "d": "f64"}
_INTEGERS = ("i32", "i64")
_BITWISE = ("and", "or", "xor")


def leb_u(value: int) -> bytes:
    """Unsigned LEB128, shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def leb_s(value: int) -> bytes:
    """Signed LEB128, shortest form."""
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


class Code:
    """An expression: its kind, its bytes, and its value where it is an integer constant."""

    __slots__ = ("constant", "data", "kind")

    def __init__(self, kind: str, data: bytes, constant: int | None = None) -> None:
        self.kind = kind
        self.data = data
        self.constant = constant

    def _with(self, name: str, other: Number, swap: bool = False) -> "Code":
        right = other if isinstance(other, Code) else const(self.kind, other)
        left, right = (right, self) if swap else (self, right)
        if left.kind != right.kind:
            raise TypeError(f"`{self.kind}.{name}`: operands are {left.kind} and {right.kind}")
        if name in _BITWISE and self.kind in LANE:
            return op(f"v128.{name}", left, right).as_(self.kind)
        return _folded(name, left, right) or op(f"{self.kind}.{name}", left, right)

    def __add__(self, other: Number) -> "Code":
        return self._with("add", other)

    def __radd__(self, other: Number) -> "Code":
        return self._with("add", other, swap=True)

    def __sub__(self, other: Number) -> "Code":
        return self._with("sub", other)

    def __rsub__(self, other: Number) -> "Code":
        return self._with("sub", other, swap=True)

    def __mul__(self, other: Number) -> "Code":
        return self._with("mul", other)

    def __rmul__(self, other: Number) -> "Code":
        return self._with("mul", other, swap=True)

    def __truediv__(self, other: Number) -> "Code":
        return self._with("div", other)

    def __rtruediv__(self, other: Number) -> "Code":
        return self._with("div", other, swap=True)

    def __floordiv__(self, other: Number) -> "Code":
        return self._with("div_u", other)

    def __mod__(self, other: Number) -> "Code":
        return self._with("rem_u", other)

    def __and__(self, other: Number) -> "Code":
        return self._with("and", other)

    def __or__(self, other: Number) -> "Code":
        return self._with("or", other)

    def __xor__(self, other: Number) -> "Code":
        return self._with("xor", other)

    def __lshift__(self, other: Number) -> "Code":
        return self._with("shl", other)

    def __rshift__(self, other: Number) -> "Code":
        return self._with("shr_u", other)

    def __neg__(self) -> "Code":
        return 0 - self if self.kind in _INTEGERS else op(f"{self.kind}.neg", self)

    def __lt__(self, other: Number) -> "Code":
        return self._compare("lt", other)

    def __le__(self, other: Number) -> "Code":
        return self._compare("le", other)

    def __gt__(self, other: Number) -> "Code":
        return self._compare("gt", other)

    def __ge__(self, other: Number) -> "Code":
        return self._compare("ge", other)

    def eq(self, other: Number) -> "Code":
        return self._compare("eq", other)

    def ne(self, other: Number) -> "Code":
        return self._compare("ne", other)

    def _compare(self, name: str, other: Number) -> "Code":
        signed = "_s" if self.kind[0] == "i" and name not in ("eq", "ne") else ""
        return self._with(name + signed, other)

    def as_(self, kind: str) -> "Code":
        """The same 128 bits under another shape."""
        if KINDS[kind] != "v" or KINDS[self.kind] != "v":
            raise TypeError(f"`{self.kind}` cannot be seen as `{kind}`")
        return Code(kind, self.data)


def _folded(name: str, left: Code, right: Code) -> Code | None:
    """Integer constants are added up while the code is written; adding 0 and multiplying by 1 cost nothing."""
    a, b = left.constant, right.constant
    if left.kind != "i32" or (a is None and b is None):
        return None
    if a is not None and b is not None and name in ("add", "sub", "mul"):
        return const("i32", a + b if name == "add" else a - b if name == "sub" else a * b)
    if (name in ("add", "sub") and b == 0) or (name == "mul" and b == 1):
        return left
    if (name == "add" and a == 0) or (name == "mul" and a == 1):
        return right
    return None


def _result_kind(name: str, row: Op) -> str:
    letter = row.pushes
    if letter in _SCALAR:
        return _SCALAR[letter]
    shape = name.split(".", 1)[0]
    return shape if letter else ""


def op(name: str, *operands: Code, immediates: bytes = b"") -> Code:
    """The instruction `name` on its operands. Raises TypeError where they do not fit its row in the table."""
    row = OPCODES[name]
    got = "".join(KINDS[o.kind] for o in operands)
    if got != row.pops:
        raise TypeError(f"`{name}` takes {row.pops or 'nothing'}, got {[o.kind for o in operands]}")
    data = b"".join([o.data for o in operands] + [row.code, immediates])
    return Code(_result_kind(name, row), data)


def const(kind: str, value: float) -> Code:
    """A constant; for a vector shape, the value in every lane. Integers wrap to their width."""
    if kind in LANE:
        return vector(kind, [value] * {"i8x16": 16, "i16x8": 8, "i64x2": 2, "f64x2": 2}.get(kind, 4))
    if kind == "i32":
        wrapped = (int(value) + (1 << 31)) % (1 << 32) - (1 << 31)
        return Code(kind, OPCODES["i32.const"].code + leb_s(wrapped), wrapped)
    if kind == "i64":
        wrapped = (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)
        return Code(kind, OPCODES["i64.const"].code + leb_s(wrapped))
    return Code(kind, OPCODES[f"{kind}.const"].code + struct.pack("<f" if kind == "f32" else "<d", value))


_PACK = {"i8x16": "<16b", "i16x8": "<8h", "i32x4": "<4i", "i64x2": "<2q", "f32x4": "<4f", "f64x2": "<2d"}


def vector(kind: str, lanes: Sequence[float]) -> Code:
    """A constant vector, lane 0 first."""
    return Code(kind, OPCODES["v128.const"].code + struct.pack(_PACK[kind], *lanes))


def splat(kind: str, value: Code) -> Code:
    """A scalar in every lane."""
    return op(f"{kind}.splat", value)


def shuffle(kind: str, left: Code, right: Code, lanes: Sequence[int]) -> Code:
    """Lanes of two vectors by number, those of `right` counted on after those of `left`."""
    size = 16 // len(lanes)
    octets = bytes(size * lane + i for lane in lanes for i in range(size))
    return Code(kind, op("i8x16.shuffle", left, right, immediates=octets).data)


def select(condition: Code, a: Code, b: Code) -> Code:
    """`a` where the condition is not 0, else `b`."""
    if a.kind != b.kind or condition.kind != "i32":
        raise TypeError(f"`select` of {a.kind} and {b.kind} by {condition.kind}")
    return Code(a.kind, a.data + b.data + condition.data + OPCODES["select"].code)


def memory_argument(name: str, offset: int, align: int | None = None) -> bytes:
    return leb_u(OPCODES[name].align if align is None else align) + leb_u(offset)


def load(name: str, address: Code, offset: int = 0, kind: str | None = None) -> Code:
    """A load; `kind` gives a vector its shape."""
    found = op(name, address, immediates=memory_argument(name, offset))
    return Code(kind or found.kind, found.data)
