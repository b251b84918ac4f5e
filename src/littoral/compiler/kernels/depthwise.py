"""Depthwise convolution in float32, channels last: four channels at a time, a group of outputs along a line at once.

Each weight is loaded once for the group, each product is a load, `f32x4.mul` and `f32x4.add`. No padding is copied:
lines outside the picture read a line of zeros, columns outside are left out of the first and last group. A branch that
is never taken ends every tap, so that the engine does not move all loads to the front (`docs/concepts/kernels.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, NamedTuple

from littoral.compiler.ir.expr import Expr
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.lanes import store_lanes
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load, op, select

__all__ = ["Depthwise"]

VECTOR = 16
_SCALAR_GROUP = 3


@dataclass(frozen=True)
class Depthwise(Kernel):
    """out[y, x, c] = epilogue(bias[c] + Σ_tap in[y', x', c] · weights[c, tap], extras…).

    weights: f32[⌈channels/4⌉, taps + 1, 4], the bias last. zeros: a line of zeros, as long as an input line. extras: as
    in `Gemm`. Padding below 0 leaves lines out. Sizes, strides, dilations: (height, width); pads: ((top, bottom),
    (left, right)). group: outputs along a line at once, at most; by_columns: all channels of a group before the next
    group, instead of a whole line before the next four channels, which pays where a few lines outgrow the first-level
    cache; is_rolled: a loop over the lines under the window, where code counts more than time. None changes a bit.
    """

    kind: ClassVar[str] = "depthwise"
    channels: int
    size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    epilogue: Expr | None = None
    extras: tuple[str, ...] = ()
    group: int = 7
    by_columns: bool = False
    is_rolled: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "weights", "zeros", *(f"extra{i}" for i in range(len(self.extras))), "out")

    @property
    def zeros_bytes(self) -> int:
        """A line, or what is left of it: pointers begin there, above address 0."""
        return 4 * self.channels * max(self.size[1], self.pads[1][0])

    @property
    def tiling(self) -> str:
        return f"1×{min(self.group, self.out_size[1])}×4"

    @property
    def time_ns(self) -> int:
        taps = self.kernel[0] * self.kernel[1] + 1
        return self.out_size[0] * self.out_size[1] * -(-self.channels // 4) * 4 * taps // 18

    def cuts(self) -> Sequence[Cut]:
        """By lines of the output: the input stays, other lines of it come under the window."""
        return (Cut(self.out_size[0], self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        (above, below), sides = self.pads
        pads = ((above - start * self.strides[0], below), sides)
        kernel = replace(self, out_size=(stop - start, self.out_size[1]), pads=pads)
        full = (f"extra{i}" for i, form in enumerate(self.extras) if form == "full")
        return Piece(kernel, dict.fromkeys((*full, "out"), 4 * start * self.out_size[1] * self.channels))

    def without_vectors(self) -> "Depthwise":
        """Three outputs of four channels are as many sums as registers hold."""
        return replace(self, group=min(self.group, _SCALAR_GROUP), is_rolled=True)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _DepthwiseEmitter(f, self).emit()
        return f


class _Split(NamedTuple):
    """A line of outputs: `first` of them, then `runs` groups of `group`, then the rest."""

    first: int
    runs: int
    group: int
    width: int

    @property
    def rest(self) -> int:
        return self.width - self.first - self.runs * self.group


class _Part(NamedTuple):
    """Some outputs along a line, `times` over; start: the first one's column, or None where no edge is near."""

    start: int | None
    outputs: int
    times: int
    is_walled: bool


