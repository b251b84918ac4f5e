"""Pipelines bound to other versions than those that serve: which they concern, and whether they take them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from littoral.errors import ConflictError, SettingError
from littoral.node.node import ServedAgent, ServedModel, ServedPipeline, ServedVersion
from littoral.runtime.agents import Agent
from littoral.runtime.pool import Pool

__all__ = ["Bind", "Rebinding", "Versions"]

Bind = Callable[[str, Mapping[str, ServedModel], Mapping[str, ServedAgent]], ServedPipeline]
"""A pipeline of the site file by name, bound to these. Raises SettingError for an edge that does not fit."""

_T = TypeVar("_T")


class Versions(NamedTuple):
    """Of models and agents, by name: what serves together, or is to."""

    models: Mapping[str, ServedVersion] = {}
    agents: Mapping[str, Pool[Agent]] = {}

    @property
    def is_empty(self) -> bool:
        return not self.models and not self.agents


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
        changed = {name: replace(self._models[name], serving=version) for name, version in wanted.models.items()}
        others = {name: replace(self._agents[name], pool=pool) for name, pool in wanted.agents.items()}
        models, agents = _Noting({**self._models, **changed}), _Noting({**self._agents, **others})
        found = {}
        try:
            for name in self._pipelines:
                models.asked.clear()
                agents.asked.clear()
                pipeline = self._bind(name, models, agents)
                if models.asked & changed.keys() or agents.asked & others.keys():
                    found[name] = pipeline
        except SettingError as error:
            told = [f"model `{name}`: version {version.number}" for name, version in wanted.models.items()]
            told += [f"agent `{name}`: {pool.first.manifest.version}" for name, pool in wanted.agents.items()]
            raise ConflictError(
                f"{', '.join(told)} does not fit: {error.message}",
                hint="the version before goes on: give this one the inputs and outputs that its pipelines use",
            ) from error
        return found

    def put(self, bound: Mapping[str, ServedPipeline]) -> None:
        """From now on the pipelines are bound as these."""
        for name, pipeline in bound.items():
            self._pipelines[name].take(pipeline)

    def users(self, model: str) -> list[str]:
        """The pipelines that use it."""
        models, found = _Noting(self._models), []
        for pipeline in self._pipelines:
            models.asked.clear()
            self._bind(pipeline, models, self._agents)
            if model in models.asked:
                found.append(pipeline)
        return found
