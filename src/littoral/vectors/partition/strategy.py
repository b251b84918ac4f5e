"""Four ways to spread a collection over shards, as data: a part of the shard map that every node has alike.

| strategy | a point's shard follows from |
|---|---|
| hash | its id |
| geographic | where it comes from, then the strategy of that region |
| metric | its vector: points near to each other lie together; without a vector, its id |
| hybrid | its vector, then its id, or its vector again, among the shards of that cell |

A strategy is a value. What changes it (`splitting`, `fit_…`) makes another one, under a new epoch of the shard map.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain

import msgspec
import numpy as np

from littoral.errors import InputError
from littoral.vectors.partition.cells import Cells
from littoral.vectors.partition.closure import COPIES_MAX, Closure, fit_closure, settled
from littoral.vectors.partition.fitting import BALANCE_MIN, fit_cells
from littoral.vectors.partition.points import Ints, Placement, Points, Vectors, joined
from littoral.vectors.partition.rendezvous import chosen, keys
from littoral.vectors.records import Distance

__all__ = [
    "FORMAT",
    "SHARD_MAX",
    "Geographic",
    "Hash",
    "Hybrid",
    "Metric",
    "Strategy",
    "decode_strategy",
    "encode_strategy",
    "fit_grouped",
    "fit_hybrid",
    "fit_metric",
    "renumbered",
]

FORMAT = 1
SHARDS_MAX = 4096
DEPTH_MAX = 16
INNER_BALANCE = 1.06
"""What is left of the balance for cells within a group: borders between groups matter more."""

SHARD_MAX = 2**31 - 1


class Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hash"):
    """By id: every shard gets as much, a new one takes its part from all, and nothing else moves.

    names: by which ids are dealt to the shards, in their order; where empty, their numbers.
    """

    shards: tuple[int, ...]
    names: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_shards(self.shards)
        if self.names:
            check_shards(self.names)
            if len(self.names) != len(self.shards):
                raise InputError(f"hash partition: {len(self.names)} names for {len(self.shards)} shards")

    @property
    def by_id(self) -> bool:
        """Whether the shards of a point follow from its id alone."""
        return True

    @property
    def by_vector(self) -> bool:
        """Whether they follow from its vector too."""
        return False

    @property
    def has_copies(self) -> bool:
        """Whether a point may lie in several shards."""
        return False

    def place(self, points: Points) -> Placement:
        """Shards of points."""
        if not self.names:
            return _without_copies(chosen(keys(points.ids), self.shards))
        order = np.argsort(np.array(self.names))
        named = np.array(self.names)[order]
        found = np.searchsorted(named, chosen(keys(points.ids), self.names))
        return _without_copies(np.array(self.shards, np.int64)[order[found]])


class _InCells(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By vector to a cell, with copies near borders."""

    cells: Cells
    closure: Closure

    @property
    def by_id(self) -> bool:
        """Whether the shards of a point follow from its id alone."""
        return False

    @property
    def by_vector(self) -> bool:
        """Whether they follow from its vector too."""
        return True

    @property
    def has_copies(self) -> bool:
        """Whether a point may lie in several shards."""
        return self.closure.reach > 0.0 and self.closure.copies > 0


class Metric(_InCells, frozen=True, forbid_unknown_fields=True, tag="metric"):
    """A shard for each cell. Made by `fit_metric`."""

    shards: tuple[int, ...]

    def __post_init__(self) -> None:
        check_shards(self.shards)
        if len(self.shards) != self.cells.count:
            raise InputError(f"metric partition: {len(self.shards)} shards for {self.cells.count} cells")

    def place(self, points: Points) -> Placement:
        """Shards of points. Raises InputError for vectors of another size."""
        home, rows, copies = settled(self.cells, self.closure, points)
        shards = np.array(self.shards, np.int64)
        return Placement(shards[home], rows, shards[copies])


