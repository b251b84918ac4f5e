"""Products of 16-bit whole numbers: what attention multiplies, where the rest of a model is in bytes.

`i32x4.dot_i16x8_s` takes two values of K at once and is the same on every engine. The left side lies in rows, eight
values a load; the right side in panels of up to 16 columns, two values of K a vector. Between two of those stands a
branch that is never taken, for the reason that `gemm` gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.shorts import SHORT_DEPTH
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece, Products
from littoral.compiler.kernels.lanes import store_lanes
from littoral.compiler.wasm import Code, Function, Label, Local, const, load, op, shuffle

__all__ = ["ShortGemm"]

_LANES = 4
_VECTOR = 16  # bytes
_PAIRS = SHORT_DEPTH // 2


@dataclass(frozen=True)
class ShortGemm(Kernel):
    """out f32[row, column] = float32(Σ_k left[row, k] · right[k, column]) [· column_scale] · row_scale [+ out].

    left: i16, `left_bytes` from row to row. right: panels of 4 · vectors columns, the last one of as many vectors as it
    needs: [depth / 2][vector][column][2]. depth: a multiple of 8. column_scale: padded to whole vectors. out_bytes:
    from row to row. accumulate: out is added to.
    """

    kind: ClassVar[str] = "int16-gemm"
    rows: int
    depth: int
    width: int
    left_bytes: int
    out_bytes: int
    by_column: bool = False
    accumulate: bool = False
    tile_rows: int = 2
    vectors: int = 4

    @property
    def params(self) -> tuple[str, ...]:
        return ("left", "right", "row_scale", *(["column_scale"] if self.by_column else []), "out")

    @property
    def tiling(self) -> str:
        return f"{self.tile_rows}×{_LANES * self.vectors}"

    @property
    def products(self) -> Products:
        return "shorts"

    @property
    def time_ns(self) -> int:
        return self.rows * self.width * (self.depth + SHORT_DEPTH) // 48

    def cuts(self) -> Sequence[Cut]:
        """By rows, whole tiles of them."""
        return (Cut(-(-self.rows // self.tile_rows), self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        first, past = start * self.tile_rows, min(stop * self.tile_rows, self.rows)
        moves = {"left": first * self.left_bytes, "row_scale": 4 * first, "out": first * self.out_bytes}
        return Piece(replace(self, rows=past - first), moves)

    def without_vectors(self) -> "ShortGemm":
        """As many sums as registers hold; the panels' order stays."""
        return replace(self, tile_rows=1)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _Emitter(f, self).emit()
        return f


class _Emitter:
    def __init__(self, f: Function, gemm: ShortGemm) -> None:
        self.f = f
        self.g = gemm
        self.left = f.local("i32", "left_at")
        self.panel = f.local("i32", "panel", f.param("right"))
        self.scale = f.local("i32", "scale_at")
        self.column = f.local("i32", "column_bytes", 0)
        self.out = f.local("i32", "out_at")
        self.counter = f.local("i32", "k")

    def emit(self) -> None:
        f, g = self.f, self.g
        panels, tail = divmod(g.width, _LANES * g.vectors)
        if panels:
            with f.repeat(panels):
                self._panel(_LANES * g.vectors)
                f.step(self.panel, 2 * g.depth * _LANES * g.vectors)
                f.step(self.column, _VECTOR * g.vectors)
        if tail:
            self._panel(tail)

    def _panel(self, width: int) -> None:
        f, g = self.f, self.g
        f.set(self.left, f.param("left"))
        f.set(self.scale, f.param("row_scale"))
        f.set(self.out, f.param("out") + self.column)
        tiles, rest = divmod(g.rows, g.tile_rows)
        for rows, times in ((g.tile_rows, tiles), (rest, 1)):
            if rows and times:
                with f.repeat(times):
                    self._store(self._tile(rows, -(-width // _LANES)), width)
                    f.step(self.left, rows * g.left_bytes)
                    f.step(self.scale, 4 * rows)
                    f.step(self.out, rows * g.out_bytes)

    def _tile(self, rows: int, vectors: int) -> list[list[Local]]:
        f, g = self.f, self.g
        sums = [[f.local("i32x4", f"c{i}_{v}", const("i32x4", 0)) for v in range(vectors)] for i in range(rows)]
        a, b = f.local("i32", "a", self.left), f.local("i32", "b", self.panel)
        with f.block() as end, f.repeat(g.depth // SHORT_DEPTH, self.counter):
            self._eight(sums, a, b, end)
            f.step(a, 2 * SHORT_DEPTH)
            f.step(b, _PAIRS * _VECTOR * vectors)
        return sums

    def _eight(self, sums: list[list[Local]], a: Local, b: Local, end: Label) -> None:
        """Eight values of K."""
        f, g = self.f, self.g
        lefts = [f.local("i16x8", f"a{i}", load("v128.load", a, i * g.left_bytes, "i16x8")) for i in range(len(sums))]
        vectors = len(sums[0])
        for pair in range(_PAIRS):
            if pair:
                f.go(end, self.counter < 0)  # never taken
            rights = [
                f.local("i16x8", f"b{v}", load("v128.load", b, _VECTOR * (vectors * pair + v), "i16x8"))
                for v in range(vectors)
            ]
            for left, row in zip(lefts, sums, strict=True):
                x = f.local("i16x8", "x", shuffle("i32x4", left, left, [pair] * _LANES).as_("i16x8"))
                for total, right in zip(row, rights, strict=True):
                    f.set(total, total + op("i32x4.dot_i16x8_s", right, x))

    def _store(self, sums: list[list[Local]], width: int) -> None:
        f, g = self.f, self.g
        scales: list[Code] = []
        if g.by_column:
            at = f.local("i32", "scales", f.param("column_scale") + self.column)
            scales = [
                f.local("f32x4", f"s{v}", load("v128.load", at, _VECTOR * v, "f32x4")) for v in range(len(sums[0]))
            ]
        for i, row in enumerate(sums):
            own = f.local("f32x4", "own", load("v128.load32_splat", self.scale, 4 * i, "f32x4"))
            for v, total in enumerate(row):
                value: Code = op("f32x4.convert_i32x4_s", total)
                value = (value * scales[v] if scales else value) * own
                offset = i * g.out_bytes + _VECTOR * v
                if g.accumulate:
                    value = load("v128.load", self.out, offset, "f32x4") + value
                store_lanes(f, self.out, value, offset, min(_LANES, width - _LANES * v))
