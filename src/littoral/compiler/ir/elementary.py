"""Elementary functions in float64: logarithm, circular and hyperbolic functions and their inverses, powers.

Float32 goes through float64 and is rounded once, so these are correct to the last bit but for ties; they are not on
any hot path. Same rules as `ir.formulas`: only `+ − × ÷ √`, comparisons and bits, in a fixed order.
"""

import math
from collections.abc import Callable
from typing import Any

from littoral.compiler.ir.formulas import exp, polynomial
from littoral.compiler.ir.numeric import Numeric

__all__ = ["ELEMENTARY"]

LN2_HIGH = 0.693147180369123816490
LN2_LOW = 1.90821492927058770002e-10
SQRT_HALF = 0.70710678118654752440
TWO_OVER_PI = 0.63661977236758134308
# π/2 in three parts; the first two have zeros at the end, so that products with the quadrant are exact
HALF_PI = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
MAGIC = 6755399441055744.0  # 1.5 · 2^52
INFINITY = float("inf")


def log(m: Numeric, x: Any) -> Any:
    """ln x = e · ln 2 + 2 artanh((f − 1) / (f + 1)), x = f · 2^e, f near 1."""
    tiny = x < m.const(x, 2.2250738585072014e-308)
    grown = m.keep(m.select(tiny, x * m.const(x, 18014398509481984.0), x))  # 2^54
    bits = m.keep(m.bits(grown))
    above = m.keep(bits - m.bits(m.const(x, SQRT_HALF)))
    e = m.keep(m.shift_right(above, 52))
    f = m.keep(m.floats(bits - m.shift_left(e, 52)))
    exponent = m.keep(m.to_float(e) - m.select(tiny, m.const(x, 54.0), m.const(x, 0.0)))
    s = m.keep((f - m.const(x, 1.0)) / (f + m.const(x, 1.0)))
    z = m.keep(s * s)
    series = polynomial(m, z, [2.0 / (2 * k + 1) for k in range(12)])
    found = m.keep(exponent * m.const(x, LN2_HIGH) + (s * series + exponent * m.const(x, LN2_LOW)))
    found = m.keep(m.select(x < m.const(x, INFINITY), found, x))
    found = m.keep(m.select(m.const(x, 0.0) < x, found, m.const(x, -INFINITY)))
    return m.select(x < m.const(x, 0.0), m.const(x, float("nan")), m.select(is_nan(m, x), x, found))


def is_nan(m: Numeric, x: Any) -> Any:
    return m.not_equal(x, x)


def _reduced(m: Numeric, x: Any) -> tuple[Any, Any]:
    """x − quadrant · π/2, and the quadrant as an integer; good for |x| up to some 10^5."""
    t = m.keep(x * m.const(x, TWO_OVER_PI) + m.const(x, MAGIC))
    n = m.keep(t - m.const(x, MAGIC))
    r = x
    for part in HALF_PI:
        r = r - n * m.const(x, part)
    return m.keep(r), m.keep(m.bits(t))


def _sine_series(m: Numeric, r: Any, z: Any) -> Any:
    return r * polynomial(m, z, [(-1) ** k / math.factorial(2 * k + 1) for k in range(10)])


def _cosine_series(m: Numeric, z: Any) -> Any:
    return polynomial(m, z, [(-1) ** k / math.factorial(2 * k) for k in range(10)])


def _circular(m: Numeric, x: Any, shift: int) -> Any:
    r, quadrant = _reduced(m, x)
    z = m.keep(r * r)
    quadrant = m.keep(quadrant + m.integer(quadrant, shift))
    odd = m.to_float(m.mask(quadrant, 1))
    value = m.keep(m.select(odd < m.const(x, 0.5), _sine_series(m, r, z), _cosine_series(m, z)))
    value = m.keep(m.at_most(m.at_least(value, -1.0), 1.0))  # far out, where the turns are lost, it stays in bounds
    upper = m.to_float(m.mask(quadrant, 2))
    return m.select(upper < m.const(x, 1.0), value, -value)


