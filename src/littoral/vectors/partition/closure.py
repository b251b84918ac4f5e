"""Copies of points near a border, so that a query on one side finds what lies on the other.

After SPANN (arXiv 2111.08566): a point is copied to every cell whose border it is near enough to, nearest first, at
most eight. SPANN goes by the ratio of distances, here it is the distance to the border itself, which is what decides
whether a query's neighbours lie beyond it.
"""

import msgspec
import numpy as np

from littoral.errors import InputError
from littoral.vectors.partition.cells import CHUNK_ROWS, Cells
from littoral.vectors.partition.grid import Whole
from littoral.vectors.partition.points import Ints, Points, Vectors

__all__ = ["COPIES_MAX", "Closure", "fit_closure", "placed", "settled", "to_borders"]

COPIES_MAX = 8


class Closure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """reach: how near to a border points are copied over it, on the grid; 0 = none. copies: at most, of a point."""

    reach: float = 0.0
    copies: int = COPIES_MAX

    def __post_init__(self) -> None:
        if not 0 <= self.copies <= COPIES_MAX or not self.reach >= 0.0:
            raise InputError(
                f"closure: {self.copies} copies within {self.reach}, must be 0..{COPIES_MAX} and not below 0"
            )


def to_borders(cells: Cells, costs: Whole) -> tuple[Ints, Whole]:
    """Homes int64[n], and float64[n, cells]: how far each point is from the border to that cell; home: ∞."""
    home = costs.argmin(axis=1)
    rows = np.arange(len(costs))
    beyond = costs - costs[rows, home][:, None]
    apart = cells.apart[home]
    far = np.where(apart > 0.0, beyond / (2 * np.where(apart > 0.0, apart, 1.0)), np.inf)
    far[rows, home] = np.inf
    return home, far


def placed(cells: Cells, closure: Closure, vectors: Vectors) -> tuple[Ints, Ints, Ints]:
    """Cells of points: homes int64[n], rows that are copied, and the cells of those copies."""
    homes, rows, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for at in range(0, len(vectors), CHUNK_ROWS):
        home, far = to_borders(cells, cells.costs(vectors[at : at + CHUNK_ROWS]))
        row, other = _copied(far, closure)
        homes.append(home)
        rows.append(row + at)
        others.append(other)
    return np.concatenate(homes), np.concatenate(rows), np.concatenate(others)


def settled(cells: Cells, closure: Closure, points: Points) -> tuple[Ints, Ints, Ints]:
    """As `placed`; points without a vector go by their ids, and lie nowhere else. Raises InputError."""
    vectors = points.need_vectors(cells.size)
    if points.has_vector is None:
        return placed(cells, closure, vectors)
    there, home = np.flatnonzero(points.has_vector), cells.dealt(points.ids)
    home[there], rows, others = placed(cells, closure, vectors[there])
    return home, there[rows], others


def _copied(far: Whole, closure: Closure) -> tuple[Ints, Ints]:
    if closure.reach <= 0.0 or not closure.copies:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(far, axis=1, kind="stable")[:, : closure.copies]
    near = np.take_along_axis(far, order, axis=1) < closure.reach
    rows, places = np.nonzero(near)
    return rows, order[rows, places]


def fit_closure(cells: Cells, vectors: Vectors, *, replication: float, copies: int = COPIES_MAX) -> Closure:
    """The longest reach with which these vectors lie in `replication` places at most, in the mean."""
    if replication < 1.0:
        raise InputError(f"closure: replication is {replication}, must be at least 1")
    most = int((replication - 1.0) * len(vectors))
    if not most or cells.count == 1:
        return Closure(0.0, copies)
    kept = min(copies, cells.count - 1)
    nearest = [np.zeros((0, kept))]
    for at in range(0, len(vectors), CHUNK_ROWS):
        _, far = to_borders(cells, cells.costs(vectors[at : at + CHUNK_ROWS]))
        nearest.append(np.sort(far, axis=1)[:, :kept])
    flat = np.concatenate(nearest).ravel()
    if most >= flat.size:
        return Closure(float(np.nextafter(flat[np.isfinite(flat)].max(initial=0.0), np.inf)), copies)
    return Closure(float(max(np.partition(flat, most)[most], 0.0)), copies)
