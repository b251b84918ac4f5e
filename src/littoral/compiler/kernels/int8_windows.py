"""Sums of bytes over rows, and the largest byte under a window: sixteen channels at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.int8_finish import Finish, store_bytes
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Code, Function, Local, const, load, op

__all__ = ["ByteMaximum", "ByteSums"]

VECTOR = 16
ROWS_MAX = 256  # whose sums of bytes fit 16 bits


@dataclass(frozen=True)
class ByteSums(Kernel):
    """out[column] = finish(Σ_row in[row, column]) of uint8 or int8."""

    kind: ClassVar[str] = "int8-sums"
    rows: int
    width: int
    finish: Finish
    is_signed: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def tiling(self) -> str:
        return f"1×{VECTOR}"

    @property
    def time_ns(self) -> int:
        return self.rows * self.width // 8

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        whole, tail = divmod(self.width, VECTOR)
        if whole:
            with f.repeat(whole):
                self._columns(f, VECTOR)
                f.step(f.param("in"), VECTOR)
                f.step(f.param("out"), VECTOR * self.finish.bytes)
        if tail:
            self._columns(f, tail)
        return f

    def _columns(self, f: Function, count: int) -> None:
        sums = [f.local("i32x4", f"s{v}", const("i32x4", 0)) for v in range(4)]
        at = f.local("i32", "at", f.param("in"))
        whole, rest = divmod(self.rows, ROWS_MAX)
        if whole:
            with f.repeat(whole):
                self._run(f, sums, at, ROWS_MAX)
        if rest:
            self._run(f, sums, at, rest)
        given: list[dict[int, Code]] = [
            {0: f.local("f32x4", value=op("f32x4.convert_i32x4_s", total))} for total in sums[: -(-count // 4)]
        ]
        self.finish.write(f, f.param("out"), self.finish.values(f, given), 0, count)

    def _run(self, f: Function, sums: list[Local], at: Local, rows: int) -> None:
        """Adds rows up in 16 bits, then to the sums."""
        sign = "s" if self.is_signed else "u"
        halves = [f.local("i16x8", f"h{i}", const("i16x8", 0)) for i in range(2)]
        with f.repeat(rows):
            row = f.local("i8x16", "row", load("v128.load", at, 0, "i8x16"))
            for half, part in zip(halves, ("low", "high"), strict=True):
                f.set(half, half + op(f"i16x8.extend_{part}_i8x16_{sign}", row))
            f.step(at, self.width)
        for v, total in enumerate(sums):
            f.set(total, total + op(f"i32x4.extend_{'high' if v % 2 else 'low'}_i16x8_{sign}", halves[v // 2]))


@dataclass(frozen=True)
class ByteMaximum(Kernel):
    """out[y, x, c] = the largest byte under the window at (y, x) of a picture that the window never leaves.

    lines, columns: of out. line_bytes, step_bytes: from one to the next, of in. taps: offsets under the window.
    """

    kind: ClassVar[str] = "int8-maximum"
    lines: int
    columns: int
    channels: int
    line_bytes: int
    step_bytes: int
    taps: tuple[int, ...]
    is_signed: bool

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def tiling(self) -> str:
        return f"1×{VECTOR}"

    @property
    def time_ns(self) -> int:
        return self.lines * self.columns * self.channels * len(self.taps) // 16

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.lines, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        made = self.columns * self.channels
        return Piece(replace(self, lines=stop - start), {"in": start * self.line_bytes, "out": start * made})

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        source, out = f.param("in"), f.param("out")
        at = f.local("i32", "at")
        whole, tail = divmod(self.channels, VECTOR)
        with f.repeat(self.lines):
            f.set(at, source)
            with f.repeat(self.columns):
                if whole:
                    with f.repeat(whole):
                        self._channels(f, at, VECTOR)
                        f.step(at, VECTOR)
                        f.step(out, VECTOR)
                if tail:
                    self._channels(f, at, tail)
                    f.step(out, tail)
                f.step(at, self.step_bytes - whole * VECTOR)
            f.step(source, self.line_bytes)
        return f

    def _channels(self, f: Function, at: Local, count: int) -> None:
        values = [load("v128.load", at, tap, "i8x16") for tap in self.taps]
        best = values[0]
        for value in values[1:]:
            best = op(f"i8x16.max_{'s' if self.is_signed else 'u'}", best, value)
        store_bytes(f, f.param("out"), best, 0, count)
