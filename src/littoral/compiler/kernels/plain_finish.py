"""What becomes of one float32 on the way to memory, without vectors: what `int8_finish` does to sixteen at once."""

from collections.abc import Mapping

from littoral.compiler.kernels.int8_finish import MAGIC, MAGIC_BITS, Finish
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, const, load, op, select

__all__ = ["limited", "load_one", "store_one", "value_of"]

_BYTE_LOADS = {"uint8": "i32.load8_u", "int8": "i32.load8_s"}


def load_one(dtype: str, address: Code, offset: int = 0) -> Code:
    """An element as f32."""
    if dtype == "float32":
        return load("f32.load", address, offset)
    return op("f32.convert_i32_s", load(_BYTE_LOADS[dtype], address, offset))


def value_of(f: Function, finish: Finish, args: Mapping[int, Code]) -> Code:
    """The finish's expression of one element's arguments."""
    if finish.is_plain:
        return args[0]
    return Writer(f, args).write(finish.value)


def store_one(f: Function, finish: Finish, address: Code, value: Code, offset: int = 0) -> None:
    """value: f32; i32 where whole sums are wanted."""
    if finish.dtype in ("float32", "int32"):
        f.store(f"{value.kind}.store", address, value, offset)
        return
    whole = _whole(f, finish, value)
    if finish.parts:
        whole = load("i32.load8_u", f.param("table") + whole)
    f.store("i32.store8", address, whole, offset)


def limited(f: Function, whole: Code, low: int, high: int) -> Code:
    """An i32 within low..high."""
    for beyond, bound in (("i32.lt_s", low), ("i32.gt_s", high)):
        kept, limit = f.local("i32", value=whole), const("i32", bound)
        whole = select(op(beyond, kept, limit), limit, kept)
    return whole


def _whole(f: Function, finish: Finish, value: Code) -> Code:
    """The rounded value, zero added; within the limits, so that truncation meets nothing it would trap on."""
    if not finish.is_small:
        for inside, bound in (("f32.gt", finish.low), ("f32.lt", finish.high)):
            kept, limit = f.local("f32", value=value), const("f32", bound - finish.zero)
            value = select(op(inside, kept, limit), kept, limit)
    if finish.rounding == "trunc":
        whole = op("i32.trunc_f32_s", value) + finish.zero
    else:
        whole = op("i32.reinterpret_f32", value + const("f32", MAGIC)) - (MAGIC_BITS - finish.zero)
    return limited(f, whole, finish.low, finish.high) if finish.is_small else whole
