"""Pipelines bound to the model of one generation of a collection, and the versions of models that this needs."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.errors import ConflictError, SettingError
from littoral.node.binding import Find, Guests, open_pipeline
from littoral.node.migrate_tables import MigrateTable
from littoral.node.migration.embedding import Embedding
from littoral.node.migration.sources import Source
from littoral.node.model_repository import ModelRepository
from littoral.node.needed_versions import open_warm
from littoral.node.node import ServedPipeline
from littoral.node.site import Site
from littoral.node.site_collections import as_it_is, as_on_disk
from littoral.node.vector_makers import in_its_place
from littoral.vectors.collections import Collections
from littoral.vectors.layout import CollectionFile
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.records import CollectionConfig

__all__ = ["Bindings", "Parts"]


class Parts(NamedTuple):
    """What of a node migrations change. site: as its file says it. pipelines: replaced in place."""

    site: Site
    guests: Guests
    find: Find
    collections: Collections
    pipelines: Mapping[str, ServedPipeline]
    repository: ModelRepository
    clock: Clock
    say: Callable[[str], None]


class Bindings:
    """Of one node."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def table(self, name: str) -> MigrateTable:
        """How a collection is embedded anew. Raises ConflictError where the site file does not say."""
        table = self._parts.site.collections.get(name)
        if table is None or table.migrate is None:
            raise ConflictError(
                f"collection `{name}` keeps nothing to embed anew",
                hint=f"`collections.{name}.migrate` in the site file says where what was embedded is kept",
            )
        return table.migrate

    def source(self, name: str) -> Source:
        """What was embedded. Raises as `table`."""
        return Source.of(self.table(name), self._folder)

    @property
    def _folder(self) -> Path:
        return self._parts.site.path_of(".")

    def in_its_place(self, name: str, model: ModelVersion) -> ModelVersion:
        """A model as it stands in the pipelines of a collection. Raises ConflictError."""
        pipeline = self.table(name).pipeline
        return in_its_place(model, pipeline, self._parts.site.pipelines[pipeline])

    async def open_versions(self, models: Iterable[ModelVersion]) -> None:
        """Of their own: those that serve may be replaced while generations of a collection need them."""
        for model in models:
            if self._parts.guests.vector_models.pinned(model) is None:
                version = await open_warm(self._parts.site, self._parts.guests, model)
                self._parts.guests.vector_models.pin(model, version)

    async def close_unheld(self, models: Iterable[ModelVersion]) -> None:
        """Versions that no collection needs any more."""
        for model in models:
            if not any(self._holds(one, model) for one in self._parts.site.collections):
                await self._close(model)

    async def _close(self, model: ModelVersion) -> None:
        if (version := self._parts.guests.vector_models.unpin(model)) is not None:
            self._parts.guests.pooling.forget(version.pool)
            await asyncio.to_thread(partial(version.pool.close, drains=True))

    def _holds(self, collection: str, model: ModelVersion) -> bool:
        if collection not in self._parts.collections:
            return False
        found = self._parts.collections.get(collection)
        models = (*found.config.models, *(found.other.config.models if found.other else ()))
        return any(model.is_same(one) for one in models)

    def embedding(self, name: str, model: ModelVersion) -> Embedding:
        """The pipeline that embeds anew, as if the collection held embeddings of this model."""
        table, config = self.table(name), self._parts.collections.get(name).config
        served = self._open(name, table.pipeline, msgspec.structs.replace(config, models=(model,)), prefers_pins=True)
        return Embedding(served.pipeline, Source.of(table, self._folder))

    def bound(self, name: str, config: CollectionConfig) -> Mapping[str, ServedPipeline]:
        """Every pipeline that feeds the collection, as if this were its configuration. Raises ConflictError."""
        feeders = self._parts.guests.vector_models.feeders(name)
        return {pipeline: self._open(name, pipeline, config) for pipeline in feeders}

    def _open(
        self, name: str, pipeline: str, config: CollectionConfig, *, prefers_pins: bool = False
    ) -> ServedPipeline:
        parts = self._parts
        known = parts.guests.vector_models
        held = known.with_holds(
            lambda one: config.models if one == name else known.holds(one), prefers_pins=prefers_pins
        )
        guests = parts.guests._replace(vector_models=held)
        try:
            site = as_on_disk(as_it_is(parts.site, parts.collections), {name: CollectionFile(config, [])})
            return open_pipeline(site, pipeline, guests, parts.find, parts.clock)
        except SettingError as error:
            raise ConflictError(
                error.message, hint=error.hint or f"`{config.models[0]}` must take what it is given there"
            ) from error
