"""Conversions between float32 and narrower floats, as expressions on their bits.

Rounding is to nearest, ties to even. Saturation follows the tables of ONNX's Cast. A narrow dtype's element is its raw
bits; `bitcast` gives them as an unsigned integer.
"""

from typing import NamedTuple

from littoral.compiler.ir.expr import Apply, Expr, apply, number

__all__ = ["NARROW_FLOATS", "bitcast", "convert", "narrow", "widen"]

_U = "uint32"


class NarrowFloat(NamedTuple):
    """raw: dtype of the bits. largest, infinite, nan: codes without the sign (None: there is none)."""

    raw: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    largest: int
    infinite: int | None
    nan: int | None
    signed_zero: bool = True

    @property
    def sign_bit(self) -> int:
        return 1 << (self.exponent_bits + self.mantissa_bits)


NARROW_FLOATS = {
    "float16": NarrowFloat("uint16", 5, 10, 15, 0x7BFF, 0x7C00, 0x7E00),
    "bfloat16": NarrowFloat("uint16", 8, 7, 127, 0x7F7F, 0x7F80, 0x7FC0),
    "float8_e4m3fn": NarrowFloat("uint8", 4, 3, 7, 0x7E, None, 0x7F),
    "float8_e4m3fnuz": NarrowFloat("uint8", 4, 3, 8, 0x7F, None, 0x80, signed_zero=False),
    "float8_e5m2": NarrowFloat("uint8", 5, 2, 15, 0x7B, 0x7C, 0x7E),
    "float8_e5m2fnuz": NarrowFloat("uint8", 5, 2, 16, 0x7F, None, 0x80, signed_zero=False),
    "float4_e2m1fn": NarrowFloat("uint8", 2, 1, 1, 0x7, None, None),
}


def bitcast(value: Expr, dtype: str) -> Expr:
    return Apply(dtype, "bitcast", (value,))


def _c(value: int) -> Expr:
    return number(_U, value)


def _cast(value: Expr, dtype: str) -> Expr:
    return value if value.dtype == dtype else Apply(dtype, "cast", (value,))


def widen(value: Expr) -> Expr:
    """The float32 with the same value as a narrow float."""
    if value.dtype == "float8_e8m0fnu":
        return _widen_exponent(value)
    form = NARROW_FLOATS[value.dtype]
    code = _cast(bitcast(value, form.raw), _U)
    size = apply("and", code, _c(form.sign_bit - 1))
    sign = apply("shl", apply("and", code, _c(form.sign_bit)), _c(31 - form.exponent_bits - form.mantissa_bits))
    if value.dtype == "bfloat16":
        return bitcast(apply("shl", code, _c(16)), "float32")
    placed = bitcast(apply("shl", size, _c(23 - form.mantissa_bits)), "float32")
    found = bitcast(placed * 2.0 ** (127 - form.bias), _U)
    if form.infinite is not None:
        special = apply("or", apply("shl", size, _c(23 - form.mantissa_bits)), _c(0x7F800000))
        found = apply("select", apply("ge", size, _c(form.infinite)), special, found)
    found = apply("or", found, sign)
    if form.infinite is None and form.nan is not None:
        is_nan = apply("eq", code if form.nan == form.sign_bit else size, _c(form.nan))
        found = apply("select", is_nan, _c(0x7FC00000), found)
    return bitcast(found, "float32")


