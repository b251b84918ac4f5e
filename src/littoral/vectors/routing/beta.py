"""The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes §6.4; DLMF 8.17.22)."""

import math

__all__ = ["beta_share"]

STEPS_MAX = 10_000
PRECISION = 1e-15
TINY = 1e-300


def beta_share(x: float, a: float, b: float) -> float:
    """I_x(a, b): the share of a beta distribution of a > 0 and b > 0 that lies below x; within about 1e−12."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x > (a + 1) / (a + b + 2):
        return 1 - math.exp(logs) * _fraction(1 - x, b, a) / b
    return math.exp(logs) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """It takes about √max(a, b) steps."""
    numerator, denominator = 1.0, _away_from_zero(1 - (a + b) * x / (a + 1))
    denominator = 1 / denominator
    value = denominator
    for step in range(1, STEPS_MAX):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            denominator = 1 / _away_from_zero(1 + term * denominator)
            numerator = _away_from_zero(1 + term / numerator)
            value *= denominator * numerator
        if abs(denominator * numerator - 1) < PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return TINY if abs(value) < TINY else value
