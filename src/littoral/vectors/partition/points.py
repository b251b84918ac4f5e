"""What a strategy looks at, and what it answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.records import PointId

__all__ = ["Ints", "Placement", "Points", "Vectors", "joined"]

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Points(NamedTuple):
    """Points to place, in columns.

    vectors: float32[n, d], for strategies that look at them. regions: where each point comes from, for those that look
    at that. has_vector: bool[n], where some have none: their rows of `vectors` count for nothing.
    """

    ids: Sequence[PointId]
    vectors: Vectors | None = None
    regions: Sequence[str] | None = None
    has_vector: npt.NDArray[np.bool_] | None = None

    def take(self, rows: Ints) -> "Points":
        """Only those rows, in that order."""
        return Points(
            [self.ids[row] for row in rows.tolist()],
            None if self.vectors is None else self.vectors[rows],
            None if self.regions is None else [self.regions[row] for row in rows.tolist()],
            None if self.has_vector is None else self.has_vector[rows],
        )

    def need_vectors(self, size: int) -> Vectors:
        """Raises InputError where they are missing or of another size."""
        if self.vectors is None:
            raise InputError("points to place: vectors are missing, the strategy goes by them")
        if self.vectors.shape != (len(self.ids), size):
            raise InputError(
                f"points to place: vectors are {list(self.vectors.shape)}, expected {[len(self.ids), size]}"
            )
        return self.vectors

    def need_regions(self) -> Sequence[str]:
        """Raises InputError where they are missing."""
        if self.regions is None or len(self.regions) != len(self.ids):
            raise InputError(
                f"points to place: {len(self.regions or ())} regions for {len(self.ids)} points",
                hint="a geographic collection needs the region of origin of every point",
            )
        return self.regions


class Placement(NamedTuple):
    """Shards of points, by their numbers.

    home: int64[n], the one shard each point belongs to. copy_rows, copy_shards: int64[c], copies beside that, by
    ascending row; never in the home.
    """

    home: Ints
    copy_rows: Ints
    copy_shards: Ints

    def shards_of(self, row: int) -> list[int]:
        """The home first, then copies, nearest first."""
        first, last = np.searchsorted(self.copy_rows, (row, row + 1)).tolist()
        return [int(self.home[row]), *self.copy_shards[first:last].tolist()]

    def rows_of(self, shard: int) -> Ints:
        """All that lie in a shard, ascending: those at home there, and copies."""
        copied = self.copy_rows[self.copy_shards == shard]
        return np.sort(np.concatenate((np.flatnonzero(self.home == shard), copied)))

    def pairs(self) -> tuple[Ints, Ints]:
        """Rows and shards of every place where a point lies, homes first."""
        rows = np.concatenate((np.arange(len(self.home)), self.copy_rows))
        return rows, np.concatenate((self.home, self.copy_shards))


def joined(count: int, parts: Sequence[tuple[Ints, Placement]]) -> Placement:
    """One placement of `count` points out of those of disjoint rows."""
    home = np.zeros(count, np.int64)
    for rows, part in parts:
        home[rows] = part.home
    copy_rows = np.concatenate([rows[part.copy_rows] for rows, part in parts] or [np.zeros(0, np.int64)])
    copy_shards = np.concatenate([part.copy_shards for _, part in parts] or [np.zeros(0, np.int64)])
    order = np.argsort(copy_rows, kind="stable")
    return Placement(home, copy_rows[order], copy_shards[order])
