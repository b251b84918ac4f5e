"""Bytes moved: runs of them put side by side, and planes of channels put in turn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.int8_finish import store_bytes
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Code, Function, load, shuffle

__all__ = ["ByteRuns", "Interleave"]

VECTOR = 16
UNROLLED = 8  # vectors of a run that are moved without a loop


@dataclass(frozen=True)
class ByteRuns(Kernel):
    """`runs` times `bytes` that lie one after the other in the input, `out_step` apart in the output."""

    kind: ClassVar[str] = "int8-runs"
    runs: int
    bytes: int
    out_step: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def time_ns(self) -> int:
        return self.runs * (self.bytes // VECTOR + 2) // 2

    def cuts(self) -> Sequence[Cut]:
        return (Cut(self.runs, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        return Piece(replace(self, runs=stop - start), {"in": start * self.bytes, "out": start * self.out_step})

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        source, out = f.param("in"), f.param("out")
        with f.repeat(self.runs):
            self._move(f)
            f.step(source, self.bytes)
            f.step(out, self.out_step)
        return f

    def _move(self, f: Function) -> None:
        """Whole vectors; the last one starts early enough to end where the run does."""
        source, out = f.param("in"), f.param("out")
        whole, tail = divmod(self.bytes, VECTOR)
        if whole <= UNROLLED:
            for v in range(whole):
                f.store("v128.store", out, load("v128.load", source, VECTOR * v), VECTOR * v)
        else:
            at = f.local("i32", "at", 0)
            with f.repeat(whole):
                f.store("v128.store", out + at, load("v128.load", source + at))
                f.step(at, VECTOR)
        if tail and whole:
            f.store("v128.store", out, load("v128.load", source, self.bytes - VECTOR), self.bytes - VECTOR)
        elif tail:
            store_bytes(f, out, load("v128.load", source, 0, "i8x16"), 0, tail)


@dataclass(frozen=True)
class Interleave(Kernel):
    """out[pixel, channel] = in[channel, pixel], for two to four channels and sixteen pixels or more."""

    kind: ClassVar[str] = "int8-interleave"
    pixels: int
    channels: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    @property
    def time_ns(self) -> int:
        return self.pixels * self.channels // 8

    def function(self, name: str) -> Function:
        """The last sixteen pixels start early enough to be whole."""
        f = Function(name, dict.fromkeys(self.params, "i32"))
        source, out = f.param("in"), f.param("out")
        whole, tail = divmod(self.pixels, VECTOR)
        with f.repeat(whole):
            self._move(f)
            f.step(source, VECTOR)
            f.step(out, VECTOR * self.channels)
        if tail:
            f.step(source, tail - VECTOR)
            f.step(out, (tail - VECTOR) * self.channels)
            self._move(f)
        return f

    def _move(self, f: Function) -> None:
        planes = [
            f.local("i8x16", f"p{c}", load("v128.load", f.param("in"), c * self.pixels, "i8x16"))
            for c in range(self.channels)
        ]
        for v in range(self.channels):
            f.store("v128.store", f.param("out"), self._vector(planes, v), VECTOR * v)

    def _vector(self, planes: Sequence[Code], vector: int) -> Code:
        """Sixteen bytes of the output: each further plane is put into the places that are its own."""
        pixels, own = zip(*(divmod(VECTOR * vector + i, self.channels) for i in range(VECTOR)), strict=True)
        found = planes[0]
        for c in range(1, self.channels):
            before = pixels if c == 1 else range(VECTOR)
            lanes = [VECTOR + pixels[i] if own[i] == c else before[i] for i in range(VECTOR)]
            found = shuffle("i8x16", found, planes[c], lanes)
        return found
