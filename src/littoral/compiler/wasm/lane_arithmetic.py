"""Vector arithmetic, comparisons and conversions in scalars: the specification's definitions (core, 4.3), as code.

The relaxed instructions are here by one of the results that their proposal allows, the one `relaxed.py` gives too.
"""

from collections.abc import Callable, Sequence

from littoral.compiler.wasm.code import Code, const, op, select
from littoral.compiler.wasm.lanes import SHAPES, Lanes, Mask, Rule, Scratch, Value, as_scalar, as_vector, wrap

__all__ = ["ARITHMETIC"]

OnLanes = Callable[..., Code]
ARITHMETIC: dict[str, Rule] = {}

_INTEGER_SHAPES = ("i8x16", "i16x8", "i32x4", "i64x2")
_FLOAT_SHAPES = ("f32x4", "f64x2")
_NARROW = {"i8x16": ("i16x8", 8), "i16x8": ("i32x4", 16)}
_WIDEN = {"i16x8": "i8x16", "i32x4": "i16x8", "i64x2": "i32x4"}


def _lanewise(name: str, write: OnLanes, *, of: str = "", to: str = "") -> None:
    """A rule that makes each lane from the lanes in its place. of, to: shapes, where they are not the name's own."""
    shape = name.split(".", maxsplit=1)[0]

    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        columns = zip(*(as_vector(a).lanes(of or shape, scratch) for a in args), strict=True)
        return Lanes(to or shape, [write(scratch, *column) for column in columns])

    ARITHMETIC[name] = rule


def _compared(name: str, write: OnLanes) -> None:
    shape = name.split(".", maxsplit=1)[0]

    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        a, b = (as_vector(v).lanes(shape, scratch) for v in args)
        return Mask(shape, [write(scratch, x, y) for x, y in zip(a, b, strict=True)])

    ARITHMETIC[name] = rule


def _plain(name: str) -> OnLanes:
    return lambda _scratch, *lanes: op(name, *lanes)


def _wrapped(name: str, bits: int) -> OnLanes:
    return lambda _scratch, *lanes: wrap(bits, op(name, *lanes))


def _chosen(name: str, swapped: bool = False) -> OnLanes:
    """The first operand where the comparison holds (`swapped`: with its operands exchanged), else the second."""

    def write(scratch: Scratch, a: Code, b: Code) -> Code:
        a, b = scratch.atom(a), scratch.atom(b)
        return select(op(name, b, a), b, a) if swapped else select(op(name, a, b), a, b)

    return write


def _clamped(scratch: Scratch, value: Code, lowest: int, highest: int) -> Code:
    value = scratch.atom(value)
    value = scratch.atom(select(value < lowest, const(value.kind, lowest), value))
    return select(value > highest, const(value.kind, highest), value)


def _unsigned(bits: int, lane: Code) -> Code:
    return lane & (1 << bits) - 1 if bits < 32 else lane


def _absolute(bits: int) -> OnLanes:
    def write(scratch: Scratch, lane: Code) -> Code:
        lane = scratch.atom(lane)
        return wrap(bits, select(lane < 0, 0 - lane, lane))

    return write


def _saturated(name: str, bits: int, signed: bool) -> OnLanes:
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def write(scratch: Scratch, a: Code, b: Code) -> Code:
        if not signed:
            a, b = _unsigned(bits, a), _unsigned(bits, b)
        found = _clamped(scratch, op(f"i32.{name}", a, b), lowest, highest)
        return found if signed else wrap(bits, found)

    return write


def _average(bits: int) -> OnLanes:
    return lambda _scratch, a, b: wrap(bits, (_unsigned(bits, a) + _unsigned(bits, b) + 1) >> 1)


def _shift(shape: str, name: str) -> None:
    kind, bits = SHAPES[shape]

    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        lanes, count = as_vector(args[0]).lanes(shape, scratch), as_scalar(args[1])
        if count.constant is not None:
            count = const(kind, count.constant % bits)
        else:
            masked = count & bits - 1
            count = scratch.atom(op("i64.extend_i32_u", masked) if kind == "i64" else masked)
        if name == "shr_u":
            lanes = [_unsigned(bits, lane) for lane in lanes]
        shifted = [op(f"{kind}.{name}", lane, count) for lane in lanes]
        return Lanes(shape, shifted if name == "shr_s" else [wrap(bits, lane) for lane in shifted])

    ARITHMETIC[f"{shape}.{name}"] = rule