def narrow(value: Expr, dtype: str, saturate: bool = True) -> Expr:
    """A float32 rounded to a narrow float. saturate: what is too large becomes the largest (8-bit floats only)."""
    form = NARROW_FLOATS[dtype]
    bits = bitcast(value, _U)
    size = apply("and", bits, _c(0x7FFFFFFF))
    sign = apply("shr", apply("and", bits, _c(0x80000000)), _c(31 - form.exponent_bits - form.mantissa_bits))
    shift = 23 - form.mantissa_bits
    odd = apply("and", apply("shr", size, _c(shift)), _c(1))
    rebias = ((form.bias - 127) << 23) & 0xFFFFFFFF
    normal = apply("shr", size + _c((rebias + (1 << (shift - 1)) - 1) & 0xFFFFFFFF) + odd, _c(shift))
    if form.bias == 127:  # the exponents are alike: subnormal numbers round by the same rule
        found = normal
    else:
        aligned = 2.0 ** (24 - form.bias - form.mantissa_bits)  # its last place is the smallest narrow number
        magic = number("float32", aligned)
        small = bitcast(bitcast(size, "float32") + magic, _U) - bitcast(magic, _U)
        below = apply("lt", size, _c((127 - form.bias + 1) << 23))
        found = apply("select", below, small, normal)
    saturates = saturate and form.raw == "uint8"
    too_large = _c(form.largest if saturates or form.nan is None else form.infinite or form.nan)
    is_over = apply("or", apply("gt", found, _c(form.largest)), apply("ge", size, _c(0x7F800000)))
    found = apply("select", is_over, too_large, found)
    if not form.signed_zero:
        empty = apply("or", apply("eq", found, _c(0)), apply("eq", found, _c(form.nan or 0)))
        sign = apply("select", empty, _c(0), sign)
    is_nan = apply("gt", size, _c(0x7F800000))
    found = apply("or", found, sign)
    if form.nan is None:  # as ONNX's own cast does, which has −0 for it
        found = apply("select", is_nan, _c(form.sign_bit), found)
    else:
        kept_sign = sign if form.signed_zero else _c(0)
        found = apply("select", is_nan, apply("or", _c(form.nan), kept_sign), found)
    return bitcast(_cast(found, form.raw), dtype)


def _widen_exponent(value: Expr) -> Expr:
    """2^(code − 127); 255 is a NaN, 0 is subnormal in float32."""
    code = _cast(bitcast(value, "uint8"), _U)
    found = apply("shl", code, _c(23))
    found = apply("select", apply("eq", code, _c(0)), _c(0x00400000), found)
    return bitcast(apply("select", apply("eq", code, _c(255)), _c(0x7FC00000), found), "float32")


def narrow_exponent(value: Expr, saturate: bool = True, rounding: str = "up") -> Expr:
    """A float32's power of two as float8_e8m0fnu; rounding `up`, `down` or `nearest` (ties up)."""
    bits = apply("and", bitcast(value, _U), _c(0x7FFFFFFF))
    exponent, mantissa = apply("shr", bits, _c(23)), apply("and", bits, _c(0x7FFFFF))
    threshold = {"up": 1, "nearest": 0x400000}.get(rounding)
    if threshold is not None:
        step = apply("ge", mantissa, _c(threshold))
        if rounding == "up":  # below the smallest normal number, more than half of it
            step = apply("select", apply("eq", exponent, _c(0)), apply("gt", mantissa, _c(0x400000)), step)
        exponent = exponent + _cast(step, _U)
    top = 0xFE if saturate else 0xFF
    found = apply("select", apply("ge", exponent, _c(0xFF)), _c(top), exponent)
    is_nan = apply("gt", bits, _c(0x7F800000))
    found = apply("select", is_nan, _c(0xFF), found)
    return bitcast(_cast(found, "uint8"), "float8_e8m0fnu")


_SMALL_INTEGERS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}


def convert(value: Expr, dtype: str, saturate: bool = True, rounding: str = "up") -> Expr:
    """The value under any other dtype, by the rules of ONNX's Cast."""
    if value.dtype == dtype:
        return value
    if value.dtype in NARROW_FLOATS or value.dtype == "float8_e8m0fnu":
        return convert(widen(value), dtype, saturate, rounding)
    if dtype in NARROW_FLOATS:
        return narrow(_cast(value, "float32"), dtype, saturate)
    if dtype == "float8_e8m0fnu":
        return narrow_exponent(_cast(value, "float32"), saturate, rounding)
    if bits := _SMALL_INTEGERS.get(dtype):
        field = apply("and", _cast(value, "int32"), number("int32", (1 << bits) - 1))
        half = number("int32", 1 << (bits - 1))
        return _cast(field if dtype.startswith("u") else apply("xor", field, half) - half, dtype)
    return _cast(value, dtype)
