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
from littoral.vectors.partition.closure import Closure, settled
from littoral.vectors.partition.fitting import fit_cells, two_means
from littoral.vectors.partition.points import Ints, Placement, Points, Vectors
from littoral.vectors.partition.strategy import SHARD_MAX, Geographic, Hash, Hybrid, Metric, Strategy

__all__ = ["Changes", "changes", "dissolve_shard", "divide_cell", "divide_shard", "nested", "unchanged"]

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


def divide_shard(
    strategy: Metric | Hybrid, shard: int, new_shard: int, vectors: Vectors, *, seed: int
) -> Metric | Hybrid:
    """The shard's cell becomes two; the new shard gets one of them. vectors: of the points at home in the shard.

    Raises InputError for a shard that is not there or has no cell of its own, and where the points do not differ.
    """
    if isinstance(strategy, Hybrid):
        at, part = _part_of(strategy, shard)
        return _with_part(strategy, at, divide_shard(part, shard, new_shard, vectors, seed=seed))
    return _with_one_more(strategy, shard, new_shard, vectors, seed)


def nested(strategy: Metric | Hybrid, shard: int, vectors: Vectors) -> Hybrid:
    """The same, with a cell of cells for this shard: dividing it then moves no other border.

    vectors: of the points at home in it. Raises InputError for a shard that has no cell of its own.
    """
    if isinstance(strategy, Hybrid) and (at := _index_of(strategy, shard)) is not None:
        part = strategy.parts[at]
        if not isinstance(part, Hash):
            return strategy if _is_alone(part, shard) else _with_part(strategy, at, nested(part, shard, vectors))
        if part.shards == (shard,):
            distance = strategy.cells.distance
            cells = fit_cells(vectors, distance=distance, shares=[1], seed=0, balance=2.0)
            return _with_part(strategy, at, Metric(cells, Closure(), (shard,)))
    if isinstance(strategy, Metric):
        _place_of(strategy.shards, shard)
        parts = tuple(Hash((one,)) for one in strategy.shards)
        return nested(Hybrid(strategy.cells, strategy.closure, parts), shard, vectors)
    raise InputError(f"hybrid partition: has no cell for shard {shard} alone")


def _is_alone(part: Metric | Hybrid, shard: int) -> bool:
    return isinstance(part, Metric) and part.shards == (shard,)


def unchanged(before: Strategy, after: Strategy) -> set[int]:
    """Shards to which the same points belong by both, as far as their cells tell."""
    was, is_now = _regions(before), _regions(after)
    return {shard for shard, region in was.items() if is_now.get(shard) == region}


Region = tuple[object, ...]
"""The cells that a shard lies in, from the outermost to its own."""


def _regions(strategy: Strategy, within: Region = ()) -> dict[int, Region]:
    match strategy:
        case Geographic():
            parts = [(part, (*within, region)) for region, part in strategy.regions.items()]
        case Metric():
            return {shard: (*within, strategy.cells, strategy.closure, at) for at, shard in enumerate(strategy.shards)}
        case Hybrid():
            parts = [(part, (*within, strategy.cells, strategy.closure, at)) for at, part in enumerate(strategy.parts)]
        case Hash(shards=(shard,)):
            return {shard: within}
        case Hash():
            return {shard: (*within, strategy.names or strategy.shards, at) for at, shard in enumerate(strategy.shards)}
    return {shard: region for part, inner in parts for shard, region in _regions(part, inner).items()}


def _with_one_more(strategy: Metric, shard: int, new_shard: int, vectors: Vectors, seed: int) -> Metric:
    cells = _divided(strategy.cells, _place_of(strategy.shards, shard), vectors, seed)
    return Metric(cells, strategy.closure, (*strategy.shards, new_shard))


def divide_cell(strategy: Hybrid, cell: int, new_shards: Sequence[int], vectors: Vectors, *, seed: int) -> Hybrid:
    """A cell whose points go by id becomes two; one keeps its shards, the other gets `new_shards`.

    vectors: of the points of the cell. Raises InputError.
    """
    if not 0 <= cell < strategy.cells.count or not isinstance(strategy.parts[cell], Hash):
        raise InputError(f"hybrid partition: {cell} is none of {strategy.cells.count} cells that go by id")
    cells = _divided(strategy.cells, cell, vectors, seed)
    return Hybrid(cells, strategy.closure, (*strategy.parts, Hash(tuple(new_shards))))