def sin(m: Numeric, x: Any) -> Any:
    return _circular(m, x, 0)


def cos(m: Numeric, x: Any) -> Any:
    return _circular(m, x, 1)


def tan(m: Numeric, x: Any) -> Any:
    r, quadrant = _reduced(m, x)
    z = m.keep(r * r)
    sine, cosine = m.keep(_sine_series(m, r, z)), m.keep(_cosine_series(m, z))
    odd = m.to_float(m.mask(quadrant, 1))
    return m.select(odd < m.const(x, 0.5), sine / cosine, -cosine / sine)


def atan(m: Numeric, x: Any) -> Any:
    """Beyond 1 by the complement; then two halvings of the angle, and the series."""
    one = m.const(x, 1.0)
    size = m.keep(m.absolute(x))
    large = one < size
    t = m.keep(m.select(large, one / size, size))
    for _ in range(2):
        t = m.keep(t / (one + m.square_root(one + t * t)))
    z = m.keep(t * t)
    angle = m.keep(m.const(x, 4.0) * (t * polynomial(m, z, [(-1) ** k / (2 * k + 1) for k in range(13)])))
    angle = m.keep(m.select(large, m.const(x, math.pi / 2) - angle, angle))
    return m.select(x < m.const(x, 0.0), -angle, angle)


def asin(m: Numeric, x: Any) -> Any:
    one = m.const(x, 1.0)
    return atan(m, m.keep(x / m.square_root((one - x) * (one + x))))


def acos(m: Numeric, x: Any) -> Any:
    """2 · atan(√((1 − x) / (1 + x))), exact at both ends."""
    one = m.const(x, 1.0)
    return m.const(x, 2.0) * atan(m, m.keep(m.square_root((one - x) / (one + x))))


def _exp_minus_one(m: Numeric, x: Any) -> Any:
    """e^x − 1: the series where little is left of the difference."""
    series = x * polynomial(m, x, [1.0 / math.factorial(k + 1) for k in range(13)])
    small = m.absolute(x) < m.const(x, 0.3)
    return m.select(small, series, exp(m, x) - m.const(x, 1.0))


def sinh(m: Numeric, x: Any) -> Any:
    half = m.const(x, 0.5)
    size = m.keep(m.absolute(x))
    grown = m.keep(_exp_minus_one(m, m.keep(m.at_most(size, 709.0))))
    tame = half * (grown + grown / (grown + m.const(x, 1.0)))
    half_power = m.keep(exp(m, m.keep(size * half)))
    value = m.keep(m.select(size < m.const(x, 700.0), tame, half * half_power * half_power))
    return m.select(x < m.const(x, 0.0), -value, value)


def cosh(m: Numeric, x: Any) -> Any:
    half = m.const(x, 0.5)
    size = m.keep(m.absolute(x))
    half_power = m.keep(exp(m, m.keep(size * half)))
    return half * half_power * half_power + half / (half_power * half_power)


def tanh(m: Numeric, x: Any) -> Any:
    size = m.keep(m.at_most(m.absolute(x), 22.0))
    grown = m.keep(_exp_minus_one(m, m.keep(size + size)))
    value = m.keep(grown / (grown + m.const(x, 2.0)))
    return m.select(x < m.const(x, 0.0), -value, value)


def _log_one_plus(m: Numeric, x: Any) -> Any:
    """ln(1 + x), corrected for what is lost in the sum."""
    one = m.const(x, 1.0)
    total = m.keep(one + x)
    lost = m.keep(x - (total - one))
    return log(m, total) + lost / total


def asinh(m: Numeric, x: Any) -> Any:
    one = m.const(x, 1.0)
    size = m.keep(m.absolute(x))
    square = m.keep(size * size)
    near = _log_one_plus(m, m.keep(size + square / (one + m.square_root(one + square))))
    far = log(m, size) + m.const(x, math.log(2.0))
    value = m.keep(m.select(size < m.const(x, 1e150), near, far))
    return m.select(x < m.const(x, 0.0), -value, value)


