"""From a site file to a node: agents and models in their pools, collections, pipelines with every edge checked.

What is opened is closed in the reverse order, also where the start fails half-way.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import cast

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import NotFoundError
from littoral.making.builds import Builds
from littoral.node.agent_repository import AgentRepository
from littoral.node.at_rest import encrypted_fields, open_keys, open_site_keys
from littoral.node.audit.opening import open_trail, open_witnesses
from littoral.node.binding import Guests, naming, open_pipeline, open_pipelines
from littoral.node.caches import Caches
from littoral.node.declared_models import with_spread_models
from littoral.node.default_pipelines import with_default_pipelines
from littoral.node.federation.opening import open_federation
from littoral.node.gateway.opening import open_gateway
from littoral.node.migration.bindings import Parts
from littoral.node.migration.migrations import Migrations
from littoral.node.model_opening import close_model, open_model
from littoral.node.model_repository import ModelRepository
from littoral.node.models_for_agents import ModelsForAgents
from littoral.node.needed_versions import pin_needed
from littoral.node.node import Instances, Node, ServedAgent, ServedModel, ServedPipeline
from littoral.node.opened_access import own_hosts
from littoral.node.own_pipelines import OwnPipelines
from littoral.node.placement.opening import open_placement
from littoral.node.pooling import Pooling
from littoral.node.rebinding import Rebinding
from littoral.node.renewing import renew_values
from littoral.node.signed_modules import signers_of
from littoral.node.site import Site
from littoral.node.site_collections import as_it_is, as_on_disk, ensure_collections, read_files
from littoral.node.site_tables import AgentTable, CacheTable
from littoral.node.tenancy.opening import BoundTenant, check_tenant
from littoral.node.tenancy.tenancy import EveryPipeline, open_tenancy
from littoral.node.tenant_hosts import SharedHosts
from littoral.node.traces import Traces, open_traces
from littoral.node.undelivered import undelivered, without_undelivered
from littoral.node.vector_makers import Fed, models_of
from littoral.node.vector_models import VectorModels
from littoral.runtime.agents import Agent
from littoral.runtime.foreign_code import CompileBounds
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.pool import Pool
from littoral.transport import Transport
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections, ShardHosts
from littoral.vectors.model_version import ModelVersion

__all__ = ["Guests", "check_site", "open_guests", "open_node", "open_pipelines"]

Say = Callable[[str], None]


def _silent(_line: str) -> None:
    pass


@contextlib.asynccontextmanager
async def open_node(
    site: Site, hosts: ShardHosts, *, transport: Transport | None = None, say: Say = _silent, clock: Clock = SYSTEM
) -> AsyncIterator[Node]:
    """The node that the site file describes; `is_ready` is for the caller to set.

    hosts: who runs the shard hosts. transport: to the other nodes; default: as the table `mesh` says. say: gets a line
    for each thing that was opened.
    Raises SettingError naming the key, and what `Agent.open`, `load` and `Collections` raise.
    """
    with open_traces(site) as traces:
        async with _open_node(site, hosts, transport, traces, say, clock) as node:
            yield node


@contextlib.asynccontextmanager
async def _open_node(
    site: Site, hosts: ShardHosts, transport: Transport | None, traces: Traces | None, say: Say, clock: Clock
) -> AsyncIterator[Node]:
    read, site = site, with_spread_models(there := without_undelivered(site))
    keys, site_keys = open_keys(site), open_site_keys(site)
    spans = None if traces is None else traces.spans
    shared = SharedHosts(hosts)
    collections = await Collections.open(
        site.data, shared.of(""), clock, encrypted_fields(site, keys)
    )  # first: its hosts start while models load
    caches = Caches(site.cache, site.data, clock, keys)
    try:
        async with (
            open_tenancy(site, shared, clock, keys, say) as tenancy,
            open_federation(
                site, collections, transport, clock=clock, say=say, spans=spans, keys=keys, site_keys=site_keys
            ) as federation,
            open_trail(site, collections.get, clock) as trail,
            open_witnesses(site, trail, federation, clock),
            _guests(site, say, clock, caches, collections) as guests,
            open_placement(site, federation, guests.models, guests.agents, guests.pooling, clock) as placement,
        ):
            site = await ensure_collections(collections, guests.site, say)
            pin_needed(site, guests, say)
            placed = guests._replace(placement=placement, trail=trail)
            pipelines = open_pipelines(site, placed, collections.get, clock)
            own = OwnPipelines(placed, pipelines, collections, clock)
            async with (
                tenancy.bind(placed, there.pipelines),
                _repository(own, pipelines, collections, tenancy.bound, clock, say) as repository,
            ):
                node = Node(
                    name=site.node.name,
                    listen=str(site.listen),
                    origins=tuple(site.node.origins),
                    hosts=own_hosts(site),
                    data=site.data,
                    collections=collections,
                    models=guests.models,
                    agents=guests.agents,
                    batchers=guests.pooling.batchers,
                    budget=guests.pooling.budget,
                    pipelines=pipelines,
                    repository=repository,
                    caches=caches,
                    clock=clock,
                    started_at=clock.wall(),
                    federation=federation,
                    placement=placement,
                    traces=traces,
                    requests_told=site.telemetry.logs.requests,
                    site=read,
                    keys=keys,
                    builds=(builds := Builds(site.data / "builds", seals=keys is not None)),
                    audit=trail,
                    own_pipelines=own,
                    undelivered=undelivered(read),
                )
                if federation is not None:
                    federation.address = lambda: node.listen
                parts = Parts(guests.site, placed, collections.get, collections, pipelines, repository, clock, say)
                node.migrations = Migrations(parts, federation)
                node.tenancy, node.tenants = tenancy, tenancy.served
                try:
                    await node.migrations.open()
                    async with (
                        open_gateway(site, node, clock, say) as gateway,
                        tenancy.serve(node, gateway),
                        _beside(renew_values(collections, say)),
                    ):
                        yield node
                finally:
                    await builds.close()
                    await node.migrations.close()
    finally:
        await caches.close()
        await collections.close()


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Until the end of the block, if it takes as long."""
    doing = asyncio.create_task(work)
    try:
        yield
    finally:
        doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing


@contextlib.asynccontextmanager
async def _guests(
    site: Site, say: Say, clock: Clock, caches: Caches, collections: Collections
) -> AsyncIterator[Guests]:
    def holds(fed: Fed) -> tuple[ModelVersion, ...]:
        return models_of(collections, fed)

    with open_guests(site, say, clock, caches) as guests:
        vector_models = VectorModels(guests.site, guests.agents, holds)
        try:
            yield guests._replace(vector_models=vector_models, claim=collections.claim)
        finally:
            vector_models.close()


def check_site(site: Site, *, say: Say = _silent) -> Mapping[str, ServedPipeline]:
    """Opens agents and models and checks every edge, without a shard host; closes them. Raises as `open_node`."""
    site = without_undelivered(site)
    files = read_files(site)
    site = as_on_disk(site, files)
    with open_guests(site, say, SYSTEM, Caches(CacheTable())) as guests:
        vector_models = VectorModels(
            guests.site,
            guests.agents,
            lambda fed: files[fed.collection].config.models_of(fed.vector) if fed.collection in files else (),
        )
        checked = guests._replace(vector_models=vector_models)
        try:
            pin_needed(site, checked, say)
            for table in site.tenants:
                check_tenant(table, checked, site.pipelines, _no_collection)
            return open_pipelines(guests.site, checked, _no_collection, SYSTEM)
        finally:
            vector_models.close()


def _no_collection(name: str) -> Collection:
    raise NotFoundError(f"collection `{name}` is not open")