def dissolve_shard(strategy: Metric | Hybrid, shard: int) -> Metric | Hybrid:
    """One shard less: its points go to the neighbours. Raises InputError for the last one of a collection or group."""
    if isinstance(strategy, Metric):
        return _with_one_less(strategy, shard)
    at = _index_of(strategy, shard)
    if at is None or strategy.parts[at].shards != (shard,):
        at, part = _part_of(strategy, shard)
        return _with_part(strategy, at, dissolve_shard(part, shard))
    if len(strategy.parts) == 1:
        raise InputError(f"hybrid partition: shard {shard} is the last one")
    parts = (*strategy.parts[:at], *strategy.parts[at + 1 :])
    return Hybrid(strategy.cells.without(at), strategy.closure, parts)


def _with_one_less(strategy: Metric, shard: int) -> Metric:
    cell = _place_of(strategy.shards, shard)
    if strategy.cells.count == 1:
        raise InputError(f"metric partition: shard {shard} is the last one")
    return Metric(strategy.cells.without(cell), strategy.closure, tuple(s for s in strategy.shards if s != shard))


def _part_of(strategy: Hybrid, shard: int) -> tuple[int, Metric | Hybrid]:
    """The outer cell that has the shard in a finer one."""
    at = _index_of(strategy, shard)
    if at is None or isinstance(part := strategy.parts[at], Hash):
        raise InputError(f"hybrid partition: has no cell for shard {shard} alone")
    return at, part


def _index_of(strategy: Hybrid, shard: int) -> int | None:
    return next((at for at, part in enumerate(strategy.parts) if shard in part.shards), None)


def _with_part(strategy: Hybrid, at: int, part: Metric | Hybrid) -> Hybrid:
    parts = (*strategy.parts[:at], part, *strategy.parts[at + 1 :])
    return Hybrid(strategy.cells, strategy.closure, parts)


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
    if isinstance(before, Metric) and isinstance(after, Metric):
        found = _at_changed_cells(before, after, points, _by_shard(before), _by_shard(after))
    elif isinstance(before, Hybrid) and isinstance(after, Hybrid):
        found = _at_changed_cells(before, after, points, _by_centre(before), _by_centre(after))
        if found is not None:
            _add_changed_parts(before, after, points, found)
    else:
        found = None
    if found is None:
        return np.arange(len(points.ids))
    return np.flatnonzero(found if points.has_vector is None else found | ~points.has_vector)


Named = dict[tuple[bytes, int, int], int]
"""Places of cells by what says which they are."""


def _by_shard(strategy: Metric) -> Named:
    cells = strategy.cells
    return {
        (c.tobytes(), p, s): at
        for at, (c, p, s) in enumerate(zip(cells.whole, cells.prices, strategy.shards, strict=True))
    }


def _by_centre(strategy: Hybrid) -> Named:
    cells = strategy.cells
    return {(c.tobytes(), p, 0): at for at, (c, p) in enumerate(zip(cells.whole, cells.prices, strict=True))}


def _at_changed_cells(
    before: Metric | Hybrid, after: Metric | Hybrid, points: Points, old: Named, new: Named
) -> npt.NDArray[np.bool_] | None:
    """Points in, or in reach of, a cell that is gone or has come; None where the two have nothing in common."""
    is_alike = after.cells.grid == before.cells.grid and after.cells.size == before.cells.size
    if not is_alike or after.closure != before.closure:
        return None
    vectors = points.need_vectors(before.cells.size)
    gone = [at for name, at in old.items() if name not in new]
    come = [at for name, at in new.items() if name not in old]
    whole, home = before.cells.grid.whole(vectors), before.cells.nearest(vectors)
    reach = before.closure.reach if before.closure.copies else 0.0
    near_gone = _is_near(whole, before.cells, home, before.cells, gone, reach)
    return near_gone | _is_near(whole, before.cells, home, after.cells, come, reach)


def _add_changed_parts(before: Hybrid, after: Hybrid, points: Points, found: npt.NDArray[np.bool_]) -> None:
    """Points that lie in a cell that is still there, but divides them otherwise."""
    home, rows, others = settled(before.cells, before.closure, points)
    kept = _by_centre(after)
    for name, at in _by_centre(before).items():
        if name in kept and before.parts[at] != after.parts[kept[name]]:
            within = np.union1d(np.flatnonzero(home == at), rows[others == at])
            found[within[_doubtful(before.parts[at], after.parts[kept[name]], points.take(within))]] = True


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
