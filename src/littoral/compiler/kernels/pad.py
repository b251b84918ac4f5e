"""A channels-last picture copied into a frame of zeros, or of another byte."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Code, Function, const, op

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame(Kernel):
    """out = in with `fill` around it. lines, line_bytes: of the input. pads: lines above, below; bytes left, right."""

    kind: ClassVar[str] = "frame"
    lines: int
    line_bytes: int
    above: int
    below: int
    left_bytes: int
    right_bytes: int
    fill: int = 0

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def out_line_bytes(self) -> int:
        return self.left_bytes + self.line_bytes + self.right_bytes

    @property
    def out_bytes(self) -> int:
        """With room for the gap after the last line."""
        return (self.above + self.lines + self.below) * self.out_line_bytes + self.left_bytes

    @property
    def time_ns(self) -> int:
        return self.out_bytes // 16

    def cuts(self) -> Sequence[Cut]:
        """By lines. The gap between two of them may be written by both parts, with zeros."""
        return (Cut(self.lines, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        above, below = (0 if start else self.above), (0 if stop < self.lines else self.below)
        moves = {"in": start * self.line_bytes, "out": (self.above + start) * self.out_line_bytes if start else 0}
        return Piece(replace(self, lines=stop - start, above=above, below=below), moves)

    def function(self, name: str) -> Function:
        """The gap between two lines (right end of one, left end of the next) is filled at once."""
        f = self.opened(name)
        source, target = f.param("in"), f.param("out")
        gap = self.right_bytes + self.left_bytes
        head = self.above * self.out_line_bytes + self.left_bytes
        _fill(f, target, head, self.fill)
        f.step(target, head)
        with f.repeat(self.lines):
            _copy(f, target, source, self.line_bytes)
            f.step(source, self.line_bytes)
            f.step(target, self.line_bytes)
            _fill(f, target, gap, self.fill)
            f.step(target, gap)
        _fill(f, target, self.below * self.out_line_bytes - self.left_bytes, self.fill)
        return f


def _fill(f: Function, address: Code, count: int, value: int) -> None:
    if count > 0:
        f.emit(op("memory.fill", address, const("i32", value), const("i32", count), immediates=b"\0"))


def _copy(f: Function, target: Code, source: Code, count: int) -> None:
    f.emit(op("memory.copy", target, source, const("i32", count), immediates=b"\0\0"))
