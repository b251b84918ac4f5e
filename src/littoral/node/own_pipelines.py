"""The node's own pipelines while it serves: some come, some go, some have other steps, between two requests."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import NamedTuple

from littoral.artifact.manifest import Manifest
from littoral.clock import Clock
from littoral.node.binding import Guests, open_pipeline
from littoral.node.default_pipelines import agent_of, with_default_pipelines
from littoral.node.node import ServedAgent, ServedModel, ServedPipeline
from littoral.node.rebinding import Versions, bound_users, fitting
from littoral.node.site import Site
from littoral.node.site_collections import as_it_is
from littoral.vectors.collections import Collections

__all__ = ["OwnPipelines", "Prepared"]


class Prepared(NamedTuple):
    """Pipelines that are bound and do not count. guests: by which they are, until `take`, which cannot fail, is called:
    then those of the node have taken their place."""

    guests: Guests
    take: Callable[[], None]


class OwnPipelines:
    """guests: by which they are bound, with the site file as it is now. pipelines: by name, as all others see them."""

    def __init__(
        self, guests: Guests, pipelines: MutableMapping[str, ServedPipeline], collections: Collections, clock: Clock
    ) -> None:
        self.guests = guests
        self._pipelines = pipelines
        self._collections = collections
        self._clock = clock

    def own_site(self, before: Site, after: Site, manifests: Mapping[str, Manifest]) -> Site:
        """A site file as pipelines are bound by it: with the pipelines that models bring along. Those that were there
        stay as they are. manifests: of the models that it names. Raises SettingError as `with_default_pipelines`."""
        now = self.guests.site
        brought = {
            name: steps
            for name, steps in now.pipelines.items()
            if name not in before.pipelines and name not in after.pipelines and name in after.models
        }
        agents = {agent: now.agents[agent] for name in brought if (agent := agent_of(name)) in now.agents}
        own = now._replace(
            models=after.models,
            agents={**agents, **after.agents},
            collections={name: now.collections.get(name, table) for name, table in after.collections.items()},
            pipelines={**brought, **after.pipelines},
        )
        may_bring = {
            name: manifest
            for name, manifest in manifests.items()
            if name not in before.models or name in before.pipelines
        }
        return with_default_pipelines(own, may_bring)

    def prepare(
        self, own: Site, wanted: Versions, models: Mapping[str, ServedModel], agents: Mapping[str, ServedAgent]
    ) -> Prepared:
        """own: as `own_site` gave it. wanted: of these models and agents, which are to serve, those that are others.

        Those that a site file has beside what it had before, those with other steps, and those that use what is wanted
        are bound. A request under way ends by the steps with which it began. Raises SettingError as `open_pipelines`,
        and ConflictError where a pipeline does not take what is wanted.
        """
        had = self.guests.site.pipelines
        own = as_it_is(own, self._collections)
        vector_models = self.guests.vector_models.of_site(own)
        given = self.guests._replace(site=own, models=models, agents=agents)
        fresh = {name for name in own.pipelines if own.pipelines[name] != had.get(name)}

        def bind(name: str, models: Mapping[str, ServedModel], agents: Mapping[str, ServedAgent]) -> ServedPipeline:
            by = given._replace(models=models, agents=agents, vector_models=vector_models.with_agents(agents))
            return open_pipeline(own, name, by, self._collections.get, self._clock)

        with fitting(wanted):
            made = bound_users(wanted, own.pipelines, bind, models, agents, always=fresh)
        vector_models.with_agents(agents).check_alone(models)

        def take() -> None:
            self.guests = self.guests._replace(site=own, vector_models=vector_models)
            for name in had.keys() - own.pipelines.keys():
                self._pipelines.pop(name, None)
            for name, pipeline in made.items():
                if name in self._pipelines:
                    self._pipelines[name].take(pipeline)
                else:
                    self._pipelines[name] = pipeline

        return Prepared(given._replace(vector_models=vector_models.with_agents(agents)), take)
