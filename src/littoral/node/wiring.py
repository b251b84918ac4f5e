"""From a site file to a node: agents and models in their pools, collections, pipelines with every edge checked.

What is opened is closed in the reverse order, also where the start fails half-way.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError, NotFoundError, SettingError
from littoral.node.caches import Caches
from littoral.node.default_pipelines import with_default_pipelines
from littoral.node.federation.opening import open_federation
from littoral.node.model_opening import Origin, close_model, open_model
from littoral.node.model_repository import ModelRepository
from littoral.node.models_for_agents import ModelsForAgents
from littoral.node.node import Instances, Node, ServedAgent, ServedModel, ServedPipeline, StepDescription
from littoral.node.placement.opening import open_placement
from littoral.node.placement.placement import Placement
from littoral.node.placement.step import PlacedStep
from littoral.node.pooling import Pooling
from littoral.node.residency import Residency, parse_residency, parse_wish
from littoral.node.search_step import SearchStep
from littoral.node.site import Site, inner_steps
from littoral.node.site_tables import (
    AgentStepTable,
    AgentTable,
    CacheTable,
    ForEachStepTable,
    ModelStepTable,
    SearchStepTable,
    StepTable,
    UpsertStepTable,
)
from littoral.node.upsert_step import UpsertStep
from littoral.runtime.agents import Agent
from littoral.runtime.for_each import ForEachStep
from littoral.runtime.foreign_code import CompileBounds
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.host.options import Ctc, Draw, HostOptions, TopK
from littoral.runtime.host_steps import HostStep
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.sources import Placed
from littoral.runtime.step import Step
from littoral.transport import Transport
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections, ShardHosts
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from littoral.vectors.records import CollectionConfig

__all__ = ["Guests", "check_site", "open_guests", "open_node", "open_pipelines"]

Say = Callable[[str], None]
Bounds = tuple[Residency, ...]


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
    collections = await Collections.open(site.data, hosts, clock)  # first: its hosts start while models load
    caches = Caches(site.cache, site.data, clock)
    try:
        async with (
            open_federation(site, collections, transport, clock=clock, say=say) as federation,
            _guests(site, say, clock, caches) as guests,
        ):
            site = guests.site
            for name, table in site.collections.items():
                if table.spread is None:
                    await _ensure(collections, site, name, table.config(), say)
            async with (
                open_placement(site, federation, guests.models, guests.agents, guests.pooling, clock) as placement,
                _served(site, guests._replace(placement=placement), collections.get, clock, say) as (
                    pipelines,
                    repository,
                ),
            ):
                node = Node(
                    name=site.node.name,
                    listen=str(site.listen),
                    origins=tuple(site.node.origins),
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
                )
                if federation is not None:
                    federation.address = lambda: node.listen
                yield node
    finally:
        await caches.close()
        await collections.close()


@contextlib.asynccontextmanager
async def _guests(site: Site, say: Say, clock: Clock, caches: Caches) -> AsyncIterator["Guests"]:
    with open_guests(site, say, clock, caches) as guests:
        yield guests


def check_site(site: Site, *, say: Say = _silent) -> Mapping[str, ServedPipeline]:
    """Opens agents and models and checks every edge, without a shard host; closes them. Raises as `open_node`."""
    for name, table in site.collections.items():
        with contextlib.suppress(NotFoundError):
            found = read_collection_file(site.data / COLLECTIONS / name)
            _check_config(site, name, table.config(), found.config)
    with open_guests(site, say, SYSTEM, Caches(CacheTable())) as guests:
        return open_pipelines(guests.site, guests, _no_collection, SYSTEM)


def _no_collection(name: str) -> Collection:
    raise NotFoundError(f"collection `{name}` is not open")


class Guests(NamedTuple):
    """site: of the file, and what the models bring along."""

    site: Site
    pooling: Pooling
    agents: Mapping[str, ServedAgent]
    models: Mapping[str, ServedModel]
    origins: Mapping[str, Origin]
    caches: Caches
    placement: Placement | None = None


@contextlib.contextmanager
def open_guests(site: Site, say: Say, clock: Clock, caches: Caches) -> Iterator[Guests]:
    """Models and agents, each in its pool, over one set of guest threads; agents may have been granted models."""
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(GuestThreads(max(2, len(os.sched_getaffinity(0)))))
        pooling = Pooling(threads, memory_mb=site.node.memory_mb, clock=clock)
        guests = Guests(site, pooling, agents := {}, models := {}, origins := {}, caches)
        for name, model in site.models.items():
            with _naming(site, f"models.{name}"):
                models[name], origins[name] = open_model(
                    name, model, site.path_of(model.path), pooling, clock=clock, say=say
                )
            stack.callback(close_model, models[name])
            session = models[name].pool.first
            say(f"model `{name}`: {model.path}, {session.engine} engine, {session.memory_bytes >> 20} MiB of memory")
        site = with_default_pipelines(site, {name: served.model.manifest for name, served in models.items()})
        guests = guests._replace(site=site)
        for name, agent in site.agents.items():
            with _naming(site, f"agents.{name}"):
                agents[name] = _open_agent(site, name, agent, guests)
            stack.callback(agents[name].pool.close)
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
    )
    instances = Instances(table.instances.min, table.instances.max)
    return ServedAgent(name, guests.pooling.agent(agent, name, table), instances)


@contextlib.asynccontextmanager
async def _served(
    site: Site, guests: Guests, find: Callable[[str], Collection], clock: Clock, say: Say
) -> AsyncIterator[tuple[Mapping[str, ServedPipeline], ModelRepository]]:
    """Pipelines, and the models' versions, watched where the site file says so."""
    pipelines = open_pipelines(site, guests, find, clock)

    def bind(name: str, models: Mapping[str, ServedModel]) -> ServedPipeline:
        return _open_pipeline(site, name, guests._replace(models=models), find, clock)

    repository = ModelRepository(guests.models, guests.origins, pipelines, bind, guests.pooling, say=say, clock=clock)
    watching = asyncio.create_task(repository.watch(site.repository.watch_s)) if site.repository.watch_s else None
    try:
        yield pipelines, repository
    finally:
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        repository.close()


