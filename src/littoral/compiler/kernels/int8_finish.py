"""What becomes of vectors of four float32 on the way to memory: an expression, then floats or bytes.

Rounding is by instructions that give the same on every engine. Towards zero: `relaxed_trunc`, which is exact in range;
to nearest: adding 1.5 · 2²³ leaves the rounded number in the low bits. Saturating narrowing is half of the limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littoral.compiler.ir.expr import Arg, Expr
from littoral.compiler.kernels.int8_table import look_up, table_entries
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load, op

__all__ = ["ELEMENT_BYTES", "Finish", "load_four", "store_bytes"]

MAGIC = 12582912.0
MAGIC_BITS = 0x4B400000
ELEMENT_BYTES = {"uint8": 1, "int8": 1, "float32": 4, "int32": 4}


@dataclass(frozen=True)
class Finish:
    """value: a float32 expression. dtype: float32, or of bytes: made by `rounding` (`round`, `trunc`), zero, limits.
    int32: whole sums as they are.

    is_small: the value is known to lie within ±2²². parts: of a table that the bytes go through, of 16 entries each.
    """

    value: Expr
    dtype: str = "float32"
    rounding: str = ""
    zero: int = 0
    low: int = 0
    high: int = 0
    is_small: bool = False
    parts: int = 0

    @property
    def bytes(self) -> int:
        """Of one element."""
        return ELEMENT_BYTES[self.dtype]

    @property
    def table(self) -> tuple[str, ...]:
        """The kernel's parameter for the table's address, where there is one."""
        return ("table",) if self.parts else ()

    @property
    def is_plain(self) -> bool:
        """Whether the value is what it is computed from."""
        return isinstance(self.value, Arg)

    def values(self, f: Function, given: Sequence[Mapping[int, Code]]) -> list[Code]:
        """The expression of each vector's arguments, in locals."""
        constants = Constants(f)
        found: list[Code] = []
        for args in given:
            code = Writer(f, args, vector=True, constants=constants).write(self.value)
            found.append(code if isinstance(code, Local) else f.local("f32x4", value=code))
        return found

    def write(self, f: Function, address: Code, values: Sequence[Code], offset: int, count: int) -> None:
        """Stores the first `count` elements of up to four vectors of four."""
        if self.dtype in ("float32", "int32"):
            for v, value in enumerate(values):
                _store_floats(f, address, value, offset + 16 * v, min(4, count - 4 * v))
            return
        store_bytes(f, address, self._packed(f, [self._whole(v) for v in values]), offset, count)

    def write_pair(self, f: Function, address: Code, values: Sequence[Code], offsets: tuple[int, int]) -> None:
        """Stores two runs of eight bytes, of two vectors each."""
        packed = f.local("i8x16", value=self._packed(f, [self._whole(v) for v in values]))
        for lane, offset in enumerate(offsets):
            f.store("v128.store64_lane", address, packed, offset, lane=lane)

    def _whole(self, value: Code) -> Code:
        """i32x4 of the rounded values, zero added."""
        if not self.is_small:
            value = op("f32x4.pmax", const("f32x4", self.low - self.zero), value)
            value = op("f32x4.pmin", value, const("f32x4", self.high - self.zero))
        if self.rounding == "trunc":
            whole = op("i32x4.relaxed_trunc_f32x4_s", value)
            return whole + const("i32x4", self.zero) if self.zero else whole
        return (value + const("f32x4", MAGIC)).as_("i32x4") - const("i32x4", MAGIC_BITS - self.zero)

    def _packed(self, f: Function, whole: Sequence[Code]) -> Code:
        """Up to 16 bytes of up to four vectors, limited."""
        halves = [_narrow_pair(f, whole[i : i + 2]) for i in range(0, len(whole), 2)]
        if len(halves) == 1:
            halves.append(f.local("i16x8", value=halves[0]))
            halves[0] = halves[1]
        is_wide = self.high > 127
        packed = op(f"i8x16.narrow_i16x8_{'u' if is_wide else 's'}", *halves)
        sign, least, most = ("u", 0, 255) if is_wide else ("s", -128, 127)
        if self.is_small and self.low > least:
            packed = op(f"i8x16.max_{sign}", packed, const("i8x16", _wrapped(self.low)))
        if self.is_small and self.high < most:
            packed = op(f"i8x16.min_{sign}", packed, const("i8x16", _wrapped(self.high)))
        return look_up(f, table_entries(f, self.parts), packed) if self.parts else packed


def _wrapped(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _narrow_pair(f: Function, parts: Sequence[Code]) -> Code:
    first = parts[0] if len(parts) == 2 else f.local("i32x4", value=parts[0])
    return op("i16x8.narrow_i32x4_s", first, parts[-1] if len(parts) == 2 else first)


def load_four(dtype: str, address: Code, offset: int = 0) -> Code:
    """Four elements as f32x4."""
    if dtype == "float32":
        return load("v128.load", address, offset, "f32x4")
    sign = "u" if dtype == "uint8" else "s"
    packed = load("v128.load32_zero", address, offset, "i8x16")
    halves = op(f"i16x8.extend_low_i8x16_{sign}", packed)
    return op("f32x4.convert_i32x4_s", op(f"i32x4.extend_low_i16x8_{sign}", halves))


def store_bytes(f: Function, address: Code, packed: Code, offset: int, count: int) -> None:
    """Stores the first `count` ≤ 16 bytes of a vector and nothing else."""
    if count == 16:
        f.store("v128.store", address, packed, offset)
        return
    kept = packed if isinstance(packed, Local) else f.local("i8x16", value=packed)
    done = 0
    for size in (8, 4, 2, 1):
        if count - done >= size:
            f.store(f"v128.store{8 * size}_lane", address, kept, offset + done, lane=done // size)
            done += size


def _store_floats(f: Function, address: Code, value: Code, offset: int, count: int) -> None:
    if count == 4:
        f.store("v128.store", address, value, offset)
    else:
        store_bytes(f, address, value.as_("i8x16"), offset, 4 * count)
