"""Depthwise convolution of bytes without vectors: one channel of one line at a time, its weights in locals."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

from littoral.compiler.kernels.int8_depthwise import IntegerDepthwise
from littoral.compiler.kernels.int8_dot import weight_bytes
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.kernels.plain_finish import load_one, store_one, value_of
from littoral.compiler.kernels.plain_gemm import left_load
from littoral.compiler.wasm import Code, Function, Local, const, load, op, select

__all__ = ["PlainDepthwise"]

_KEPT_MAX = 25  # weights that stay in locals


@dataclass(frozen=True)
class PlainDepthwise(Kernel):
    """The same convolution, by the same arguments."""

    kind: ClassVar[str] = IntegerDepthwise.kind
    of: IntegerDepthwise

    @property
    def params(self) -> tuple[str, ...]:
        return self.of.params

    @property
    def tiling(self) -> str:
        return "1×1×1"

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _Emitter(f, self.of).emit()
        return f


class _Emitter:
    def __init__(self, f: Function, kernel: IntegerDepthwise) -> None:
        self.f = f
        self.k = kernel
        self.taps = list(product(range(kernel.kernel[0]), range(kernel.kernel[1])))
        self.lines = [f.local("i32", f"line{i}") for i in range(kernel.kernel[0])]
        self.at = [f.local("i32", f"at{i}") for i in range(kernel.kernel[0])]
        self.line_out = f.local("i32", "line_out", f.param("out"))
        self.out = f.local("i32", "out_at")
        self.channel = f.local("i32", "channel")
        self.start = f.local("i32", "start")
        self.factor = f.local("f32", "factor")
        self.weights: dict[tuple[int, int], Code] = {}

    def emit(self) -> None:
        f, k = self.f, self.k
        top = f.local("i32", "top", -k.pads[0][0])
        with f.repeat(k.out_size[0]):
            self._find_lines(top)
            f.set(self.channel, 0)
            with f.repeat(k.channels):
                self._line()
                f.step(self.channel, 1)
            f.step(top, k.strides[0])
            f.step(self.line_out, k.out_size[1] * k.channels * k.finish.bytes)

    def _find_lines(self, top: Local) -> None:
        """Address of each input line under the window; the line of what is outside elsewhere."""
        f, k = self.f, self.k
        for i, line in enumerate(self.lines):
            y = f.local("i32", "y", top + i)
            inside = f.param("in") + y * k.line_bytes
            f.set(line, select(op("i32.ge_u", y, const("i32", k.size[0])), f.param("line"), inside))

    def _line(self) -> None:
        """A channel of one line: outputs at the edges one by one, those between in a loop."""
        f, k = self.f, self.k
        self._load_channel()
        for at, line in zip(self.at, self.lines, strict=True):
            f.set(at, line + self.channel)
        f.set(self.out, self.line_out + self.channel * k.finish.bytes)
        start, past = self._inside()
        for o in range(start):
            self._output(o)
        base = start
        if past > start:
            self._move(start)
            with f.repeat(past - start):
                self._output(None)
                self._move(1)
            base = past
        for o in range(past, k.out_size[1]):
            self._output(o, base if past > start else 0)

    def _inside(self) -> tuple[int, int]:
        """The outputs whose columns are all in the picture; without any, where the left edge ends is the end."""
        k = self.k
        inside = [o for o in range(k.out_size[1]) if all(self._is_in(o, j) for j in range(k.kernel[1]))]
        return (inside[0], inside[-1] + 1) if inside else (k.out_size[1], k.out_size[1])

    def _is_in(self, o: int, j: int) -> bool:
        return 0 <= o * self.k.strides[1] - self.k.pads[1][0] + j < self.k.size[1]

    def _move(self, outputs: int) -> None:
        f, k = self.f, self.k
        f.step(self.out, outputs * k.channels * k.finish.bytes)
        for at in self.at:
            f.step(at, outputs * k.strides[1] * k.channels)

    def _load_channel(self) -> None:
        """Weights lie by blocks of channels, columns of the window, and fours of channels."""
        f, k = self.f, self.k
        size, c = weight_bytes(k.form), self.channel
        block, four = (c // (4 * k.quads)) * k.block_bytes, (c // 4 % k.quads) * k.step_bytes
        at = f.local("i32", "weights_at", f.param("weights") + block + four + (c & 3) * (k.group * size))
        for i, j in self.taps:
            offset = k.step_bytes * k.quads * (j * k.groups + i // k.group) + i % k.group * size
            weight = load("i32.load8_s" if size == 1 else "i32.load16_s", at, offset)
            self.weights[i, j] = weight if len(self.taps) > _KEPT_MAX else f.local("i32", f"w{i}_{j}", weight)
        f.set(self.start, load("i32.load", f.param("bias") + c * 4))
        f.set(self.factor, load("f32.load", f.param("scale") + c * 4))

    def _output(self, o: int | None, base: int = 0) -> None:
        """One output, `o` where some columns may be outside; the pointers stand at output `base`."""
        f, k = self.f, self.k
        moved = 0 if o is None else o - base
        total: Code = self.start
        for i, j in self.taps:
            if o is None or self._is_in(o, j):
                column = moved * k.strides[1] + j - (k.pads[1][0])
                value = self._value(i, column)
            elif k.fill:
                value = const("i32", k.fill)
            else:
                continue
            total = total + value * self.weights[i, j]
        if k.finish.dtype == "int32":
            f.store("i32.store", self.out, total, moved * 4 * k.channels)
            return
        self._store(op("f32.convert_i32_s", total) * self.factor, moved * k.channels)

    def _value(self, i: int, column: int) -> Code:
        """A byte of a line, `column` from where the pointer stands."""
        name, offset = left_load(self.k.form, "i32"), column * self.k.channels
        return load(name, self.at[i], offset) if offset >= 0 else load(name, self.at[i] + offset)

    def _store(self, scaled: Code, moved: int) -> None:
        f, k = self.f, self.k
        args = {0: scaled if k.finish.is_plain else f.local("f32", value=scaled)}
        for i, extra in enumerate(k.extras):
            base = f.param(f"extra{i}")
            if extra.form == "row":
                args[1 + i] = f.local("f32", value=load_one(extra.dtype, base + self.channel * extra.bytes))
            else:
                at = self._scaled(self.out - f.param("out"), extra.bytes)
                args[1 + i] = f.local("f32", value=load_one(extra.dtype, base + at, moved * extra.bytes))
        store_one(f, k.finish, self.out, value_of(f, k.finish, args), moved * k.finish.bytes)

    def _scaled(self, distance: Code, size: int) -> Code:
        of = self.k.finish.bytes
        return distance * (size // of) if size >= of else distance // (of // size)
