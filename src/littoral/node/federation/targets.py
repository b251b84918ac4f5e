"""What this node knows of each collection that is spread: made once, and anew when map or roster have changed."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from littoral.errors import ForbiddenError, NotFoundError, UnavailableError
from littoral.mesh.shard_map import ShardMap
from littoral.node.federation.asking import Target
from littoral.node.federation.generations import config_of, strange
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.residency import allowed
from littoral.node.site_tables import CollectionTable

__all__ = ["Targets"]


class _Kept(NamedTuple):
    map: ShardMap
    table: CollectionTable
    roster: Mapping[str, str]
    target: Target


class Targets:
    """For the node of this name. tables: of the collections that are spread. roster: regions by node, the same object
    for as long as it is the same.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, CollectionTable],
        keeper: MapKeeper,
        roster: Callable[[], Mapping[str, str]],
    ) -> None:
        self._name = name
        self._tables = tables
        self._keeper = keeper
        self._roster = roster
        self._kept: dict[str, _Kept] = {}

    def of(self, name: str, model: str | None = None) -> Target:
        """model: whose embeddings are asked for; default: those by which the map has it read.

        Raises NotFoundError, ConflictError where another model than this node's is in it, UnavailableError.
        """
        found, table = self._now(name), self._tables[name]
        if model is None or model == found.spread.model or table.migrate is None:
            return found
        if (seen := found.of(model)) is None:
            raise strange(name, found.spread.model, f"what was asked is of `{model}`")
        return seen

    def _now(self, name: str) -> Target:
        shard_map, table, roster = self._keeper.map, self._tables.get(name), self._roster()
        kept = self._kept.get(name)
        if kept is not None and kept.map is shard_map and kept.table is table and kept.roster is roster:
            return kept.target
        target = self._made(name, table, shard_map, roster)
        assert table is not None
        self._kept[name] = _Kept(shard_map, table, roster, target)
        return target

    def _made(self, name: str, table: CollectionTable | None, shard_map: ShardMap, roster: Mapping[str, str]) -> Target:
        if table is None or table.spread is None:
            raise NotFoundError(f"collection `{name}` is not spread here")
        if (found := shard_map.spreads.get(name)) is None:
            raise UnavailableError(
                f"collection `{name}`: no node has told yet where its shards lie",
                hint=f"node `{self._keeper.writer}` writes that down; is it running, and has it this collection?",
            )
        spread = allowed(found, roster)
        if spread.model != table.spread.model and table.migrate is None:
            raise strange(name, spread.model, f"this node's are of `{table.spread.model}`")
        if self._name not in roster:
            raise ForbiddenError(f"node `{self._name}` is no member of this site", hint="its roster does not have it")
        own, region, config = table.spread, roster[self._name], config_of(table.config(), spread)
        return Target(name, config, spread, shard_map.number, own.recall, own.holders, region, roster)
