"""Weighted sums of places along an axis, such as resizing: what lies inside a place, four float32 at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Code, Function, Local, load

__all__ = ["ResamplePlaces"]

_LANES = 4
_VECTOR = 16  # bytes


@dataclass(frozen=True)
class ResamplePlaces(Kernel):
    """out[o, place, i] = Σ_tap in[o, indices[place, tap], i] · weights[place, tap], taps in order; of one tap, a copy.

    in f32[outer, size, inner]; indices i32[places, taps]; weights f32[places, taps]. out_bytes: from one o to the next.
    """

    kind: ClassVar[str] = "resample"
    outer: int
    size: int
    places: int
    inner: int
    taps: int
    out_bytes: int = 0

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "indices", *(["weights"] if self.taps > 1 else []), "out")

    @property
    def tiling(self) -> str:
        return f"1×{_LANES}"

    @property
    def stride(self) -> int:
        return self.out_bytes or 4 * self.places * self.inner

    @property
    def time_ns(self) -> int:
        return self.outer * self.places * self.inner * (self.taps + 1) // 12

    def cuts(self) -> Sequence[Cut]:
        return Cut(self.outer, self._outer_part), Cut(self.places, self._places_part)

    def _outer_part(self, start: int, stop: int) -> Piece:
        moves = {"in": 4 * start * self.size * self.inner, "out": start * self.stride}
        return Piece(replace(self, outer=stop - start), moves)

    def _places_part(self, start: int, stop: int) -> Piece:
        table = 4 * start * self.taps
        kernel = replace(self, places=stop - start, out_bytes=self.stride)
        return Piece(kernel, {"indices": table, "weights": table, "out": 4 * start * self.inner})

    def function(self, name: str) -> Function:
        f = self.opened(name)
        source, out = f.param("in"), f.param("out")
        indices = f.local("i32", "indices_at")
        weights = f.local("i32", "weights_at")
        with f.repeat(self.outer):
            f.set(indices, f.param("indices"))
            if self.taps > 1:
                f.set(weights, f.param("weights"))
            with f.repeat(self.places):
                self._place(f, indices, weights)
                f.step(indices, 4 * self.taps)
                f.step(weights, 4 * self.taps if self.taps > 1 else 0)
            f.step(source, 4 * self.size * self.inner)
            f.step(out, self.stride - 4 * self.places * self.inner)
        return f

    def _place(self, f: Function, indices: Local, weights: Local) -> None:
        """All inside one place of the result; moves `out` past it."""
        out = f.param("out")
        index = (load("i32.load", indices, 4 * tap) for tap in range(self.taps))
        at = [f.local("i32", f"at{t}", f.param("in") + i * (4 * self.inner)) for t, i in enumerate(index)]
        whole, rest = divmod(self.inner, _LANES)
        if whole:
            factors = self._factors(f, "v128.load32_splat", "f32x4", weights)
            with f.repeat(whole):
                f.store("v128.store", out, self._sum([load("v128.load", a, 0, "f32x4") for a in at], factors))
                for pointer in (*at, out):
                    f.step(pointer, _VECTOR)
        if rest:
            factors = self._factors(f, "f32.load", "f32", weights)
            for i in range(rest):
                f.store("f32.store", out, self._sum([load("f32.load", a, 4 * i) for a in at], factors), 4 * i)
            f.step(out, 4 * rest)

    def _factors(self, f: Function, name: str, kind: str, weights: Local) -> list[Local]:
        taps = range(self.taps if self.taps > 1 else 0)
        return [f.local(kind, f"weight{t}", load(name, weights, 4 * t, kind)) for t in taps]

    def _sum(self, values: Sequence[Code], factors: Sequence[Code]) -> Code:
        if not factors:
            return values[0]
        first, *others = (value * factor for value, factor in zip(values, factors, strict=True))
        for product in others:
            first = first + product
        return first
