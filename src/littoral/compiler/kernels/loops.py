"""Generic loop nests: an expression for every output element, with an optional fold over further axes.

Every operation without a kernel of its own is described as one `LoopNest`; a new operator is a few lines. Axes that are
contiguous everywhere are joined, and the innermost output axis is computed four float32 at a time where each input
either runs along it or stays.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, substitute, walk
from littoral.compiler.ir.vector_form import has_vector_form
from littoral.compiler.kernels.elements import ELEMENTS, load_element, store_element
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load, op

__all__ = ["Access", "LoopNest"]

LANES = 4
RUN = 16  # elements of the innermost axis that stay together: a cache line of float32
_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}
_LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


@dataclass(frozen=True)
class Access:
    """Where an element lies: `offset` + Σ position · stride, in elements of its buffer. strides: one an axis."""

    dtype: str
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class LoopNest(Kernel):
    """out[position] = after(combine over `folds` of body), or body itself without folds.

    extents: output axes, outermost first. folds: further axes inside them. inputs: the access of each `Arg` of `body`,
    over output axes and folds. operand: for each input, which parameter holds its address; `Load(i, at)` reads there
    too. guard: where it is false, an element is left out of the fold, or without folds not written. after: what becomes
    of the fold (`Arg(0)`). store_at: number of the output element to write, where data decide; written in loop order.
    """

    kind: ClassVar[str] = "loops"
    extents: tuple[int, ...]
    output: Access
    inputs: tuple[Access, ...]
    body: Expr
    folds: tuple[int, ...] = ()
    combine: str = ""
    guard: Expr | None = None
    after: Expr | None = None
    store_at: Expr | None = None

    @property
    def params(self) -> tuple[str, ...]:
        return (*(f"in{i}" for i in range(len(self.inputs))), "out")

    @property
    def tiling(self) -> str:
        return f"1×{LANES if self.joined().is_vector else 1}"

    @property
    def asked(self) -> set[int]:
        """Axes whose position decides."""
        return {e.axis for part in self._expressions() for e in walk(part) if isinstance(e, Position)}

    @property
    def is_vector(self) -> bool:
        """Whether the innermost output axis of a joined nest is computed four elements at a time."""
        if not self.extents or self.extents[-1] < LANES or self.output.dtype != "float32":
            return False
        if self.store_at is not None or (self.guard is not None and not self.combine):
            return False
        inner = len(self.extents) - 1
        if inner in self.asked or self.output.strides[inner] != 1:
            return False
        parts = [self.body, *([self.after] if self.after else [])]
        if any(a.dtype != "float32" or a.strides[inner] not in (0, 1) for a in self.inputs):
            return False
        return all(has_vector_form(e) for e in parts)

    def function(self, name: str) -> Function:
        f = self.opened(name)
        if 0 not in self.extents:
            _Emitter(f, self.joined()).emit()
        return f

    @property
    def time_ns(self) -> int:
        """A nanosecond for each step of an expression, a quarter where four elements are computed at once."""
        steps = 2 + sum(1 for e in self._expressions() for _ in walk(e))
        elements = math.prod(self.extents) * math.prod(self.folds)
        return elements * steps // (LANES if self.joined().is_vector else 1)

    def cuts(self) -> Sequence[Cut]:
        """Along any axis of the output. Where data say which element is written, order matters: none."""
        if self.store_at is not None or 0 in self.extents:
            return ()
        nest = self.joined()
        return [nest._cut(axis) for axis in range(len(nest.extents))]

    def _cut(self, axis: int) -> Cut:
        unit = RUN if axis == len(self.extents) - 1 else 1
        size = self.extents[axis]
        return Cut(-(-size // unit), lambda a, b: self._part(axis, a * unit, min(b * unit, size)))

    def _part(self, axis: int, start: int, stop: int) -> Piece:
        """Positions along the axis start later; addresses move, but where elements are read by number."""
        numbered = {e.index for part in self._expressions() for e in walk(part) if isinstance(e, Load)}
        inputs, moves = [], {"out": start * self.output.strides[axis] * ELEMENTS[self.output.dtype].bytes}
        for i, access in enumerate(self.inputs):
            step = start * access.strides[axis]
            inputs.append(replace(access, offset=access.offset + step) if i in numbered else access)
            moves[f"in{i}"] = 0 if i in numbered else step * ELEMENTS[access.dtype].bytes
        extents = (*self.extents[:axis], stop - start, *self.extents[axis + 1 :])
        body, guard, after = (e and _moved(e, axis, start) for e in (self.body, self.guard, self.after))
        assert body is not None
        return Piece(replace(self, extents=extents, inputs=tuple(inputs), body=body, guard=guard, after=after), moves)

    def _expressions(self) -> list[Expr]:
        return [e for e in (self.body, self.guard, self.after, self.store_at) if e is not None]

    def joined(self) -> "LoopNest":
        """The same nest with axes of 1 dropped and neighbours joined where every access runs on through them."""
        parts = [e for e in (self.body, self.guard, self.store_at) if e is not None]
        if any(isinstance(e, Position) for part in parts for e in walk(part)):
            return self
        outer = _join(self.extents, [self.output.strides, *(a.strides for a in self.inputs)], 0)
        inner = _join(self.folds, [self.output.strides, *(a.strides for a in self.inputs)], len(self.extents))
        strides = [tuple(o + i) for o, i in zip(outer[1], inner[1], strict=True)]
        return replace(
            self,
            extents=outer[0],
            folds=inner[0],
            output=replace(self.output, strides=strides[0]),
            inputs=tuple(replace(a, strides=s) for a, s in zip(self.inputs, strides[1:], strict=True)),
        )


def _moved(expr: Expr, axis: int, start: int) -> Expr:
    """The expression where positions along an axis count from `start`."""
    if not start:
        return expr
    return substitute(expr, lambda n: n + start if isinstance(n, Position) and n.axis == axis else None)


def _join(
    extents: tuple[int, ...], accesses: list[tuple[int, ...]], first: int
) -> tuple[tuple[int, ...], list[list[int]]]:
    """Joined extents and, by access, their strides, for the axes from `first` on."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in accesses]
    for i, size in enumerate(extents):
        step = [a[first + i] for a in accesses]
        if size == 1:
            continue
        if sizes and all(s[-1] == size * here for s, here in zip(strides, step, strict=True)):
            sizes[-1] *= size
            for s, here in zip(strides, step, strict=True):
                s[-1] = here
            continue
        sizes.append(size)
        for s, here in zip(strides, step, strict=True):
            s.append(here)
    return tuple(sizes), strides


