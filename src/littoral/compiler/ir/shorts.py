"""Whole numbers of 16 bits that stand for float32: how large they may be where their products are summed in 32 bits.

A set of numbers has one scale, its largest magnitude over the limit. Numbers smaller than `LEAST` count as that; where
one is not finite, the scale is a NaN.
"""

import math
from typing import Any

import numpy as np

from littoral.tensors import Array

__all__ = [
    "LEAST",
    "LOG2_E",
    "POWERS",
    "POWER_LEAST",
    "SHARE",
    "SHORT_DEPTH",
    "in_shorts",
    "products_limit",
    "shares_chunk",
    "shares_of",
    "values_limit",
]

LEAST = 2.0**-100
SHARE = 32767  # of 1
POWERS = tuple(
    SHARE * c for c in (1.0, 0.6931241932597006, 0.24024098615742273, 0.055906425942406315, 0.009582853235503105)
)
"""`SHARE` · 2^f for |f| ≤ 1/2 within a tenth of 1, exact at 0: coefficients of f^0, f^1 …"""
POWER_LEAST = -17.0  # below it a share is 0
LOG2_E = 1.4426950408889634
SHORT_DEPTH = 8  # values that lie together
_SUM_MAX = (1 << 31) - 1
_CHUNK_MAX = 256


def products_limit(depth: int) -> int:
    """Of both sides of a product."""
    return min(SHARE, math.isqrt(_SUM_MAX // max(depth, 1)))


def shares_chunk(keys: int) -> int:
    """Keys whose values are summed as whole numbers; the last chunk may have fewer."""
    count = -(-keys // _CHUNK_MAX)
    return -(-keys // (count * SHORT_DEPTH)) * SHORT_DEPTH


def values_limit(chunk: int) -> int:
    """Of what is multiplied with shares."""
    return min(SHARE, _SUM_MAX // (SHARE * chunk))


def in_shorts(x: Array, axes: tuple[int, ...], limit: int) -> tuple[Array, Array]:
    """Whole numbers, and their scales: float32, one for all elements along the axes."""
    with np.errstate(all="ignore"):
        largest: Any = np.fmax.reduce(np.abs(x), axis=axes, keepdims=True, initial=np.float32(LEAST))
        poison = (x * np.float32(0)).sum(axis=axes, keepdims=True, dtype=np.float32)
        value = x * (np.float32(limit) / largest)
        whole = np.rint(np.where(value > -limit, value, np.float32(-limit)))
        return whole.astype(np.int32), largest * np.float32(1 / limit) + poison


def shares_of(scores: Array, largest: Array) -> Array:
    """int32: e^(score − largest) · `SHARE` to the nearest; 0 for a NaN."""
    with np.errstate(all="ignore"):
        power = (scores - largest) * np.float32(LOG2_E)
        power = np.where(power > POWER_LEAST, power, np.float32(POWER_LEAST))
        whole = np.rint(power)
        rest = power - whole
        total = np.full_like(rest, POWERS[-1])
        for c in reversed(POWERS[:-1]):
            total = total * rest + np.float32(c)
        return np.rint(np.ldexp(total, whole.astype(np.int32))).astype(np.int32)
