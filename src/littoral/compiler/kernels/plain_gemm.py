"""Matrix products of bytes without vectors: two rows and four columns at a time, in plain integer arithmetic.

A value of the one row and one of the other lie in the halves of an i64, so that one multiplication by a weight makes
two products, and one addition takes both. The lower sum borrows from the upper one, which is made good at the end:
exact, as long as the lower sum fits 32 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.kernels.int8_dot import is_wide, step_bytes, weight_bytes
from littoral.compiler.kernels.int8_finish import ELEMENT_BYTES
from littoral.compiler.kernels.int8_gemm import IntegerGemm
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.kernels.plain_finish import load_one, store_one, value_of
from littoral.compiler.kernels.rows import Run, runs_of
from littoral.compiler.wasm import Code, Function, Local, const, load, op, select

__all__ = ["PlainGemm", "left_load"]

_ROWS = 2
_COLUMNS = 4
_WORD = 8  # bytes that are moved at once
_UNROLLED = 4  # words of a piece that are moved without a loop
_DEPTH_MAX = (1 << 31) // (255 * 255) - 8  # products of the widest operands, whose sum fits 32 bits


def left_load(form: str, kind: str) -> str:
    """The instruction that loads one byte of the left side."""
    return f"{kind}.load8_{'s' if form in ('wide_s', 'deep_s') else 'u'}"


@dataclass(frozen=True)
class PlainGemm(Kernel):
    """The same product, by the same arguments."""

    kind: ClassVar[str] = IntegerGemm.kind
    of: IntegerGemm

    @property
    def params(self) -> tuple[str, ...]:
        return self.of.params

    @property
    def rows_at_once(self) -> int:
        most = min(_ROWS, self.of.rows.count) if self.of.rows.depth <= _DEPTH_MAX else 1
        return min(most, self.of.block_rows) if self.of.is_gathered else most

    @property
    def tiling(self) -> str:
        return f"{self.rows_at_once}×{min(_COLUMNS, self.of.width)}"

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _Emitter(f, self).emit()
        return f


class _Emitter:
    def __init__(self, f: Function, kernel: PlainGemm) -> None:
        self.f = f
        self.g = g = kernel.of
        self.rows = g.rows.flat()
        self.mr = kernel.rows_at_once
        self.kind = "i64" if self.mr > 1 else "i32"
        self.together = 2 if is_wide(g.form) else 4  # values of K that lie side by side in a column
        self.weight = weight_bytes(g.form)
        self.left = f.local("i32", "left_at", f.param("left") + (0 if g.is_gathered else self.rows.pieces[0][0]))
        self.line_column = f.local("i32", "line_column", 0)
        self.panel = f.local("i32", "panel")
        self.column = f.local("i32", "column_bytes")  # of a bias or a scale
        self.row_at = f.local("i32", "row_at", 0)
        self.out = f.local("i32", "out_at", f.param("out"))
        self.counter = f.local("i32", "k")
        self.sums = [f.local(self.kind, f"s{c}") for c in range(_COLUMNS)]

    def emit(self) -> None:
        """Tile by tile; the last one starts early to be whole."""
        f, g = self.f, self.g
        tiles = -(-self.rows.count // self.mr)
        with f.repeat(tiles) as remaining:
            if self.rows.count % self.mr:
                with f.when(remaining.eq(1)):
                    self._go_to_row(self.rows.count - self.mr)
            source: Code = self.left
            if g.is_gathered:
                source = f.param("scratch")
                self._gather()
            self._panels(source)
            f.step(self.out, self.mr * g.stride)
            f.step(self.row_at, 4 * self.mr)
            if not g.is_gathered:
                f.step(self.left, self.mr * g.row_bytes)

    def _go_to_row(self, row: int) -> None:
        f, rows = self.f, self.rows
        y, x = divmod(row, rows.columns)
        start = 0 if self.g.is_gathered else rows.pieces[0][0]
        f.set(self.left, f.param("left") + (y * rows.line_bytes + x * rows.row_bytes + start))
        f.set(self.line_column, x)
        f.set(self.out, f.param("out") + row * self.g.stride)
        f.set(self.row_at, 4 * row)

    def _gather(self) -> None:
        """The tile's rows, piece after piece, in whole words: what is too much, the next piece lies over."""
        f, rows = self.f, self.rows
        target = f.local("i32", "target", f.param("scratch"))
        jump = rows.line_bytes - (rows.columns - 1) * rows.row_bytes
        with f.repeat(self.mr):
            at = 0
            for run in runs_of(rows.pieces):
                self._copy_run(target, at, run)
                at += run.length * run.times
            f.step(target, self.g.row_bytes)
            if rows.lines == 1:
                f.step(self.left, rows.row_bytes)
            else:
                f.step(self.line_column, 1)
                wraps = self.line_column.eq(rows.columns)
                f.step(self.left, select(wraps, const("i32", jump), const("i32", rows.row_bytes)))
                f.set(self.line_column, select(wraps, const("i32", 0), self.line_column))

    def _copy_run(self, target: Local, at: int, run: Run) -> None:
        f = self.f
        source: Code = self.left
        if run.times > 1:
            source = piece = f.local("i32", "piece", self.left)
            target = f.local("i32", "piece_target", target)
        with f.repeat(run.times):
            self._copy(source, run.offset, target, at, -(-run.length // _WORD))
            if run.times > 1:
                f.step(piece, run.step_bytes)
                f.step(target, run.length)

    def _copy(self, source: Code, offset: int, target: Code, at: int, words: int) -> None:
        f = self.f
        if words <= _UNROLLED:
            for q in range(0, _WORD * words, _WORD):
                f.store("i64.store", target, load("i64.load", source, offset + q), at + q)
            return
        moved = f.local("i32", "moved", 0)
        with f.repeat(words, self.counter):
            f.store("i64.store", target + moved, load("i64.load", source + moved, offset), at)
            f.step(moved, _WORD)

    def _panels(self, source: Code) -> None:
        """All columns, four at a time, through panels that have four times as many as vectors."""
        f, g = self.f, self.g
        panels, tail = divmod(g.width, _COLUMNS * g.vectors)
        f.set(self.panel, f.param("right"))
        f.set(self.column, 0)
        if panels:
            with f.repeat(panels):
                self._fours(source, g.vectors, g.vectors)
                f.step(self.panel, g.steps * step_bytes(g.vectors, g.form) - g.vectors * self._four_bytes)
        fours, rest = divmod(tail, _COLUMNS)
        if fours:
            self._fours(source, fours, fours + (rest > 0))
        if rest:
            self._columns(source, rest, fours + 1)

    @property
    def _four_bytes(self) -> int:
        """Weights of four columns that lie side by side."""
        return _COLUMNS * self.together * self.weight

    def _fours(self, source: Code, times: int, vectors: int) -> None:
        with self.f.repeat(times):
            self._columns(source, _COLUMNS, vectors)
            self.f.step(self.panel, self._four_bytes)
            self.f.step(self.column, 4 * _COLUMNS)

    def _columns(self, source: Code, count: int, vectors: int) -> None:
        """The tile's rows times some columns of a panel of so many vectors."""
        f = self.f
        a, b = f.local("i32", "a", source), f.local("i32", "b", self.panel)
        for total in self.sums[:count]:
            f.set(total, 0)
        with f.repeat(-(-self.rows.depth // self.together), self.counter):
            for k in range(self.together):
                x = f.local(self.kind, "x", self._left(a, k))
                for c, total in enumerate(self.sums[:count]):
                    width = "8_s" if self.weight == 1 else "16_s"
                    weight = load(f"{self.kind}.load{width}", b, self.weight * (self.together * c + k))
                    f.set(total, total + x * weight)
            f.step(a, self.together)
            f.step(b, vectors * self._four_bytes)
        self._finish(count)

    def _left(self, a: Code, k: int) -> Code:
        """A value of each row of the tile: the second one in the upper half."""
        name = left_load(self.g.form, self.kind)
        first = load(name, a, k)
        return first if self.mr == 1 else (load(name, a, k + self.g.row_bytes) << 32) + first

    def _finish(self, count: int) -> None:
        f, g = self.f, self.g
        bias, scale = (f.local("i32", f"{name}_at", f.param(name) + self.column) for name in ("bias", "scale"))
        to = f.local("i32", "to", self.out + self._bytes(self.column, g.finish.bytes))
        extras = [self._extra_at(i, to) for i in range(len(g.extras))]
        by_row = [self._by_row(i) for i in range(self.mr)] if g.by_row else []
        for c in range(count):
            start = f.local("i32", "start", load("i32.load", bias, 4 * c))
            factor = f.local("f32", "factor", load("f32.load", scale, 4 * c))
            for i in range(self.mr):
                row_scale, zero = by_row[i] if by_row else (None, None)
                total = self._sum(c, i) + (start if zero is None else start * zero)
                if g.finish.dtype == "int32":
                    f.store("i32.store", to, total, i * g.stride + 4 * c)
                    continue
                scaled = op("f32.convert_i32_s", total) * factor
                self._store(scaled if row_scale is None else scaled * row_scale, to, extras, i, c)

    def _sum(self, c: int, row: int) -> Code:
        """An upper sum has what the lower one borrowed added back."""
        total = self.sums[c]
        if self.mr == 1:
            return total
        return op("i32.wrap_i64", (total + (1 << 31)) >> 32 if row else total)

    def _store(self, scaled: Code, to: Local, extras: Sequence[Code], row: int, c: int) -> None:
        f, g = self.f, self.g
        offset = row * g.stride + c * g.finish.bytes
        args = {0: scaled if g.finish.is_plain else f.local("f32", value=scaled)}
        for i, (extra, address) in enumerate(zip(g.extras, extras, strict=True)):
            at = offset // g.finish.bytes * extra.bytes if extra.form == "full" else c * extra.bytes
            args[1 + i] = f.local("f32", value=load_one(extra.dtype, address, at))
        store_one(f, g.finish, to, value_of(f, g.finish, args), offset)

    def _by_row(self, row: int) -> tuple[Local, Local]:
        """Scale and zero point of one row of the tile."""
        f = self.f
        scale = f.local("f32", value=load("f32.load", f.param("row_scale") + self.row_at, 4 * row))
        return scale, f.local("i32", value=load("i32.load", f.param("row_zero") + self.row_at, 4 * row))

    def _extra_at(self, index: int, to: Local) -> Local:
        """Where the further input of the first element lies."""
        f, size = self.f, self.g.extras[index].bytes
        base = f.param(f"extra{index}")
        if self.g.extras[index].form == "row":
            return f.local("i32", value=base + self._bytes(self.column, size))
        moved = self._bytes(to - f.param("out"), size, self.g.finish.bytes)
        return f.local("i32", value=base + moved)

    @staticmethod
    def _bytes(distance: Code, size: int, of: int = ELEMENT_BYTES["float32"]) -> Code:
        """The distance of elements of `size` bytes, where those of `of` bytes have that one."""
        return distance * (size // of) if size >= of else distance // (of // size)