def _integer_shape(shape: str) -> None:
    kind, bits = SHAPES[shape]
    for name in ("add", "sub"):
        _lanewise(f"{shape}.{name}", _wrapped(f"{kind}.{name}", bits))
    if shape != "i8x16":
        _lanewise(f"{shape}.mul", _wrapped(f"{kind}.mul", bits))
    _lanewise(f"{shape}.neg", lambda _scratch, lane: wrap(bits, 0 - lane))
    _lanewise(f"{shape}.abs", _absolute(bits))
    for name in ("shl", "shr_s", "shr_u"):
        _shift(shape, name)
    for name in ("eq", "ne", "lt_s", "gt_s", "le_s", "ge_s"):
        _compared(f"{shape}.{name}", _plain(f"{kind}.{name}"))
    for name in ("lt_u", "gt_u", "le_u", "ge_u") if shape != "i64x2" else ():
        _compared(f"{shape}.{name}", _plain(f"{kind}.{name}"))
    for sign in ("s", "u") if shape != "i64x2" else ():
        _lanewise(f"{shape}.min_{sign}", _chosen(f"i32.lt_{sign}"))
        _lanewise(f"{shape}.max_{sign}", _chosen(f"i32.gt_{sign}"))
    for name in ("add", "sub") if bits < 32 else ():
        _lanewise(f"{shape}.{name}_sat_s", _saturated(name, bits, signed=True))
        _lanewise(f"{shape}.{name}_sat_u", _saturated(name, bits, signed=False))
    if bits < 32:
        _lanewise(f"{shape}.avgr_u", _average(bits))
    _summary(shape)


def _summary(shape: str) -> None:
    bits = SHAPES[shape].bits

    def all_true(scratch: Scratch, args: Sequence[Value]) -> Value:
        first, *rest = (lane.ne(0) for lane in as_vector(args[0]).lanes(shape, scratch))
        for lane in rest:
            first = first & lane
        return first

    def bitmask(scratch: Scratch, args: Sequence[Value]) -> Value:
        first, *rest = (lane < 0 for lane in as_vector(args[0]).lanes(shape, scratch))
        for i, lane in enumerate(rest, 1):
            first = first | lane << i
        return first

    ARITHMETIC[f"{shape}.all_true"] = all_true
    ARITHMETIC[f"{shape}.bitmask"] = bitmask
    ARITHMETIC[f"{shape}.splat"] = lambda scratch, args: Lanes(
        shape, [scratch.atom(wrap(bits, as_scalar(args[0])))] * SHAPES[shape].lanes
    )


def _float_shape(shape: str) -> None:
    kind = SHAPES[shape].kind
    for name in ("add", "sub", "mul", "div", "min", "max", "abs", "neg", "sqrt", "ceil", "floor", "trunc", "nearest"):
        _lanewise(f"{shape}.{name}", _plain(f"{kind}.{name}"))
    for name in ("eq", "ne", "lt", "gt", "le", "ge"):
        _compared(f"{shape}.{name}", _plain(f"{kind}.{name}"))
    _lanewise(f"{shape}.pmin", _chosen(f"{kind}.lt", swapped=True))
    _lanewise(f"{shape}.pmax", lambda scratch, a, b: _larger(scratch, kind, a, b))
    _lanewise(f"{shape}.relaxed_madd", lambda _scratch, a, b, c: a * b + c)
    _lanewise(f"{shape}.relaxed_nmadd", lambda _scratch, a, b, c: c - a * b)
    for name in ("min", "max"):
        ARITHMETIC[f"{shape}.relaxed_{name}"] = ARITHMETIC[f"{shape}.p{name}"]
    ARITHMETIC[f"{shape}.splat"] = lambda scratch, args: Lanes(
        shape, [scratch.atom(as_scalar(args[0]))] * SHAPES[shape].lanes
    )


def _larger(scratch: Scratch, kind: str, a: Code, b: Code) -> Code:
    a, b = scratch.atom(a), scratch.atom(b)
    return select(op(f"{kind}.lt", a, b), b, a)


def _narrow(shape: str, signed: bool) -> None:
    source, bits = _NARROW[shape]
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        lanes = [lane for a in args for lane in as_vector(a).lanes(source, scratch)]
        return Lanes(shape, [wrap(bits, _clamped(scratch, lane, lowest, highest)) for lane in lanes])

    ARITHMETIC[f"{shape}.narrow_{source}_{'s' if signed else 'u'}"] = rule


