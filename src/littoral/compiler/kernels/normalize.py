"""Normalisation of rows in float32: mean, spread and what is made of them, a row at a time in the first-level cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.expr import Expr
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import across, first_lanes, store_lanes
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load

__all__ = ["NormalizeRows"]

_LANES = 4
_VECTOR = 16  # bytes
_AT_ONCE = 4  # running sums, so that one does not wait for the other


@dataclass(frozen=True)
class NormalizeRows(Kernel):
    """out f32[rows, width] = finish(in less `mean` of its row's sum, `spread` of the row's sum of squares, extras…).

    square: what is summed for the spread. mean None: nothing is taken off. extras: `row` (one value a column) or `full`
    (laid out as the output). A sum runs over sixteen partial sums, each in order, which are added at the end.
    """

    kind: ClassVar[str] = "normalize"
    rows: int
    width: int
    mean: Expr | None
    square: Expr
    spread: Expr
    finish: Expr
    extras: tuple[str, ...] = ()

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", *(f"extra{i}" for i in range(len(self.extras))), "out")

    @property
    def time_ns(self) -> int:
        return self.rows * self.width // 2

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.rows, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        full = (f"extra{i}" for i, form in enumerate(self.extras) if form == "full")
        moves = dict.fromkeys(("in", *full, "out"), 4 * start * self.width)
        return Piece(replace(self, rows=stop - start), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        full = [f.param(f"extra{i}") for i, form in enumerate(self.extras) if form == "full"]
        with f.repeat(self.rows):
            mean = None if self.mean is None else self._joined(f, self.mean, lambda x: x)
            spread = self._joined(f, self.spread, lambda x: self._square(f, x, mean))
            self._finish(f, mean, spread)
            for pointer in (f.param("in"), *full, f.param("out")):
                f.step(pointer, 4 * self.width)
        return f

    def _square(self, f: Function, x: Code, mean: Local | None) -> Code:
        return Writer(f, {0: _centered(f, x, mean)}, vector=True).write(self.square)

    def _joined(self, f: Function, after: Expr, term: Callable[[Code], Code]) -> Local:
        """What `after` makes of the sum of a term over the row, in every lane."""
        at = f.local("i32", "at", f.param("in"))
        zero = const("f32x4", 0)
        whole, rest = divmod(self.width, _LANES)
        many, some = divmod(whole, _AT_ONCE)
        totals = [f.local("f32x4", f"total{i}", zero) for i in range(_AT_ONCE)]

        def add(i: int, lanes: int) -> None:
            value = term(load("v128.load", at, _VECTOR * i, "f32x4"))
            f.set(totals[i], totals[i] + (value if lanes == _LANES else first_lanes(value, lanes, zero)))

        if many:
            with f.repeat(many):
                for i in range(_AT_ONCE):
                    add(i, _LANES)
                f.step(at, _VECTOR * _AT_ONCE)
        for i in range(some):
            add(i, _LANES)
        if rest:
            add(some, rest)
        f.set(totals[0], (totals[0] + totals[1]) + (totals[2] + totals[3]))
        total = across(f, totals[0], "f32x4.add")
        return f.local("f32x4", value=Writer(f, {0: total}, vector=True).write(after))

    def _finish(self, f: Function, mean: Local | None, spread: Local) -> None:
        pointers = {"in": f.param("in"), "out": f.param("out")}
        pointers |= {f"extra{i}": f.param(f"extra{i}") for i in range(len(self.extras))}
        at = {name: f.local("i32", name, pointer) for name, pointer in pointers.items()}
        constants = Constants(f)
        whole, rest = divmod(self.width, _LANES)
        if whole:
            with f.repeat(whole):
                self._finish_vector(f, at, mean, spread, constants, _LANES)
                for pointer in at.values():
                    f.step(pointer, _VECTOR)
        if rest:
            self._finish_vector(f, at, mean, spread, constants, rest)

    def _finish_vector(
        self, f: Function, at: dict[str, Local], mean: Local | None, spread: Local, constants: Constants, lanes: int
    ) -> None:
        args: dict[int, Code] = {0: _centered(f, load("v128.load", at["in"], 0, "f32x4"), mean), 1: spread}
        for i in range(len(self.extras)):
            args[2 + i] = load("v128.load", at[f"extra{i}"], 0, "f32x4")
        value = Writer(f, args, vector=True, constants=constants).write(self.finish)
        store_lanes(f, at["out"], value, 0, lanes)


def _centered(f: Function, x: Code, mean: Local | None) -> Local:
    return f.local("f32x4", value=x if mean is None else x - mean)