class _Emitter:
    """Writes a joined nest: pointers run along, counters exist only where a position is asked for."""

    def __init__(self, f: Function, nest: LoopNest) -> None:
        self.f = f
        self.nest = nest
        self.rank = len(nest.extents)
        self.axes = nest.extents + nest.folds
        self.pointers = [self._pointer(i, a) for i, a in enumerate(nest.inputs)]
        self.out = f.local("i32", "out_at", f.param("out") + nest.output.offset * ELEMENTS[nest.output.dtype].bytes)
        self.asked = nest.asked
        self.positions: dict[int, Local] = {}
        self.vector = nest.is_vector
        self.constants = Constants(f)

    def _pointer(self, index: int, access: Access) -> Local:
        base = self.f.param(f"in{index}") + access.offset * ELEMENTS[access.dtype].bytes
        return self.f.local("i32", f"at{index}", base)

    def emit(self) -> None:
        self._axis(0)

    def _advance(self, axis: int, steps: int) -> None:
        """Moves every pointer `steps` along an axis, after the loops inside it have run to their ends."""
        inner = axis + 1
        accesses = [*zip(self.pointers, self.nest.inputs, strict=True), (self.out, self.nest.output)]
        for pointer, access in accesses:
            back = self.axes[inner] * access.strides[inner] if inner < len(self.axes) else 0
            self.f.step(pointer, (steps * access.strides[axis] - back) * ELEMENTS[access.dtype].bytes)

    def _axis(self, axis: int) -> None:
        if axis == self.rank:
            self._element(vector=False)
            return
        size = self.axes[axis]
        if axis == self.rank - 1 and self.vector:
            self.constants = Constants(self.f)
            with self.f.repeat(size // LANES):
                self._element(vector=True)
                self._advance(axis, LANES)
            if size % LANES:
                with self.f.repeat(size % LANES):
                    self._element(vector=False)
                    self._advance(axis, 1)
            return
        with self._loop(axis, size):
            self._axis(axis + 1)
            self._advance(axis, 1)

    @contextlib.contextmanager
    def _loop(self, axis: int, size: int) -> Iterator[None]:
        if axis not in self.asked:
            with self.f.repeat(size):
                yield
            return
        with self.f.each(size) as position:
            self.positions[axis] = position
            yield

    def _element(self, vector: bool) -> None:
        nest = self.nest
        if nest.guard is None or nest.combine:
            self._write(vector)
            return
        with self.f.when(
            Writer(self.f, _Loads(self, vector=False), False, self.positions, self._load).write(nest.guard)
        ):
            self._write(vector)

    def _write(self, vector: bool) -> None:
        nest = self.nest
        value = self._folded(vector) if nest.combine else self._writer(vector).write(nest.body)
        if nest.after is not None:
            kept = self.f.local(value.kind, value=value)
            constants = self.constants if vector else None
            value = Writer(self.f, {0: kept}, vector, self.positions, constants=constants).write(nest.after)
        if vector:
            self.f.store("v128.store", self.out, value)
            return
        target: Code = self.out
        if nest.store_at is not None:
            at = self._writer(vector=False).write(nest.store_at)
            target = self.f.param("out") + at * ELEMENTS[nest.output.dtype].bytes
        store_element(self.f, nest.output.dtype, target, value)

    def _writer(self, vector: bool) -> Writer:
        constants = self.constants if vector else None
        return Writer(self.f, _Loads(self, vector), vector, self.positions, self._load, constants)

    def load_arg(self, index: int, vector: bool) -> Code:
        access, pointer = self.nest.inputs[index], self.pointers[index]
        if not vector:
            return load_element(access.dtype, pointer)
        runs = access.strides[self.rank - 1] == 1
        return load("v128.load" if runs else "v128.load32_splat", pointer, 0, "f32x4")

    def _load(self, node: Load, at: Code) -> Code:
        size = ELEMENTS[node.dtype].bytes
        return load_element(node.dtype, self.f.param(f"in{node.index}") + at * size)

    def _folded(self, vector: bool) -> Code:
        nest, f = self.nest, self.f
        dtype = nest.body.dtype
        kind = "f32x4" if vector else ELEMENTS[dtype].kind
        total = f.local(kind, "total", const(kind, _start(nest.combine, dtype)))
        if 0 not in nest.folds:
            self._fold_axis(self.rank, total, vector)
        return total

    def _fold_axis(self, axis: int, total: Local, vector: bool) -> None:
        f, nest = self.f, self.nest
        if axis == len(self.axes):
            if nest.guard is None:
                self._combine(total, vector)
                return
            with f.when(Writer(f, {}, False, self.positions).write(nest.guard)):
                self._combine(total, vector)
            return
        with self._loop(axis, self.axes[axis]):
            self._fold_axis(axis + 1, total, vector)
            self._advance(axis, 1)

    def _combine(self, total: Local, vector: bool) -> None:
        name = _COMBINE[self.nest.combine]
        dtype = self.nest.body.dtype
        value = self._writer(vector).write(self.nest.body)
        if vector or dtype in ("float32", "float64"):
            self.f.set(total, op(f"{total.kind}.{name}", total, value))
            return
        kept = self.f.local(value.kind, value=value)
        self.f.set(total, Writer(self.f, {0: total, 1: kept}).write(apply(name, Arg(dtype, 0), Arg(dtype, 1))))


class _Loads(dict[int, Code]):
    """Arguments of an expression, loaded when they are first asked for."""

    def __init__(self, emitter: _Emitter, vector: bool) -> None:
        super().__init__()
        self.emitter = emitter
        self.vector = vector

    def __missing__(self, index: int) -> Code:
        return self.emitter.load_arg(index, self.vector)


def _start(combine: str, dtype: str) -> float:
    """What a fold of nothing gives."""
    if combine in ("sum", "prod"):
        return 0 if combine == "sum" else 1
    if dtype in _LARGEST:
        return float("-inf") if combine == "max" else float("inf")
    element = ELEMENTS[dtype]
    bits = 8 * element.bytes
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if element.signed else (0, (1 << bits) - 1)
    return lowest if combine == "max" else highest
