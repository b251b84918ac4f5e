"""The left sides of attention's products in 16 bits: queries, and what softmax makes of scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.shorts import LOG2_E, POWER_LEAST, POWERS, SHORT_DEPTH
from littoral.compiler.kernels.int8_finish import MAGIC, MAGIC_BITS
from littoral.compiler.kernels.int16_panels import Largest16, whole_of
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import across, first_lanes
from littoral.compiler.wasm import Code, Function, Local, const, load, op

__all__ = ["ShortRows", "ShortShares"]

_LANES = 4
_VECTOR = 16  # bytes
_AT_ONCE = 4


@dataclass(frozen=True)
class ShortRows(Kernel):
    """f32[width], `in_bytes` apart, to i16[width filled up with zeros to eights], each row of a scale of its own.

    row_scale: f32[rows], times what lies at `factor`.
    """

    kind: ClassVar[str] = "int16-rows"
    rows: int
    width: int
    in_bytes: int
    limit: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "factor", "out", "row_scale")

    @property
    def row_bytes(self) -> int:
        return -(-self.width // SHORT_DEPTH) * SHORT_DEPTH * 2

    @property
    def time_ns(self) -> int:
        return self.rows * self.width // 4

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.rows, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        moves = {"in": start * self.in_bytes, "out": start * self.row_bytes, "row_scale": 4 * start}
        return Piece(replace(self, rows=stop - start), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        factor = f.local("f32x4", "factor", load("v128.load32_splat", f.param("factor"), 0, "f32x4"))
        largest = Largest16(f)
        with f.repeat(self.rows):
            largest.begin()
            for v in range(-(-self.width // _LANES)):
                largest.take(self._four(f, v))
            largest.join()
            scale = largest.scale(self.limit) * factor
            f.store("v128.store32_lane", f.param("row_scale"), scale.as_("i8x16"), 0, lane=0)
            per_one = largest.per_one(self.limit)
            for v in range(0, self.row_bytes // 8, 2):
                halves = [whole_of(self._four(f, v + i), per_one, self.limit) for i in range(2)]
                f.store("v128.store", f.param("out"), op("i16x8.narrow_i32x4_s", *halves), 8 * v)
            f.step(f.param("in"), self.in_bytes)
            f.step(f.param("out"), self.row_bytes)
            f.step(f.param("row_scale"), 4)
        return f

    def _four(self, f: Function, vector: int) -> Code:
        """Values of a row; 0 past its end."""
        left = self.width - _LANES * vector
        if left <= 0:
            return const("f32x4", 0)
        value = load("v128.load", f.param("in"), _VECTOR * vector, "f32x4")
        return value if left >= _LANES else first_lanes(value, left, const("f32x4", 0))


@dataclass(frozen=True)
class ShortShares(Kernel):
    """e^(x − largest of the row) of scores f32[rows, width], as i16 of which `SHARE` stands for 1.

    Rows are filled up with zeros to eights. row_scale: 1 over the sum of a row's shares; a NaN where there is none.
    """

    kind: ClassVar[str] = "int16-shares"
    rows: int
    width: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out", "row_scale")

    @property
    def row_bytes(self) -> int:
        return -(-self.width // SHORT_DEPTH) * SHORT_DEPTH * 2

    @property
    def time_ns(self) -> int:
        return self.rows * self.width * 3 // 4

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.rows, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        moves = {"in": 4 * start * self.width, "out": start * self.row_bytes, "row_scale": 4 * start}
        return Piece(replace(self, rows=stop - start), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        source, target = f.param("in"), f.param("out")
        with f.repeat(self.rows):
            largest, odd = self._largest(f)
            total = f.local("i32x4", "total", const("i32x4", 0))
            eights, rest = divmod(self.width, SHORT_DEPTH)
            if eights:
                with f.repeat(eights):
                    self._eight(f, largest, total, SHORT_DEPTH)
                    f.step(source, 2 * _VECTOR)
                    f.step(target, _VECTOR)
            if rest:
                self._eight(f, largest, total, rest)
                f.step(source, 4 * rest)
                f.step(target, _VECTOR)
            across(f, total, "i32x4.add")
            share = const("f32x4", 1) / op("f32x4.convert_i32x4_s", total) + (largest - largest)
            f.store("v128.store32_lane", f.param("row_scale"), share.as_("i8x16") | odd.as_("i8x16"), 0, lane=0)
            f.step(f.param("row_scale"), 4)
        return f

    def _largest(self, f: Function) -> tuple[Local, Local]:
        """Of a row, in every lane; and all bits where an element is a NaN, which makes one of what they are laid on."""
        at, least = f.local("i32", "at", f.param("in")), const("f32x4", float("-inf"))
        found = [f.local("f32x4", f"largest{i}", least) for i in range(_AT_ONCE)]
        odd = [f.local("f32x4", f"odd{i}", const("f32x4", 0)) for i in range(_AT_ONCE)]

        def take(i: int, value: Code) -> None:
            x = f.local("f32x4", f"x{i}", value)
            f.set(found[i], op("f32x4.pmax", found[i], x))
            f.set(odd[i], odd[i] | x.ne(x))

        whole, rest = divmod(self.width, _LANES)
        many, some = divmod(whole, _AT_ONCE)
        if many:
            with f.repeat(many):
                for i in range(_AT_ONCE):
                    take(i, load("v128.load", at, _VECTOR * i, "f32x4"))
                f.step(at, _VECTOR * _AT_ONCE)
        for i in range(some):
            take(i, load("v128.load", at, _VECTOR * i, "f32x4"))
        if rest:
            take(some, first_lanes(load("v128.load", at, _VECTOR * some, "f32x4"), rest, least))
        for values, name in ((found, "f32x4.pmax"), (odd, "v128.or")):
            for other in values[1:]:
                f.set(values[0], op(name, values[0], other))
            across(f, values[0], name)
        return found[0], odd[0]

    def _eight(self, f: Function, largest: Local, total: Local, count: int) -> None:
        halves = []
        for i in range(2):
            lanes = min(_LANES, count - _LANES * i)
            if lanes <= 0:
                halves.append(f.local("i32x4", f"share{i}", const("i32x4", 0)))
                continue
            x = load("v128.load", f.param("in"), _VECTOR * i, "f32x4")
            if lanes < _LANES:
                x = first_lanes(x, lanes, const("f32x4", float("-inf")))
            whole = self._share(f, x, largest)
            halves.append(f.local("i32x4", f"share{i}", whole))
            f.set(total, total + halves[-1])
        f.store("v128.store", f.param("out"), op("i16x8.narrow_i32x4_s", *halves))

    def _share(self, f: Function, x: Code, largest: Local) -> Code:
        """`ir.shorts.shares_of`: i32x4. 2^n goes into the exponent."""
        magic = const("f32x4", MAGIC)
        power = f.local(
            "f32x4", "power", op("f32x4.pmax", const("f32x4", POWER_LEAST), (x - largest) * const("f32x4", LOG2_E))
        )
        whole = f.local("f32x4", "whole", power + magic)
        rest = f.local("f32x4", "rest", power - (whole - magic))
        total: Code = const("f32x4", POWERS[-1])
        for c in reversed(POWERS[:-1]):
            total = total * rest + const("f32x4", c)
        raised = total.as_("i32x4") + op("i32x4.shl", whole.as_("i32x4"), const("i32", 23))
        return (raised.as_("f32x4") + magic).as_("i32x4") - const("i32x4", MAGIC_BITS)
