"""Expressions over bytes and floats, sixteen elements at a time; and tables for what is long to compute."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from littoral.compiler.kernels.int8_finish import ELEMENT_BYTES, Finish, load_four, store_bytes
from littoral.compiler.kernels.int8_gemm import Extra
from littoral.compiler.kernels.int8_table import PART, look_up, table_entries
from littoral.compiler.kernels.kernel import Cut, Kernel, Piece
from littoral.compiler.wasm import Code, Function, Local, load, op, splat

__all__ = ["ByteMap", "ByteTable", "look_up_run"]

VECTOR = 16  # elements at a time
KEPT_MAX = 8  # parts of a table that stay in registers beside what else a look-up needs


@dataclass(frozen=True)
class ByteMap(Kernel):
    """out[row, column] = finish(inputs…). inputs: `full` as the output, `row` (one a column) or `one` for all."""

    kind: ClassVar[str] = "int8-map"
    rows: int
    width: int
    inputs: tuple[Extra, ...]
    finish: Finish

    @property
    def params(self) -> tuple[str, ...]:
        return (*(f"in{i}" for i in range(len(self.inputs))), "out")

    @property
    def tiling(self) -> str:
        return f"1×{VECTOR}"

    @property
    def time_ns(self) -> int:
        return self.rows * self.width * (1 + len(self.inputs)) // 2

    def cuts(self) -> Sequence[Cut]:
        """By rows; one row by vectors of columns."""
        if self.rows > 1:
            return (Cut(self.rows, self._rows_part),)
        return (Cut(-(-self.width // VECTOR), self._columns_part),)

    def _rows_part(self, start: int, stop: int) -> Piece:
        element = start * self.width
        moves = {f"in{i}": element * e.bytes for i, e in enumerate(self.inputs) if e.form == "full"}
        return Piece(replace(self, rows=stop - start), {**moves, "out": element * self.finish.bytes})

    def _columns_part(self, start: int, stop: int) -> Piece:
        first, past = start * VECTOR, min(stop * VECTOR, self.width)
        moves = {f"in{i}": first * e.bytes for i, e in enumerate(self.inputs) if e.form != "one"}
        return Piece(replace(self, width=past - first), {**moves, "out": first * self.finish.bytes})

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        at = [f.local("i32", f"at{i}", f.param(f"in{i}")) for i in range(len(self.inputs))]
        out = f.local("i32", "out_at", f.param("out"))
        whole, tail = divmod(self.width, VECTOR)
        with f.repeat(self.rows):
            for pointer, extra, source in zip(at, self.inputs, f.params, strict=False):
                if extra.form == "row":
                    f.set(pointer, source)
            if whole:
                with f.repeat(whole):
                    self._elements(f, at, out, VECTOR)
            if tail:
                self._elements(f, at, out, tail)
        return f

    def _elements(self, f: Function, at: list[Local], out: Local, count: int) -> None:
        given: list[dict[int, Code]] = [
            {
                i: f.local("f32x4", value=self._load(extra, pointer, v))
                for i, (extra, pointer) in enumerate(zip(self.inputs, at, strict=True))
            }
            for v in range(-(-count // 4))
        ]
        self.finish.write(f, out, self.finish.values(f, given), 0, count)
        for extra, pointer in zip(self.inputs, at, strict=True):
            if extra.form != "one":
                f.step(pointer, count * ELEMENT_BYTES[extra.dtype])
        f.step(out, count * self.finish.bytes)

    def _load(self, extra: Extra, pointer: Local, v: int) -> Code:
        size = ELEMENT_BYTES[extra.dtype]
        if extra.form != "one":
            return load_four(extra.dtype, pointer, 4 * v * size)
        if extra.dtype == "float32":
            return load("v128.load32_splat", pointer, 0, "f32x4")
        name = f"i32.load8_{'u' if extra.dtype == 'uint8' else 's'}"
        return splat("f32x4", op("f32.convert_i32_s", load(name, pointer)))


@dataclass(frozen=True)
class ByteTable(Kernel):
    """out[i] = table[in[i]], for `count` bytes below 16 · parts. table: of as many bytes."""

    kind: ClassVar[str] = "int8-table"
    count: int
    parts: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("in", "table", "out")

    @property
    def tiling(self) -> str:
        return f"1×{VECTOR}"

    @property
    def time_ns(self) -> int:
        return self.count * self.parts // 24

    def cuts(self) -> Sequence[Cut]:
        return (Cut(-(-self.count // VECTOR), self._part),)

    def _part(self, start: int, stop: int) -> Piece:
        first, past = start * VECTOR, min(stop * VECTOR, self.count)
        return Piece(replace(self, count=past - first), {"in": first, "out": first})

    def function(self, name: str) -> Function:
        f = Function(name, dict.fromkeys(self.params, "i32"))
        look_up_run(f, f.param("in"), self.parts, self.count, f.param("out"))
        return f


def look_up_run(f: Function, start: Code, parts: int, count: int, target: Code | None = None) -> None:
    """Looks `count` bytes up that lie one after the other, into as many at `target`, or where they are."""
    whole, tail = divmod(count, PART)
    entries = table_entries(f, parts)
    if parts <= KEPT_MAX and whole > 1:
        entries = [f.local("i8x16", f"entries{i}", entry) for i, entry in enumerate(entries)]
    source = f.local("i32", "looked_up", start)
    out = source if target is None else f.local("i32", "found", target)
    if whole:
        with f.repeat(whole):
            f.store("v128.store", out, look_up(f, entries, load("v128.load", source, 0, "i8x16")))
            f.step(source, PART)
            if out is not source:
                f.step(out, PART)
    if tail:
        store_bytes(f, out, look_up(f, entries, load("v128.load", source, 0, "i8x16")), 0, tail)
