"""Matrix products of bytes: dense layers, 1×1 convolutions, and convolutions of any window.

Rows that lie in memory one after the other are read where they are; others are gathered first, a block that fits the
first-level cache at a time. The right side lies in panels of up to 16 columns, eight values of K a step
(`int8_dot`). Sums start from an integer bias, into which the zero point of the left side is folded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from littoral.compiler.kernels.gemm import Rows
from littoral.compiler.kernels.int8_dot import DEPTH, Form, depth_step, products_of, step_bytes
from littoral.compiler.kernels.int8_finish import ELEMENT_BYTES, Finish, load_four
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece, Products
from littoral.compiler.wasm import Code, Function, Local, const, load, op, select

__all__ = ["Extra", "IntegerGemm", "finished", "scaled_sum"]

VECTOR = 16  # bytes


class Extra(NamedTuple):
    """A further input of what follows the sums: `row` (one value a column) or `full` (laid out as the output)."""

    form: str
    dtype: str

    @property
    def bytes(self) -> int:
        """Of one element."""
        return ELEMENT_BYTES[self.dtype]


def scaled_sum(finish: Finish, total: Code, scales: Code, vector: int) -> Code:
    """float32 of a sum times the scales of its columns; or the sum, where that is wanted."""
    if finish.dtype == "int32":
        return total
    return op("f32x4.convert_i32x4_s", total) * load("v128.load", scales, VECTOR * vector, "f32x4")


def finished(
    f: Function,
    finish: Finish,
    scaled: Sequence[Code],
    extras: Sequence[Extra],
    at: Sequence[tuple[Code, int]],
) -> list[Code]:
    """The finish's expression of vectors of scaled sums. at: (address, offset) of the first element of each extra."""
    if finish.is_plain:
        return list(scaled)
    given: list[dict[int, Code]] = []
    for v, value in enumerate(scaled):
        kept = value if isinstance(value, Local) else f.local("f32x4", value=value)
        args: dict[int, Code] = {0: kept}
        for i, (extra, (address, offset)) in enumerate(zip(extras, at, strict=True)):
            args[1 + i] = f.local(
                "f32x4", value=load_four(extra.dtype, address, offset + 4 * v * ELEMENT_BYTES[extra.dtype])
            )
        given.append(args)
    return finish.values(f, given)


