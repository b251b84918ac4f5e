"""Vectors as whole numbers, so that every machine computes the same shard for a point.

Sums of products depend on their order in floating point, and the order on the processor. Here each number is rounded to
a whole one, so small that all sums of a distance are exact in float64, in any order. What is rounded away is far below
what a border between shards is worth.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.partition.points import Vectors
from littoral.vectors.records import Distance

__all__ = ["Grid", "Whole", "grid_for"]

Whole = npt.NDArray[np.float64]
"""float64 that hold whole numbers."""

BITS_MAX = 20
SUM_BITS = 50
HEADROOM_BITS = 2
METRICS = frozenset({"Cosine", "Euclid"})


class Grid(NamedTuple):
    """Numbers are multiples of 2^-shift, and at most 2^bits of them."""

    is_direction: bool
    bits: int
    shift: int

    def whole(self, vectors: Vectors) -> Whole:
        """float64[n, d]: whole numbers; of directions for Cosine. Raises InputError for what is not finite."""
        wide = vectors.astype(np.float64)
        if not np.isfinite(wide).all():
            raise InputError("points to place: a vector holds a number that is not finite")
        if self.is_direction:
            wide = _directions(wide, self.bits)
        limit = float(2**self.bits)
        return np.clip(np.rint(np.ldexp(wide, self.shift)), -limit, limit)

    def real(self, whole: Whole) -> Vectors:
        """The vectors that these stand for; exact."""
        return np.ldexp(whole, -self.shift).astype(np.float32)


def grid_for(vectors: Vectors, distance: Distance) -> Grid:
    """Fit for vectors like these: four times as long ones still lie on it, what is longer is cut.

    Raises InputError for distances whose cells have no straight borders.
    """
    if distance not in METRICS:
        raise InputError(
            f"partition by vectors: distance is `{distance}`, must be `Cosine` or `Euclid`",
            hint="spread such a collection by `hash` or `geographic`",
        )
    size = max(1, vectors.shape[1])
    bits = min(BITS_MAX, (SUM_BITS - (size - 1).bit_length()) // 2)
    if distance == "Cosine":
        return Grid(is_direction=True, bits=bits, shift=bits)
    largest = float(np.abs(vectors).max(initial=0.0))
    return Grid(is_direction=False, bits=bits, shift=bits - HEADROOM_BITS - int(np.frexp(largest)[1]))


def _directions(wide: Whole, bits: int) -> Whole:
    """Of length 1, the same on every machine: the length is the root of a sum that is exact."""
    exponents = np.frexp(np.abs(wide).max(axis=1, initial=0.0))[1]
    whole = np.rint(np.ldexp(wide, (bits - exponents)[:, None]))
    lengths = np.sqrt((whole * whole).sum(axis=1))
    found: Whole = whole / np.where(lengths == 0.0, 1.0, lengths)[:, None]
    return found
