"""Matrix products in float32: dense layers, 1×1 convolutions, and convolutions of any window.

A block of rows is packed K-major with every value four times, so that the inner loop is loads, `f32x4.mul` and
`f32x4.add` and nothing else: no broadcasts, no moves, no relaxed operation, the same bits on every engine. The right
side lies in panels as wide as a tile. Sums start from the bias and run over K in order, whatever the tile. A
convolution gathers its patches in the same packing. Between two K steps stands a branch that is never taken: the engine
moves loads to the top of a block, and with several steps in one block the registers run out
(`docs/concepts/kernels.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

from littoral.compiler.ir.expr import Expr
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import spread
from littoral.compiler.kernels.rows import Rows, Run, runs_of
from littoral.compiler.kernels.tile_store import TileStore
from littoral.compiler.wasm import Code, Function, Label, Local, const, load, op, select

__all__ = ["PANEL", "Gemm", "Rows"]

PANEL = 8  # columns of a panel, unless another width is chosen
SUMS = 8  # vectors that a tile keeps in registers, at least where rows are few
VECTOR = 16  # bytes
LANES = 4
_SCALAR_ROWS = 2


@dataclass(frozen=True)
class Gemm(Kernel):
    """out[row, column] = epilogue(bias[column] + Σ_k left[row, k] · right[k, column], extras…).

    right: panels f32[depth, panel], the last one with as many columns as are left, in fours. bias: f32 padded to whole
    vectors. extras: for each further input of the
    epilogue, `row` (one value a column, padded) or `full` (laid out as the output). out_bytes: from row to row.
    accumulate: sums start from what lies in out, not from the bias. tile_rows, panel (columns, a multiple of 4): of a
    tile; unroll: steps of K in one round of the loop; budget_bytes: of the rows that are packed together; copies: how
    often a packed value is there, 4 or 1; is_narrow: a tile has four columns of a panel, not all. None of these six
    changes a bit of the result.
    """

    kind: ClassVar[str] = "gemm"
    rows: Rows
    width: int
    bias: bool = False
    epilogue: Expr | None = None
    extras: tuple[str, ...] = ()
    out_bytes: int = 0
    accumulate: bool = False
    tile_rows: int = 4
    panel: int = PANEL
    unroll: int = 2
    budget_bytes: int = 24576
    copies: int = LANES
    is_narrow: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        extras = (f"extra{i}" for i in range(len(self.extras)))
        return ("left", "right", *(["bias"] if self.bias else []), *extras, "out", "scratch")

    @property
    def tile(self) -> int:
        return min(self.tile_rows, self.rows.count)

    @property
    def block_tiles(self) -> int:
        """Tiles that are packed together: what fits the first-level cache, evenly spread."""
        tiles = -(-self.rows.count // self.tile)
        most = max(1, self.budget_bytes // (self.value_bytes * self.tile * self.rows.depth))
        return -(-tiles // -(-tiles // most))

    @property
    def scratch_bytes(self) -> int:
        return self.value_bytes * self.tile * self.rows.depth * self.block_tiles

    @property
    def tiling(self) -> str:
        return f"{self.tile}×{LANES if self.is_narrow else self.panel}, {self.block_tiles} packed"

    @property
    def value_bytes(self) -> int:
        """What one packed value takes."""
        return 4 * self.copies

    def without_vectors(self) -> "Gemm":
        """Eight sums fit into registers as scalars, and one copy of a value serves a whole row of them."""
        budget = self.scratch_bytes
        return replace(self, tile_rows=_SCALAR_ROWS, unroll=2, copies=1, is_narrow=True, budget_bytes=budget)

    @property
    def stride(self) -> int:
        return self.out_bytes or 4 * self.width

    @property
    def time_ns(self) -> int:
        """A packed value costs what a panel's worth of products does, a value of the right side about four."""
        rows, depth = -(-self.rows.count // self.tile) * self.tile, self.rows.depth
        columns = -(-self.width // LANES) * LANES
        return depth * (rows * (columns + PANEL) + 4 * columns) // 25

    def cuts(self) -> Sequence[Cut]:
        """By rows, whole tiles of them; where rows lie on many lines, by lines; by panels of columns."""
        rows = self.rows.flat()
        by_row = Cut(-(-rows.count // self.tile_rows), lambda a, b: self._rows_part(rows, a, b))
        by_line = Cut(rows.lines, lambda a, b: self._lines_part(rows, a, b))
        return by_row if rows.lines == 1 else by_line, Cut(-(-self.width // self.panel), self._columns_part)

    def _rows_part(self, rows: Rows, start: int, stop: int) -> Piece:
        first, past = start * self.tile_rows, min(stop * self.tile_rows, rows.count)
        kernel = replace(self, rows=replace(rows, columns=past - first))
        return Piece(kernel, self._moves(first * rows.row_bytes, first))

    def _lines_part(self, rows: Rows, start: int, stop: int) -> Piece:
        kernel = replace(self, rows=replace(rows, lines=stop - start))
        return Piece(kernel, self._moves(start * rows.line_bytes, start * rows.columns))

    def _moves(self, left: int, row: int) -> dict[str, int]:
        full = (f"extra{i}" for i, form in enumerate(self.extras) if form == "full")
        return {"left": left} | dict.fromkeys((*full, "out"), row * self.stride)

    def _columns_part(self, start: int, stop: int) -> Piece:
        first, past = start * self.panel, min(stop * self.panel, self.width)
        kernel = replace(self, width=past - first, out_bytes=self.stride)
        along = (p for p in self.params if p not in ("left", "right", "scratch"))
        return Piece(kernel, {"right": 4 * first * self.rows.depth} | dict.fromkeys(along, 4 * first))

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _GemmEmitter(f, self).emit()
        return f


class _GemmEmitter:
    def __init__(self, f: Function, gemm: Gemm) -> None:
        self.f = f
        self.g = gemm
        self.rows = gemm.rows.flat()
        self.mr = gemm.tile
        self.tiles = -(-gemm.rows.count // self.mr)
        self.scratch = f.param("scratch")
        self.left = f.local("i32", "left_at", f.param("left"))
        self.column = f.local("i32", "column", 0) if self.rows.lines > 1 else None
        self.packed = f.local("i32", "packed")
        self.out = f.local("i32", "out_at")
        self.counter = f.local("i32", "k")
        self.tile_store = TileStore(f, gemm.stride, gemm.epilogue, gemm.extras)

    def emit(self) -> None:
        f, g = self.f, self.g
        first = f.local("i32", "first_out", f.param("out"))  # where the block's first row goes
        last = f.local("i32", "last_out", f.param("out") + (g.rows.count - self.mr) * g.stride)
        blocks = -(-self.tiles // g.block_tiles)
        left_tiles = f.local("i32", "tiles_left", self.tiles)
        count = f.local("i32", "block_tiles")
        with f.repeat(blocks):
            f.set(count, select(left_tiles < g.block_tiles, left_tiles, const("i32", g.block_tiles)))
            self._pack_block(count, left_tiles)
            self._multiply_block(count, first, last)
            f.step(first, g.block_tiles * self.mr * g.stride)

    def _pack_block(self, count: Local, left_tiles: Local) -> None:
        """Packs `count` tiles. The last tile of all starts early enough to be whole: its first rows come again."""
        f = self.f
        f.set(self.packed, self.scratch)
        with f.repeat(count):
            f.step(left_tiles, -1)
            surplus = self.tiles * self.mr - self.g.rows.count
            if surplus:
                with f.when(left_tiles.eq(0)):
                    self._go_to_row(self.g.rows.count - self.mr)
            self._pack_tile()

    def _go_to_row(self, row: int) -> None:
        y, x = divmod(row, self.rows.columns)
        self.f.set(self.left, self.f.param("left") + (y * self.rows.line_bytes + x * self.rows.row_bytes))
        if self.column is not None:
            self.f.set(self.column, x)

    def _row_pointers(self) -> list[tuple[Code, int]]:
        """Address of each row of the tile, as (code, offset); moves on to the next tile."""
        f, rows = self.f, self.rows
        if self.column is None:
            return [(self.left, i * rows.row_bytes) for i in range(self.mr)]
        found: list[tuple[Code, int]] = []
        jump = rows.line_bytes - (rows.columns - 1) * rows.row_bytes
        for i in range(self.mr):
            found.append((f.local("i32", f"row{i}", self.left), 0))
            f.step(self.column, 1)
            wraps = self.column.eq(rows.columns)
            f.step(self.left, select(wraps, const("i32", jump), const("i32", rows.row_bytes)))
            f.set(self.column, select(wraps, const("i32", 0), self.column))
        return found

    def _pack_tile(self) -> None:
        """One tile to (k, row) order, each value as often as it is wanted."""
        f, rows = self.f, self.rows
        pointers = self._row_pointers()
        values = [f.local("f32x4", f"a{i}") for i in range(self.mr)]
        for run in runs_of(rows.pieces):
            moving = f.local("i32", "k_bytes", 0) if run.times > 1 or run.length > 2 * LANES + LANES - 1 else None
            with f.repeat(run.times):
                moved = self._pack_piece(pointers, values, run, moving)
                if moving is not None and run.times > 1:
                    f.step(moving, run.step_bytes - moved)
        if self.column is None:
            f.step(self.left, self.mr * rows.row_bytes)

    def _pack_piece(self, pointers: list[tuple[Code, int]], values: list[Local], run: Run, moving: Local | None) -> int:
        """One piece of every row of the tile; by how many bytes `moving` has gone on."""
        f = self.f
        whole, rest = divmod(run.length, LANES)
        looped = whole if whole > 2 else 0
        if looped and moving is not None:
            with f.repeat(looped, self.counter):
                self._pack_four(pointers, values, run.offset, LANES, moving, 0)
                f.step(moving, VECTOR)
                f.step(self.packed, LANES * self.g.value_bytes * self.mr)
        at = 0
        for q in range(whole - looped + (rest > 0)):
            lanes = min(LANES, run.length - LANES * (looped + q))
            self._pack_four(pointers, values, run.offset + VECTOR * q, lanes, moving, at)
            at += lanes * self.g.value_bytes * self.mr
        f.step(self.packed, at)
        return looped * VECTOR

    def _pack_four(
        self,
        pointers: list[tuple[Code, int]],
        values: list[Local],
        offset: int,
        lanes: int,
        moving: Local | None,
        at: int,
    ) -> None:
        f = self.f
        for (pointer, more), value in zip(pointers, values, strict=True):
            address = pointer if moving is None else pointer + moving
            f.set(value, load("v128.load", address, offset + more, "f32x4"))
        for i, value in enumerate(values):
            for lane in range(lanes):
                to = at + self.g.value_bytes * (self.mr * lane + i)
                if self.g.copies == 1:
                    f.store("v128.store32_lane", self.packed, value, to, lane=lane)
                else:
                    f.store("v128.store", self.packed, spread(value, lane), to)

    def _multiply_block(self, count: Local, first: Local, last: Local) -> None:
        f, g = self.f, self.g
        panel = f.local("i32", "panel", f.param("right"))
        column = f.local("i32", "column_bytes", 0)
        panels, tail = divmod(g.width, g.panel)
        if g.is_narrow:
            self._narrow_panels(count, first, last, panel, column)
            return
        wide = max(1, min(SUMS * LANES // (self.mr * g.panel), panels))  # few rows: several panels at once
        for at_once, times in ((wide, panels // wide), (1, panels % wide)):
            if times:
                with f.repeat(times):
                    self._panel(count, first, last, panel, column, g.panel * at_once)
                    f.step(panel, at_once * 4 * g.panel * self.rows.depth)
                    f.step(column, at_once * 4 * g.panel)
        if tail:
            self._panel(count, first, last, panel, column, tail)

    def _narrow_panels(self, count: Local, first: Local, last: Local, panel: Local, column: Local) -> None:
        """Four columns at a time."""
        f, g = self.f, self.g
        panels, tail = divmod(g.width, g.panel)
        for line, widths, times in ((g.panel, g.panel, panels), (-(-tail // LANES) * LANES, tail, 1)):
            if not times or not line:
                continue
            with f.repeat(times):
                fours, rest = divmod(widths, LANES)
                if fours:
                    with f.repeat(fours):
                        self._panel(count, first, last, panel, column, LANES, line)
                        f.step(panel, VECTOR)
                        f.step(column, VECTOR)
                if rest:
                    self._panel(count, first, last, panel, column, rest, line)
                f.step(panel, 4 * line * (self.rows.depth - 1))

    def _panel(
        self, count: Local, first: Local, last: Local, panel: Local, column: Local, width: int, line: int = 0
    ) -> None:
        """All tiles of the block times `width` columns from `column` on; line: columns of the panel, where not all."""
        f, g = self.f, self.g
        surplus = self.tiles * self.mr - g.rows.count
        f.set(self.packed, self.scratch)
        f.set(self.out, first)
        with f.repeat(count):
            if surplus:
                f.set(self.out, select(op("i32.lt_u", last, self.out), last, self.out))
            sums = self._tile(panel, column, -(-width // LANES), line)
            again = surplus if g.accumulate else 0  # or they would be added twice
            self.tile_store.store(sums, self.out, column, width, again, last)
            f.step(self.out, self.mr * g.stride)

    def _tile(self, panel: Local, column: Local, vectors: int, line: int) -> list[list[Local]]:
        """The sums of one tile; leaves `packed` at the next one."""
        f, g = self.f, self.g
        sums = [[f.local("f32x4", f"c{i}_{v}") for v in range(vectors)] for i in range(self.mr)]
        for i, v in product(range(self.mr), range(vectors)) if g.accumulate else ():
            f.set(sums[i][v], load("v128.load", self.out + column, i * g.stride + VECTOR * v, "f32x4"))
        for v in range(0 if g.accumulate else vectors):
            start = load("v128.load", f.param("bias") + column, VECTOR * v, "f32x4") if g.bias else const("f32x4", 0)
            f.set(sums[0][v], start)
            for i in range(1, self.mr):
                f.set(sums[i][v], sums[0][v])
        b = f.local("i32", "b", panel)
        columns = line or min(g.panel, LANES * vectors)
        rounds, rest = divmod(self.rows.depth, g.unroll)
        for steps, times in ((g.unroll, rounds), (rest, 1)):
            if steps and times:
                with f.block() as end, f.repeat(times, self.counter):
                    self._k_steps(sums, b, columns, steps, end)
        return sums

    def _k_steps(self, sums: list[list[Local]], b: Local, columns: int, steps: int, end: Label) -> None:
        """Steps of K with walls between them; moves on past them."""
        f = self.f
        for u in range(steps):
            if u:
                f.go(end, self.counter < 0)  # never taken
            self._k_step(sums, b, u, columns)
        f.step(self.packed, steps * self.g.value_bytes * self.mr)
        f.step(b, steps * 4 * columns)

    def _k_step(self, sums: list[list[Local]], b: Local, u: int, columns: int) -> None:
        """columns: of a panel; a tile of few rows takes several panels, one behind the other."""
        f = self.f
        panel_bytes, vectors = 4 * columns * self.rows.depth, columns // LANES
        name, size = "v128.load" if self.g.copies == LANES else "v128.load32_splat", self.g.value_bytes
        left = [
            f.local("f32x4", f"l{u}_{i}", load(name, self.packed, size * (self.mr * u + i), "f32x4"))
            for i in range(self.mr)
        ]
        right = []
        for v in range(len(sums[0])):
            at = (v // vectors) * panel_bytes + 4 * columns * u + VECTOR * (v % vectors)
            right.append(f.local("f32x4", f"r{u}_{v}", load("v128.load", b, at, "f32x4")))
        for i, row in enumerate(sums):
            for v, total in enumerate(row):
                f.set(total, left[i] * right[v] + total)
