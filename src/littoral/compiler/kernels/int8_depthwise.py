"""Depthwise convolution of bytes, channels last, column by column: 16 channels at a time, or 8.

The rows of one column under the window are interleaved to one group of taps per channel, so that one product of bytes
does a column's taps for four channels. A column serves every output it belongs to: their sums stay in registers,
and move up by one with every output, which costs nothing and leaves the loop with the code of one.
Lines outside the picture read a line of what x is there; columns outside are constants, or nothing where that is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from littoral.compiler.kernels.int8_dot import Form, is_wide, products_of, weight_bytes, wide_load
from littoral.compiler.kernels.int8_finish import ELEMENT_BYTES, Finish
from littoral.compiler.kernels.int8_gemm import Extra, finished, scaled_sum
from littoral.compiler.kernels.int8_maps import look_up_run
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece, Products
from littoral.compiler.wasm import Code, Function, Local, const, load, op, select, shuffle

__all__ = ["IntegerDepthwise"]

VECTOR = 16
SUMS_MAX = 12  # vectors of sums that stay in registers


@dataclass(frozen=True)
class IntegerDepthwise(Kernel):
    """out[y, x, c] = finish(scale[c] · (bias[c] + Σ_tap in[y', x', c] · weights[c, tap]), extras…).

    weights: [block][window column][group][four channels][channel, tap of the group], `group` taps each. fill: of x
    outside. line: a line of it. Sizes, strides: (height, width); pads: ((top, bottom), (left, right)).
    """

    kind: ClassVar[str] = "int8-depthwise"
    channels: int
    size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    form: Form
    fill: int
    finish: Finish
    extras: tuple[Extra, ...] = ()

    @property
    def params(self) -> tuple[str, ...]:
        extras = (f"extra{i}" for i in range(len(self.extras)))
        return ("in", "weights", "bias", "scale", "line", *self.finish.table, *extras, "out")

    @property
    def line_bytes(self) -> int:
        return self.channels * self.size[1]

    @property
    def live(self) -> int:
        """Outputs that a column belongs to."""
        return -(-self.kernel[1] // self.strides[1])

    @property
    def is_wide(self) -> bool:
        return is_wide(self.form)

    @property
    def group(self) -> int:
        """Rows of a column that are multiplied at once."""
        return 2 if self.is_wide else 4

    @property
    def groups(self) -> int:
        return -(-self.kernel[0] // self.group)

    @property
    def quads(self) -> int:
        """Vectors of four channels at a time."""
        return 4 if not self.is_wide and 4 * self.live <= SUMS_MAX else 2

    @property
    def block_bytes(self) -> int:
        """Weights of one block of channels."""
        return self.quads * self.kernel[1] * self.groups * self.step_bytes

    @property
    def step_bytes(self) -> int:
        """Weights of four channels for one column's group."""
        return 4 * self.group * weight_bytes(self.form)

    @property
    def tiling(self) -> str:
        return f"1×{self.live}×{4 * self.quads}"

    @property
    def products(self) -> Products:
        return products_of(self.form)

    @property
    def time_ns(self) -> int:
        return self.out_size[0] * self.out_size[1] * self.channels * self.kernel[0] * self.kernel[1] // 16

    def cuts(self) -> Sequence[Cut]:
        """By lines of the output: the input stays, other lines of it come under the window."""
        return (Cut(self.out_size[0], self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        (above, below), sides = self.pads
        pads = ((above - start * self.strides[0], below), sides)
        kernel = replace(self, out_size=(stop - start, self.out_size[1]), pads=pads)
        element = start * self.out_size[1] * self.channels
        full = {f"extra{i}": element * e.bytes for i, e in enumerate(self.extras) if e.form == "full"}
        return Piece(kernel, {"out": element * self.finish.bytes} | full)

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        _Emitter(f, self).emit()
        return f


class _Emitter:
    def __init__(self, f: Function, kernel: IntegerDepthwise) -> None:
        self.f = f
        self.k = kernel
        self.lines = [f.local("i32", f"line{i}") for i in range(kernel.kernel[0])]
        self.at = [f.local("i32", f"at{i}") for i in range(kernel.kernel[0])]
        self.weights = f.local("i32", "weights_at")
        self.channel = f.local("i32", "channel")
        self.out = f.local("i32", "out_at")
        self.line_out = f.local("i32", "line_out", f.param("out"))
        self.scales = f.local("i32", "scales_at")
        self.biases = f.local("i32", "biases_at")
        self.sums: list[list[Local]] = []
        self.column = [[f.local("i8x16", f"k{g}_{q}") for q in range(kernel.quads)] for g in range(kernel.groups)]

    def emit(self) -> None:
        f, k = self.f, self.k
        top = f.local("i32", "top", -k.pads[0][0])
        blocks, tail = divmod(k.channels, 4 * k.quads)
        with f.repeat(k.out_size[0]):
            self._find_lines(top)
            f.set(self.weights, f.param("weights"))
            f.set(self.channel, 0)
            if blocks:
                with f.repeat(blocks):
                    self._line(4 * k.quads)
                    f.step(self.weights, k.block_bytes)
                    f.step(self.channel, 4 * k.quads)
            if tail:
                self._line(tail)
            if k.finish.parts:
                look_up_run(f, self.line_out, k.finish.parts, k.out_size[1] * k.channels)
            f.step(top, k.strides[0])
            f.step(self.line_out, k.out_size[1] * k.channels * k.finish.bytes)

    def _find_lines(self, top: Local) -> None:
        """Address of each input line under the window; the line of what is outside elsewhere."""
        f, k = self.f, self.k
        for i, line in enumerate(self.lines):
            y = f.local("i32", "y", top + i)
            inside = f.param("in") + y * k.line_bytes
            outside = op("i32.ge_u", y, const("i32", k.size[0]))
            f.set(line, select(outside, f.param("line"), inside))

    def _line(self, lanes: int) -> None:
        """One line of outputs for one block: those at the edges one by one, those between in a loop."""
        f, k = self.f, self.k
        for line, at in zip(self.lines, self.at, strict=True):
            f.set(at, line + self.channel)
        f.set(self.out, self.line_out + self.channel * k.finish.bytes)
        f.set(self.scales, f.param("scale") + self.channel * 4)
        f.set(self.biases, f.param("bias") + self.channel * 4)
        self.sums = [[f.local("i32x4", f"s{t}_{q}") for q in range(k.quads)] for t in range(k.live)]
        start, runs = self._steady()
        for o in range(start):
            self._step(o, lanes, 0, 0)
        base = 0
        if runs:
            base = self._columns(start)[0]
            self._move(base, start)
            with f.repeat(runs):
                self._step(start, lanes, base, start, is_edge=False)
                self._move(k.strides[1], 1)
            base, start = base + k.strides[1] * runs, start + runs
        for o in range(start, k.out_size[1]):
            self._step(o, lanes, base, start if runs else 0)

    def _columns(self, o: int) -> range:
        """Input columns that output o needs and the one before it did not."""
        k = self.k
        first = o * k.strides[1] - k.pads[1][0]
        past = first + k.kernel[1]
        return range(first if o == 0 else max(first, past - k.strides[1]), past)

    def _steady(self) -> tuple[int, int]:
        """The first output whose columns are all inside, and how many there are from it on."""
        k = self.k
        inside = [
            o
            for o in range(1, k.out_size[1])
            if self._columns(o)[0] >= 0 and self._columns(o)[-1] < k.size[1] and len(self._columns(o))
        ]
        return (inside[0], len(inside)) if len(inside) > 1 else (0, 0)

    def _move(self, columns: int, outputs: int) -> None:
        f, k = self.f, self.k
        for at in self.at:
            f.step(at, columns * k.channels)
        f.step(self.out, outputs * k.channels * k.finish.bytes)

    def _step(self, o: int, lanes: int, base: int, out_base: int, is_edge: bool = True) -> None:
        """The columns that complete output o; the pointers stand at column `base` and output `out_base`."""
        k, f = self.k, self.f
        stride, left = k.strides[1], k.pads[1][0]
        for x in self._columns(o):
            here = not is_edge or 0 <= x < k.size[1]
            if here:
                self._load_column((x - base) * k.channels)
            elif k.fill:
                self._outside_column()
            for other in range(o, o + k.live):
                tap = x + left - other * stride
                if not 0 <= tap < k.kernel[1] or (is_edge and other >= k.out_size[1]):
                    continue
                sums = self.sums[other - o]
                if tap == 0:
                    for q, total in enumerate(sums):
                        f.set(total, load("v128.load", self.biases, VECTOR * q, "i32x4"))
                if here or k.fill:
                    self._accumulate(sums, tap)
        self._finish(self.sums[0], lanes, (o - out_base) * k.channels)
        for these, following in pairwise(self.sums):
            for total, after in zip(these, following, strict=True):
                f.set(total, after)

    def _load_column(self, offset: int) -> None:
        """The rows of a column, interleaved: for each group of rows, four channels a vector."""
        f, k = self.f, self.k
        for g in range(k.groups):
            lines = self.at[k.group * g : k.group * (g + 1)]
            rows = [f.local("i8x16", f"p{i}", self._load_row(at, offset)) for i, at in enumerate(lines)]
            for into, vector in zip(self.column[g], self._interleaved(rows), strict=True):
                f.set(into, vector)

    def _load_row(self, at: Local, offset: int) -> Code:
        if self.k.is_wide:
            return load(f"v128.load8x8_{self.k.form[-1]}", at, offset, "i8x16")
        return load("v128.load" if self.k.quads == 4 else "v128.load64_zero", at, offset, "i8x16")

    def _interleaved(self, rows: Sequence[Local]) -> list[Code]:
        """Up to four rows of 16 or 8 channels as four taps a channel; wide: two rows of 8 as two taps."""
        zero = const("i8x16", 0)
        parts: list[Code] = [*rows, *(zero for _ in range(self.k.group - len(rows)))]
        if self.k.is_wide:
            return [_interleave(parts[0], parts[1], 2, high) for high in (False, True)]
        f, found = self.f, []
        for high in (False, True)[: self.k.quads // 2]:
            pair = [
                f.local("i8x16", f"t{i}", _interleave(parts[2 * i], parts[2 * i + 1], 1, high))
                if 2 * i < len(rows)
                else zero
                for i in range(2)
            ]
            found += [_interleave(pair[0], pair[1], 2, upper) for upper in (False, True)]
        return found

    def _outside_column(self) -> None:
        k = self.k
        value = k.fill - 256 if k.fill > 127 and not k.is_wide else k.fill
        vector = const("i16x8" if k.is_wide else "i8x16", value)
        for group in self.column:
            for into in group:
                self.f.set(into, vector.as_("i8x16"))

    def _accumulate(self, sums: Sequence[Local], tap: int) -> None:
        f, k = self.f, self.k
        for g, group in enumerate(self.column):
            for q, (total, column) in enumerate(zip(sums, group, strict=True)):
                offset = k.step_bytes * (k.quads * (tap * k.groups + g) + q)
                if k.is_wide:
                    weight = load(wide_load(k.form), self.weights, offset, "i16x8")
                    f.set(total, total + op("i32x4.dot_i16x8_s", weight, column.as_("i16x8")))
                else:
                    weight = load("v128.load", self.weights, offset, "i8x16")
                    f.set(total, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", weight, column, total))

    def _finish(self, sums: Sequence[Local], lanes: int, offset: int) -> None:
        f, k = self.f, self.k
        scaled = [scaled_sum(k.finish, total, self.scales, q) for q, total in enumerate(sums[: -(-lanes // 4)])]
        places: list[tuple[Code, int]] = []
        for i, extra in enumerate(k.extras):
            size = ELEMENT_BYTES[extra.dtype]
            base = f.param(f"extra{i}")
            if extra.form == "row":
                places.append((base + self.channel * size, 0))
            else:
                moved = self.out - f.param("out")
                moved = moved * size if size > k.finish.bytes else moved // (k.finish.bytes // size)
                places.append((f.local("i32", f"extra_at{i}", base + moved), offset * size))
        values = finished(f, k.finish, scaled, k.extras, places)
        replace(k.finish, parts=0).write(f, self.out, values, offset * k.finish.bytes, lanes)


def _interleave(a: Code, b: Code, size: int, high: bool) -> Code:
    """Parts of `size` bytes of the lower or upper halves, in turn."""
    count = 8 // size
    start = count if high else 0
    lanes = [lane for i in range(start, start + count) for lane in (i, 2 * count + i)]
    return shuffle("i8x16", a, b, [size * lane + i for lane in lanes for i in range(size)])