@dataclass(frozen=True)
class IntegerGemm(Kernel):
    """out[row, column] = finish(scale[column] · (bias[column] + Σ_k left[row, k] · right[k, column]), extras…).

    right: panels of 4 · vectors columns, the last one of as many vectors as it needs, ⌈depth/8⌉ steps each in the order
    of `int8_dot`. bias i32 and scale f32: padded to whole vectors. out_bytes: from row to row. gathers: even rows
    that could be read where they are.
    """

    kind: ClassVar[str] = "int8-gemm"
    rows: Rows
    width: int
    form: Form
    finish: Finish
    extras: tuple[Extra, ...] = ()
    out_bytes: int = 0
    tile_rows: int = 2
    vectors: int = 4
    budget_bytes: int = 16384
    gathers: bool = False
    by_row: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        extras = (f"extra{i}" for i in range(len(self.extras)))
        rows = ("row_scale", "row_zero") if self.by_row else ()
        scratch = ["scratch"] if self.is_gathered else []
        return ("left", "right", "bias", "scale", *rows, *self.finish.table, *extras, "out", *scratch)

    @property
    def tile(self) -> int:
        return min(self.tile_rows, self.rows.count)

    @property
    def tiling(self) -> str:
        return f"{self.tile}×{4 * self.vectors}, {self.block_rows} rows"

    @property
    def steps(self) -> int:
        return -(-self.rows.depth // DEPTH)

    @property
    def is_gathered(self) -> bool:
        rows = self.rows.flat()
        return self.gathers or rows.lines > 1 or len(rows.pieces) > 1

    @property
    def row_bytes(self) -> int:
        """From row to row of what is multiplied."""
        return -(-self.rows.depth // VECTOR) * VECTOR if self.is_gathered else self.rows.flat().row_bytes

    @property
    def block_rows(self) -> int:
        """Rows of a block, whole tiles, evenly spread."""
        most = max(1, self.budget_bytes // max(1, self.steps * DEPTH) // self.tile) * self.tile
        blocks = -(-self.rows.count // most)
        even = -(-self.rows.count // blocks)
        return -(-even // self.tile) * self.tile

    @property
    def scratch_bytes(self) -> int:
        return self.block_rows * self.row_bytes + VECTOR if self.is_gathered else 0

    @property
    def stride(self) -> int:
        return self.out_bytes or self.finish.bytes * self.width

    @property
    def products(self) -> Products:
        return products_of(self.form)

    @property
    def time_ns(self) -> int:
        """A hundred operations a nanosecond; what follows the sums costs about twelve products an element."""
        return self.rows.count * self.width * (self.steps * DEPTH + 12) // 50

    def cuts(self) -> Sequence[Cut]:
        """By rows, whole tiles of them; where rows lie on many lines, by lines; by panels of columns."""
        rows = self.rows.flat()
        by_row = Cut(-(-rows.count // self.tile_rows), lambda a, b: self._rows_part(rows, a, b))
        by_line = Cut(rows.lines, lambda a, b: self._lines_part(rows, a, b))
        return by_row if rows.lines == 1 else by_line, Cut(-(-self.width // (4 * self.vectors)), self._columns_part)

    def _rows_part(self, rows: Rows, start: int, stop: int) -> Piece:
        first, past = start * self.tile_rows, min(stop * self.tile_rows, rows.count)
        kernel = replace(self, rows=replace(rows, columns=past - first))
        return Piece(kernel, self._moves(first * rows.row_bytes, first))

    def _lines_part(self, rows: Rows, start: int, stop: int) -> Piece:
        kernel = replace(self, rows=replace(rows, lines=stop - start), gathers=True)
        return Piece(kernel, self._moves(start * rows.line_bytes, start * rows.columns))

    def _moves(self, left: int, row: int) -> dict[str, int]:
        element = row * self.stride // self.finish.bytes
        full = {f"extra{i}": element * e.bytes for i, e in enumerate(self.extras) if e.form == "full"}
        by_row = dict.fromkeys(("row_scale", "row_zero"), 4 * row) if self.by_row else {}
        return {"left": left, "out": row * self.stride} | full | by_row

    def _columns_part(self, start: int, stop: int) -> Piece:
        wide = 4 * self.vectors
        first, past = start * wide, min(stop * wide, self.width)
        kernel = replace(self, width=past - first, out_bytes=self.stride)
        moves = {
            "right": start * self.steps * step_bytes(self.vectors, self.form),
            "bias": 4 * first,
            "scale": 4 * first,
        }
        moves |= {f"extra{i}": first * e.bytes for i, e in enumerate(self.extras)}
        return Piece(kernel, {**moves, "out": first * self.finish.bytes})

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        _Emitter(f, self).emit()
        return f


class _Emitter:
    def __init__(self, f: Function, gemm: IntegerGemm) -> None:
        self.f = f
        self.g = gemm
        self.rows = gemm.rows.flat()
        self.mr = gemm.tile
        self.left = f.local("i32", "left_at", f.param("left") + (0 if gemm.is_gathered else self.rows.pieces[0][0]))
        self.column = f.local("i32", "column", 0)
        self.row_scales: list[Local] = []
        self.a = f.local("i32", "a")
        self.out = f.local("i32", "out_at")
        self.row_at = f.local("i32", "row_at") if gemm.by_row else None  # four bytes a row, to the tile's first
        self.block_row_at = f.local("i32", "block_row_at", 0) if gemm.by_row else None
        self.counter = f.local("i32", "k")

    def emit(self) -> None:
        """Block by block; the last one is what is left, but never less than a tile."""
        f, g = self.f, self.g
        block = g.block_rows
        blocks = -(-g.rows.count // block)
        last_rows = max(g.rows.count - (blocks - 1) * block, self.mr)
        count = f.local("i32", "block_rows", min(block, g.rows.count))
        first = f.local("i32", "first_out", f.param("out"))
        with f.repeat(blocks) as left:
            if g.rows.count % block and blocks > 1:
                with f.when(left.eq(1)):
                    f.set(count, last_rows)
                    f.set(first, f.param("out") + (g.rows.count - last_rows) * g.stride)
                    if self.block_row_at is not None:
                        f.set(self.block_row_at, 4 * (g.rows.count - last_rows))
                    self._go_to_row(g.rows.count - last_rows)
            source: Code = self.left
            if g.is_gathered:
                source = f.param("scratch")
                self._gather(count)
            self._multiply(source, count, first)
            f.step(first, block * g.stride)
            if self.block_row_at is not None:
                f.step(self.block_row_at, 4 * block)
            if not g.is_gathered:
                f.step(self.left, block * g.row_bytes)

    def _go_to_row(self, row: int) -> None:
        y, x = divmod(row, self.rows.columns)
        at = y * self.rows.line_bytes + x * self.rows.row_bytes
        if not self.g.is_gathered:
            at += self.rows.pieces[0][0]
        self.f.set(self.left, self.f.param("left") + at)
        self.f.set(self.column, x)

    def _gather(self, count: Local) -> None:
        """Each row's pieces one after the other, in whole vectors: what is too much, the next piece lies over."""
        f, rows = self.f, self.rows
        target = f.local("i32", "target", f.param("scratch"))
        jump = rows.line_bytes - (rows.columns - 1) * rows.row_bytes
        with f.repeat(count):
            at = 0
            for offset, size in rows.pieces:
                self._copy(target, at, offset, size)
                at += size
            f.step(target, self.g.row_bytes)
            if rows.lines == 1:
                f.step(self.left, rows.row_bytes)
            else:
                f.step(self.column, 1)
                wraps = self.column.eq(rows.columns)
                f.step(self.left, select(wraps, const("i32", jump), const("i32", rows.row_bytes)))
                f.set(self.column, select(wraps, const("i32", 0), self.column))

    def _copy(self, target: Local, at: int, offset: int, size: int) -> None:
        f = self.f
        whole = -(-size // VECTOR)
        if whole <= 8:
            for q in range(whole):
                moved = load("v128.load", self.left, offset + VECTOR * q)
                f.store("v128.store", target, moved, at + VECTOR * q)
            return
        moving = f.local("i32", "moving", 0)
        with f.repeat(whole // 4, self.counter):
            for q in range(4):
                moved = load("v128.load", self.left + moving, offset + VECTOR * q)
                f.store("v128.store", target + moving, moved, at + VECTOR * q)
            f.step(moving, 4 * VECTOR)
        for q in range(whole // 4 * 4, whole):
            f.store("v128.store", target, load("v128.load", self.left, offset + VECTOR * q), at + VECTOR * q)

    def _multiply(self, source: Code, count: Local, first: Local) -> None:
        f, g = self.f, self.g
        panel = f.local("i32", "panel", f.param("right"))
        column = f.local("i32", "first_column", 0)
        tiles = f.local("i32", "tiles", (count + (self.mr - 1)) // self.mr)
        wide = 4 * g.vectors
        panels, tail = divmod(g.width, wide)
        if panels:
            with f.repeat(panels):
                self._panel(source, count, tiles, first, panel, column, wide)
                f.step(panel, g.steps * step_bytes(g.vectors, g.form))
                f.step(column, wide)
        if tail:
            self._panel(source, count, tiles, first, panel, column, tail)

    def _panel(
        self, source: Code, count: Local, tiles: Local, first: Local, panel: Local, column: Local, width: int
    ) -> None:
        """All tiles of the block times `width` columns from `column` on; the last tile starts early to be whole."""
        f, g = self.f, self.g
        is_ragged = g.rows.count % self.mr != 0
        base = f.local("i32", "base", first + column * g.finish.bytes)
        f.set(self.a, source)
        f.set(self.out, base)
        self._set_row_at(0)
        row = f.local("i32", "row", 0)
        with f.repeat(tiles):
            if is_ragged:
                f.set(row, select(row > count - self.mr, count - self.mr, row))
                f.set(self.a, source + row * g.row_bytes)
                f.set(self.out, base + row * g.stride)
                self._set_row_at(row * 4)
            sums = self._tile(panel, column, -(-width // 4))
            self._finish(sums, column, width)
            if is_ragged:
                f.step(row, self.mr)
            else:
                f.step(self.a, self.mr * g.row_bytes)
                f.step(self.out, self.mr * g.stride)
                if self.row_at is not None:
                    f.step(self.row_at, 4 * self.mr)

    def _set_row_at(self, beyond: Code | int) -> None:
        if self.row_at is not None and self.block_row_at is not None:
            self.f.set(self.row_at, self.block_row_at + beyond)

    def _tile(self, panel: Local, column: Local, vectors: int) -> list[list[Local]]:
        f, g = self.f, self.g
        sums = [[f.local("i32x4", f"c{i}_{v}") for v in range(vectors)] for i in range(self.mr)]
        at = f.local("i32", "column_bytes", column * 4)
        zeros = self._by_row("row_zero", "i32x4") if g.by_row else []
        for v in range(vectors):
            f.set(sums[0][v], load("v128.load", f.param("bias") + at, VECTOR * v, "i32x4"))
            for i in range(self.mr - 1, 0, -1) if zeros else range(1, self.mr):
                f.set(sums[i][v], sums[0][v] * zeros[i] if zeros else sums[0][v])
            if zeros:
                f.set(sums[0][v], sums[0][v] * zeros[0])
        a, b = f.local("i32", "a_at", self.a), f.local("i32", "b_at", panel)
        with f.block() as end, f.repeat(g.steps, self.counter):
            rows = [(a, i * g.row_bytes) for i in range(self.mr)]
            depth_step(f, g.form, sums, rows, b, lambda: f.go(end, self.counter < 0))  # never taken
            f.step(a, DEPTH)
            f.step(b, step_bytes(vectors, g.form))
        return sums

    def _finish(self, sums: list[list[Local]], column: Local, width: int) -> None:
        f, g = self.f, self.g
        scales = f.local("i32", "scales", f.param("scale") + column * 4)
        at = [self._extra_at(i, extra, column) for i, extra in enumerate(g.extras)]
        self.row_scales = self._by_row("row_scale", "f32x4") if g.by_row else []
        done = 0
        if width == 8 and g.finish.bytes == 1:
            for i in range(0, len(sums) - 1, 2):
                values = [v for j in (i, i + 1) for v in self._values(sums[j], scales, at, j)]
                g.finish.write_pair(f, self.out, values, (i * g.stride, (i + 1) * g.stride))
                done = i + 2
        for i in range(done, len(sums)):
            g.finish.write(f, self.out, self._values(sums[i], scales, at, i), i * g.stride, width)

    def _values(self, row: list[Local], scales: Local, at: Sequence[Code], i: int) -> list[Code]:
        """What a row's sums become before they are stored."""
        g, offset = self.g, i * self.g.stride
        scaled = [scaled_sum(g.finish, total, scales, v) for v, total in enumerate(row)]
        if self.row_scales:
            scaled = [value * self.row_scales[i] for value in scaled]
        places = [
            (address, offset // g.finish.bytes * ELEMENT_BYTES[extra.dtype] if extra.form == "full" else 0)
            for address, extra in zip(at, g.extras, strict=True)
        ]
        return finished(self.f, g.finish, scaled, g.extras, places)

    def _by_row(self, name: str, kind: str) -> list[Local]:
        """One value of each row of the tile, in every lane."""
        f = self.f
        assert self.row_at is not None
        at = f.local("i32", f"{name}_at", f.param(name) + self.row_at)
        return [f.local(kind, f"{name}{i}", load("v128.load32_splat", at, 4 * i, kind)) for i in range(self.mr)]

    def _extra_at(self, index: int, extra: Extra, column: Local) -> Local:
        """Where the tile's first element of a further input lies."""
        f = self.f
        base, size = f.param(f"extra{index}"), ELEMENT_BYTES[extra.dtype]
        if extra.form == "row":
            return f.local("i32", f"extra_at{index}", base + column * size)
        moved = self.out - f.param("out")
        if size > self.g.finish.bytes:
            moved = moved * size
        elif size < self.g.finish.bytes:
            moved = moved // self.g.finish.bytes
        return f.local("i32", f"extra_at{index}", base + moved)
