"""Where the shards of a new collection lie, and what its strategy knows: from its table and who is there. Pure.

Shards that belong together are a group, and a group lies on the same nodes: the first on nodes 1 and 2, the next on 2
and 3, and so on. So every node holds as much, whatever the number of replicas, and a query that needs one group asks
one node. Copies at borders lie between groups only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from littoral.errors import SettingError
from littoral.mesh.shard_map import Spread
from littoral.mesh.shard_map import Strategy as StrategyName
from littoral.node.federation.placing import cells_of
from littoral.node.mesh_tables import SpreadTable, cells_by
from littoral.vectors.partition.points import Vectors
from littoral.vectors.partition.strategy import (
    Geographic,
    Hash,
    Hybrid,
    Metric,
    encode_strategy,
    fit_grouped,
    fit_hybrid,
)
from littoral.vectors.records import CollectionConfig

__all__ = ["laid_out", "sample_in", "sample_of"]

SEED = 0

Groups = Sequence[Sequence[int]]
Places = dict[int, list[str]]


class _Site(NamedTuple):
    """What every step below needs. sample: vectors like those to come, None where the strategy does not look at any.

    first: number of the first shard.
    """

    name: str
    table: SpreadTable
    config: CollectionConfig
    sample: Vectors | None
    first: int

    @property
    def shards(self) -> list[int]:
        """Their numbers."""
        return list(range(self.first, self.first + self.table.shards))

    @property
    def vector(self) -> str:
        """Name of that which cells are of, or would be."""
        return cells_by(self.table, self.config)

    def spread(self, strategy: StrategyName, places: "Places", parameters: bytes = b"") -> Spread:
        """Its epoch is beyond those of collections of the same name that were deleted."""
        made = Spread(strategy, places, self.table.model, self.first + 1, parameters, vector=self.vector)
        return replace(made, born=self.first)


def laid_out(
    name: str,
    table: SpreadTable,
    config: CollectionConfig,
    regions: Mapping[str, str],
    sample: Vectors | None = None,
    *,
    first: int = 0,
) -> Spread:
    """The spread of a collection that has none, the same everywhere. regions: of each node of the site.

    sample: float32[n, size], for strategies that go by vectors (`sample_of`); a table that names none begins by id. Of
    nothing that is pinned: centres of cells are in the map, which all nodes have. first: number of the first shard.

    Raises SettingError where the table asks for what these nodes cannot do, InputError for vectors that do not fit.
    """
    site = _Site(name, table, config, sample, first)
    if table.strategy == "geographic":
        places, strategy = _by_region(site, regions)
        return site.spread("geographic", places, encode_strategy(strategy))
    nodes = _ordered(name, regions)
    groups = _groups(site.shards, len(nodes), table.replicas)
    places = _dealt(groups, nodes, table.replicas)
    if table.strategy == "hash" or (table.begins_by_id and sample is None):
        return site.spread("hash", places)
    return site.spread(table.strategy, places, encode_strategy(_fitted(site, table.strategy, groups)))


def _ordered(name: str, nodes: Mapping[str, str] | Sequence[str]) -> list[str]:
    """Another order for each collection, so that not all begin with the same node."""
    return sorted(nodes, key=lambda node: hashlib.sha256(f"{name}\0{node}".encode()).digest())


def _groups(shards: Sequence[int], node_count: int, replicas: int) -> list[list[int]]:
    """As many as there are nodes; one, where every node holds all."""
    count = 1 if replicas >= node_count else min(node_count, len(shards))
    return [list(map(int, part)) for part in np.array_split(np.array(shards), count)]


def _dealt(groups: Groups, nodes: Sequence[str], replicas: int) -> Places:
    count = min(replicas, len(nodes))
    places: Places = {}
    for at, group in enumerate(groups):
        for shard in group:
            first = shard if len(groups) == 1 else at  # who is named first is asked first
            places[shard] = [nodes[(first + i) % len(nodes)] for i in range(count)]
    return places


def _fitted(site: _Site, strategy: str, groups: Groups) -> Hash | Hybrid:
    if site.sample is None:
        raise SettingError(f"collection `{site.name}`: `spread.strategy` `{strategy}` needs `spread.sample`")
    distance, copies = cells_of(site.config, site.vector).distance, site.table.copies
    if strategy == "hybrid":
        return fit_hybrid(site.sample, distance=distance, shards_by_cell=groups, seed=SEED, replication=copies)
    return fit_grouped(site.sample, distance=distance, shards_by_group=groups, seed=SEED, replication=copies)


def _by_region(site: _Site, regions: Mapping[str, str]) -> tuple[Places, Geographic]:
    table = site.table
    named = table.regions or sorted({region for region in regions.values() if region})
    if not named or len(named) > table.shards:
        raise SettingError(
            f"collection `{site.name}`: {table.shards} shards for {len(named)} regions, each needs one",
            hint="name regions in `spread.regions`, or that of each node in `mesh.region` and `mesh.regions`",
        )
    places: Places = {}
    parts: dict[str, Hash | Metric | Hybrid] = {}
    for region, shards in zip(named, np.array_split(np.array(site.shards), len(named)), strict=True):
        nodes = _ordered(site.name, [node for node, of in regions.items() if of == region])
        is_pinned = region in table.pinned
        if is_pinned and not nodes:
            raise SettingError(
                f"collection `{site.name}`: region `{region}` is pinned, and no node of the site is there",
                hint="`mesh.region` names the region of a node, `mesh.regions` those of the others",
            )
        own = nodes or _ordered(site.name, regions)
        groups = _groups(shards.tolist(), len(own), table.replicas)
        some = _dealt(groups, own, table.replicas)
        others = [] if is_pinned else [node for node in _ordered(site.name, regions) if node not in own]
        places |= {shard: held + others[: table.replicas - len(held)] for shard, held in some.items()}
        parts[region] = Hash(tuple(some)) if table.within == "hash" else _fitted(site, table.within, groups)
    return places, Geographic(parts, tuple(table.pinned), table.elsewhere, table.region)


def sample_of(table: SpreadTable, config: CollectionConfig, file: Path | None) -> Vectors | None:
    """float32[n, size] of a file of numpy; None where the strategy needs none, or takes the collection's own points.

    Raises SettingError for a file that cannot be read or does not fit.
    """
    if not table.needs_sample or table.begins_by_id:
        return None
    if file is None:
        raise SettingError(f"`spread.strategy` is `{table.strategy}`, which needs `spread.sample`")
    return sample_in(file, cells_of(config, cells_by(table, config)).size)


def sample_in(file: Path, size: int) -> Vectors:
    """float32[n, size] of a file of numpy. Raises SettingError for one that cannot be read or does not fit."""
    try:
        vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SettingError(f"`spread.sample`: `{file}` is no file of numpy: {error}") from error
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise SettingError(f"`spread.sample`: `{file}` has shape {list(vectors.shape)}, must be [n, {size}]")
    found: Vectors = vectors.astype(np.float32)
    return found
