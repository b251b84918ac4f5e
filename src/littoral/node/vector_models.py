"""Whose vectors meet whose: binds the steps of pipelines to the model that the collections hold they feed.

A pipeline whose model is another is not bound at all, neither at the start nor when a version takes over. Versions
that a collection needs and that do not serve are pinned: open for its pipelines alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from littoral.errors import SettingError
from littoral.node.declared_models import agents_with, version_of
from littoral.node.node import ServedAgent, ServedModel, ServedVersion
from littoral.node.site import Site
from littoral.node.vector_makers import Fed, Maker, Makers, feeds
from littoral.runtime.builtin_agents import PREFIX
from littoral.vectors.model_version import ModelVersion, listed

__all__ = ["Holds", "VectorModels", "serving_version"]

Holds = Callable[[Fed], Sequence[ModelVersion]]
"""Whose a vector of a collection is; nobody's while it is not known."""

Versions = Mapping[str, ServedVersion]
"""By the name that steps have for a model."""


class VectorModels:
    """site: its collections and pipelines. pinned: versions by their digest (`ModelVersion.digest`)."""

    def __init__(self, site: Site, agents: Mapping[str, ServedAgent], holds: Holds) -> None:
        self._site = site
        self._agents = agents
        self._prefers_pins = False
        self.holds = holds
        self._pinned: dict[str, tuple[ModelVersion, ServedVersion]] = {}

    def with_holds(self, holds: Holds, *, prefers_pins: bool = False) -> "VectorModels":
        """The same, as if collections held others. prefers_pins: also where the version that serves is the same."""
        other = VectorModels(self._site, self._agents, holds)
        other._pinned, other._prefers_pins = self._pinned, prefers_pins
        return other

    def with_agents(self, agents: Mapping[str, ServedAgent]) -> "VectorModels":
        """The same, as if the node served these."""
        other = VectorModels(self._site, agents, self.holds)
        other._pinned, other._prefers_pins = self._pinned, self._prefers_pins
        return other

    def of_site(self, site: Site) -> "VectorModels":
        """The same versions, for other pipelines; who closes one of the two closes both."""
        other = VectorModels(site, self._agents, self.holds)
        other._pinned, other._prefers_pins = self._pinned, self._prefers_pins
        return other

    def pin(self, model: ModelVersion, version: ServedVersion) -> None:
        """From now on it is there for who needs it."""
        self._pinned[model.digest] = (model, version)

    def pinned(self, model: ModelVersion) -> ServedVersion | None:
        """None if it is not."""
        return next((version for known, version in self._pinned.values() if known.is_same(model)), None)

    def unpin(self, model: ModelVersion) -> ServedVersion | None:
        """It is not there any more; closing it is the caller's."""
        digest = next((digest for digest, (known, _) in self._pinned.items() if known.is_same(model)), "")
        found = self._pinned.pop(digest, None)
        return None if found is None else found[1]

    @property
    def has_pinned(self) -> bool:
        return bool(self._pinned)

    def close(self) -> None:
        for _, version in self._pinned.values():
            version.pool.close()
        self._pinned.clear()

    def feeders(self, collection: str) -> list[str]:
        """The pipelines whose vectors meet those of a collection."""
        return [
            name
            for name in self._site.pipelines
            if any(fed.collection == collection for fed in feeds(self._site, name))
        ]

    def bound(self, pipeline: str, models: Mapping[str, ServedModel]) -> Versions:
        """Versions for the models of a pipeline that are not those that serve.

        Raises SettingError where a collection holds the embeddings of another model than can be had.
        """
        chosen: dict[str, ServedVersion] = {}
        for fed, makers in feeds(self._site, pipeline).items():
            if not (holds := self.holds(fed)):
                continue
            for maker in makers:
                if maker.kind == "model":
                    self._choose(fed, holds, maker, models[maker.name], chosen)
                elif not any(self._agent(maker.name).is_same(one) for one in holds):
                    raise _strange(fed, holds, self._agent(maker.name))
        return {name: version for name, version in chosen.items() if version is not models[name].serving}

    def _choose(
        self,
        fed: Fed,
        holds: Sequence[ModelVersion],
        maker: Maker,
        served: ServedModel,
        chosen: dict[str, ServedVersion],
    ) -> None:
        serving = serving_version(served)
        version = served.serving
        if self._prefers_pins or not any(serving.is_same(one) for one in holds):
            pins = (self.pinned(one) for one in holds if maker.name in (one.name, one.stands_for))
            if (found := next(filter(None, pins), None)) is None:
                raise _strange(fed, holds, serving)
            version = found
        if chosen.setdefault(maker.name, version) is not version:
            raise SettingError(
                f"model `{maker.name}` is to be another version for {fed} than for another vector of this pipeline",
                hint="give each of them a pipeline of its own",
            )

    def agents(self, pipeline: str) -> Mapping[str, str]:
        """Agents of a pipeline in whose place others stand, as its collections hold embeddings of models that want it.

        Raises SettingError where they want different ones.
        """
        chosen: dict[str, str] = {}
        for fed in feeds(self._site, pipeline):
            if (table := self._site.collections[fed.collection].migrate) is None:
                continue
            for model in self.holds(fed):
                for agent, instead in agents_with(self._site, table, model).items():
                    if chosen.setdefault(agent, instead) != instead:
                        raise SettingError(
                            f"agent `{instead}` is to stand for `{agent}` with `{model}`, and `{chosen[agent]}` with "
                            f"another model of this pipeline",
                            hint="give each of them a pipeline of its own",
                        )
        return chosen

    def joined(self, makers: Makers, models: Mapping[str, ServedModel], chosen: Versions) -> ModelVersion | None:
        """What vectors of these makers are known by; None for those that come with a request."""
        versions = sorted((self._version(maker, models, chosen) for maker in makers), key=str)
        if len(versions) < 2:
            return versions[0] if versions else None
        digest = hashlib.sha256(" ".join(one.digest for one in versions).encode()).hexdigest()
        return ModelVersion("+".join(one.name for one in versions)[:200], digest)

    def _version(self, maker: Maker, models: Mapping[str, ServedModel], chosen: Versions) -> ModelVersion:
        if maker.kind == "agent":
            return self._agent(maker.name)
        served = models[maker.name]
        version = chosen.get(maker.name, served.serving)
        for model, pinned in self._pinned.values():
            if pinned is version:
                return ModelVersion(model.name, model.digest, version.number)
        return version_of(maker.name, version.number, version.model.manifest)

    def _agent(self, name: str) -> ModelVersion:
        """An agent that is shipped with the package is known by its name: releases build it anew."""
        table = self._site.agents[name]
        digest = self._agents[name].pool.first.digest
        if table.path.startswith(PREFIX):
            digest = hashlib.sha256(f"{table.path} {sorted(table.config.items())}".encode()).hexdigest()
        return ModelVersion(name, digest)

    def check_alone(self, models: Mapping[str, ServedModel]) -> None:
        """Raises SettingError where pipelines with different models feed one vector of a collection that names none."""
        first: dict[Fed, tuple[str, ModelVersion]] = {}
        for pipeline in self._site.pipelines:
            for fed, makers in feeds(self._site, pipeline).items():
                version = self.joined(makers, models, {})
                if version is None or self.holds(fed):
                    continue
                known, other = first.setdefault(fed, (pipeline, version))
                if not other.is_same(version):
                    raise SettingError(
                        f"{self._site.file}: pipelines `{known}` ({other}) and `{pipeline}` ({version}) both feed "
                        f"{fed}",
                        hint=f"two models never mix, unless `collections.{fed.collection}.model` lists both",
                    )

    def needed(self, models: Mapping[str, ServedModel]) -> Iterator[ModelVersion]:
        """Versions that collections hold, and that do not serve under the name that pipelines have for them."""
        for fed in _vectors(self._site):
            for one in self.holds(fed):
                served = models.get(one.name)
                if served is None or self.pinned(one) is not None:
                    continue
                if one.stands_for or not serving_version(served).is_same(one):
                    yield one


def serving_version(served: ServedModel) -> ModelVersion:
    """Of a model, what answers who asks for none."""
    return version_of(served.name, served.serving.number, served.serving.model.manifest)


def _vectors(site: Site) -> Iterator[Fed]:
    for name, table in site.collections.items():
        yield from (Fed(name, vector) for vector in table.config().dense)


def _strange(fed: Fed, holds: Iterable[ModelVersion], given: ModelVersion) -> SettingError:
    to = f"{fed.vector}=NAME@NUMBER" if fed.vector else "NAME@NUMBER"
    return SettingError(
        f"{fed} holds embeddings of {listed(list(holds))}, this pipeline makes those of `{given}`",
        hint=f"two models never mix: `littoral collections migrate {fed.collection} --to {to}` embeds it anew",
    )