class _DepthwiseEmitter:
    def __init__(self, f: Function, kernel: Depthwise) -> None:
        self.f = f
        self.k = kernel
        self.pixel = 4 * kernel.channels
        self.lines = [f.local("i32", f"line{i}") for i in range(kernel.kernel[0])]
        self.at = [f.local("i32", f"at{i}") for i in range(kernel.kernel[0])]
        self.weights = f.local("i32", "weights_at")
        self.channel = f.local("i32", "channel_bytes")
        self.out = f.local("i32", "out_at")
        self.line_out = f.local("i32", "line_out", f.param("out"))

    def emit(self) -> None:
        f, k = self.f, self.k
        top = f.local("i32", "top", -k.pads[0][0])
        parts = self._parts()
        runs = [[part] for part in parts] if k.by_columns else [parts]
        with f.repeat(k.out_size[0]):
            self._find_lines(top)
            for run in runs:
                with f.repeat(run[0].times if k.by_columns else 1):
                    self._channels(run)
            f.step(top, k.strides[0])
            if not k.by_columns:
                f.step(self.line_out, k.out_size[1] * self.pixel)

    def _channels(self, parts: Sequence[_Part]) -> None:
        """Groups of outputs, all channels of them, four at a time; by columns the lines move on past one group."""
        f, k = self.f, self.k
        f.set(self.weights, f.param("weights"))
        f.set(self.channel, 0)
        blocks, tail = divmod(k.channels, 4)
        if blocks:
            with f.repeat(blocks):
                self._line(parts, 4)
                f.step(self.weights, self._block_bytes)
                f.step(self.channel, VECTOR)
        if tail:
            self._line(parts, tail)
        if k.by_columns:
            for line in self.lines:
                f.step(line, parts[0].outputs * k.strides[1] * self.pixel)
            f.step(self.line_out, parts[0].outputs * self.pixel)

    @property
    def _block_bytes(self) -> int:
        return VECTOR * (self.k.kernel[0] * self.k.kernel[1] + 1)

    def _find_lines(self, top: Local) -> None:
        """Address of each input line under the window; the line of zeros outside."""
        f, k = self.f, self.k
        for i, line in enumerate(self.lines):
            y = f.local("i32", "y", top + i * k.dilations[0])
            inside = f.param("in") + y * (k.size[1] * self.pixel)
            outside = op("i32.ge_u", y, const("i32", k.size[0]))
            f.set(line, select(outside, f.param("zeros"), inside))

    def _line(self, parts: Sequence[_Part], lanes: int) -> None:
        """One block of channels of an output line, or of a group of it."""
        f, k = self.f, self.k
        for line, at in zip(self.lines, self.at, strict=True):
            f.set(at, line + self.channel - k.pads[1][0] * self.pixel)
        f.set(self.out, self.line_out + self.channel)
        for part in parts:
            with f.repeat(1 if k.by_columns else part.times):
                self._outputs(part, lanes)

    def _parts(self) -> list[_Part]:
        """An output line as groups: those at its ends, whose columns are known, and the same one several times."""
        split = self._split(self.k.out_size[1])
        is_walled = split.runs < 2  # the groups at the ends do most of the work
        parts = self._ends(0, split.first, is_walled)
        if split.runs:
            parts.append(_Part(None, split.group, split.runs, is_walled=True))
        return parts + self._ends(split.width - split.rest, split.rest, is_walled)

    def _ends(self, start: int, count: int, is_walled: bool) -> list[_Part]:
        group = self.k.group
        return [_Part(start + i, min(group, count - i), 1, is_walled) for i in range(0, count, group)]

    def _split(self, width: int) -> _Split:
        """Whole groups inside the picture, and what is left for the edges: as little code as can be."""
        k = self.k
        reach = (k.kernel[1] - 1) * k.dilations[1]
        edge = -(-k.pads[1][0] // k.strides[1])
        inner_stop = min((k.size[1] + k.pads[1][0] - reach - 1) // k.strides[1] + 1, width)
        splits = [_Split(edge, (inner_stop - edge) // group, group, width) for group in (k.group, k.group - 1)]
        best = min(splits, key=lambda s: s.first + s.group + s.rest)
        return best if best.runs > 1 else _Split(width, 0, k.group, width)

    def _outputs(self, part: _Part, lanes: int) -> None:
        f, k = self.f, self.k
        start, count = part.start, part.outputs
        bias = load("v128.load", self.weights, self._block_bytes - VECTOR, "f32x4")
        sums = [f.local("f32x4", f"sum{t}") for t in range(count)]
        f.set(sums[0], bias)
        for total in sums[1:]:
            f.set(total, sums[0])
        if k.is_rolled or not part.is_walled:
            self._lines_in_turn(sums, start)
        else:
            with f.block() as end:
                for i, j in product(range(k.kernel[0]), range(k.kernel[1])):
                    self._tap(sums, self.at[i], self.weights, VECTOR * k.kernel[1] * i, j, start)
                    f.go(end, self.channel < 0)  # never taken
        self._store(sums, lanes)
        for at in self.at:
            f.step(at, count * k.strides[1] * self.pixel)

    def _lines_in_turn(self, sums: list[Local], start: int | None) -> None:
        """A loop over the lines under the window: a fraction of the code, for what no haste is needed."""
        f, k = self.f, self.k
        weights = f.local("i32", "line_weights", self.weights)
        with f.repeat(k.kernel[0]):
            for j in range(k.kernel[1]):
                self._tap(sums, self.at[0], weights, 0, j, start)
            f.step(weights, VECTOR * k.kernel[1])
            first = f.local("i32", "first_line", self.at[0])
            for this, following in zip(self.at, [*self.at[1:], first], strict=True):
                f.set(this, following)

    def _tap(self, sums: list[Local], line: Local, weights: Local, offset: int, j: int, start: int | None) -> None:
        """Column j of the window in one line of it, whose weights start at an offset."""
        f, k = self.f, self.k
        served = []
        for t in range(len(sums)):
            column = t * k.strides[1] + j * k.dilations[1]
            x = None if start is None else start * k.strides[1] - k.pads[1][0] + column
            if x is None or 0 <= x < k.size[1]:
                served.append((t, column))
        if not served:
            return
        weight = f.local("f32x4", "w", load("v128.load", weights, offset + VECTOR * j, "f32x4"))
        for t, column in served:
            value = load("v128.load", line, column * self.pixel, "f32x4")
            f.set(sums[t], value * weight + sums[t])

    def _store(self, sums: list[Local], lanes: int) -> None:
        f, k = self.f, self.k
        others = {
            i: f.local("i32", f"other{i}", self.out - f.param("out") + f.param(f"extra{i}"))
            for i, form in enumerate(k.extras)
            if form == "full"
        }
        constants = Constants(f)
        for t, total in enumerate(sums):
            args: dict[int, Code] = {0: total}
            for i, form in enumerate(k.extras):
                if form == "full":
                    args[1 + i] = load("v128.load", others[i], t * self.pixel, "f32x4")
                else:
                    args[1 + i] = load("v128.load", f.param(f"extra{i}") + self.channel, 0, "f32x4")
            writer = Writer(f, args, vector=True, constants=constants)
            value = total if k.epilogue is None else writer.write(k.epilogue)
            store_lanes(f, self.out, value, t * self.pixel, lanes)
        f.step(self.out, len(sums) * self.pixel)
