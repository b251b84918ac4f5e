"""Vector instructions on bits and places, in scalars: logic, choices, shuffles."""

from collections.abc import Sequence

from littoral.compiler.wasm.code import Code, const, op, select
from littoral.compiler.wasm.lanes import (
    SHAPES,
    Lanes,
    Mask,
    Rule,
    Scratch,
    Value,
    Vector,
    as_vector,
    common_shape,
    wrap,
)

__all__ = ["BITS", "shuffled"]


def _bitwise(name: str) -> Rule:
    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        a, b = (as_vector(v) for v in args)
        if isinstance(a, Mask) and isinstance(b, Mask) and a.shape == b.shape:
            return Mask(a.shape, [_bits(name, x, y, 1) for x, y in zip(a.conditions, b.conditions, strict=True)])
        shape = _integers(common_shape(a, b))
        lanes = zip(a.lanes(shape, scratch), b.lanes(shape, scratch), strict=True)
        return Lanes(shape, [_bits(name, x, y, -1) for x, y in lanes])

    return rule


def _bits(name: str, a: Code, b: Code, ones: int) -> Code:
    return a & (b ^ ones) if name == "andnot" else op(f"{a.kind}.{name}", a, b)


def _integers(shape: str) -> str:
    return {"f32x4": "i32x4", "f64x2": "i64x2"}.get(shape, shape)


def _inverted(scratch: Scratch, args: Sequence[Value]) -> Value:
    vector = as_vector(args[0])
    if isinstance(vector, Mask):
        return Mask(vector.shape, [c ^ 1 for c in vector.conditions])
    shape = _integers(common_shape(vector))
    return Lanes(shape, [lane ^ -1 for lane in vector.lanes(shape, scratch)])


def _bit_selected(scratch: Scratch, args: Sequence[Value]) -> Value:
    a, b, mask = (as_vector(v) for v in args)
    if isinstance(mask, Mask):
        shape = common_shape(a, b) if a.shape or b.shape else mask.shape
        if SHAPES[shape].bits == SHAPES[mask.shape].bits:
            lanes = zip(mask.conditions, a.lanes(shape, scratch), b.lanes(shape, scratch), strict=True)
            return Lanes(shape, [select(c, x, y) for c, x, y in lanes])
    shape = _integers(common_shape(a, b, mask))
    found = []
    for x, y, m in zip(*(v.lanes(shape, scratch) for v in (a, b, mask)), strict=True):
        other = scratch.atom(y)
        found.append(other ^ (x ^ other) & m)
    return Lanes(shape, found)


def _any_true(scratch: Scratch, args: Sequence[Value]) -> Value:
    first, *rest = as_vector(args[0]).lanes("i32x4", scratch)
    for lane in rest:
        first = first | lane
    return first.ne(0)


def _swizzled(scratch: Scratch, args: Sequence[Value]) -> Value:
    """Each byte is shifted out of one of the two halves."""
    low, high = (scratch.atom(half) for half in as_vector(args[0]).lanes("i64x2", scratch))
    found = []
    for lane in as_vector(args[1]).lanes("i8x16", scratch):
        at = scratch.atom(lane)
        half = select(op("i32.lt_u", at, const("i32", 8)), low, high)
        byte = op("i32.wrap_i64", half >> op("i64.extend_i32_u", (at & 7) << 3))
        found.append(wrap(8, select(op("i32.lt_u", at, const("i32", 16)), byte, const("i32", 0))))
    return Lanes("i8x16", found)


def shuffled(scratch: Scratch, a: Vector, b: Vector, octets: bytes) -> Vector:
    """Bytes of two vectors by number, in the widest lanes that keep together."""
    bits = next(w for w in (64, 32, 16, 8) if _keeps_together(octets, w // 8))
    own = [v.shape for v in (a, b) if v.shape is not None and SHAPES[v.shape].bits <= bits]
    shape = own[0] if own else {64: "i64x2", 32: "i32x4", 16: "i16x8", 8: "i8x16"}[bits]
    size = SHAPES[shape].bits // 8
    numbers = [at // size for at in octets[::size]]
    count = SHAPES[shape].lanes
    lanes: list[Code] = []
    for vector, first in ((a, 0), (b, count)):
        is_read = any(first <= n < first + count for n in numbers)
        lanes += vector.lanes(shape, scratch) if is_read else [const("i32", 0)] * count
    for n in set(numbers):
        if numbers.count(n) > 1:
            lanes[n] = scratch.atom(lanes[n])
    return Lanes(shape, [lanes[n] for n in numbers])


def _keeps_together(octets: bytes, size: int) -> bool:
    return all(
        octets[at] % size == 0 and octets[at : at + size] == bytes(range(octets[at], octets[at] + size))
        for at in range(0, 16, size)
    )


BITS: dict[str, Rule] = {f"v128.{_name}": _bitwise(_name) for _name in ("and", "andnot", "or", "xor")}
BITS |= {
    "v128.not": _inverted,
    "v128.bitselect": _bit_selected,
    "v128.any_true": _any_true,
    "i8x16.swizzle": _swizzled,
    "i8x16.relaxed_swizzle": _swizzled,
}
BITS |= {f"{_shape}.relaxed_laneselect": _bit_selected for _shape in ("i8x16", "i16x8", "i32x4", "i64x2")}
