"""What is done to bytes one by one, without vectors: maps, tables, sums, maxima, planes put in turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from littoral.compiler.kernels.int8_maps import ByteMap, ByteTable
from littoral.compiler.kernels.int8_moves import Interleave
from littoral.compiler.kernels.int8_windows import ByteMaximum, ByteSums
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.kernels.plain_finish import load_one, store_one, value_of
from littoral.compiler.wasm import Code, Function, load, op, select

__all__ = ["BYTE_KERNELS", "PlainBytes"]


@dataclass(frozen=True)
class PlainBytes(Kernel):
    """The same as a kernel of bytes, by the same arguments."""

    kind: ClassVar[str] = "plain-bytes"
    of: Kernel

    @property
    def params(self) -> tuple[str, ...]:
        return self.of.params

    @property
    def tiling(self) -> str:
        return "1×1"

    def function(self, name: str) -> Function:
        f = self.opened(name)
        BYTE_KERNELS[type(self.of)](f, self.of)
        return f


def _map(f: Function, kernel: ByteMap) -> None:
    inputs = kernel.inputs
    at = [f.local("i32", f"at{i}", f.param(f"in{i}")) for i in range(len(inputs))]
    out = f.param("out")
    with f.repeat(kernel.rows):
        for i, extra in enumerate(inputs):
            if extra.form == "row":
                f.set(at[i], f.param(f"in{i}"))
        with f.repeat(kernel.width):
            args: dict[int, Code] = {
                i: f.local("f32", value=load_one(extra.dtype, at[i])) for i, extra in enumerate(inputs)
            }
            store_one(f, kernel.finish, out, value_of(f, kernel.finish, args))
            for extra, pointer in zip(inputs, at, strict=True):
                if extra.form != "one":
                    f.step(pointer, extra.bytes)
            f.step(out, kernel.finish.bytes)


def _table(f: Function, kernel: ByteTable) -> None:
    source, out = f.param("in"), f.param("out")
    with f.repeat(kernel.count):
        f.store("i32.store8", out, load("i32.load8_u", f.param("table") + load("i32.load8_u", source)))
        f.step(source, 1)
        f.step(out, 1)


def _sums(f: Function, kernel: ByteSums) -> None:
    source, out = f.param("in"), f.param("out")
    with f.repeat(kernel.width):
        total, at = f.local("i32", "total", 0), f.local("i32", "at", source)
        with f.repeat(kernel.rows):
            f.set(total, total + load(_byte_load(kernel.is_signed), at))
            f.step(at, kernel.width)
        found = f.local("f32", value=op("f32.convert_i32_s", total))
        store_one(f, kernel.finish, out, value_of(f, kernel.finish, {0: found}))
        f.step(source, 1)
        f.step(out, kernel.finish.bytes)


def _maximum(f: Function, kernel: ByteMaximum) -> None:
    line, out, at = f.param("in"), f.param("out"), f.local("i32", "at")
    best, other = f.local("i32", "best"), f.local("i32", "other")
    with f.repeat(kernel.lines):
        f.set(at, line)
        with f.repeat(kernel.columns):
            with f.repeat(kernel.channels):
                f.set(best, load(_byte_load(kernel.is_signed), at, kernel.taps[0]))
                for tap in kernel.taps[1:]:
                    f.set(other, load(_byte_load(kernel.is_signed), at, tap))
                    f.set(best, select(other > best, other, best))
                f.store("i32.store8", out, best)
                f.step(at, 1)
                f.step(out, 1)
            f.step(at, kernel.step_bytes - kernel.channels)
        f.step(line, kernel.line_bytes)


def _interleave(f: Function, kernel: Interleave) -> None:
    source, out = f.param("in"), f.param("out")
    with f.repeat(kernel.pixels):
        for c in range(kernel.channels):
            f.store("i32.store8", out, load("i32.load8_u", source, c * kernel.pixels), c)
        f.step(source, 1)
        f.step(out, kernel.channels)


def _byte_load(is_signed: bool) -> str:
    return f"i32.load8_{'s' if is_signed else 'u'}"


BYTE_KERNELS: Mapping[type[Kernel], Callable[[Function, Any], None]] = {
    ByteMap: _map,
    ByteTable: _table,
    ByteSums: _sums,
    ByteMaximum: _maximum,
    Interleave: _interleave,
}
