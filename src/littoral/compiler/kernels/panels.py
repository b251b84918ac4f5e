"""The right side of a matrix product, when it is only known at run time, brought into the order that `Gemm` reads."""

from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.kernels.gemm import PANEL
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.wasm import Function, Local, const, load, shuffle

__all__ = ["Panels"]

VECTOR = 16  # bytes
LANES = 4
_LOW, _HIGH = [0, 4, 1, 5], [2, 6, 3, 7]


@dataclass(frozen=True)
class Panels(Kernel):
    """out f32[⌈width/8⌉, depth, 8] from right[k, n] at k · depth_bytes + n · width_bytes, one of the two being 4.

    Columns past the last are left as they come: nothing reads what is made of them.
    """

    kind: ClassVar[str] = "panels"
    depth: int
    width: int
    depth_bytes: int
    width_bytes: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("right", "out")

    @property
    def out_bytes(self) -> int:
        return -(-self.width // PANEL) * PANEL * 4 * self.depth

    def function(self, name: str) -> Function:
        f = self.opened(name)
        (self._copy if self.width_bytes == 4 else self._turn)(f)
        return f

    def _copy(self, f: Function) -> None:
        """Rows of the source hold a panel's columns side by side."""
        source, out = f.local("i32", "source"), f.param("out")
        with f.repeat(-(-self.width // PANEL)):
            f.set(source, f.param("right"))
            with f.repeat(self.depth):
                for v in range(PANEL // LANES):
                    f.store("v128.store", out, load("v128.load", source, VECTOR * v, "f32x4"), VECTOR * v)
                f.step(source, self.depth_bytes)
                f.step(out, 4 * PANEL)
            f.step(f.param("right"), 4 * PANEL)

    def _turn(self, f: Function) -> None:
        """Columns of the source hold a panel's depth side by side: four by four values are transposed at a time."""
        whole, rest = divmod(self.width, PANEL)
        if whole:
            with f.repeat(whole):
                self._turn_panel(f, PANEL)
        if rest:
            self._turn_panel(f, rest)

    def _turn_panel(self, f: Function, columns: int) -> None:
        right, out = f.param("right"), f.param("out")
        source = f.local("i32", "source", right)
        steps, rest = divmod(self.depth, LANES)
        if steps:
            with f.repeat(steps):
                self._turn_four(f, source, columns, LANES)
                f.step(source, VECTOR)
                f.step(out, LANES * 4 * PANEL)
        if rest:
            self._turn_four(f, source, columns, rest)
            f.step(out, rest * 4 * PANEL)
        f.step(right, columns * self.width_bytes)

    def _turn_four(self, f: Function, source: Local, columns: int, depth: int) -> None:
        """`depth` ≤ 4 values of each column, to as many rows of the panel."""
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
                f.store("v128.store", f.param("out"), turned, k * 4 * PANEL + 4 * first)
