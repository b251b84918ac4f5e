"""This node among the others of its site: the map it goes by, the shards it holds, what it tells and hears."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec

from littoral.clock import Clock
from littoral.mesh.facts import Fact, Facts, next_boot
from littoral.mesh.membership import MemberState, members
from littoral.mesh.shard_map import Layout, ShardMap, Spread
from littoral.mesh.sync import Sync
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.completeness import Completeness, Holding
from littoral.node.federation.fact_exchange import FactExchange
from littoral.node.federation.generations import config_of
from littoral.node.federation.homing import Homing
from littoral.node.federation.indexes import PayloadIndexes
from littoral.node.federation.layout import laid_out, sample_of
from littoral.node.federation.leases import Grants
from littoral.node.federation.links import Links
from littoral.node.federation.local_shards import LocalShards, Terms, part_name
from littoral.node.federation.making import Making
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.map_lease import MapLease
from littoral.node.federation.mesh_service import MeshService
from littoral.node.federation.messages import Ask
from littoral.node.federation.moving.changes import Changes
from littoral.node.federation.moving.handing import Handing
from littoral.node.federation.moving.moving import Moving
from littoral.node.federation.moving.pacing import Pace
from littoral.node.federation.moving.rebalancing import Rebalancing
from littoral.node.federation.moving.steps import begun, withdrawn
from littoral.node.federation.own_condition import OwnCondition
from littoral.node.federation.placing import may_have_copies
from littoral.node.federation.replicas import Replicas
from littoral.node.federation.resealing import Resealing
from littoral.node.federation.residency import allowed, seen_from
from littoral.node.federation.routed import Routing
from littoral.node.federation.sealing import SiteSealing
from littoral.node.federation.seeding import Seeding
from littoral.node.federation.signed_site import SignedSite
from littoral.node.federation.stand_ins import StandIns
from littoral.node.federation.straying import Straying
from littoral.node.federation.summaries import Summaries
from littoral.node.federation.summary_exchange import SummaryExchange
from littoral.node.federation.targets import Targets
from littoral.node.mesh_tables import MeshTable
from littoral.node.site_tables import CollectionTable
from littoral.telemetry import Endured, Reading
from littoral.transport import Transport
from littoral.transport.measured import MeasuredTransport
from littoral.vault import KeyRing
from littoral.vectors.collections import Collections

__all__ = ["FOLDER", "Federation"]

FOLDER, ROUND_S, SOON_S = Path("mesh"), 2.0, 0.25
REST_S = 0.1
"""Between two rounds: what happened meanwhile is seen to at once."""

Say = Callable[[str], None]


class Federation:
    """For one event loop; `open` it, `close` it. roster: regions by node, this one among them.

    The node whose name is first in the roster writes the shard map, the others pull it.
    """

    def __init__(
        self,
        mesh: MeshTable,
        tables: Mapping[str, CollectionTable],
        collections: Collections,
        transport: Transport,
        data: Path,
        *,
        clock: Clock,
        say: Say,
        samples: Mapping[str, Path] | None = None,
        signed: SignedSite | None = None,
        keys: KeyRing | None = None,
        site_keys: KeyRing | None = None,
    ) -> None:
        """tables: of the collections that are spread. samples: files that cells are fitted to. signed: roster and map
        of a site whose nodes have identities; without, the site file says who belongs to it. keys: that seal journals.
        site_keys: that seal fields of payloads, on all nodes.

        Raises NodeError for files that cannot be read.
        """
        transport = self.measured = MeasuredTransport(transport, clock)
        self._tables, self._samples = dict(tables), samples or {}
        self._mesh, self._collections, self._transport = mesh, collections, transport
        self._clock, self._say = clock, say
        self._endured = Endured(say)
        self._signed = self.signed = signed
        self._roster = {transport.name: mesh.region} | mesh.others
        self._boot = next_boot(data / FOLDER)
        self._counter = 0
        self.summaries = Summaries(clock)
        sync = self._sync = Sync(transport, clock=clock, rng=Random(transport.name))  # noqa: S311 (when to ask)
        grants = Grants(clock, is_first_life=self._boot == 1)
        self.replicas = Replicas(sync, data / FOLDER, transport.name, clock, grants, keys)
        self._work, links = asyncio.Event(), Links(clock)
        self.keeper = MapKeeper(data / FOLDER, transport, self.roster, say=say, changed=self._work.set, signed=signed)
        self._targets = Targets(transport.name, self._tables, self.keeper, self.roster)
        self._map_lease = lease = MapLease(transport, lambda: self.map.number, lambda: self.writer, self.roster, clock)
        self.completeness = Completeness(transport, self.replicas, self._holding_of, self.roster, clock, lease.left_s)
        self._exchange = SummaryExchange(
            self.summaries,
            collections,
            transport,
            links,
            self.roster,
            self._known_to,
            clock=clock,
            grants=Grants(clock, is_first_life=self._boot == 1),
            complete_s=self.completeness.left_s,
        )
        tell_stale, left_s = self._exchange.tell_stale, self.completeness.left_s
        self._local = LocalShards(collections, self.summaries, self.replicas, tell_stale, clock, left_s)
        self._local.indexes = self._indexes = PayloadIndexes(data / FOLDER)
        self._indexes.map = lambda: self.map
        self._holding = asyncio.Lock()
        self._held: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.address: Callable[[], str] = str
        """Of this node's HTTP interface, once it is known."""
        self.roster_word: Callable[[], tuple[int, str] | None] = lambda: None
        """Number and writer of the signed roster, where the site has one."""
        self.facts = Facts(clock)
        self.fact_exchange = FactExchange(self.facts, transport, self.roster, self.keeper.heard, clock)
        self._condition = OwnCondition(collections, data, self.measured, self.replicas, clock)
        self.asking = Asking(transport, self._local, links, clock, peer_s=mesh.deadline_ms / 1000)
        self.asking.heard = self.keeper.heard
        self.routing = Routing(self.asking, self.summaries)
        self.sealing = SiteSealing(mesh.site, transport.name, site_keys, self._tables, lambda: self.map)
        pace = Pace(clock, mesh.move_bytes_s)
        self._local.loads.heard = pace.searched
        self.handing = Handing(transport, self.replicas, self.target, self.roster, pace, self.sealing.opened)
        homing = self.homing = Homing(self.asking, self.handing)
        self.stand_ins = StandIns(
            self._tables, collections, self.keeper, self.target, self.asking, self.routing, clock, self.sealing, homing
        )
        self.making = self._making()
        self.making.is_default = mesh.made == "spread"
        self.service = MeshService(
            self._local, self.target, self.roster, self.asking.counts, self.keeper.heard, self._terms
        )
        self.changes = Changes(
            transport, self.keeper, self.asking, self.target, self.roster, self.facts.all, self._tables, self._samples
        )
        self.moving = self._moving(pace)
        self._rebalancing = Rebalancing(self.changes, self.moving, clock, say, is_on=mesh.rebalance != "off")
        self.seeding = sync.seeds = self._seeding(data / FOLDER)
        self._resealing = Resealing(self.sealing, self.keeper, collections, self.facts.all, self.roster, clock, say)

    def _making(self) -> Making:
        return Making(
            self._transport,
            self.keeper,
            self._tables,
            self.stand_ins,
            self._local,
            self.roster,
            self._laid_out,
            clock=self._clock,
            say=self._say,
            hold=self._hold_shards,
        )

    def _moving(self, pace: Pace) -> Moving:
        moving = Moving(
            self._transport,
            self._local,
            self.replicas,
            self._collections,
            self.handing,
            self.target,
            lambda: self.map,
            self.facts.all,
            pace=pace,
            say=self._say,
            changed=self.wake,
        )
        moving.older_s = self._map_lease.older_s
        return moving

    def _seeding(self, folder: Path) -> Seeding:
        return Seeding(
            self._transport,
            self.replicas,
            self._collections,
            folder,
            self._steady_holders,
            self._reopen,
            pace=self.moving.pace,
            clock=self._clock,
            say=self._say,
        )

    @property
    def name(self) -> str:
        return self._transport.name

    def wake(self) -> None:
        """There is something to look at, and to tell."""
        self.fact_exchange.soon()
        self._work.set()

    def traffic_readings(self) -> Iterator[Reading]:
        """What went over this node's end of the mesh, for the metrics."""
        return self._transport.traffic.readings(len(self._transport.alive()))

    @property
    def site(self) -> str:
        return self._mesh.site

    @property
    def map(self) -> ShardMap:
        return self.keeper.map

    @property
    def transport(self) -> Transport:
        """To the other nodes."""
        return self._transport

    def roster(self) -> Mapping[str, str]:
        """Who belongs to the site, and the region of each as the site says it, not the node itself."""
        if self._signed is not None and (signed := self._signed.roster(without=self._mesh.orchestrator)) is not None:
            return signed
        return self._roster

    def _others(self) -> set[str]:
        """Nodes that may be asked for something, the orchestrator among them."""
        return {*self.roster(), *self._mesh.peers} - {self.name}

    @property
    def writer(self) -> str:
        """The node that writes the shard map."""
        return self.keeper.writer

    @property
    def orchestrator(self) -> str | None:
        """A peer that does steps when the site is exhausted, and holds no shard."""
        return self._mesh.orchestrator

    def replicas_wanted(self, name: str) -> int:
        """Of each shard of a collection, by this node's site file; 0 where it is not there."""
        table = self._tables.get(name)
        return 0 if table is None or table.spread is None else table.spread.replicas

    def members(self) -> list[MemberState]:
        """One state a node, by name."""
        now_s = self._clock.monotonic()
        return members(self.roster(), self._transport.alive(), self.facts.all(), self.map, now_s=now_s)

    def lacking(self) -> list[str]:
        """What this node should have and has not: collections without a place, shards by the names of their parts."""
        unplaced = [name for name in self._tables if name not in self.map.spreads]
        wanted = [part_name(name, shard) for name, shard in self._own_shards()]
        return unplaced + sorted(self.making.hidden) + [name for name in wanted if name not in self._held]

    def _own_shards(self) -> list[tuple[str, int]]:
        return [(name, shard) for name, spread in self._spreads().items() for shard in spread.kept_by(self.name)]

    def _read_shards(self) -> list[tuple[str, int]]:
        """Without those that come in the place of others: a summary of what is just being filled is out of date."""
        return [(name, shard) for name, spread in self._spreads().items() for shard in spread.held_by(self.name)]

    def _spreads(self) -> dict[str, Spread]:
        """Of this node's collections, without what must not be where the map puts it."""
        roster = self.roster()
        mine = self._tables if self.name in roster else {}
        return {name: allowed(spread, roster) for name, spread in self.map.spreads.items() if name in mine}

    def _holdings(self) -> list[Holding]:
        found = (self._holding_of(name, shard) for name, shard in self._own_shards())
        return [holding for holding in found if holding is not None]

    def _holding_of(self, name: str, shard: int) -> Holding | None:
        spread, table = self.map.spreads.get(name), self._tables.get(name)
        nodes = spread.places.get(shard, []) if spread is not None else []
        if spread is None or table is None or table.spread is None or self.name not in nodes:
            return None
        if len(nodes) > 1:
            nodes = allowed(spread, self.roster()).places[shard]
        least, change = table.spread.holders, spread.change
        may_pass = least >= len(nodes) > 1 or (change is not None and change.step == "copying")
        return Holding(name, shard, nodes, least, may_pass)

    def _steady_holders(self, part: str) -> Sequence[str]:
        """Of a shard of this node; none while its collection goes to another layout."""
        name, _, shard = part.rpartition(".")
        spread = self.map.spreads.get(name)
        if spread is None or spread.change is not None or not shard.isdigit():
            return ()
        holding = self._holding_of(name, int(shard))
        return () if holding is None else holding.nodes

    async def _reopen(self, part: str) -> None:
        """Other points took the place of a shard's."""
        name, _, shard = part.rpartition(".")
        async with self._holding:
            await self._local.exchanged(name, int(shard))
        await self._hold_shards()

    def _known_to(self, node: str) -> dict[str, Spread]:
        """What a member may read."""
        return {name: seen_from(spread, self.roster().get(node, "")).spread for name, spread in self._spreads().items()}

    @property
    def _is_waiting(self) -> bool:
        return any(name not in self.map.spreads for name in self._tables)

    async def open(self) -> None:
        """Collections that are spread are there from now on, the shards of this node as soon as the map says which."""
        for name in self._tables:
            self.stand_ins.add(name)
        await self.measured.open()
        await self.service.open(self._transport)
        await self._sync.start()
        await self.keeper.open()
        await self.making.open()
        await self._map_lease.open()
        await self.completeness.open()
        await self._exchange.open()
        await self.seeding.open()
        await self.fact_exchange.open()
        self._transport.watch(self._seen)
        await self._write_map()
        await self._hold_shards()
        await self.moving.open()
        await self.changes.open()
        straying = Straying(self.homing, self.replicas, self.asking, self.target, self._say)
        keeps_lease = self._map_lease.keep(lambda: self.name in self.keeper.holders)
        self._tasks = [
            asyncio.create_task(self._run(), name="littoral-federation"),
            asyncio.create_task(self._exchange.keep(), name="littoral-summaries"),
            asyncio.create_task(self.completeness.keep(self._holdings), name="littoral-leases"),
            asyncio.create_task(keeps_lease, name="littoral-map-lease"),
            asyncio.create_task(straying.keep(), name="littoral-strays"),
            asyncio.create_task(self.measured.run(self._others), name="littoral-links"),
        ]

    async def add(self, name: str, table: CollectionTable) -> None:
        """A further collection, as if it had been there at the start. Raises ConflictError."""
        self.stand_ins.check(name)
        self._tables[name] = table
        self.stand_ins.add(name)
        await self._write_map()
        await self._hold_shards()
        self._work.set()

    def go_to(self, name: str, layout: Layout | None) -> None:
        """As the map's writer: it begins its way to this layout; None = back. Raises ConflictError, NotFoundError."""
        spread = self.keeper.spread_to_write(name)
        following = withdrawn(spread) if layout is None else begun(spread, layout, number=self.map.number + 1)
        self.keeper.write({name: following})

    async def close(self) -> None:
        """Ends what runs here; the transport is its owner's."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._resealing.close()
        await self.seeding.close()
        await self.moving.close()
        await self.routing.close()
        await self.replicas.close()

    def target(self, name: str, model: str | None = None) -> Target:
        """As `Targets.of`."""
        return self._targets.of(name, model)

    def _terms(self, ask: Ask, target: Target) -> Terms:
        shards = {shard for part in ask.parts for shard in part.shards}
        return self.asking.terms(target, shards, ask.deadline_s, ask.holders, ask.at)

    async def _write_map(self) -> None:
        """As the writer: a place for every collection that has none yet."""
        if not self.keeper.is_writer:
            return
        fresh: dict[str, Spread] = {}
        for name, table in list(self._tables.items()):
            if table.spread is not None and name not in self.map.spreads:
                fresh[name] = await asyncio.to_thread(self._laid_out, name, table)
        self.keeper.write(fresh)

    def _laid_out(self, name: str, table: CollectionTable) -> Spread:
        assert table.spread is not None
        sample = sample_of(table.spread, table.config(), self._samples.get(name))
        config = table.config()
        found = laid_out(name, table.spread, config, self.roster(), sample, first=self.map.given)
        size = 0 if config.vectors is None else config.vectors.size
        sealing = self.sealing.first(name, self.facts.all(), self.roster())
        return msgspec.structs.replace(found, size=size, declared=found.model, sealing=sealing)

    async def _hold_shards(self) -> None:
        """Makes what this node holds and has not yet."""
        async with self._holding:
            await self.making.adopt()
            await self.making.clear()
            shard_map, spreads, tables = self.map, self._spreads(), dict(self._tables)
            for name, shard in self._own_shards():
                nodes = spreads[name].all_places[shard]
                by = next(one for one in spreads[name].both if shard in one.places)
                config = config_of(tables[name].config(), by)
                marks = {"has_copies": may_have_copies(spreads[name]), "has_options": self.making.is_made(name)}
                if await self._local.ensure(name, shard, config, nodes, **marks):
                    self._say(f"mesh: shard {shard} of `{name}` is made")
                self._held.add(part_name(name, shard))
            whys = {name: self.handing.embedders.unready(name, spread) for name, spread in spreads.items()}
            self.moving.unready = {name: why for name, why in whys.items() if why}
            await self.moving.settle(spreads, shard_map.number)

    async def _run(self) -> None:
        """What is to be done now, and again. What fails of it holds up nothing else, and is tried again."""
        steps: Mapping[str, Callable[[], Awaitable[object]]] = {
            "map": lambda: self.keeper.pull(also=self._transport.alive() if self._is_waiting else ()),
            "shards": self._hold_shards,
            "layouts": self._write_layouts,
            "sealed fields": self._resealing.look,
            "summaries": lambda: self._exchange.sum_up(self._read_shards()),
            "snapshots": self.seeding.tidy,
            "facts": self._tell_fact,
            "facts of others": self.fact_exchange.ask,
            "payload indexes": self._settle_indexes,
        }
        while True:
            self._work.clear()
            for name, step in steps.items():
                with self._endured.round(f"mesh: {name}"):
                    await step()
            await asyncio.sleep(REST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_S if self._is_waiting else ROUND_S):
                    await self._work.wait()

    async def _write_layouts(self) -> None:
        """As the writer."""
        if self.keeper.is_writer:
            self.keeper.write(self.handing.embedders.following(self.moving.next_map(self.roster())))
            self.keeper.write(self.handing.embedders.over())
            await self._rebalancing.look(self._spreads())

    async def _settle_indexes(self) -> None:
        """What others know of, and shards here have not."""
        parts = [(name, self._collections.part(part_name(name, shard))) for name, shard in self._own_shards()]
        await self._indexes.keep_up(self.facts.indexes(), parts)

    def _seen(self, name: str, is_here: bool) -> None:
        """In a large site somebody comes or goes all the time: most of them are nobody's business."""
        is_small = not self.fact_exchange.is_large
        if not is_here:
            self.summaries.forget(name)
        elif is_small:
            self.fact_exchange.seen()
        if is_small or name in self.keeper.holders:
            self._exchange.want()
        if not self._work.is_set() and (is_small or self.keeper.is_writer or self._is_waiting):
            self._work.set()

    async def _tell_fact(self) -> None:
        changing = (spread for spread in self.map.spreads.values() if spread.change is not None)
        is_moving = bool(self.moving.owed) or any(spread.kept_by(self.name) for spread in changing)
        await self.fact_exchange.tell(self._fact, (self.map.number, self.moving.settled), self.writer, is_moving)

    async def _fact(self) -> Fact:
        """What this node says of itself now."""
        self._counter += 1
        condition = await self._condition.read(self._own_shards())
        return Fact(
            node=self.name,
            boot=self._boot,
            counter=self._counter,
            map_number=self.map.number,
            points=condition.points,
            lag_s=self.replicas.lags_s(),
            models={name: self.stand_ins.goes_by(name) for name in self._tables},
            region=self.roster().get(self.name, ""),
            address=self.address(),
            condition=condition,
            settled=self.moving.settled,
            owed=self.moving.owed,
            loads=self._local.loads.told(self._own_shards()),
            indexes=self._indexes.told(),
            unready=self.moving.unready,
            stuck=self.handing.embedders.stuck(),
            keys=self.sealing.proofs,
            refused=self.sealing.refused(),
            sealing=self.sealing.still(),
            sealed=self.sealing.declared(),
            resealed=self._resealing.told(),
        )