@contextlib.contextmanager
def open_guests(site: Site, say: Say, clock: Clock, caches: Caches) -> Iterator[Guests]:
    """Models and agents, each in its pool, over one set of guest threads; agents may have been granted models."""
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(GuestThreads(max(2, len(os.sched_getaffinity(0)))))
        signers = signers_of(site)
        pooling = Pooling(
            threads,
            memory_mb=site.node.memory_mb,
            signers=signers,
            has_layers=site.telemetry.traces.layers,
            clock=clock,
        )
        agents: dict[str, ServedAgent] = {}
        unheld = VectorModels(site, agents, lambda _: ())
        guests = Guests(site, pooling, agents, models := {}, origins := {}, caches, unheld)
        for name, model in site.models.items():
            with naming(site, f"models.{name}"):
                models[name], origins[name] = open_model(
                    name, model, site.path_of(model.path), pooling, clock=clock, say=say
                )
            stack.callback(close_model, models[name])
            session = models[name].pool.first
            say(f"model `{name}`: {model.path}, {session.engine} engine, {session.memory_bytes >> 20} MiB of memory")
        site = with_default_pipelines(site, {name: served.model.manifest for name, served in models.items()})
        guests = guests._replace(site=site, vector_models=VectorModels(site, agents, lambda _: ()))
        for name, agent in site.agents.items():
            with naming(site, f"agents.{name}"):
                agents[name] = _open_agent(site, name, agent, guests)
            stack.callback(_close_agent, agents[name])
            say(f"agent `{name}`: {agent.path}")
        yield guests


def _open_agent(site: Site, name: str, table: AgentTable, guests: Guests) -> ServedAgent:
    agent = Agent.open(
        site.agent_path(table),
        table.config,
        name=name,
        memory_bytes=None if table.memory_mb is None else table.memory_mb << 20,
        deadline_ms=table.deadline_ms,
        grants=table.grants,
        models=ModelsForAgents(guests.models),
        sha256=table.sha256,
        files={key: site.path_of(path) for key, path in table.files.items()},
        bounds=CompileBounds(table.compile.code_mb << 20, table.compile.memory_mb << 20, table.compile.time_s),
        signers=guests.pooling.signers,
    )
    instances = Instances(table.instances.min, table.instances.max)
    return ServedAgent(name, guests.pooling.agent(agent, name, table), instances)


def _close_agent(agent: ServedAgent) -> None:
    agent.pool.close()


@contextlib.asynccontextmanager
async def _repository(
    own_pipelines: OwnPipelines,
    pipelines: Mapping[str, ServedPipeline],
    collections: Collections,
    bound: Mapping[str, BoundTenant],
    clock: Clock,
    say: Say,
) -> AsyncIterator[ModelRepository]:
    """The models' versions, watched where the site file says so; bound: to whose pipelines they are bound, too."""
    guests, site = own_pipelines.guests, own_pipelines.guests.site

    def bind(key: str, models: Mapping[str, ServedModel], agents: Mapping[str, ServedAgent]) -> ServedPipeline:
        owner, _, name = key.rpartition("/")
        own, held = (
            (bound[owner].guests, bound[owner].room.collections) if owner else (own_pipelines.guests, collections)
        )
        now = as_it_is(own.site, held)
        given = own._replace(models=models, agents=agents, vector_models=own.vector_models.with_agents(agents))
        return open_pipeline(now, name, given, held.get, clock)

    def open_pool(name: str, path: Path, sha256: str) -> Pool[Agent]:
        now = own_pipelines.guests.site
        table = msgspec.structs.replace(now.agents[name], path=str(path.absolute()), sha256=sha256)
        return _open_agent(now, name, table, guests).pool

    def open_new(site: Site, name: str) -> ServedAgent:
        with naming(site, f"agents.{name}"):
            return _open_agent(site, name, site.agents[name], guests)

    def agent_deployed(agent: ServedAgent) -> None:
        if guests.trail is not None:
            guests.trail.deployed("agents", agent.name, agent.pool.first.digest)

    def deployed(model: ServedModel, what: str) -> None:
        if guests.trail is not None:
            guests.trail.deployed("models", model.name, model.model.digest, what=what, version=model.serving.number)

    repository = ModelRepository(
        cast(MutableMapping[str, ServedModel], guests.models),  # those of `open_guests`, of which all others are views
        guests.origins,
        AgentRepository(
            cast(MutableMapping[str, ServedAgent], guests.agents), open_pool, open_new, say=say, deployed=agent_deployed
        ),
        Rebinding(guests.models, guests.agents, EveryPipeline(pipelines, bound), bind),
        guests.pooling,
        say=say,
        clock=clock,
        deployed=deployed,
    )
    for model in guests.models.values():
        deployed(model, "serves")
    for agent in guests.agents.values():
        agent_deployed(agent)
    watching = asyncio.create_task(repository.watch(site.repository.watch_s)) if site.repository.watch_s else None
    try:
        yield repository
    finally:
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        repository.close()
