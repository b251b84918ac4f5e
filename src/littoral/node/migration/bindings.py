"""Pipelines bound to the model of one generation of a collection, and the versions of models that this needs."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, SettingError
from littoral.node.binding import Find, Guests, open_pipeline
from littoral.node.migrate_tables import MigrateTable, WayTable
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
from littoral.vectors.model_version import ModelVersion, listed
from littoral.vectors.records import CollectionConfig

__all__ = ["Bindings", "Parts", "called"]


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


def called(vector: str) -> str:
    """For people."""
    return f"vector `{vector}`" if vector else "the vector without a name"


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

    def way(self, name: str, vector: str = "") -> WayTable:
        """How a vector of a collection is embedded anew. Raises ConflictError where the site file does not say."""
        if (found := self.table(name).ways.get(vector)) is None:
            key = f"named.{vector}" if vector else "source"
            raise ConflictError(
                f"collection `{name}`: {called(vector)} keeps nothing to embed anew",
                hint=f"`collections.{name}.migrate.{key}` in the site file says where what was embedded is kept",
            )
        return found

    def source(self, name: str, vector: str = "") -> Source:
        """What was embedded. Raises as `way`."""
        return Source.of(self.way(name, vector), self.table(name).folder, self._folder, vector)

    @property
    def _folder(self) -> Path:
        return self._parts.site.path_of(".")

    def in_its_place(self, name: str, model: ModelVersion, vector: str = "") -> ModelVersion:
        """A model as it stands in the pipelines of a collection. Raises ConflictError."""
        pipeline = self.way(name, vector).pipeline
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
        models = (*found.config.all_models, *(found.other.config.all_models if found.other else ()))
        return any(model.is_same(one) for one in models)

    def embeddings(self, name: str, config: CollectionConfig, vectors: Iterable[str]) -> Mapping[str, Embedding]:
        """By vector, the pipelines that embed these anew, as if this were the collection's configuration."""
        return {vector: self._embedding(name, config, vector) for vector in vectors}

    def _embedding(self, name: str, config: CollectionConfig, vector: str) -> Embedding:
        served = self._open(name, self.way(name, vector).pipeline, config, prefers_pins=True)
        return Embedding(served.pipeline, self.source(name, vector))

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
            lambda fed: config.models_of(fed.vector) if fed.collection == name else known.holds(fed),
            prefers_pins=prefers_pins,
        )
        guests = parts.guests._replace(vector_models=held)
        try:
            site = as_on_disk(as_it_is(parts.site, parts.collections), {name: CollectionFile(config, [])})
            return open_pipeline(site, pipeline, guests, parts.find, parts.clock)
        except SettingError as error:
            raise ConflictError(
                error.message, hint=error.hint or f"{listed(config.all_models)} must take what it is given there"
            ) from error
