"""Cells of a space: a point lies in that whose centre is nearest, where crowded cells are made to seem farther away.

The cost of a cell for a point x is ‖x − c‖² + w, w ≥ 0 being the price of the cell: with prices all zero these are the
cells of k-means, and raising the price of a cell moves its borders inwards, in parallel (a power diagram). So balanced
cells are still a function of the vector alone. Borders are straight, and how far a point is from one is known exactly.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.partition.grid import Grid, Whole
from littoral.vectors.partition.points import Ints, Vectors
from littoral.vectors.partition.rendezvous import chosen, keys
from littoral.vectors.records import VECTOR_SIZE_MAX, Distance, PointId

__all__ = ["CHUNK_ROWS", "Cells", "cells_of", "costs"]

CHUNK_ROWS = 8192
CELLS_MAX = 4096
FLOAT_BYTES = 4
NAME_BYTES = 7


class Cells(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Centres and prices of cells, by their places 0 … n − 1.

    centroids: float32[n, size], little-endian; means, so within the unit ball for Cosine. prices: whole numbers, on the
    square of the grid; `price_units` has them as squared distances.
    """

    distance: Distance
    size: int
    bits: int
    shift: int
    centroids: bytes
    prices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.size <= VECTOR_SIZE_MAX or not 1 <= len(self.prices) <= CELLS_MAX:
            raise InputError(f"cells: {len(self.prices)} of size {self.size}, at most {CELLS_MAX} of {VECTOR_SIZE_MAX}")
        if len(self.centroids) != (wanted := len(self.prices) * self.size * FLOAT_BYTES):
            raise InputError(f"cells: centroids have {len(self.centroids)} bytes, expected {wanted}")

    @property
    def count(self) -> int:
        return len(self.prices)

    @property
    def grid(self) -> Grid:
        return Grid(self.distance == "Cosine", self.bits, self.shift)

    @cached_property
    def centres(self) -> Vectors:
        """float32[n, size]: of directions for Cosine."""
        found = np.frombuffer(self.centroids, "<f4").reshape(self.count, self.size)
        return found.astype(np.float32)

    @property
    def price_units(self) -> npt.NDArray[np.float64]:
        """float64[n]: what is added to the squared distance of each cell."""
        found: npt.NDArray[np.float64] = np.ldexp(np.array(self.prices, np.float64), -2 * self.shift)
        return found

    @cached_property
    def whole(self) -> Whole:
        """The centres on the grid."""
        found: Whole = np.ldexp(self.centres.astype(np.float64), self.shift)
        return found

    @cached_property
    def apart(self) -> npt.NDArray[np.float64]:
        """float64[n, n]: distances between centres, on the grid."""
        squares = (self.whole * self.whole).sum(axis=1)
        square = squares[:, None] + squares[None, :] - 2 * (self.whole @ self.whole.T)
        found: npt.NDArray[np.float64] = np.sqrt(np.maximum(square, 0.0))
        return found

    def costs(self, vectors: Vectors) -> Whole:
        """float64[n, cells]: ‖x − c‖² − ‖x‖² + w for each, whole numbers, on the square of the grid; exact."""
        found: Whole = costs(self.grid.whole(vectors), self.whole) + np.array(self.prices, np.float64)
        return found

    def nearest(self, vectors: Vectors) -> Ints:
        """int64[n]: the cell of each; of equal ones the first."""
        found = [self.costs(vectors[at : at + CHUNK_ROWS]).argmin(axis=1) for at in range(0, len(vectors), CHUNK_ROWS)]
        return np.concatenate(found or [np.zeros(0, np.int64)])

    @cached_property
    def first_name(self) -> int:
        """Cells have numbers from here on, by which ids are dealt to them: others for cells within these."""
        return int.from_bytes(hashlib.blake2b(self.centroids, digest_size=NAME_BYTES).digest(), "little")

    def dealt(self, ids: Sequence[PointId]) -> Ints:
        """int64[n]: a cell for each id, as many to each: for points that have no vector."""
        found: Ints = chosen(keys(ids), range(self.first_name, self.first_name + self.count)) - self.first_name
        return found

    def without(self, cell: int) -> "Cells":
        """One less; those behind it move up by one."""
        rest = [at for at in range(self.count) if at != cell]
        return cells_of(self.distance, self.grid, self.whole[rest], [self.prices[at] for at in rest])

    def split(self, cell: int, halves: Whole, prices: Whole) -> "Cells":
        """halves: float64[2, size], on the grid; prices: of each, beside that of the cell.

        The first takes the place of the cell, the second comes last.
        """
        own = self.prices[cell]
        found = [*self.prices, own + int(prices[1])]
        found[cell] = own + int(prices[0])
        centres = np.concatenate((self.whole, halves[1:]))
        centres[cell] = halves[0]
        return cells_of(self.distance, self.grid, centres, found)


def costs(whole: Whole, centres: Whole) -> Whole:
    """float64[n, cells]: squared distances less the point's own square."""
    found: Whole = (centres * centres).sum(axis=1)[None, :] - 2 * (whole @ centres.T)
    return found


def cells_of(distance: Distance, grid: Grid, centres: Whole, prices: Sequence[int]) -> Cells:
    """centres: whole numbers, on the grid."""
    raw = grid.real(centres).astype("<f4").tobytes()
    return Cells(distance, centres.shape[1], grid.bits, grid.shift, raw, tuple(map(int, prices)))
