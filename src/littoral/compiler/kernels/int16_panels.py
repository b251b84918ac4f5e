"""Keys and values of attention, brought into 16 bits and into the order in which `ShortGemm` reads its right side."""

from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.ir.shorts import LEAST, SHORT_DEPTH
from littoral.compiler.kernels.int8_finish import MAGIC, MAGIC_BITS
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.kernels.lanes import across
from littoral.compiler.wasm import Code, Function, Local, const, load, op, shuffle

__all__ = ["Largest16", "ShortKeys", "ShortValues", "whole_of"]

_LANES = 4
_VECTOR = 16  # bytes
_VECTORS = 4  # of a panel
_COLUMNS = _LANES * _VECTORS
_LOW, _HIGH = [0, 4, 1, 5], [2, 6, 3, 7]


class Largest16:
    """Largest magnitude of the vectors that it is shown, lane by lane, and a NaN where one of them is not finite."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.found = f.local("f32x4", "largest")
        self.poison = f.local("f32x4", "poison")
        self.begin()

    def begin(self) -> None:
        self.f.set(self.found, const("f32x4", LEAST))
        self.f.set(self.poison, const("f32x4", 0))

    def take(self, value: Code) -> None:
        f = self.f
        x = f.local("f32x4", "shown", value)
        f.set(self.found, op("f32x4.pmax", self.found, op("f32x4.abs", x)))
        f.set(self.poison, self.poison + x * const("f32x4", 0))

    def join(self) -> None:
        """All lanes as one."""
        across(self.f, self.found, "f32x4.pmax")
        across(self.f, self.poison, "f32x4.add")

    def per_one(self, limit: int) -> Local:
        return self.f.local("f32x4", "per_one", const("f32x4", limit) / self.found)

    def scale(self, limit: int) -> Code:
        return self.found * const("f32x4", 1 / limit) + self.poison


def whole_of(value: Code, per_one: Code, limit: int) -> Code:
    """i32x4: the nearest whole numbers; −limit for a NaN."""
    limited = op("f32x4.pmax", const("f32x4", -limit), value * per_one)
    return (limited + const("f32x4", MAGIC)).as_("i32x4") - const("i32x4", MAGIC_BITS)


@dataclass(frozen=True)
class ShortKeys(Kernel):
    """Keys f32[depth], `key_bytes` apart, as columns: panels of 16 of them, in whole numbers of one scale.

    What is past the last key is 0, what is past the depth is left as it comes: it meets zeros.
    """

    kind: ClassVar[str] = "int16-keys"
    keys: int
    depth: int
    key_bytes: int
    limit: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("right", "out", "scale")

    @property
    def steps(self) -> int:
        return -(-self.depth // SHORT_DEPTH)

    @property
    def out_bytes(self) -> int:
        return -(-self.keys // _LANES) * _LANES * self.steps * SHORT_DEPTH * 2

    @property
    def time_ns(self) -> int:
        return self.out_bytes // 4

    def function(self, name: str) -> Function:
        f = self.opened(name)
        largest = self._largest(f)
        per_one = largest.per_one(self.limit)
        f.store("v128.store32_lane", f.param("scale"), largest.scale(self.limit).as_("i8x16"), 0, lane=0)
        panels, rest = divmod(self.keys, _COLUMNS)
        if panels:
            with f.repeat(panels):
                self._panel(f, _COLUMNS, per_one)
        if rest:
            self._panel(f, rest, per_one)
        return f

    def _largest(self, f: Function) -> Largest16:
        largest, key = Largest16(f), f.local("i32", "key", f.param("right"))
        whole, rest = divmod(self.depth, _LANES)
        with f.repeat(self.keys):
            for v in range(whole):
                largest.take(load("v128.load", key, _VECTOR * v, "f32x4"))
            for i in range(rest):
                largest.take(load("v128.load32_zero", key, _VECTOR * whole + 4 * i, "f32x4"))
            f.step(key, self.key_bytes)
        largest.join()
        return largest

    def _panel(self, f: Function, keys: int, per_one: Local) -> None:
        """Eight values of `keys` keys at a time."""
        right, out = f.param("right"), f.param("out")
        source = f.local("i32", "source", right)
        vectors = -(-keys // _LANES)
        with f.repeat(self.steps):
            for v in range(vectors):
                self._turn(f, source, v, min(_LANES, keys - _LANES * v), vectors, per_one)
            f.step(source, 4 * SHORT_DEPTH)
            f.step(out, SHORT_DEPTH // 2 * vectors * _VECTOR)
        f.step(right, keys * self.key_bytes)

    def _turn(self, f: Function, source: Local, vector: int, keys: int, vectors: int, per_one: Local) -> None:
        """Four keys' pairs of values, transposed."""
        rows = []
        for i in range(_LANES):
            at = (_LANES * vector + i) * self.key_bytes
            halves = [whole_of(load("v128.load", source, at + n, "f32x4"), per_one, self.limit) for n in (0, _VECTOR)]
            row = op("i16x8.narrow_i32x4_s", *halves) if i < keys else const("i16x8", 0)
            rows.append(f.local("i32x4", f"key{i}", row.as_("i32x4")))
        pairs = [
            f.local("i32x4", f"turned{i}", shuffle("i32x4", rows[a], rows[b], order))
            for i, (a, b, order) in enumerate(((0, 2, _LOW), (1, 3, _LOW), (0, 2, _HIGH), (1, 3, _HIGH)))
        ]
        for k in range(_LANES):
            a, b = pairs[2 * (k // 2)], pairs[2 * (k // 2) + 1]
            turned = shuffle("i32x4", a, b, _HIGH if k % 2 else _LOW)
            f.store("v128.store", f.param("out"), turned, _VECTOR * (vectors * k + vector))


@dataclass(frozen=True)
class ShortValues(Kernel):
    """Values f32[width] of each key, `key_bytes` apart, as rows: whole numbers, each column of a scale of its own.

    out: chunks of `chunk` keys, each in panels of 16 columns; keys are filled up to a multiple of 8 with what is there
    already, which meets zeros. scale: f32, padded to whole vectors.
    """

    kind: ClassVar[str] = "int16-values"
    keys: int
    width: int
    key_bytes: int
    chunk: int
    limit: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("right", "out", "scale")

    @property
    def fours(self) -> int:
        return -(-self.width // _LANES)

    @property
    def chunk_bytes(self) -> int:
        return self.fours * _LANES * 2 * self.chunk

    @property
    def out_bytes(self) -> int:
        return -(-self.keys // SHORT_DEPTH) * SHORT_DEPTH * self.fours * _LANES * 2

    @property
    def time_ns(self) -> int:
        return self.out_bytes // 4

    def function(self, name: str) -> Function:
        """Four columns after the other: first their largest, then all their keys."""
        f = self.opened(name)
        largest, column = Largest16(f), f.local("i32", "column", f.param("right"))
        for four in range(self.fours):
            source = f.local("i32", "source", column)
            largest.begin()
            with f.repeat(self.keys):
                largest.take(load("v128.load", source, 0, "f32x4"))
                f.step(source, self.key_bytes)
            f.store("v128.store", f.param("scale"), largest.scale(self.limit), _VECTOR * four)
            per_one = largest.per_one(self.limit)
            f.set(source, column)
            self._chunks(f, source, four, per_one)
            f.step(column, _VECTOR)
        return f

    def _chunks(self, f: Function, source: Local, four: int, per_one: Local) -> None:
        whole, rest = divmod(self.keys, self.chunk)
        out = f.local("i32", "four_out", f.param("out"))
        for keys, times in ((self.chunk, whole), (rest, 1)):
            if keys and times:
                padded = -(-keys // SHORT_DEPTH) * SHORT_DEPTH
                with f.repeat(times):
                    self._keys(f, source, out, keys, four, padded, per_one)
                    f.step(out, self.chunk_bytes)

    def _keys(self, f: Function, source: Local, out: Local, keys: int, four: int, padded: int, per_one: Local) -> None:
        panel, vector = divmod(four, _VECTORS)
        vectors = min(_VECTORS, self.fours - panel * _VECTORS)
        at = f.local("i32", "pair_out", out + (panel * _COLUMNS * 2 * padded + _VECTOR * vector))
        pairs, odd = divmod(keys, 2)
        for count, times in ((2, pairs), (1, odd)):
            if times:
                with f.repeat(times):
                    rows = [
                        whole_of(load("v128.load", source, i * self.key_bytes, "f32x4"), per_one, self.limit)
                        for i in range(count)
                    ]
                    both = f.local(
                        "i16x8",
                        "both",
                        op("i16x8.narrow_i32x4_s", rows[0], rows[1] if count == 2 else const("i32x4", 0)),
                    )
                    f.store("v128.store", at, shuffle("i16x8", both, both, [0, 4, 1, 5, 2, 6, 3, 7]))
                    f.step(source, count * self.key_bytes)
                    f.step(at, _VECTOR * vectors)
