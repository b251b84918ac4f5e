"""Cells divided and dissolved while others stay as they are, and the few points that have to move for it.

After LIRE (SPFresh, arXiv 2410.14452): when a cell o is divided into a and b, a point of o may belong to a neighbour
now only if o was nearer than both a and b; a point of a neighbour may belong to a or b only if that is nearer than o
was. All others stay. Here "nearer" is the cost with its price, and copies near borders are looked at in the same way;
so what moves is exactly what differs between placing every point anew before and after (tested).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError
from littoral.vectors.partition.cells import Cells, costs
from littoral.vectors.partition.fitting import two_means
from littoral.vectors.partition.points import Ints, Placement, Points, Vectors
from littoral.vectors.partition.strategy import SHARD_MAX, Hybrid, Metric, Strategy

__all__ = ["Changes", "changes", "dissolve_shard", "divide_cell", "divide_shard"]

SHARD_BITS = SHARD_MAX.bit_length()


class Changes(NamedTuple):
    """Which points come to a shard, and which leave one: pairs of a row and a shard's number, by ascending row.

    looked_at: how many points had to be placed anew to find out.
    """

    to_rows: Ints
    to_shards: Ints
    from_rows: Ints
    from_shards: Ints
    looked_at: int


def divide_shard(strategy: Metric, shard: int, new_shard: int, vectors: Vectors, *, seed: int) -> Metric:
    """The shard's cell becomes two; the new shard gets one of them. vectors: of the points at home in the shard.

    Raises InputError for a shard that is not there, and where the points do not differ.
    """
    cell = _place_of(strategy.shards, shard)
    cells = _divided(strategy.cells, cell, vectors, seed)
    return Metric(cells, strategy.closure, (*strategy.shards, new_shard))


def divide_cell(strategy: Hybrid, cell: int, new_shards: Sequence[int], vectors: Vectors, *, seed: int) -> Hybrid:
    """The cell becomes two; one keeps its shards, the other gets `new_shards`. vectors: of the points of the cell."""
    if not 0 <= cell < strategy.cells.count:
        raise InputError(f"hybrid partition: cell {cell}, has {strategy.cells.count}")
    cells = _divided(strategy.cells, cell, vectors, seed)
    return Hybrid(cells, strategy.closure, (*strategy.shards_by_cell, tuple(new_shards)))


def dissolve_shard(strategy: Metric, shard: int) -> Metric:
    """One shard less: its points go to the neighbours. Raises InputError for the last one."""
    cell = _place_of(strategy.shards, shard)
    if strategy.cells.count == 1:
        raise InputError(f"metric partition: shard {shard} is the last one")
    return Metric(strategy.cells.without(cell), strategy.closure, tuple(s for s in strategy.shards if s != shard))


def _place_of(shards: Sequence[int], shard: int) -> int:
    if shard not in shards:
        raise InputError(f"partition: has no shard {shard}")
    return shards.index(shard)


def _divided(cells: Cells, cell: int, vectors: Vectors, seed: int) -> Cells:
    if vectors.ndim != 2 or vectors.shape[1] != cells.size:
        raise InputError(f"cell to divide: vectors are {list(vectors.shape)}, expected [n, {cells.size}]")
    whole = cells.grid.whole(vectors)
    if len(whole) < 2 or (whole == whole[0]).all():
        raise InputError(
            f"cell to divide: its {len(whole)} points do not differ", hint="spread the cell over several shards by id"
        )
    return cells.split(cell, *two_means(whole, seed))


def changes(before: Strategy, after: Strategy, points: Points) -> Changes:
    """What moves when `after` takes over from `before`. points: some or all of the collection's, each once.

    Each holder of a shard asks for the points at home in it: so every point is asked for once, by who has it.
    """
    rows = _doubtful(before, after, points)
    asked = points.take(rows)
    was, is_now = before.place(asked), after.place(asked)
    old, new = (_pairs(placement) for placement in (was, is_now))
    to, off = np.setdiff1d(new, old), np.setdiff1d(old, new)
    return Changes(rows[to >> SHARD_BITS], to & SHARD_MAX, rows[off >> SHARD_BITS], off & SHARD_MAX, len(rows))


def _pairs(placement: Placement) -> Ints:
    """A number for each row and shard; ascending by row."""
    rows, shards = placement.pairs()
    return np.unique((rows << SHARD_BITS) | shards)


def _doubtful(before: Strategy, after: Strategy, points: Points) -> Ints:
    """Rows whose shards may differ; all of them where nothing is known of how the two differ."""
    everyone = np.arange(len(points.ids))
    if not isinstance(before, Metric | Hybrid) or type(after) is not type(before) or after.closure != before.closure:
        return everyone
    if after.cells.grid != before.cells.grid or after.cells.size != before.cells.size:
        return everyone
    old, new = (_named_cells(strategy) for strategy in (before, after))
    gone = [place for name, place in old.items() if name not in new]
    come = [place for name, place in new.items() if name not in old]
    whole = before.cells.grid.whole(points.need_vectors(before.cells.size))
    home = before.cells.nearest(points.vectors) if points.vectors is not None else everyone
    reach = before.closure.reach if before.closure.copies else 0.0
    return np.flatnonzero(
        _is_near(whole, before.cells, home, before.cells, gone, reach)
        | _is_near(whole, before.cells, home, after.cells, come, reach)
    )


def _named_cells(strategy: Metric | Hybrid) -> dict[tuple[bytes, int, tuple[int, ...]], int]:
    """Places of cells by all that says what they are: centre, price, shards."""
    shards = strategy.shards_by_cell if isinstance(strategy, Hybrid) else tuple((s,) for s in strategy.shards)
    cells = strategy.cells
    return {(cells.whole[place].tobytes(), cells.prices[place], shards[place]): place for place in range(cells.count)}


def _is_near(
    whole: npt.NDArray[np.float64], own: Cells, home: Ints, cells: Cells, among: Sequence[int], reach: float
) -> npt.NDArray[np.bool_]:
    """Whether one of those cells is the home, nearer than the home, or within reach of the border to it."""
    found = np.zeros(len(whole), bool)
    own_costs = _own_costs(whole, own, home)
    for place in among:
        centre = cells.whole[place]
        beyond = costs(whole, centre[None, :])[:, 0] + cells.prices[place] - own_costs
        squares = ((own.whole - centre) ** 2).sum(axis=1)
        found |= beyond <= 2 * np.sqrt(squares)[home] * reach
    return found


def _own_costs(whole: npt.NDArray[np.float64], cells: Cells, home: Ints) -> npt.NDArray[np.float64]:
    """The cost of each point's home."""
    found = np.zeros(len(whole))
    prices = np.array(cells.prices, np.float64)
    for cell in np.unique(home).tolist():
        rows = home == cell
        found[rows] = costs(whole[rows], cells.whole[cell : cell + 1])[:, 0] + prices[cell]
    return found
