"""The relaxed instructions in plain SIMD: by one of the results their proposal allows, the same on every engine.

The dot products are exact for every operand (of the one in 16 bits, the sum saturates). A product and a sum are rounded
apart. Operands a relaxed instruction leaves open (lanes of a mask that are neither all ones nor zeros, indices past 15,
floats outside of the integers) give what the strict instruction gives.
"""

from littoral.compiler.wasm.code import Code, const, op
from littoral.compiler.wasm.expansion import Expansion

__all__ = ["STRICT"]


def _same(name: str) -> Expansion:
    return lambda *operands: op(name, *operands)


def _even_and_odd(bytes_: Code) -> tuple[Code, Code]:
    """Bytes in even and in odd places, widened."""
    eight = const("i32", 8)
    return op("i16x8.shr_s", op("i16x8.shl", bytes_, eight), eight), op("i16x8.shr_s", bytes_, eight)


def _dot(a: Code, b: Code) -> Code:
    halves = [op("i32x4.extadd_pairwise_i16x8_s", op(f"i16x8.extmul_{half}_i8x16_s", a, b)) for half in ("low", "high")]
    return op("i16x8.narrow_i32x4_s", *halves)


def _dot_add(a: Code, b: Code, c: Code) -> Code:
    even, odd = (op("i32x4.dot_i16x8_s", x, y) for x, y in zip(_even_and_odd(a), _even_and_odd(b), strict=True))
    return op("i32x4.add", op("i32x4.add", even, odd), c)


def _product_and_sum(shape: str, negated: bool) -> Expansion:
    def write(a: Code, b: Code, c: Code) -> Code:
        product = op(f"{shape}.mul", a, b)
        return op(f"{shape}.sub", c, product) if negated else op(f"{shape}.add", product, c)

    return write


STRICT: dict[str, Expansion] = {
    "i8x16.relaxed_swizzle": _same("i8x16.swizzle"),
    "i16x8.relaxed_q15mulr_s": _same("i16x8.q15mulr_sat_s"),
    "i16x8.relaxed_dot_i8x16_i7x16_s": _dot,
    "i32x4.relaxed_dot_i8x16_i7x16_add_s": _dot_add,
}
for _sign in "su":
    STRICT[f"i32x4.relaxed_trunc_f32x4_{_sign}"] = _same(f"i32x4.trunc_sat_f32x4_{_sign}")
    STRICT[f"i32x4.relaxed_trunc_f64x2_{_sign}_zero"] = _same(f"i32x4.trunc_sat_f64x2_{_sign}_zero")
for _shape in ("f32x4", "f64x2"):
    STRICT[f"{_shape}.relaxed_madd"] = _product_and_sum(_shape, negated=False)
    STRICT[f"{_shape}.relaxed_nmadd"] = _product_and_sum(_shape, negated=True)
    STRICT[f"{_shape}.relaxed_min"] = _same(f"{_shape}.pmin")
    STRICT[f"{_shape}.relaxed_max"] = _same(f"{_shape}.pmax")
for _shape in ("i8x16", "i16x8", "i32x4", "i64x2"):
    STRICT[f"{_shape}.relaxed_laneselect"] = _same("v128.bitselect")
