"""Rows of float32 to bytes, each with a scale and a zero point of its own: a pass for the range, one for the bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.int8_finish import MAGIC, MAGIC_BITS, store_bytes
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import across, first_lanes
from littoral.compiler.wasm import Code, Function, Local, const, load, op

__all__ = ["RowBytes"]

_HIGHEST = 127
_FAR = 200
_LANES = 4
_VECTOR = 16  # bytes
_AT_ONCE = 4


@dataclass(frozen=True)
class RowBytes(Kernel):
    """f32[rows, width] to u8 of `QuantizeRows`, f32 scale and i32 zero point of each row."""

    kind: ClassVar[str] = "int8-rows"
    rows: int
    width: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out", "row_scale", "row_zero")

    @property
    def time_ns(self) -> int:
        return self.rows * self.width // 4

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.rows, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        moves = {"in": 4 * start * self.width, "out": start * self.width, "row_scale": 4 * start, "row_zero": 4 * start}
        return Piece(replace(self, rows=stop - start), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        with f.repeat(self.rows):
            low, width = self._range(f)
            per_one = f.local("f32x4", "per_one", const("f32x4", _HIGHEST) / width)
            zero = _far_limited(-low * per_one) + const("f32x4", MAGIC)
            whole = f.local("i32x4", "zero", zero.as_("i32x4") - const("i32x4", MAGIC_BITS))
            f.set(whole, op("i32x4.max_s", op("i32x4.min_s", whole, const("i32x4", _HIGHEST)), const("i32x4", 0)))
            scale = f.local("f32x4", "scale", width * const("f32x4", 1 / _HIGHEST))
            f.store("v128.store32_lane", f.param("row_scale"), scale.as_("i8x16"), 0, lane=0)
            f.store("v128.store32_lane", f.param("row_zero"), whole.as_("i8x16"), 0, lane=0)
            self._bytes(f, per_one, f.local("i32x4", "taken", const("i32x4", MAGIC_BITS) - whole))
            f.step(f.param("in"), 4 * self.width)
            f.step(f.param("out"), self.width)
            f.step(f.param("row_scale"), 4)
            f.step(f.param("row_zero"), 4)
        return f

    def _range(self, f: Function) -> tuple[Local, Local]:
        """Least value, and how far the greatest is from it, in every lane: no number where some element is none."""
        zero = const("f32x4", 0)
        lows, highs, poisons = (
            [f.local("f32x4", f"{name}{i}", zero) for i in range(count)]
            for name, count in (("low", _AT_ONCE), ("high", _AT_ONCE), ("poison", 2))
        )

        def take(i: int, value: Code) -> None:
            x = f.local("f32x4", f"x{i}", value)
            f.set(lows[i], op("f32x4.pmin", lows[i], x))
            f.set(highs[i], op("f32x4.pmax", highs[i], x))
            f.set(poisons[i % 2], poisons[i % 2] + x * zero)

        self._over(f, _AT_ONCE, take)
        for found, name in ((lows, "f32x4.pmin"), (highs, "f32x4.pmax"), (poisons, "f32x4.add")):
            for other in found[1:]:
                f.set(found[0], op(name, found[0], other))
            across(f, found[0], name)
        return lows[0], f.local("f32x4", "width", (highs[0] - lows[0]) + poisons[0])

    def _over(self, f: Function, at_once: int, take: Callable[[int, Code], None]) -> None:
        """Hands over the row's vectors; what is beyond the row is 0."""
        at = f.local("i32", "at", f.param("in"))
        whole, rest = divmod(self.width, _LANES)
        many, some = divmod(whole, at_once)
        if many:
            with f.repeat(many):
                for i in range(at_once):
                    take(i, load("v128.load", at, _VECTOR * i, "f32x4"))
                f.step(at, _VECTOR * at_once)
        for i in range(some):
            take(i, load("v128.load", at, _VECTOR * i, "f32x4"))
        if rest:
            take(some, first_lanes(load("v128.load", at, _VECTOR * some, "f32x4"), rest, const("f32x4", 0)))

    def _bytes(self, f: Function, per_one: Local, taken: Local) -> None:
        source, target = f.local("i32", "source", f.param("in")), f.local("i32", "target", f.param("out"))
        whole, rest = divmod(self.width, _VECTOR)
        if whole:
            with f.repeat(whole):
                self._sixteen(f, source, target, per_one, taken, _VECTOR)
                f.step(source, _VECTOR * _AT_ONCE)
                f.step(target, _VECTOR)
        if rest:
            self._sixteen(f, source, target, per_one, taken, rest)

    def _sixteen(self, f: Function, source: Local, target: Local, per_one: Local, taken: Local, count: int) -> None:
        """What is beyond the row is computed too, and not stored."""
        whole = []
        for i in range(_AT_ONCE):
            value = _far_limited(load("v128.load", source, _VECTOR * i, "f32x4") * per_one)
            whole.append((value + const("f32x4", MAGIC)).as_("i32x4") - taken)
        halves = [op("i16x8.narrow_i32x4_s", *whole[i : i + 2]) for i in (0, 2)]
        packed = op("i8x16.max_s", op("i8x16.narrow_i16x8_s", *halves), const("i8x16", 0))
        store_bytes(f, target, packed, 0, count)


def _far_limited(value: Code) -> Code:
    """Within ±200; −200 for a NaN."""
    return op("f32x4.pmin", op("f32x4.pmax", const("f32x4", -_FAR), value), const("f32x4", _FAR))
