"""Pipelines of a site file, bound to the models and agents that are open, every edge checked."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from littoral.clock import Clock
from littoral.errors import LittoralError, SettingError
from littoral.node.caches import Caches
from littoral.node.model_opening import Origin
from littoral.node.node import ServedAgent, ServedModel, ServedPipeline, ServedVersion, StepDescription
from littoral.node.placement.placement import Placement
from littoral.node.placement.step import PlacedStep
from littoral.node.pooling import Pooling
from littoral.node.residency import Residency, parse_residency, parse_wish
from littoral.node.search_step import SearchStep
from littoral.node.site import Site, inner_steps
from littoral.node.site_tables import (
    AgentStepTable,
    ForEachStepTable,
    ModelStepTable,
    SearchStepTable,
    StepTable,
    UpsertStepTable,
)
from littoral.node.upsert_step import UpsertStep
from littoral.node.vector_makers import Makers, given_by, made_by
from littoral.node.vector_models import VectorModels
from littoral.runtime.for_each import ForEachStep
from littoral.runtime.gate import Gate
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.host.options import Ctc, Draw, HostOptions, TopK
from littoral.runtime.host_steps import HostStep
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.sources import Placed
from littoral.runtime.step import Step
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion

if TYPE_CHECKING:
    from littoral.node.audit.trail import Trail

__all__ = ["Find", "Guests", "naming", "open_pipeline", "open_pipelines"]

Find = Callable[[str], Collection]
Bounds = tuple[Residency, ...]
Claim = Callable[[str, Sequence[ModelVersion], str], Awaitable[None]]
"""Says whose the vectors of a name are, in a collection that nobody said it of."""


class Guests(NamedTuple):
    """site: of the file, and what the models bring along. claim: None where nothing is written. gate: of the tenant
    that the pipelines belong to, if they do. trail: of audit.
    """

    site: Site
    pooling: Pooling
    agents: Mapping[str, ServedAgent]
    models: Mapping[str, ServedModel]
    origins: Mapping[str, Origin]
    caches: Caches
    vector_models: VectorModels
    claim: Claim | None = None
    placement: Placement | None = None
    gate: Gate | None = None
    trail: "Trail | None" = None


def open_pipelines(site: Site, guests: Guests, find: Find, clock: Clock) -> dict[str, ServedPipeline]:
    """Raises SettingError naming the pipeline and the two steps that do not fit, or the collection that holds other
    embeddings than those it is to be fed with.
    """
    found = {name: open_pipeline(site, name, guests, find, clock) for name in site.pipelines}
    guests.vector_models.check_alone(guests.models)
    return found


def open_pipeline(site: Site, name: str, guests: Guests, find: Find, clock: Clock) -> ServedPipeline:
    """One of them."""
    tables = site.pipelines[name]
    with naming(site, f"pipelines.{name}"):
        chosen = guests.vector_models.bound(name, guests.models)
        binding = _Binding(site, guests, find, chosen, guests.vector_models.agents(name))
        pipeline = Pipeline(
            name, binding.placed(tables, frozenset()), node=site.node.name, gate=guests.gate, clock=clock
        )
    descriptions = tuple(
        StepDescription(
            edge.name, *binding.kind(table), str(edge.takes), str(edge.gives), edge.sources, binding.digest(table)
        )
        for table, edge in zip(tables, pipeline.edges, strict=True)
    )
    return ServedPipeline(name, pipeline, descriptions, binding.version(made_by(tables)))


class _Binding:
    """Of one pipeline. chosen: versions that it has in the place of those that serve. agents: that stand for others."""

    def __init__(
        self,
        site: Site,
        guests: Guests,
        find: Find,
        chosen: Mapping[str, ServedVersion],
        agents: Mapping[str, str],
    ) -> None:
        self._site = site
        self._guests = guests
        self._find = find
        self._chosen = chosen
        self._agents = agents

    def placed(self, tables: Sequence[StepTable], outer: Makers, bounds: Bounds = ()) -> list[Placed]:
        """bounds: of what the steps stand in."""
        return [
            Placed(self._step(table, makers, (*bounds, parse_residency(table.residency))), table.name, table.source)
            for table, makers in zip(tables, given_by(tables, outer), strict=True)
        ]

    def version(self, makers: Makers) -> ModelVersion | None:
        return self._guests.vector_models.joined(makers, self._guests.models, self._chosen)

    def kind(self, table: StepTable) -> tuple[str, str]:
        """As `_kind`; of an agent, the one that does the step."""
        return ("agent", self._agent_of(table)) if isinstance(table, AgentStepTable) else _kind(table)

    def _agent_of(self, table: AgentStepTable) -> str:
        return self._agents.get(table.agent, table.agent)

    def digest(self, table: StepTable) -> str:
        return self._version_of(table.model).model.digest if isinstance(table, ModelStepTable) else ""

    def _version_of(self, model: str) -> ServedVersion:
        served = self._guests.models[model]
        return self._chosen.get(model, served.serving)

    def _movable(self, step: ModelStep | AgentStep, table: StepTable, digest: str, bounds: Bounds) -> Step:
        wish, placement = parse_wish(table.place), self._guests.placement
        if placement is None or wish.is_here:
            return step
        return PlacedStep(step, digest, placement.asker, wish, bounds)

    def _step(self, table: StepTable, makers: Makers, bounds: Bounds) -> Step:
        guests = self._guests
        match table:
            case AgentStepTable():
                agents = guests.agents[self._agent_of(table)].pool
                return self._movable(AgentStep(agents, name=table.agent), table, agents.first.digest, bounds)
            case ModelStepTable():
                serving = self._version_of(table.model)
                batcher = guests.pooling.batchers.get(serving.pool)
                step = ModelStep(serving.pool, take=table.take, batcher=batcher, name=table.model)
                return self._movable(step, table, serving.model.digest, bounds)
            case HostOptions():
                return HostStep(table, threads=guests.pooling.threads, labels=_labels(table, guests))
            case ForEachStepTable():
                inner = self.placed(inner_steps(table), makers, bounds)
                name = table.name or "for_each"
                return ForEachStep(inner, items_max=table.max, parallel=table.parallel, name=name)
            case SearchStepTable():
                return self._search(table, self.version(makers))
            case UpsertStepTable():
                return self._upsert(table, self.version(makers))

    def _search(self, table: SearchStepTable, model: ModelVersion | None) -> SearchStep:
        find, name = self._find, table.search
        size = self._site.collections[name].plain(table.using).size
        return SearchStep(
            lambda: find(name).of(model, table.using),
            size=size,
            options=table.options(),
            caches=self._guests.caches,
            recall=table.recall,
            trail=self._guests.trail,
        )

    def _upsert(self, table: UpsertStepTable, model: ModelVersion | None) -> UpsertStep:
        find, name, claim = self._find, table.upsert, self._guests.claim

        async def claimed() -> None:
            if claim is not None and model is not None and not find(name).config.models_of(table.vector):
                await claim(name, [model], table.vector)

        return UpsertStep(
            lambda: find(name).of(model, table.vector),
            size=self._site.collections[name].plain(table.vector).size,
            vector=table.vector,
            is_by_message=table.id == "message",
            payload=table.payload,
            first=claimed,
            trail=self._guests.trail,
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
def naming(site: Site, key: str) -> Iterator[None]:
    """Puts file and key before the message of whatever goes wrong."""
    try:
        yield
    except LittoralError as error:
        error.message = f"{site.file}: `{key}`: {error.message}"
        raise
