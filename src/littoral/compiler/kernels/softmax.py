"""Softmax along the last axis in float32: a row is read from memory once and written once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import across, first_lanes, store_lanes
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Function, Local, load, op, vector

__all__ = ["SoftmaxRows"]

_LANES = 4
_VECTOR = 16  # bytes
_AT_ONCE = 4  # running maxima, so that one does not wait for the other
_POWER = apply("exp_negative", Arg("float32", 0) - Arg("float32", 1))


@dataclass(frozen=True)
class SoftmaxRows(Kernel):
    """out f32[rows, width] = e^(x − largest of the row) over their sum.

    Sums run over four lanes, each in order, which are added at the end. out may be where in is.
    """

    kind: ClassVar[str] = "softmax"
    rows: int
    width: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def time_ns(self) -> int:
        return self.rows * self.width

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.rows, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        moves = dict.fromkeys(self.params, 4 * start * self.width)
        return Piece(replace(self, rows=stop - start), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        with f.repeat(self.rows):
            largest = self._largest(f)
            total = self._powers(f, largest)
            self._divide(f, total)
            f.step(f.param("in"), 4 * self.width)
            f.step(f.param("out"), 4 * self.width)
        return f

    def _largest(self, f: Function) -> Local:
        """In every lane. A NaN anywhere in the row makes it one."""
        at = f.local("i32", "at", f.param("in"))
        least = vector("f32x4", [float("-inf")] * _LANES)
        found = [f.local("f32x4", f"largest{i}", least) for i in range(_AT_ONCE)]
        whole, rest = divmod(self.width, _LANES)
        many, some = divmod(whole, _AT_ONCE)
        if many:
            with f.repeat(many):
                for i, value in enumerate(found):
                    f.set(value, op("f32x4.max", value, load("v128.load", at, _VECTOR * i, "f32x4")))
                f.step(at, _VECTOR * _AT_ONCE)
        for i in range(some):
            f.set(found[i], op("f32x4.max", found[i], load("v128.load", at, _VECTOR * i, "f32x4")))
        if rest:
            last = first_lanes(load("v128.load", at, _VECTOR * some, "f32x4"), rest, least)
            f.set(found[-1], op("f32x4.max", found[-1], last))
        for value in found[1:]:
            f.set(found[0], op("f32x4.max", found[0], value))
        return across(f, found[0], "f32x4.max")

    def _powers(self, f: Function, largest: Local) -> Local:
        """Writes the powers; their sum in every lane."""
        source, target = f.local("i32", "source", f.param("in")), f.local("i32", "target", f.param("out"))
        total = f.local("f32x4", "total", vector("f32x4", [0.0] * _LANES))
        whole, rest = divmod(self.width, _LANES)
        if whole:
            with f.repeat(whole):
                power = self._power(f, source, largest)
                f.set(total, total + power)
                f.store("v128.store", target, power)
                f.step(source, _VECTOR)
                f.step(target, _VECTOR)
        if rest:
            power = self._power(f, source, largest)
            f.set(total, total + first_lanes(power, rest, vector("f32x4", [0.0] * _LANES)))
            store_lanes(f, target, power, 0, rest)
        return across(f, total, "f32x4.add")

    def _power(self, f: Function, source: Local, largest: Local) -> Local:
        x = f.local("f32x4", "x", load("v128.load", source, 0, "f32x4"))
        writer = Writer(f, {0: x, 1: largest}, vector=True)
        return f.local("f32x4", "power", writer.write(_POWER))

    def _divide(self, f: Function, total: Local) -> None:
        target = f.local("i32", "share", f.param("out"))
        whole, rest = divmod(self.width, _LANES)
        if whole:
            with f.repeat(whole):
                f.store("v128.store", target, load("v128.load", target, 0, "f32x4") / total)
                f.step(target, _VECTOR)
        if rest:
            store_lanes(f, target, load("v128.load", target, 0, "f32x4") / total, 0, rest)
