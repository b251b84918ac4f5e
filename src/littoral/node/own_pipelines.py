"""The node's own pipelines while it serves: some come, some go, some have other steps, between two requests."""

from collections.abc import Callable, MutableMapping

from littoral.clock import Clock
from littoral.node.binding import Guests, open_pipeline
from littoral.node.node import ServedPipeline
from littoral.node.site import Site
from littoral.node.site_collections import as_it_is
from littoral.node.undelivered import without_undelivered
from littoral.vectors.collections import Collections

__all__ = ["OwnPipelines"]


class OwnPipelines:
    """guests: by which they are bound, with the site file as it is now. pipelines: by name, as all others see them."""

    def __init__(
        self, guests: Guests, pipelines: MutableMapping[str, ServedPipeline], collections: Collections, clock: Clock
    ) -> None:
        self.guests = guests
        self._pipelines = pipelines
        self._collections = collections
        self._clock = clock

    def prepare(self, before: Site, site: Site) -> tuple[Guests, Callable[[], None]]:
        """Those that a site file has beside what it had before, and those with other steps, are bound; they count, and
        others are gone, once what is given is called, which cannot fail. A request under way ends by the steps with
        which it began. Guests: as they are then. Raises SettingError as `open_pipelines`.
        """
        had, has = without_undelivered(before).pipelines, without_undelivered(site).pipelines
        if had == has:
            return self.guests, lambda: None
        brought = {name: steps for name, steps in self.guests.site.pipelines.items() if name not in had}
        known = self.guests.site.collections
        collections = {name: known.get(name, table) for name, table in site.collections.items()}
        own = self.guests.site._replace(models=site.models, agents=site.agents, collections=collections)
        own = own._replace(pipelines={**brought, **has})
        own = as_it_is(own, self._collections)
        vector_models = self.guests.vector_models.of_site(own)
        guests = self.guests._replace(site=own, vector_models=vector_models)
        fresh = [name for name in has if name not in self._pipelines or has[name] != had.get(name)]
        made = {name: open_pipeline(own, name, guests, self._collections.get, self._clock) for name in fresh}
        vector_models.check_alone(guests.models)

        def take() -> None:
            self.guests = guests
            for name in had.keys() - has.keys():
                self._pipelines.pop(name, None)
            for name, pipeline in made.items():
                if name in self._pipelines:
                    self._pipelines[name].take(pipeline)
                else:
                    self._pipelines[name] = pipeline

        return guests, take
