"""The collections that requests name, in the place of shards on several nodes."""

from collections.abc import Callable, Mapping
from functools import partial

from littoral.clock import Clock
from littoral.errors import ConflictError
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.generations import config_of, holding
from littoral.node.federation.homing import Homing
from littoral.node.federation.kept_answers import KeptAnswers
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.routed import Routing
from littoral.node.federation.sealing import SealedSpread, SiteSealing
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.federation.spread_shard import SpreadShard
from littoral.node.site_tables import CollectionTable
from littoral.vectors.aliases import Aliases
from littoral.vectors.collections import Collections

__all__ = ["StandIns"]


class StandIns:
    """Of one node. tables: of its spread collections. target: what is known of one now, by its name and model."""

    def __init__(
        self,
        tables: Mapping[str, CollectionTable],
        collections: Collections,
        keeper: MapKeeper,
        target: Callable[[str, str | None], Target],
        asking: Asking,
        routing: Routing,
        clock: Clock,
        sealing: SiteSealing,
        homing: Homing,
    ) -> None:
        collections.alias_table.of_site = lambda: keeper.map.aliases
        self._homing = homing
        self._tables = tables
        self._collections = collections
        self._keeper = keeper
        self._target = target
        self._asking = asking
        self._routing = routing
        self._clock = clock
        self._sealing = sealing

    def check(self, name: str) -> None:
        """Raises ConflictError for a name that a collection of this node has."""
        if name in self._collections:
            raise ConflictError(f"collection `{name}` exists already")

    @property
    def aliases(self) -> Aliases:
        """This node's, which tell those of the site too."""
        return self._collections.alias_table

    def add(self, name: str) -> None:
        """It is there from now on, by the map if there is one already. Raises ConflictError."""
        table, spread = self._tables[name], self._keeper.map.spreads.get(name)
        by_table = "" if table.spread is None else table.spread.model
        model = by_table if spread is None or table.migrate is None else spread.model
        self._collections.stand_in(self.generation(name, model))

    def renew(self, name: str) -> None:
        """It has other options from now on."""
        known = self._collections.get(name)
        if isinstance(known, SpreadCollection):
            known.config = self.generation(name, known.model).config

    async def remove(self, name: str) -> None:
        """It was deleted: its name is free, its aliases are gone."""
        await self._collections.stand_down(name)

    def generation(self, name: str, model: str) -> SpreadCollection:
        """A collection in the layout that holds embeddings of this model, whenever there is one."""
        table, spread = self._tables[name], self._keeper.map.spreads.get(name)
        age_s = 0.0 if table.spread is None else table.spread.max_age_s
        kept = KeptAnswers(self._clock, age_s) if age_s else None
        find = partial(self._target, name, model)
        plain = SpreadShard(find, self._asking, self._routing, self._keeper.pull, self._homing, kept)
        shard = SealedSpread(plain, partial(self._sealing.using, name))
        seen = None if spread is None else spread.of_model(model)
        config = holding(table.config(), model) if seen is None else config_of(table.config(), seen)
        return SpreadCollection(name, config, shard, model, lambda: find().spread)

    def goes_by(self, name: str) -> str:
        """The model by which a collection is asked and written here."""
        found = self._collections.get(name)
        return found.model if isinstance(found, SpreadCollection) else ""
