"""3×3 convolutions by Winograd's minimal filtering F(4×4, 3×3): 36 products where the direct way takes 144.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308). A tile of 6 × 6 input pixels
becomes 36 planes, each plane is a matrix product with its own weights (`Gemm`), and the planes become 4 × 4 output
pixels. Both transforms work on four channels at a time; their sums have a fixed order.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.expr import Expr
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load

__all__ = ["PLANES", "TILE", "FromPlanes", "ToPlanes"]

TILE = 4  # output pixels along a side
PATCH = 6  # input pixels along a side
PLANES = PATCH * PATCH
_VECTOR = 16  # bytes
_LANES = 4
_FLOAT = 4


@dataclass(frozen=True)
class ToPlanes(Kernel):
    """out f32[36, high · wide, channels] from a picture f32[4 · high + 2, line / channels, channels] with its padding.

    high, wide: tiles. channels: a multiple of 4. line_bytes: from one line of the picture to the next. pixel_bytes:
    from one pixel to the next, where these are not all of its channels.
    """

    kind: ClassVar[str] = "winograd-in"
    high: int
    wide: int
    channels: int
    line_bytes: int
    pixel_bytes: int = 0

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def out_bytes(self) -> int:
        return PLANES * self.high * self.wide * self.channels * _FLOAT

    @property
    def time_ns(self) -> int:
        return 4 * self.high * self.wide * self.channels

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.channels // _LANES, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        pixel = self.pixel_bytes or _FLOAT * self.channels
        kernel = replace(self, channels=_LANES * (stop - start), pixel_bytes=pixel)
        return Piece(kernel, dict.fromkeys(self.params, _VECTOR * start))

    def function(self, name: str) -> Function:
        f = self.opened(name)
        own = _FLOAT * self.channels
        pixel = self.pixel_bytes or own
        plane = pixel * self.high * self.wide
        line, source, out = f.local("i32", "line", f.param("in")), f.local("i32", "source"), f.param("out")
        lines = [f.local("i32", f"line{y}") for y in range(PATCH)]
        with f.repeat(self.high):
            f.set(source, line)
            with f.repeat(self.wide):
                with f.repeat(self.channels // _LANES):
                    for y, at in enumerate(lines):
                        f.set(at, source + y * self.line_bytes)
                    self._tile(f, lines, pixel, out, plane)
                    f.step(source, _VECTOR)
                    f.step(out, _VECTOR)
                f.step(source, TILE * pixel - own)
                f.step(out, pixel - own)
            f.step(line, TILE * self.line_bytes)
        return f

    def _tile(self, f: Function, lines: Sequence[Local], pixel: int, out: Local, plane: int) -> None:
        half = [[f.local("f32x4", f"h{y}_{x}") for x in range(PATCH)] for y in range(PATCH)]
        for x in range(PATCH):
            column = [
                f.local("f32x4", f"d{y}", load("v128.load", at, x * pixel, "f32x4")) for y, at in enumerate(lines)
            ]
            for y, value in enumerate(_forward(f, column)):
                f.set(half[y][x], value)
        for y in range(PATCH):
            for x, value in enumerate(_forward(f, half[y])):
                f.store("v128.store", out, value, (PATCH * y + x) * plane)


@dataclass(frozen=True)
class FromPlanes(Kernel):
    """out f32[lines, columns, channels] = epilogue(bias + tiles of the planes, extras…).

    in: f32[36, ⌈lines/4⌉ · ⌈columns/4⌉, channels]. bias, extras: as for `Gemm`. pixel_bytes: as in `ToPlanes`.
    """

    kind: ClassVar[str] = "winograd-out"
    lines: int
    columns: int
    channels: int
    bias: bool = False
    epilogue: Expr | None = None
    extras: tuple[str, ...] = ()
    pixel_bytes: int = 0

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", *(["bias"] if self.bias else []), *(f"extra{i}" for i in range(len(self.extras))), "out")

    @property
    def time_ns(self) -> int:
        return 4 * -(-self.lines // TILE) * -(-self.columns // TILE) * self.channels

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.channels // _LANES, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        pixel = self.pixel_bytes or _FLOAT * self.channels
        kernel = replace(self, channels=_LANES * (stop - start), pixel_bytes=pixel)
        return Piece(kernel, dict.fromkeys(self.params, _VECTOR * start))

    def function(self, name: str) -> Function:
        f = self.opened(name)
        _FromPlanesEmitter(f, self).emit()
        return f


class _FromPlanesEmitter:
    def __init__(self, f: Function, kernel: FromPlanes) -> None:
        self.f = f
        self.k = kernel
        self.high, self.wide = -(-kernel.lines // TILE), -(-kernel.columns // TILE)
        self.own = _FLOAT * kernel.channels
        self.pixel = kernel.pixel_bytes or self.own
        self.tiles_down = f.local("i32", "tiles_down")
        self.tiles_along = f.local("i32", "tiles_along")
        self.channel = f.local("i32", "channel_bytes")
        self.out = f.local("i32", "out_at")

    def emit(self) -> None:
        f, k = self.f, self.k
        line = f.local("i32", "line", f.param("out"))
        with f.repeat(self.high, self.tiles_down):
            f.set(self.out, line)
            with f.repeat(self.wide, self.tiles_along):
                f.set(self.channel, 0)
                with f.repeat(k.channels // _LANES):
                    self._tile()
                    f.step(f.param("in"), _VECTOR)
                    f.step(self.out, _VECTOR)
                    f.step(self.channel, _VECTOR)
                f.step(f.param("in"), self.pixel - self.own)
                f.step(self.out, TILE * self.pixel - self.own)
            f.step(line, TILE * self.pixel * k.columns)

    def _tile(self) -> None:
        f, k = self.f, self.k
        plane = self.pixel * self.high * self.wide
        half = [[f.local("f32x4", f"h{y}_{x}") for x in range(PATCH)] for y in range(TILE)]
        for x in range(PATCH):
            column = [
                f.local("f32x4", f"m{y}", load("v128.load", f.param("in"), (PATCH * y + x) * plane, "f32x4"))
                for y in range(PATCH)
            ]
            for y, value in enumerate(_backward(f, column)):
                f.set(half[y][x], value)
        bias = (
            f.local("f32x4", "bias", load("v128.load", f.param("bias") + self.channel, 0, "f32x4")) if k.bias else None
        )
        others = {
            i: f.local("i32", f"other{i}", self.out - f.param("out") + f.param(f"extra{i}"))
            for i, form in enumerate(k.extras)
            if form == "full"
        }
        constants = Constants(f)
        for y in range(TILE):
            with _where_inside(f, self.tiles_down, y, k.lines):
                for x, value in enumerate(_backward(f, half[y])):
                    with _where_inside(f, self.tiles_along, x, k.columns):
                        self._store(
                            value if bias is None else value + bias, (y * k.columns + x) * self.pixel, others, constants
                        )

    def _store(self, total: Code, offset: int, others: dict[int, Local], constants: Constants) -> None:
        f, k = self.f, self.k
        if k.epilogue is not None:
            args: dict[int, Code] = {0: f.local("f32x4", "total", total)}
            for i, form in enumerate(k.extras):
                address, at = (others[i], offset) if form == "full" else (f.param(f"extra{i}") + self.channel, 0)
                args[1 + i] = load("v128.load", address, at, "f32x4")
            total = Writer(f, args, vector=True, constants=constants).write(k.epilogue)
        f.store("v128.store", self.out, total, offset)


def _where_inside(f: Function, tiles_left: Local, place: int, size: int) -> AbstractContextManager[object]:
    """What follows runs where pixel `place` of the tile exists. tiles_left: counts down to 1, the last tile."""
    return nullcontext() if (size - 1) % TILE >= place else f.when(const("i32", 1) < tiles_left)


def _forward(f: Function, d: Sequence[Local]) -> list[Code]:
    """Bᵀ d."""
    even = f.local("f32x4", value=d[4] - d[2] * 4.0)
    odd = f.local("f32x4", value=d[3] - d[1] * 4.0)
    near = f.local("f32x4", value=d[4] - d[2])
    far = f.local("f32x4", value=(d[3] - d[1]) * 2.0)
    return [
        d[0] * 4.0 - d[2] * 5.0 + d[4],
        even + odd,
        even - odd,
        near + far,
        near - far,
        d[1] * 4.0 - d[3] * 5.0 + d[5],
    ]


def _backward(f: Function, m: Sequence[Local]) -> list[Code]:
    """Aᵀ m."""
    inner_sum, inner_gap = f.local("f32x4", value=m[1] + m[2]), f.local("f32x4", value=m[1] - m[2])
    outer_sum, outer_gap = f.local("f32x4", value=m[3] + m[4]), f.local("f32x4", value=m[3] - m[4])
    return [
        m[0] + inner_sum + outer_sum,
        inner_gap + outer_gap * 2.0,
        inner_sum + outer_sum * 4.0,
        inner_gap + outer_gap * 8.0 + m[5],
    ]
