"""Kernels that run along one axis in order: running sums, places of extremes, the largest few.

A tensor is seen as (outer, size, inner): the axis, what is before it and what is after it. Scalar code.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.kernels.elements import ELEMENTS, load_element, store_element
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, op

__all__ = ["Extreme", "Largest", "Running"]


@dataclass(frozen=True)
class _Along(Kernel):
    dtype: str
    outer: int
    size: int
    inner: int

    @property
    def step(self) -> int:
        """Bytes from one element of the axis to the next."""
        return self.inner * ELEMENTS[self.dtype].bytes

    @property
    def time_ns(self) -> int:
        return 2 * self.outer * self.size * self.inner

    def cuts(self) -> Sequence[Cut]:
        """By what is before the axis."""
        return (Cut(self.outer, self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        moves = {name: start * slab for name, slab in self._slabs().items()}
        return Piece(replace(self, outer=stop - start), moves)

    def _slabs(self) -> dict[str, int]:
        """Bytes from one index before the axis to the next, of each address."""
        raise NotImplementedError

    def _better(self, f: Function, a: Code, b: Code, largest: bool) -> Code:
        """Whether a comes strictly before b; a NaN comes before all others."""
        x, y = Arg(self.dtype, 0), Arg(self.dtype, 1)
        better = x > y if largest else x < y
        if self.dtype.startswith("float"):
            better = apply("or", better, apply("and", apply("ne", x, x), apply("eq", y, y)))
        return Writer(f, {0: a, 1: b}).write(better)


@contextlib.contextmanager
def _lines(f: Function, kernel: _Along, pointers: dict[Local, tuple[int, int]]) -> Iterator[None]:
    """Every line along the axis. pointers: bytes to the next line inside, and bytes of a whole slab, for each."""
    with f.repeat(kernel.outer):
        with f.repeat(kernel.inner):
            yield
            for pointer, (step, _) in pointers.items():
                f.step(pointer, step)
        for pointer, (step, slab) in pointers.items():
            f.step(pointer, slab - kernel.inner * step)


@dataclass(frozen=True)
class Running(_Along):
    """out = running `combine` (`add` or `mul`) of in along the axis."""

    kind: ClassVar[str] = "running"
    combine: str
    exclusive: bool
    reverse: bool

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    def _slabs(self) -> dict[str, int]:
        return dict.fromkeys(self.params, self.size * self.step)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        element = ELEMENTS[self.dtype]
        start = (self.size - 1) * self.step if self.reverse else 0
        source, target = (
            f.local("i32", "source", f.param("in") + start),
            f.local("i32", "target", f.param("out") + start),
        )
        moved = {source: (element.bytes, self.size * self.step), target: (element.bytes, self.size * self.step)}
        total, at, to = f.local(element.kind, "total"), f.local("i32", "at"), f.local("i32", "to")
        both = apply(self.combine, Arg(self.dtype, 0), Arg(self.dtype, 1))
        with _lines(f, self, moved):
            f.set(total, const(element.kind, 0 if self.combine == "add" else 1))
            f.set(at, source)
            f.set(to, target)
            with f.repeat(self.size):
                if self.exclusive:
                    store_element(f, self.dtype, to, total)
                f.set(total, Writer(f, {0: total, 1: load_element(self.dtype, at)}).write(both))
                if not self.exclusive:
                    store_element(f, self.dtype, to, total)
                for pointer in (at, to):
                    f.step(pointer, -self.step if self.reverse else self.step)
        return f


@dataclass(frozen=True)
class Extreme(_Along):
    """out = place (i64) of the largest or smallest element along the axis."""

    kind: ClassVar[str] = "extreme"
    largest: bool
    last: bool

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "out")

    def _slabs(self) -> dict[str, int]:
        return {"in": self.size * self.step, "out": 8 * self.inner}

    def function(self, name: str) -> Function:
        f = self.opened(name)
        element = ELEMENTS[self.dtype]
        source, target = f.local("i32", "source", f.param("in")), f.local("i32", "target", f.param("out"))
        best, here = f.local(element.kind, "best"), f.local(element.kind, "here")
        at, place = f.local("i32", "at"), f.local("i32", "place")
        with _lines(f, self, {source: (element.bytes, self.size * self.step), target: (8, 8 * self.inner)}):
            f.set(at, source)
            f.set(place, 0)
            f.set(best, load_element(self.dtype, at))
            with f.each(self.size) as index:
                f.set(here, load_element(self.dtype, at))
                if self.last:
                    taken = self._better(f, best, here, self.largest).eq(0)
                else:
                    taken = self._better(f, here, best, self.largest)
                with f.when(taken):
                    f.set(best, here)
                    f.set(place, index)
                f.step(at, self.step)
            store_element(f, "int64", target, _wide(place))
        return f


@dataclass(frozen=True)
class Largest(_Along):
    """values and places (i64) of the `count` largest or smallest elements along the axis, best first, by insertion."""

    kind: ClassVar[str] = "largest"
    count: int
    largest: bool

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "values", "places")

    def _slabs(self) -> dict[str, int]:
        places = 8 * self.count * self.inner
        return {"in": self.size * self.step, "values": self.count * self.step, "places": places}

    def function(self, name: str) -> Function:
        f = self.opened(name)
        if not self.count:
            return f
        element = ELEMENTS[self.dtype]
        size, place_step = element.bytes, 8 * self.inner
        source, values, places = (f.local("i32", n, f.param(n)) for n in self.params)
        here, other = f.local(element.kind, "here"), f.local(element.kind, "other")
        at, slot, value_at, place_at = (f.local("i32", n) for n in ("at", "slot", "value_at", "place_at"))
        moved = {
            source: (size, self.size * self.step),
            values: (size, self.count * self.step),
            places: (8, self.count * place_step),
        }
        with _lines(f, self, moved):
            f.set(at, source)
            with f.each(self.size) as index:
                f.set(here, load_element(self.dtype, at))
                f.step(at, self.step)
                f.set(slot, index)
                with f.block() as placed:
                    with f.when(index >= self.count):
                        f.set(slot, self.count)
                    self._set_slot(f, slot, values, places, value_at, place_at)
                    with f.loop() as again, f.when(slot > 0):
                        f.set(other, load_element(self.dtype, value_at - self.step))
                        with f.when(self._better(f, here, other, self.largest)):
                            self._move_back(f, slot, other, value_at, place_at)
                            f.step(slot, -1)
                            f.step(value_at, -self.step)
                            f.step(place_at, -place_step)
                            f.go(again)
                    f.go(placed, slot >= self.count)
                    store_element(f, self.dtype, value_at, here)
                    store_element(f, "int64", place_at, _wide(index))
        return f

    def _set_slot(
        self, f: Function, slot: Local, values: Local, places: Local, value_at: Local, place_at: Local
    ) -> None:
        f.set(value_at, values + slot * self.step)
        f.set(place_at, places + slot * (8 * self.inner))

    def _move_back(self, f: Function, slot: Local, other: Local, value_at: Local, place_at: Local) -> None:
        """The element before the slot moves into it, unless the slot is past the end."""
        with f.when(slot < self.count):
            store_element(f, self.dtype, value_at, other)
            store_element(f, "int64", place_at, load_element("int64", place_at - 8 * self.inner))


def _wide(index: Code) -> Code:
    return op("i64.extend_i32_u", index)