def _widened(shape: str, signed: bool, lanes: Sequence[Code]) -> list[Code]:
    """Lanes of half the width, at the width of the shape."""
    sign = "s" if signed else "u"
    if shape == "i64x2":
        return [op(f"i64.extend_i32_{sign}", lane) for lane in lanes]
    return list(lanes) if signed else [_unsigned(SHAPES[shape].bits // 2, lane) for lane in lanes]


def _half(shape: str, part: str, signed: bool, vector: Value, scratch: Scratch) -> list[Code]:
    lanes, count = as_vector(vector).lanes(_WIDEN[shape], scratch), SHAPES[shape].lanes
    return _widened(shape, signed, lanes[:count] if part == "low" else lanes[count:])


def _wide(shape: str) -> None:
    """What makes lanes of twice the width: widening, products, sums of neighbours."""
    bits, source = SHAPES[shape].bits, _WIDEN[shape]
    for sign, part in ((s, p) for s in "su" for p in ("low", "high")):

        def extend(scratch: Scratch, args: Sequence[Value], sign: str = sign, part: str = part) -> Value:
            return Lanes(shape, _half(shape, part, sign == "s", args[0], scratch))

        def multiply(scratch: Scratch, args: Sequence[Value], sign: str = sign, part: str = part) -> Value:
            a, b = (_half(shape, part, sign == "s", v, scratch) for v in args)
            return Lanes(shape, [wrap(bits, x * y) for x, y in zip(a, b, strict=True)])

        ARITHMETIC[f"{shape}.extend_{part}_{source}_{sign}"] = extend
        ARITHMETIC[f"{shape}.extmul_{part}_{source}_{sign}"] = multiply
    for sign in "su" if shape != "i64x2" else "":

        def pairs(scratch: Scratch, args: Sequence[Value], sign: str = sign) -> Value:
            lanes = _widened(shape, sign == "s", as_vector(args[0]).lanes(source, scratch))
            return Lanes(shape, [a + b for a, b in zip(lanes[::2], lanes[1::2], strict=True)])

        ARITHMETIC[f"{shape}.extadd_pairwise_{source}_{sign}"] = pairs


def _products(of: str, args: Sequence[Value], scratch: Scratch, together: int) -> list[Code]:
    """Sums of the products of `together` neighbouring lanes."""
    a, b = (as_vector(v).lanes(of, scratch) for v in args)
    products = [x * y for x, y in zip(a, b, strict=True)]
    sums = products[::together]
    for i in range(1, together):
        sums = [total + more for total, more in zip(sums, products[i::together], strict=True)]
    return sums


def _dot(scratch: Scratch, args: Sequence[Value]) -> Value:
    return Lanes("i32x4", _products("i16x8", args, scratch, 2))


def _byte_dot(scratch: Scratch, args: Sequence[Value]) -> Value:
    sums = _products("i8x16", args, scratch, 2)
    return Lanes("i16x8", [_clamped(scratch, total, -32768, 32767) for total in sums])


def _byte_dot_add(scratch: Scratch, args: Sequence[Value]) -> Value:
    sums = _products("i8x16", args[:2], scratch, 4)
    more = as_vector(args[2]).lanes("i32x4", scratch)
    return Lanes("i32x4", [a + b for a, b in zip(sums, more, strict=True)])


def _scaled(scratch: Scratch, a: Code, b: Code) -> Code:
    found = scratch.atom(op("i32.shr_s", a * b + 0x4000, const("i32", 15)))
    return select(found > 32767, const("i32", 32767), found)


def _with_zeros(name: str, write: OnLanes, of: str, to: str) -> None:
    """A rule for the first lanes; the rest of the result is zeros."""

    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        lanes = [write(scratch, lane) for lane in as_vector(args[0]).lanes(of, scratch)]
        return Lanes(to, lanes + [const(SHAPES[to].kind, 0)] * (SHAPES[to].lanes - len(lanes)))

    ARITHMETIC[name] = rule


def _first_lanes(name: str, write: OnLanes, of: str, to: str) -> None:
    def rule(scratch: Scratch, args: Sequence[Value]) -> Value:
        lanes = as_vector(args[0]).lanes(of, scratch)[: SHAPES[to].lanes]
        return Lanes(to, [write(scratch, lane) for lane in lanes])

    ARITHMETIC[name] = rule


def _conversions() -> None:
    for sign in "su":
        for relaxed, strict in (("relaxed_trunc", "trunc_sat"), ("trunc_sat", "trunc_sat")):
            _lanewise(f"i32x4.{relaxed}_f32x4_{sign}", _plain(f"i32.{strict}_f32_{sign}"), of="f32x4")
            _with_zeros(f"i32x4.{relaxed}_f64x2_{sign}_zero", _plain(f"i32.{strict}_f64_{sign}"), "f64x2", "i32x4")
        _lanewise(f"f32x4.convert_i32x4_{sign}", _plain(f"f32.convert_i32_{sign}"), of="i32x4")
        _first_lanes(f"f64x2.convert_low_i32x4_{sign}", _plain(f"f64.convert_i32_{sign}"), "i32x4", "f64x2")
    _with_zeros("f32x4.demote_f64x2_zero", _plain("f32.demote_f64"), "f64x2", "f32x4")
    _first_lanes("f64x2.promote_low_f32x4", _plain("f64.promote_f32"), "f32x4", "f64x2")


for _shape in _INTEGER_SHAPES:
    _integer_shape(_shape)
for _shape in _FLOAT_SHAPES:
    _float_shape(_shape)
for _shape in _NARROW:
    _narrow(_shape, signed=True)
    _narrow(_shape, signed=False)
for _shape in _WIDEN:
    _wide(_shape)
_conversions()
_lanewise("i8x16.popcnt", lambda _scratch, lane: op("i32.popcnt", lane & 0xFF))
_lanewise("i16x8.q15mulr_sat_s", _scaled)
ARITHMETIC |= {
    "i32x4.dot_i16x8_s": _dot,
    "i16x8.relaxed_dot_i8x16_i7x16_s": _byte_dot,
    "i32x4.relaxed_dot_i8x16_i7x16_add_s": _byte_dot_add,
    "i16x8.relaxed_q15mulr_s": ARITHMETIC["i16x8.q15mulr_sat_s"],
}