async def _ensure(collections: Collections, site: Site, name: str, config: CollectionConfig, say: Say) -> None:
    if name in collections.damaged:
        raise collections.damaged[name]
    if name not in collections:
        await collections.create(name, config)
        say(f"collection `{name}`: made, {_vectors(config)}")
        return
    _check_config(site, name, config, collections.get(name).config)
    say(f"collection `{name}`: {_vectors(config)}")


def _check_config(site: Site, name: str, config: CollectionConfig, found: CollectionConfig) -> None:
    wanted, plain = config.dense[""], found.dense.get("")
    if plain is None or (plain.size, plain.distance) != (wanted.size, wanted.distance):
        raise SettingError(
            f"{site.file}: `collections.{name}` is {_vectors(config)}, on disk it has {_vectors(found)}",
            hint="a collection never changes these: name another, or delete this one first",
        )


def _vectors(config: CollectionConfig) -> str:
    told = [f"{f'`{name}` ' if name else ''}{params.size} × {params.distance}" for name, params in config.dense.items()]
    return ", ".join((*told, *(f"`{name}` sparse" for name in config.sparse)))


def open_pipelines(
    site: Site, guests: Guests, find: Callable[[str], Collection], clock: Clock
) -> dict[str, ServedPipeline]:
    """Raises SettingError naming the pipeline and the two steps that do not fit."""
    return {name: _open_pipeline(site, name, guests, find, clock) for name in site.pipelines}


def _open_pipeline(
    site: Site, name: str, guests: Guests, find: Callable[[str], Collection], clock: Clock
) -> ServedPipeline:
    tables = site.pipelines[name]
    with _naming(site, f"pipelines.{name}"):
        steps = [_placed(table, site, guests, find) for table in tables]
        pipeline = Pipeline(name, steps, node=site.node.name, clock=clock)
    descriptions = tuple(
        StepDescription(edge.name, *_kind(table), str(edge.takes), str(edge.gives), edge.sources)
        for table, edge in zip(tables, pipeline.edges, strict=True)
    )
    return ServedPipeline(name, pipeline, descriptions)


def _placed(
    table: StepTable,
    site: Site,
    guests: Guests,
    find: Callable[[str], Collection],
    bounds: Bounds = (),
) -> Placed:
    """bounds: of what the step stands in."""
    bounds = (*bounds, parse_residency(table.residency))
    return Placed(_step(table, site, guests, find, bounds), table.name, table.source)


def _movable(step: ModelStep | AgentStep, table: StepTable, digest: str, guests: Guests, bounds: Bounds) -> Step:
    wish = parse_wish(table.place)
    if guests.placement is None or wish.is_here:
        return step
    return PlacedStep(step, digest, guests.placement.asker, wish, bounds)


def _step(table: StepTable, site: Site, guests: Guests, find: Callable[[str], Collection], bounds: Bounds) -> Step:
    match table:
        case AgentStepTable():
            agents = guests.agents[table.agent].pool
            return _movable(AgentStep(agents), table, agents.first.digest, guests, bounds)
        case ModelStepTable():
            serving = guests.models[table.model].serving
            batcher = guests.pooling.batchers.get(serving.pool)
            step = ModelStep(serving.pool, take=table.take, batcher=batcher)
            return _movable(step, table, serving.model.digest, guests, bounds)
        case HostOptions():
            return HostStep(table, threads=guests.pooling.threads, labels=_labels(table, guests))
        case ForEachStepTable():
            inner = [_placed(step, site, guests, find, bounds) for step in inner_steps(table)]
            name = table.name or "for_each"
            return ForEachStep(inner, items_max=table.max, parallel=table.parallel, name=name)
        case SearchStepTable():
            name = table.search
            size = site.collections[name].vectors.size
            return SearchStep(lambda: find(name), size=size, options=table.options(), caches=guests.caches)
        case UpsertStepTable():
            target = table.upsert
            return UpsertStep(
                lambda: find(target),
                size=site.collections[target].vectors.size,
                is_by_message=table.id == "message",
                payload=table.payload,
            )


def _labels(table: HostOptions, guests: Guests) -> Sequence[str] | None:
    if not isinstance(table, TopK | Draw | Ctc) or not isinstance(table.labels, str):
        return table.labels if isinstance(table, Draw) else None
    if not (labels := guests.models[table.labels].model.manifest.labels):
        raise SettingError(f"step `{table.step}`: model `{table.labels}` has no class names")
    return labels


def _kind(table: StepTable) -> tuple[str, str]:
    match table:
        case AgentStepTable():
            return "agent", table.agent
        case ModelStepTable():
            return "model", table.model
        case HostOptions():
            return "step", table.step
        case ForEachStepTable():
            return "for_each", ", ".join(_kind(step)[1] for step in inner_steps(table))
        case SearchStepTable():
            return "search", table.search
        case UpsertStepTable():
            return "upsert", table.upsert


@contextlib.contextmanager
def _naming(site: Site, key: str) -> Iterator[None]:
    """Puts file and key before the message of whatever goes wrong."""
    try:
        yield
    except LittoralError as error:
        error.message = f"{site.file}: `{key}`: {error.message}"
        raise
