"""Elementary functions as formulas of `+ − × ÷`, so that every engine and the interpreter give the same bits.

Each is written once, over the operations of `ir.numeric.Numeric`, and serves numpy arrays, WebAssembly scalars and
WebAssembly vectors. Multiplication and addition are separate and in a fixed order. Coefficients are our own minimax
fits (Lawson's algorithm on the relative error) or Taylor's.
"""

from collections.abc import Callable, Sequence
from typing import Any

from littoral.compiler.ir.numeric import Numeric

__all__ = ["FORMULAS", "exp", "polynomial"]

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693359375  # 9 bits: a product with a small integer is exact in f32
LN2_LOW = -2.121944400546905827679e-4
LN2_HIGH_F64 = 0.693147180369123816490
LN2_LOW_F64 = 1.90821492927058770002e-10

EXP = (0.49999994, 0.16666522, 0.04166839, 0.00836875, 0.00138145)
EXP_F64 = tuple(1.0 / f for f in (2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600, 6227020800))
TANH = (
    (0.99999994, 0.12919219, 2.9207508e-3, 9.2673072e-6, -1.2780066e-8, 1.8254226e-11),
    (1.0, 0.46252504, 0.023763126, 2.2809858e-4),
)
ERF = (
    (1.1283791, 0.18965772, 0.052666727, 3.7379167e-3, 2.8504626e-4, 2.0664597e-6),
    (1.0, 0.50141257, 0.11381505, 0.014913418, 1.1572605e-3, 3.8269049e-5),
)


def polynomial(m: Numeric, x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's rule, constant term first."""
    total = m.const(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + m.const(x, c)
    return total


def _exp_parts(m: Numeric, x: Any) -> tuple[Any, Any]:
    """e^x = p · 2^n for |x| below 700 (f64) or 104 (f32): p, and n as an integer."""
    wide = m.wide(x)
    magic = m.const(x, 6755399441055744.0 if wide else 12582912.0)  # 1.5 · 2^52, 2^23: adding it rounds to an integer
    t = m.keep(x * m.const(x, LOG2_E) + magic)
    n = m.keep(t - magic)
    high, low = (LN2_HIGH_F64, LN2_LOW_F64) if wide else (LN2_HIGH, LN2_LOW)
    r = m.keep(x - n * m.const(x, high) - n * m.const(x, low))
    q = polynomial(m, r, EXP_F64 if wide else EXP)
    return m.keep(m.const(x, 1.0) + r + r * r * q), m.keep(m.bits(t) - m.bits(magic))


def _power_of_two(m: Numeric, n: Any, wide: bool) -> Any:
    bias, mantissa_bits = (1023, 52) if wide else (127, 23)
    return m.floats(m.shift_left(n + m.const(n, bias), mantissa_bits))


def exp(m: Numeric, x: Any) -> Any:
    """e^x; below 1 ULP in f32, infinities and underflow included: 2^n is applied in two halves."""
    wide = m.wide(x)
    low, high = (-746.0, 710.0) if wide else (-104.0, 89.0)
    p, n = _exp_parts(m, m.keep(m.at_most(m.at_least(x, low), high)))
    half = m.keep(m.shift_right(n, 1))
    return p * _power_of_two(m, half, wide) * _power_of_two(m, n - half, wide)


def exp_negative(m: Numeric, x: Any) -> Any:
    """e^x for x ≤ 0, where results below the smallest normal number may be rounded up to it."""
    wide = m.wide(x)
    p, n = _exp_parts(m, m.keep(m.at_least(x, -708.0 if wide else -87.3)))
    return p * _power_of_two(m, n, wide)


def sigmoid(m: Numeric, x: Any) -> Any:
    """1 / (1 + e^−x)."""
    wide = m.wide(x)
    bounds = (-708.0, 709.0) if wide else (-87.3, 88.0)
    p, n = _exp_parts(m, m.keep(m.at_most(m.at_least(-x, bounds[0]), bounds[1])))
    one = m.const(x, 1.0)
    return one / (one + p * _power_of_two(m, n, wide))


def _odd_rational(m: Numeric, x: Any, bound: float, fit: tuple[Sequence[float], Sequence[float]]) -> Any:
    """x · P(x²) / Q(x²) for |x| ≤ bound, its value at the bound beyond, never past ±1."""
    t = m.keep(m.at_most(m.at_least(x, -bound), bound))
    z = m.keep(t * t)
    return m.at_most(m.at_least(t * polynomial(m, z, fit[0]) / polynomial(m, z, fit[1]), -1.0), 1.0)


def tanh(m: Numeric, x: Any) -> Any:
    """Within 6 ULP in f32."""
    return _odd_rational(m, x, 9.0, TANH)


def erf(m: Numeric, x: Any) -> Any:
    """Within 7 ULP in f32."""
    return _odd_rational(m, x, 3.9, ERF)


FORMULAS: dict[str, Callable[..., Any]] = {
    "exp": exp,
    "exp_negative": exp_negative,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "erf": erf,
}