class Hybrid(_InCells, frozen=True, forbid_unknown_fields=True, tag="hybrid", dict=True):
    """By vector to a cell, and within the cell by id or by a finer cell.

    By id (`fit_hybrid`) its shards are small and even. By finer cells (`fit_grouped`) the outer ones are what the nodes
    hold: copies lie at borders between nodes, where they save asking one, and not at those within a node. A cell that
    was divided is a part of its own, so that no border of another moved.
    """

    parts: "tuple[Hash | Metric | Hybrid, ...]"

    def __post_init__(self) -> None:
        check_shards(self.shards)
        if len(self.parts) != self.cells.count:
            raise InputError(f"hybrid partition: shards for {len(self.parts)} of {self.cells.count} cells")
        if any(not isinstance(part, Hash) and part.closure.reach for part in self.parts):
            raise InputError("hybrid partition: copies are of the outer cells, a part has none of its own")
        if self.depth > DEPTH_MAX:
            raise InputError(f"hybrid partition: cells within cells are {self.depth} deep, at most {DEPTH_MAX}")

    @cached_property
    def depth(self) -> int:
        """Of cells within cells."""
        return 1 + max(part.depth if isinstance(part, Hybrid) else 0 for part in self.parts)

    @cached_property
    def shards(self) -> tuple[int, ...]:
        return tuple(chain.from_iterable(part.shards for part in self.parts))

    def place(self, points: Points) -> Placement:
        """Shards of points. Raises InputError for vectors of another size."""
        home, rows, copies = settled(self.cells, self.closure, points)
        return Placement(self._within(home, points), rows, self._within(copies, points.take(rows)))

    def _within(self, cells: Ints, points: Points) -> Ints:
        found = np.zeros(len(cells), np.int64)
        for cell in np.unique(cells).tolist():
            rows = np.flatnonzero(cells == cell)
            found[rows] = self.parts[cell].place(points.take(rows)).home
        return found


class Geographic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="geographic", dict=True):
    """By region of origin, each spread in its own way.

    pinned: regions whose points, and shards, never leave them. elsewhere: the region of points from one that is not
    here; without it they are refused. key: of the payload, which names a point's region; None = the region of the node
    that takes the write.
    """

    regions: dict[str, Hash | Metric | Hybrid]
    pinned: tuple[str, ...] = ()
    elsewhere: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        check_shards(self.shards)
        named = (*self.pinned, *(() if self.elsewhere is None else (self.elsewhere,)))
        if unknown := sorted(set(named) - set(self.regions)):
            raise InputError(f"geographic partition: region `{unknown[0]}` has no shards")
        if self.elsewhere in self.pinned:
            raise InputError(
                f"geographic partition: region `{self.elsewhere}` is pinned and takes points from elsewhere"
            )

    @cached_property
    def shards(self) -> tuple[int, ...]:
        return tuple(chain.from_iterable(part.shards for part in self.regions.values()))

    @property
    def by_id(self) -> bool:
        """Whether the shards of a point follow from its id alone."""
        return False

    @property
    def by_vector(self) -> bool:
        """Whether they follow from its vector too."""
        return any(part.by_vector for part in self.regions.values())

    @property
    def has_copies(self) -> bool:
        """Whether a point may lie in several shards."""
        return any(part.has_copies for part in self.regions.values())

    @cached_property
    def pinned_shards(self) -> dict[int, str]:
        """Shards that may only lie on nodes of a region, and which."""
        return {shard: region for region in self.pinned for shard in self.regions[region].shards}

    def place(self, points: Points) -> Placement:
        """Shards of points. Raises InputError for a region that has none."""
        rows: dict[str, list[int]] = {}
        for row, region in enumerate(points.need_regions()):
            rows.setdefault(self._known(region), []).append(row)
        parts = [(np.array(found, np.int64), self.regions[region]) for region, found in rows.items()]
        return joined(len(points.ids), [(found, part.place(points.take(found))) for found, part in parts])

    def _known(self, region: str) -> str:
        if region in self.regions:
            return region
        if self.elsewhere is None:
            raise InputError(
                f"point from region `{region}`: the collection has {', '.join(f'`{name}`' for name in self.regions)}",
                hint="name a region for points from `elsewhere`",
            )
        return self.elsewhere


Strategy = Hash | Geographic | Metric | Hybrid


def renumbered(strategy: Strategy, numbers: Mapping[int, int]) -> Strategy:
    """The same, with other shards in the place of some: to each belong the points that belonged to its predecessor."""
    if isinstance(strategy, Geographic):
        regions = {region: _renumbered(part, numbers) for region, part in strategy.regions.items()}
        return msgspec.structs.replace(strategy, regions=regions)
    return _renumbered(strategy, numbers)


def _renumbered(strategy: Hash | Metric | Hybrid, numbers: Mapping[int, int]) -> Hash | Metric | Hybrid:
    if isinstance(strategy, Hybrid):
        parts = tuple(_renumbered(part, numbers) for part in strategy.parts)
        return Hybrid(strategy.cells, strategy.closure, parts)
    shards = tuple(numbers.get(shard, shard) for shard in strategy.shards)
    if isinstance(strategy, Metric):
        return Metric(strategy.cells, strategy.closure, shards)
    return Hash(shards, strategy.names or strategy.shards)


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    strategy: Strategy


