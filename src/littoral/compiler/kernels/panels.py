"""The right side of a matrix product, when it is only known at run time, brought into the order that `Gemm` reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.gemm import PANEL
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Function, Local, const, load, shuffle

__all__ = ["Panels"]

VECTOR = 16  # bytes
LANES = 4
_LOW, _HIGH = [0, 4, 1, 5], [2, 6, 3, 7]


@dataclass(frozen=True)
class Panels(Kernel):
    """Panels as `Gemm` reads them, from right[k, n] at k · depth_bytes + n · width_bytes, one of the two being 4.

    panel: columns of each but the last, a multiple of 4. The last has as many as are left, in fours; what is past the
    last column is left as it comes: nothing reads what is made of it.
    """

    kind: ClassVar[str] = "panels"
    depth: int
    width: int
    depth_bytes: int
    width_bytes: int
    panel: int = PANEL

    @property
    def params(self) -> tuple[str, ...]:
        return ("right", "out")

    @property
    def out_bytes(self) -> int:
        return -(-self.width // LANES) * VECTOR * self.depth

    @property
    def time_ns(self) -> int:
        return self.out_bytes // 16

    def cuts(self) -> Sequence[Cut]:
        return (Cut(-(-self.width // self.panel), self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        first, past = start * self.panel, min(stop * self.panel, self.width)
        moves = {"right": first * self.width_bytes, "out": 4 * first * self.depth}
        return Piece(replace(self, width=past - first), moves)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        write = self._copy_panel if self.width_bytes == 4 else self._turn_panel
        whole, rest = divmod(self.width, self.panel)
        if whole:
            with f.repeat(whole):
                write(f, self.panel)
        if rest:
            write(f, rest)
        return f

    def _copy_panel(self, f: Function, columns: int) -> None:
        """Rows of the source hold a panel's columns side by side."""
        source, out = f.local("i32", "source", f.param("right")), f.param("out")
        vectors = -(-columns // LANES)
        with f.repeat(self.depth):
            for v in range(vectors):
                f.store("v128.store", out, load("v128.load", source, VECTOR * v, "f32x4"), VECTOR * v)
            f.step(source, self.depth_bytes)
            f.step(out, VECTOR * vectors)
        f.step(f.param("right"), 4 * columns)

    def _turn_panel(self, f: Function, columns: int) -> None:
        """Columns of the source hold a panel's depth side by side: four by four values are transposed at a time."""
        right, out = f.param("right"), f.param("out")
        source = f.local("i32", "source", right)
        steps, rest = divmod(self.depth, LANES)
        line = -(-columns // LANES) * VECTOR
        if steps:
            with f.repeat(steps):
                self._turn_four(f, source, columns, LANES)
                f.step(source, VECTOR)
                f.step(out, LANES * line)
        if rest:
            self._turn_four(f, source, columns, rest)
            f.step(out, rest * line)
        f.step(right, columns * self.width_bytes)

    def _turn_four(self, f: Function, source: Local, columns: int, depth: int) -> None:
        """`depth` ≤ 4 values of each column, to as many rows of the panel."""
        line = -(-columns // LANES) * VECTOR
        for first in range(0, columns, LANES):
            zero = const("f32x4", 0)
            values = [
                f.local(
                    "f32x4",
                    f"t{i}",
                    load("v128.load", source, (first + i) * self.width_bytes, "f32x4") if first + i < columns else zero,
                )
                for i in range(LANES)
            ]
            pairs = [
                f.local("f32x4", f"p{i}", shuffle("f32x4", values[a], values[b], order))
                for i, (a, b, order) in enumerate(((0, 2, _LOW), (1, 3, _LOW), (0, 2, _HIGH), (1, 3, _HIGH)))
            ]
            for k in range(depth):
                a, b = pairs[2 * (k // 2)], pairs[2 * (k // 2) + 1]
                turned = shuffle("f32x4", a, b, _HIGH if k % 2 else _LOW)
                f.store("v128.store", f.param("out"), turned, k * line + 4 * first)
