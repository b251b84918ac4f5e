"""The last part of a matrix product: a tile's sums, finished by an epilogue, go to memory."""

from collections.abc import Sequence
from itertools import product

from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.vector_form import is_long as is_long_expression
from littoral.compiler.kernels.lanes import store_lanes
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, load

__all__ = ["TileStore"]

_VECTOR = 16  # bytes


class TileStore:
    """Stores tiles of a kernel with the parameters `out` and `extra0`, `extra1` …

    stride: bytes from row to row of out. epilogue, extras: as in `Gemm`.
    """

    def __init__(self, f: Function, stride: int, epilogue: Expr | None, extras: Sequence[str]) -> None:
        self.f = f
        self.stride = stride
        self.epilogue = epilogue
        self.extras = extras

    def store(
        self,
        sums: Sequence[Sequence[Local]],
        out: Local,
        column: Local,
        width: int,
        again: int = 0,
        last: Local | None = None,
    ) -> None:
        """out: where the tile's first row goes; column: bytes to its first of `width` columns.

        again: rows that the last tile, whose out is `last`, does a second time; they are not stored there.
        """
        f = self.f
        base = f.local("i32", "base", out + column)
        others = {
            i: f.local("i32", f"other{i}", base - f.param("out") + f.param(f"extra{i}"))
            for i, form in enumerate(self.extras)
            if form == "full"
        }
        if again and last is not None:
            with f.when(out.ne(last)):
                self._store_rows(sums, range(again), base, column, others, width)
        self._store_rows(sums, range(again, len(sums)), base, column, others, width)

    def _store_rows(
        self,
        sums: Sequence[Sequence[Local]],
        rows: range,
        base: Local,
        column: Local,
        others: dict[int, Local],
        width: int,
    ) -> None:
        is_long = self.epilogue is not None and is_long_expression(self.epilogue)
        constants = Constants(self.f)
        for i, v in product(rows, range(len(sums[0]))):
            offset = i * self.stride + _VECTOR * v
            value: Code = sums[i][v]
            if not is_long:
                value = self._finished(sums[i][v], column, others, offset, v, constants)
            store_lanes(self.f, base, value, offset, min(4, width - 4 * v))
        if is_long:
            self._finish_rows(rows, base, column, others, width)

    def _finish_rows(self, rows: range, base: Local, column: Local, others: dict[int, Local], width: int) -> None:
        """A long epilogue, row by row over what was just stored: all sums at once would spill what it needs."""
        f = self.f
        start = rows.start * self.stride
        at = f.local("i32", "at", base + start)
        moving = {i: f.local("i32", f"moving{i}", other + start) for i, other in others.items()}
        constants = Constants(f)
        with f.repeat(len(rows)):
            for v in range(-(-width // 4)):
                total = f.local("f32x4", "total", load("v128.load", at, _VECTOR * v, "f32x4"))
                value = self._finished(total, column, moving, _VECTOR * v, v, constants)
                store_lanes(f, at, value, _VECTOR * v, min(4, width - 4 * v))
            for pointer in (at, *moving.values()):
                f.step(pointer, self.stride)

    def _finished(
        self, total: Local, column: Local, others: dict[int, Local], offset: int, v: int, constants: Constants
    ) -> Code:
        f = self.f
        if self.epilogue is None:
            return total
        args: dict[int, Code] = {0: total}
        for i, form in enumerate(self.extras):
            if form == "full":
                args[1 + i] = load("v128.load", others[i], offset, "f32x4")
            else:
                args[1 + i] = load("v128.load", f.param(f"extra{i}") + column, _VECTOR * v, "f32x4")
        return Writer(f, args, vector=True, constants=constants).write(self.epilogue)
