"""What is known of a spread collection now, for who asks for its points: its layout, and whose embeddings it has."""

from collections.abc import Callable, Mapping

from littoral.errors import ForbiddenError, NotFoundError, UnavailableError
from littoral.mesh.shard_map import ShardMap
from littoral.node.federation.asking import Target
from littoral.node.federation.generations import config_of, strange
from littoral.node.federation.residency import allowed
from littoral.node.site_tables import CollectionTable

__all__ = ["Targets"]


class Targets:
    """Of one node. tables: of its spread collections. roster: regions by node. writer: of the map. here: this node."""

    def __init__(
        self,
        tables: Mapping[str, CollectionTable],
        map_now: Callable[[], ShardMap],
        roster: Callable[[], Mapping[str, str]],
        writer: Callable[[], str],
        here: str,
    ) -> None:
        self._tables = tables
        self._map = map_now
        self._roster = roster
        self._writer = writer
        self._here = here

    def find(self, name: str, model: str | None = None) -> Target:
        """model: whose embeddings are asked for; default: those by which the map has it read.

        Raises NotFoundError, ConflictError where another model than this node's is in it, UnavailableError.
        """
        shard_map = self._map()
        if (table := self._tables.get(name)) is None or table.spread is None:
            raise NotFoundError(f"collection `{name}` is not spread here")
        if (kept := shard_map.spreads.get(name)) is None:
            raise UnavailableError(
                f"collection `{name}`: no node has told yet where its shards lie",
                hint=f"node `{self._writer()}` writes that down; is it running, and has it this collection?",
            )
        roster, spread = self._roster(), allowed(kept, self._roster())
        if spread.model != table.spread.model and table.migrate is None:
            raise strange(name, spread.model, f"this node's are of `{table.spread.model}`")
        if self._here not in roster:
            raise ForbiddenError(f"node `{self._here}` is no member of this site", hint="its roster does not have it")
        own, region = table.spread, roster[self._here]
        config = config_of(table.config(), spread)
        found = Target(name, config, spread, shard_map.number, own.recall, own.holders, region, roster)
        seen = found if model is None or table.migrate is None else found.of(model)
        if seen is None:
            raise strange(name, spread.model, f"what was asked is of `{model}`")
        return seen
