"""Pipelines bound to other versions than those that serve: which they concern, and whether they take them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import NamedTuple, TypeVar

from littoral.errors import ConflictError, SettingError
from littoral.node.model_opening import Origin
from littoral.node.node import Instances, ServedAgent, ServedModel, ServedPipeline, ServedVersion
from littoral.runtime.agents import Agent
from littoral.runtime.pool import Pool

__all__ = ["Bind", "Others", "Rebinding", "Versions", "bound_users", "fitting"]

Bind = Callable[[str, Mapping[str, ServedModel], Mapping[str, ServedAgent]], ServedPipeline]
"""A pipeline of the site file by name, bound to these. Raises SettingError for an edge that does not fit."""

_T = TypeVar("_T")


class Others(NamedTuple):
    """Of a model by another table of the site file. versions: those that can be asked for."""

    versions: Mapping[int, ServedVersion]
    origin: Origin


class Versions(NamedTuple):
    """Of models and agents, by name: what serves together, or is to. others, instances: of those of them whose table in
    the site file is another."""

    models: Mapping[str, ServedVersion] = {}
    agents: Mapping[str, Pool[Agent]] = {}
    others: Mapping[str, Others] = {}
    instances: Mapping[str, Instances] = {}

    @property
    def is_empty(self) -> bool:
        return not self.models and not self.agents

    def told(self) -> str:
        """For people."""
        told = [f"model `{name}`: version {version.number}" for name, version in self.models.items()]
        return ", ".join((*told, *(f"agent `{n}`: {pool.first.manifest.version}" for n, pool in self.agents.items())))


class _Noting(dict[str, _T]):
    """What a pipeline is bound to, at whatever depth. asked: names."""

    def __init__(self, served: Mapping[str, _T]) -> None:
        super().__init__(served)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> _T:
        self.asked.add(name)
        return super().__getitem__(name)


class Rebinding:
    """models, agents, pipelines: what the node serves."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        agents: Mapping[str, ServedAgent],
        pipelines: Mapping[str, ServedPipeline],
        bind: Bind,
    ) -> None:
        self._models = models
        self._agents = agents
        self._pipelines = pipelines
        self._bind = bind

    def bound(self, wanted: Versions) -> Mapping[str, ServedPipeline]:
        """The pipelines that use any of these, bound to them. Raises ConflictError."""
        models, agents = self.with_versions(wanted)
        with fitting(wanted):
            return self.bound_to(wanted, self._pipelines, models, agents)

    def bound_to(
        self,
        wanted: Versions,
        names: Iterable[str],
        models: Mapping[str, ServedModel],
        agents: Mapping[str, ServedAgent],
    ) -> Mapping[str, ServedPipeline]:
        """As `bound`, of these pipelines alone and by these models and agents. Raises SettingError."""
        return bound_users(wanted, names, self._bind, models, agents)

    def with_versions(self, wanted: Versions) -> tuple[dict[str, ServedModel], dict[str, ServedAgent]]:
        """What the node would serve with these."""
        models = {name: replace(self._models[name], serving=version) for name, version in wanted.models.items()}
        agents = {name: replace(self._agents[name], pool=pool) for name, pool in wanted.agents.items()}
        return {**self._models, **models}, {**self._agents, **agents}

    def put(self, bound: Mapping[str, ServedPipeline]) -> None:
        """From now on the pipelines are bound as these."""
        for name, pipeline in bound.items():
            self._pipelines[name].take(pipeline)

    def users(self, model: str) -> list[str]:
        """The pipelines that use it."""
        asked = Versions({model: self._models[model].serving})
        return [*bound_users(asked, self._pipelines, self._bind, self._models, self._agents)]


def bound_users(
    wanted: Versions,
    names: Iterable[str],
    bind: Bind,
    models: Mapping[str, ServedModel],
    agents: Mapping[str, ServedAgent],
    *,
    always: Set[str] = frozenset(),
) -> dict[str, ServedPipeline]:
    """Of these pipelines those that use any of what is wanted, bound; always: those are bound whatever they use."""
    noted_models, noted_agents = _Noting(models), _Noting(agents)
    found = {}
    for name in names:
        noted_models.asked.clear()
        noted_agents.asked.clear()
        pipeline = bind(name, noted_models, noted_agents)
        is_used = noted_models.asked & wanted.models.keys() or noted_agents.asked & wanted.agents.keys()
        if is_used or name in always:
            found[name] = pipeline
    return found


@contextlib.contextmanager
def fitting(wanted: Versions) -> Iterator[None]:
    """Says of versions whose pipelines do not take them that they do not fit. Raises ConflictError."""
    try:
        yield
    except SettingError as error:
        if wanted.is_empty:
            raise
        raise ConflictError(
            f"{wanted.told()} does not fit: {error.message}",
            hint="the version before goes on: give this one the inputs and outputs that its pipelines use",
        ) from error