def acosh(m: Numeric, x: Any) -> Any:
    one = m.const(x, 1.0)
    above = m.keep(x - one)
    near = _log_one_plus(m, m.keep(above + m.square_root(above * (x + one))))
    return m.select(x < m.const(x, 1e150), near, log(m, x) + m.const(x, math.log(2.0)))


def atanh(m: Numeric, x: Any) -> Any:
    one = m.const(x, 1.0)
    return m.const(x, 0.5) * _log_one_plus(m, m.keep((x + x) / (one - x)))


def softplus(m: Numeric, x: Any) -> Any:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|)."""
    return m.at_least(x, 0.0) + _log_one_plus(m, m.keep(exp(m, m.keep(-m.absolute(x)))))


def erf(m: Numeric, x: Any) -> Any:
    """Kummer's series below 2.5, the continued fraction of the complement above."""
    size = m.keep(m.at_most(m.absolute(x), 6.0))
    z = m.keep(size * size)
    decay = m.keep(exp(m, m.keep(-z)) * m.const(x, 1 / math.sqrt(math.pi)))
    terms, factor = [], 2.0
    for k in range(45):
        terms.append(factor)
        factor *= 2.0 / (2 * k + 3)
    inner = decay * (size * polynomial(m, z, terms))
    tail = size
    for k in range(45, 0, -1):
        tail = m.keep(size + m.const(x, k / 2) / tail)
    value = m.keep(m.select(size < m.const(x, 2.5), inner, m.const(x, 1.0) - decay / tail))
    return m.select(x < m.const(x, 0.0), -value, value)


def power(m: Numeric, x: Any, y: Any) -> Any:
    """x^y by IEEE 754's rules for `pow`."""
    zero, one = m.const(x, 0.0), m.const(x, 1.0)
    size = m.keep(m.absolute(x))
    value = m.keep(exp(m, m.keep(y * log(m, size))))
    whole = m.keep(m.round(y))
    is_whole = m.equal(whole, y)
    half = m.keep(y * m.const(x, 0.5))
    is_odd = m.both(is_whole, m.not_equal(m.round(half), half))
    signed = m.keep(m.select(is_odd, m.copy_sign(value, x), value))
    nan = m.const(x, float("nan"))
    bad = m.both(x < zero, m.both(m.not_equal(whole, y), size < m.const(x, INFINITY)))
    found = m.keep(m.select(bad, nan, signed))
    both_one = m.either(m.equal(y, zero), m.equal(x, one))
    endless = m.both(m.equal(size, one), m.equal(m.absolute(y), m.const(x, INFINITY)))
    return m.select(m.either(both_one, endless), one, found)


def remainder(m: Numeric, x: Any, y: Any) -> Any:
    """x − y · trunc(x / y), the sign of x; exact while the quotient is below 2^29."""
    rest = m.keep(x - y * m.truncate(x / y))
    endless = m.both(m.equal(m.absolute(y), m.const(x, INFINITY)), m.absolute(x) < m.const(x, INFINITY))
    return m.select(endless, x, m.copy_sign(rest, x))


def modulo(m: Numeric, x: Any, y: Any) -> Any:
    """The remainder with the sign of y."""
    zero = m.const(x, 0.0)
    rest = m.keep(remainder(m, x, y))
    other_sign = m.either(m.both(rest < zero, zero < y), m.both(zero < rest, y < zero))
    found = m.keep(m.select(other_sign, rest + y, rest))
    return m.select(m.equal(found, zero), m.copy_sign(found, y), found)


ELEMENTARY: dict[str, Callable[..., Any]] = {
    "log": log,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "asin": asin,
    "acos": acos,
    "atan": atan,
    "sinh": sinh,
    "cosh": cosh,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
    "softplus": softplus,
    "log_one_plus": _log_one_plus,
    "pow": power,
    "float_mod": modulo,
    "float_rem": remainder,
}
WIDE = {"tanh": tanh, "erf": erf}  # float64's own; float32 has faster ones in `ir.formulas`
