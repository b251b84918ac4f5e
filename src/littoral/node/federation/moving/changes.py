"""Other layouts as they are asked for: planned, and begun, by the node that writes the map, whoever is asked."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from littoral.errors import ConflictError, ForbiddenError, NotFoundError
from littoral.mesh.facts import Known
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.layout import laid_out
from littoral.node.federation.loads import Load
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.moving import planning
from littoral.node.federation.moving.advice import Advised, Use, advised, by_cells, confirmed
from littoral.node.federation.moving.sampling import Wanted, sampled
from littoral.node.federation.moving.steps import begun, withdrawn
from littoral.node.federation.moving.unpinned import not_of, unpinned
from littoral.node.federation.moving.wishes import (
    Asked,
    Back,
    Dissolve,
    Divide,
    Move,
    Plan,
    ToSpread,
    Wish,
    decode_asked,
    decode_plan,
    encode,
)
from littoral.node.federation.placing import cells_of, strategy_of
from littoral.node.federation.residency import pinned_to
from littoral.node.mesh_tables import SpreadTable
from littoral.node.site_tables import CollectionTable
from littoral.transport import Transport
from littoral.vectors.partition.points import Vectors
from littoral.vectors.partition.strategy import Geographic

__all__ = ["Changes"]

WISH = "moving-wish"
WISH_S = 120.0
SAMPLE_COUNT = 20_000
SEED = 0
FLOAT_BYTES = 4
NOTHING = "nothing to do: no shard is hot, large or small enough, and nodes are even"


class Changes:
    """Of one node. tables: of its spread collections. members: names of the nodes of the site, with their regions.
    samples: files that cells are fitted to, by collection.
    """

    def __init__(
        self,
        transport: Transport,
        keeper: MapKeeper,
        asking: Asking,
        target: Callable[[str], Target],
        members: Callable[[], Mapping[str, str]],
        facts: Callable[[], Mapping[str, Known]],
        tables: Mapping[str, CollectionTable],
        samples: Mapping[str, Path],
    ) -> None:
        self._transport = transport
        self._keeper = keeper
        self._asking = asking
        self._target = target
        self._members = members
        self._facts = facts
        self._tables = tables
        self._samples = samples

    async def open(self) -> None:
        """From now on the other nodes' wishes are heard."""
        await self._transport.serve(WISH, self._answer)

    async def ask(self, asked: Asked) -> Plan:
        """The plan, as the node that writes the map makes it; begun if that was asked for.

        Raises NotFoundError, ConflictError where another change is under way or nothing would change, InputError,
        NotOfferedError, and PeerError where that node cannot be reached.
        """
        if self._keeper.is_writer:
            return await self._planned(asked)
        writer = self._keeper.writer
        body = await self._transport.request(writer, WISH, encode(asked), deadline_s=WISH_S)
        return decode_plan(body, writer)

    async def _answer(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        if not self._keeper.is_writer:
            raise ConflictError(f"node `{self._keeper.writer}` writes the shard map, not `{self._transport.name}`")
        return encode(await self._planned(decode_asked(body, caller)))

    async def _planned(self, asked: Asked) -> Plan:
        wish = asked.wish
        spread = self._spread(wish.collection)
        if isinstance(wish, Back):
            back = withdrawn(spread)
            if asked.is_applied:
                self._keeper.write({wish.collection: back})
            return self._plan(wish.collection, spread, spread.layout, "taken back", is_begun=asked.is_applied)
        layout, why = await self._layout(wish, spread)
        if layout is None:
            return self._plan(wish.collection, spread, spread.layout, why, is_begun=False)
        spread = self._spread(wish.collection)
        following = begun(spread, layout, number=self._keeper.map.number + 1)
        if asked.is_applied:
            self._keeper.write({wish.collection: following})
        return self._plan(wish.collection, spread, layout, why, is_begun=asked.is_applied)

    def _spread(self, name: str) -> Spread:
        if (spread := self._keeper.map.spreads.get(name)) is None or name not in self._tables:
            raise NotFoundError(f"collection `{name}` is not spread here")
        return spread

    def _plan(self, name: str, spread: Spread, layout: Layout, why: str, *, is_begun: bool) -> Plan:
        going = sorted(spread.places.keys() - layout.places.keys())
        uses = self.uses(name, spread)
        return Plan(
            collection=name,
            strategy=layout.strategy,
            coming={shard: nodes for shard, nodes in layout.places.items() if shard not in spread.places},
            going=going,
            kept=sorted(spread.places.keys() & layout.places.keys()),
            points=sum(uses[shard].points for shard in going if shard in uses),
            why=why,
            is_begun=is_begun,
        )

    def uses(self, name: str, spread: Spread) -> dict[int, Use]:
        """Of its shards, as their nodes have told."""
        found: dict[int, Use] = {}
        for shard, nodes in spread.places.items():
            facts = [known.fact for node in nodes if (known := self._facts().get(node)) is not None]
            points = [count for fact in facts if (count := fact.points.get(name, {}).get(shard)) is not None]
            loads = [fact.loads.get(name, {}).get(shard, (0.0, 0.0)) for fact in facts]
            load = Load(sum(searches for searches, _ in loads), sum(busy_ms for _, busy_ms in loads))
            if points:
                found[shard] = Use(max(points), load)
        return found

    async def _layout(self, wish: Wish, spread: Spread) -> tuple[Layout | None, str]:
        nodes = self._members()
        match wish:
            case Move():
                layout = planning.moved(spread, wish.shard, wish.source, wish.target, nodes)
                return layout, f"shard {wish.shard} goes from `{wish.source}` to `{wish.target}`"
            case Divide():
                return await self._divided(wish, spread), f"shard {wish.shard} becomes two"
            case Dissolve():
                return planning.without_shard(spread, wish.shard), f"shard {wish.shard} goes to its neighbours"
            case ToSpread():
                return await self._spread_anew(wish, spread), "as asked"
        found = self.advice(wish.collection)
        if found is None:
            return None, NOTHING
        if found.fit:
            return await self._with_cells(wish.collection, spread), found.why
        shard = found.dissolve if found.divide is None else found.divide
        return (found.layout, found.why) if shard is None else await self._by_its_points(found, shard, spread, wish)

    async def _by_its_points(self, found: Advised, shard: int, spread: Spread, wish: Wish) -> tuple[Layout | None, str]:
        """What was advised by sizes alone, with where the points of the shard would go."""
        vectors = await self._sampled(wish.collection, spread, shard)
        if not len(vectors):
            return None, f"nothing to do: {found.why}, but it is pinned, and nothing that is not would lie in it"
        if found.divide is None:
            layout, shares = planning.without_shard(spread, shard), planning.shares_without(spread, shard, vectors)
        else:
            layout = planning.divided(spread, shard, vectors, None, seed=SEED)
            shares = planning.shares_by(planning.halved(spread, shard, vectors, seed=SEED), vectors)
        gain = confirmed(self.uses(wish.collection, spread), shard, shares)
        if gain is None:
            return None, f"nothing to do: {found.why}, but by where its points would go it is not worth it"
        return layout, f"{found.why}; by where its points go: {gain}"

    async def _with_cells(self, name: str, spread: Spread) -> Layout:
        """As the site file has it, which gave no sample."""
        table = self._tables[name].spread
        assert table is not None
        wish = ToSpread(name, strategy=table.strategy, shards=len(spread.places), replicas=table.replicas)
        return await self._spread_anew(wish, spread)

    async def _sampled(self, name: str, spread: Spread, shard: int) -> Vectors:
        """Points of a shard; if it is pinned, others that would lie in it."""
        if shard not in pinned_to(spread):
            return await sampled(self._asking, self._target(name), [shard], SAMPLE_COUNT, seed=SEED)
        strategy = strategy_of(spread)
        assert isinstance(strategy, Geographic)
        found = await self._unpinned(name, not_of(strategy.key, frozenset(strategy.pinned)), spread.vector)
        return planning.at_home(spread, shard, found)

    async def _unpinned(self, name: str, wanted: Wanted, vector: str) -> Vectors:
        file = self._samples.get(name)
        return await unpinned(self._asking, self._target(name), file, wanted, SAMPLE_COUNT, seed=SEED, vector=vector)

    def advice(self, name: str) -> Advised | None:
        """What is worth doing with this collection. Raises as `advised`."""
        spread, config = self._spread(name), self._target(name).config
        table = self._tables[name].spread
        if table is not None and table.begins_by_id and (found := by_cells(spread, self.uses(name, spread))):
            return found
        point_bytes = FLOAT_BYTES * sum(params.size for params in config.dense.values())
        return advised(spread, self.uses(name, spread), self._members(), point_bytes=max(1, point_bytes))

    async def _divided(self, wish: Divide, spread: Spread) -> Layout:
        if wish.shard not in spread.places:
            raise NotFoundError(f"shard {wish.shard}: the collection has {', '.join(map(str, spread.shards))}")
        planning.check_may_hold(spread, wish.shard, wish.targets, self._members())
        vectors = await self._sampled(wish.collection, spread, wish.shard)
        if len(vectors) < 2 and (region := pinned_to(spread).get(wish.shard)) is not None:
            raise ConflictError(
                f"shard {wish.shard} is pinned to region `{region}`: it is divided by what is not pinned, of which "
                f"{len(vectors)} would lie in it, at least 2 are needed",
                hint="`spread.sample` of the site file names vectors that may be on every node",
            )
        return planning.divided(spread, wish.shard, vectors, wish.targets or None, seed=SEED)

    async def _spread_anew(self, wish: ToSpread, spread: Spread) -> Layout:
        strategy = wish.strategy or spread.strategy
        shards = wish.shards or len(spread.places)
        replicas = wish.replicas or max(len(nodes) for nodes in spread.places.values())
        table = self._tables[wish.collection].spread
        assert table is not None
        vector = spread.vector if wish.by is None else wish.by
        is_as_it_is = (strategy, shards, vector) == (spread.strategy, len(spread.places), spread.vector)
        if is_as_it_is and not (wish.strategy == "geographic" and _is_by_vector(spread) != (table.within != "hash")):
            points = {shard: use.points for shard, use in self.uses(wish.collection, spread).items()}
            return planning.held_by(spread, self._members(), replicas, points)
        pinned = pinned_to(spread)
        target = self._target(wish.collection)
        if wish.by is not None:
            cells_of(target.config, wish.by)
        if pinned and (strategy != "geographic" or not set(pinned.values()) <= set(table.pinned)):
            raise ConflictError(
                f"collection `{wish.collection}`: regions {', '.join(sorted(set(pinned.values())))} are pinned, "
                f"what is there does not leave them",
                hint="`spread.pinned` of the site file must name them; `spread.within` gives a region cells",
            )
        if strategy == "hash":
            return planning.by_id(spread, shards, self._members(), replicas)
        if strategy == "geographic" and table.region is None:
            raise ConflictError(
                "`geographic` needs `spread.region`, the key of the payload that names a point's region",
                hint="where the points that are there came from is not known otherwise",
            )
        fresh = msgspec.structs.replace(table, strategy=strategy, shards=shards, replicas=replicas, by=vector)
        sample = await self._sample_for(wish.collection, fresh, spread) if fresh.needs_sample else None
        return planning.fitted_anew(spread, laid_out(wish.collection, fresh, target.config, self._members(), sample))

    async def _sample_for(self, name: str, fresh: SpreadTable, spread: Spread) -> Vectors:
        if fresh.strategy == "geographic" and fresh.pinned:
            return await self._unpinned(name, not_of(fresh.region, frozenset(fresh.pinned)), fresh.by or "")
        target = self._target(name)
        return await sampled(self._asking, target, spread.shards, SAMPLE_COUNT, seed=SEED, vector=fresh.by)


def _is_by_vector(spread: Spread) -> bool:
    return strategy_of(spread).by_vector