def encode_strategy(strategy: Strategy) -> bytes:
    """As bytes for the shard map: equal strategies have equal bytes."""
    return msgspec.msgpack.encode(_Written(FORMAT, strategy), order="deterministic")


def decode_strategy(data: bytes) -> Strategy:
    """Raises InputError for what is no strategy, or one of a version to come."""
    try:
        written = msgspec.msgpack.decode(data, type=_Written)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"partition strategy: {error!s:.200}") from error
    if written.format != FORMAT:
        raise InputError(
            f"partition strategy: format is {written.format}, this version reads {FORMAT}", hint="update this node"
        )
    return written.strategy


def fit_metric(
    vectors: Vectors,
    *,
    distance: Distance,
    shards: Sequence[int],
    seed: int,
    balance: float = 1.25,
    replication: float = 1.3,
    copies: int = COPIES_MAX,
) -> Metric:
    """A shard for each of as many balanced cells of these vectors, with copies near borders.

    vectors: float32[n, d], a fair sample of what will come. balance: the fullest shard against the mean, copies not
    counted. replication: places a point lies in, in the mean. Raises InputError for other distances than Cosine and
    Euclid, and for fewer vectors than shards.
    """
    cells = fit_cells(vectors, distance=distance, shares=[1] * len(shards), seed=seed, balance=balance)
    return Metric(cells, fit_closure(cells, vectors, replication=replication, copies=copies), tuple(shards))


def fit_hybrid(
    vectors: Vectors,
    *,
    distance: Distance,
    shards_by_cell: Sequence[Sequence[int]],
    seed: int,
    balance: float = 1.25,
    replication: float = 1.3,
    copies: int = COPIES_MAX,
) -> Hybrid:
    """As `fit_metric`, with several shards for each cell, to which its points go by id."""
    shares = [len(shards) for shards in shards_by_cell]
    cells = fit_cells(vectors, distance=distance, shares=shares, seed=seed, balance=balance)
    closure = fit_closure(cells, vectors, replication=replication, copies=copies)
    return Hybrid(cells, closure, tuple(Hash(tuple(shards)) for shards in shards_by_cell))


def fit_grouped(
    vectors: Vectors,
    *,
    distance: Distance,
    shards_by_group: Sequence[Sequence[int]],
    seed: int,
    balance: float = 1.25,
    replication: float = 1.3,
    copies: int = COPIES_MAX,
) -> Hybrid:
    """As `fit_metric`, for shards of which each group will lie on one node: copies only at borders between groups.

    No shard has more than `balance` times the mean of all, copies not counted. A group that has fewer of these vectors
    than shards goes by id. Raises InputError.
    """
    shares = [len(shards) for shards in shards_by_group]
    outer = max(math.sqrt(balance), balance / INNER_BALANCE)
    cells = fit_cells(vectors, distance=distance, shares=shares, seed=seed, balance=outer)
    closure = fit_closure(cells, vectors, replication=replication, copies=copies)
    home, mean = cells.nearest(vectors), len(vectors) / sum(shares)
    parts: list[Hash | Metric | Hybrid] = []
    for group, shards in enumerate(map(tuple, shards_by_group)):
        own = vectors[home == group]
        if len(own) < len(shards):
            parts.append(Hash(shards))
            continue
        within = max(BALANCE_MIN, balance * mean * len(shards) / len(own))
        inner = fit_cells(own, distance=distance, shares=[1] * len(shards), seed=seed, balance=within, tries=1)
        parts.append(Metric(inner, Closure(), shards))
    return Hybrid(cells, closure, tuple(parts))


def check_shards(shards: Sequence[int]) -> None:
    """At least one, each once. Raises InputError."""
    if not 1 <= len(shards) <= SHARDS_MAX:
        raise InputError(f"partition: {len(shards)} shards, must be 1..{SHARDS_MAX}")
    if len(set(shards)) != len(shards) or not 0 <= min(shards) <= max(shards) <= SHARD_MAX:
        raise InputError(f"partition: a shard is named twice, or by a number that is not 0..{SHARD_MAX}")


def _without_copies(home: Ints) -> Placement:
    return Placement(home, np.zeros(0, np.int64), np.zeros(0, np.int64))
