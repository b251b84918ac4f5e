"""The migrations of a node: begun by request or by its site file, and taken up again at its start.

A flip exchanges the generations and the pipelines that feed the collection in one turn of the event loop.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

import msgspec

from littoral.errors import ConflictError, LittoralError, NotFoundError, NotOfferedError
from littoral.node.declared_models import declared_versions, parse_wanted, read_version
from littoral.node.federation.federation import Federation
from littoral.node.migration.bindings import Bindings, Parts
from littoral.node.migration.embedding import Embedding
from littoral.node.migration.lasting import Lasting
from littoral.node.migration.migration import Migration, Progress, Told
from littoral.node.migration.pair import Pair, Side
from littoral.node.migration.sources import Source
from littoral.node.migration.spread.migrations import SpreadMigrations
from littoral.node.site_collections import declared
from littoral.vectors.collection import Collection
from littoral.vectors.indexes import parse_schema
from littoral.vectors.model_version import ModelVersion, listed
from littoral.vectors.records import CollectionConfig

__all__ = ["Migrations"]

FOLDER = "migrations"
"""Below the node's data."""


class Migrations:
    """For one event loop."""

    def __init__(self, parts: Parts, federation: Federation | None = None) -> None:
        """federation: of the collections that are spread over nodes."""
        self._parts = parts
        self._bindings = Bindings(parts)
        self._spread = SpreadMigrations(parts, self._bindings, federation)
        self._running: dict[str, Migration] = {}
        self._failed: dict[str, str] = {}
        self._starting = asyncio.Lock()

    async def open(self) -> None:
        """Goes on with what was under way, and begins what the site file wants. What cannot be begun is told, and seen
        in `progress`."""
        for name, table in self._parts.site.collections.items():
            if table.spread is not None:
                continue
            try:
                if self._parts.collections.file_of(self._own_name(name)).other is not None:
                    await self._resume(name)
                elif (wanted := self._wanted(name)) is not None:
                    await self._begin(name, wanted)
            except (LittoralError, OSError) as error:
                self._failed[name] = str(error)
                self._parts.say(f"collection `{name}`: migration: {error}")
        await self._spread.open()

    async def close(self) -> None:
        """What is under way goes on at the next start."""
        await self._spread.close()
        for migration in list(self._running.values()):
            await migration.stop()

    async def start(self, name: str, to: str) -> None:
        """to: `MODEL@VERSION` of the site file. Raises NotFoundError, ConflictError, NotOfferedError, SettingError."""
        async with self._starting:
            await self._forget_deleted()
            model = await asyncio.to_thread(read_version, self._parts.site, parse_wanted(to, self._parts.site))
            own = self._own_name(name)
            if own in self._spread:
                await self._spread.start(own, model)
                return
            if own in self._running:
                progress = self._running[own].progress
                if progress.other.is_same(model) and progress.state != "flipped":
                    return
            await self._begin(own, model)

    async def back(self, name: str) -> None:
        """Raises NotFoundError where no generation before is kept, and as `Migration.back`, `Writer.back`."""
        if (own := self._own_name(name)) in self._spread:
            await self._spread.back(own)
        else:
            await self._find(name).back()

    async def drop(self, name: str) -> None:
        """Ends a migration before its flip, or the generation that is kept after it. Raises NotFoundError."""
        async with self._starting:
            await self._forget_deleted()
            own = self._own_name(name)
            if own in self._spread:
                await self._spread.drop(own)
                return
            if (migration := self._running.get(own)) is not None:
                await migration.stop()
            await self._end(own)

    def failure(self, name: str) -> str:
        """Why a migration that should go on does not; '' otherwise."""
        own = self._own_name(name)
        return self._spread.failure(own) if own in self._spread else self._failed.get(own, "")

    def all(self) -> Mapping[str, Told]:
        """By collection."""
        return {**self._spread.all(), **{name: one.told for name, one in self._alive().items()}}

    def _alive(self) -> Mapping[str, Migration]:
        return {name: migration for name, migration in self._running.items() if migration.is_there}

    def _own_name(self, name: str) -> str:
        return self._parts.collections.get(name).name

    def _find(self, name: str) -> Migration:
        if (found := self._alive().get(self._own_name(name))) is None:
            raise NotFoundError(f"collection `{name}` has one generation: none is being built, none is kept")
        return found

    def _wanted(self, name: str) -> ModelVersion | None:
        """What the site file wants of a collection that holds something else."""
        table, file = self._parts.site.collections[name], self._parts.collections.file_of(self._own_name(name))
        if table.migrate is None or not file.config.models or declared(table) == file.declared:
            return None
        wanted = declared_versions(self._parts.site, table)
        if len(wanted) != 1 or any(wanted[0].is_same(one) for one in file.config.models):
            return None
        return wanted[0] if "@" in declared(table) or self._is_of_no_version(name, wanted[0]) else None

    def _is_of_no_version(self, name: str, wanted: ModelVersion) -> bool:
        """Whether it holds embeddings of another model: a name without a number means any version of it."""
        return all(one.name != wanted.name for one in self._parts.collections.get(name).config.models)

    async def _begin(self, name: str, model: ModelVersion) -> Migration:
        collection, table = self._parts.collections.get(name), self._bindings.table(name)
        source, target = self._endpoints(collection, model)
        await self._check_sources(collection, self._bindings.source(name))
        await self._bindings.open_versions((source, target))
        embeds = self._bindings.embedding(name, target)
        config = await self._config(collection, target, embeds)
        self._bindings.bound(name, config)  # what does not fit is refused now
        other = await self._parts.collections.begin_generation(name, config)
        for field, index in (await collection.info()).payload_schema.items():
            await other.create_index(field, parse_schema(index.params or index.data_type))
        self._parts.say(f"collection `{name}`: is embedded anew by `{target}`, from `{table.source}`")
        return self._run(name, 0.0)

    async def _resume(self, name: str) -> None:
        name = self._own_name(name)
        file = self._parts.collections.file_of(name)
        assert file.other is not None
        self._bindings.table(name)
        await self._bindings.open_versions((*file.config.models, *file.other.config.models))
        self._run(name, file.other.flipped_at)
        self._parts.say(f"collection `{name}`: its migration goes on")

    def _run(self, name: str, kept_since: float) -> Migration:
        parts, table = self._parts, self._bindings.table(name)
        collection = parts.collections.get(name)
        other = parts.collections.generations.other_of(name)
        current = Side(collection, self._bindings.embedding(name, collection.config.models[0]))
        following = Side(other, self._bindings.embedding(name, other.config.models[0]))
        pair = Pair(current, following, self._bindings.source(name))
        migration = Migration(
            pair,
            Progress(collection.config.models[0], other.config.models[0]),
            flip=partial(self._flip, name, pair),
            drop=partial(self._end, name),
            points_per_s=table.points_per_s,
            keep_s=table.keep_h * 3600,
            kept_since=kept_since,
            lasting=self._lasting(name, kept_since),
            is_there=lambda: name in parts.collections and parts.collections.get(name) is pair.current.collection,
            clock=parts.clock,
            say=parts.say,
        )
        self._running[name] = migration
        self._failed.pop(name, None)
        migration.start()
        return migration

    def _lasting(self, name: str, kept_since: float) -> Lasting:
        parts = self._parts
        file = parts.site.data / FOLDER / f"{quote(name, safe='')}.kept"
        if not kept_since:
            file.unlink(missing_ok=True)
        return Lasting(file, parts.clock, parts.clock.wall() - kept_since if kept_since else 0.0)

    async def _flip(self, name: str, pair: Pair) -> None:
        """Collection and pipelines in one turn of the loop; no version of a model takes over meanwhile."""
        parts = self._parts
        async with parts.repository.turn:
            bound = self._bindings.bound(name, pair.other.collection.config)

            def then() -> None:
                pair.swap()
                for pipeline, served in bound.items():
                    parts.pipelines[pipeline].take(served)

            await parts.collections.flip_generations(name, declared(parts.site.collections[name]), then)

    async def _end(self, name: str) -> None:
        other, ended = self._parts.collections.generations.other_of(name), self._running.get(name)
        await self._parts.collections.end_generation(name)
        self._failed.pop(name, None)
        await self._bindings.close_unheld(other.config.models)
        if self._running.get(name) is ended:
            self._running.pop(name, None)
        self._parts.say(f"collection `{name}`: embeddings of {listed(other.config.models)} are dropped")

    async def _forget_deleted(self) -> None:
        for name, migration in list(self._running.items()):
            if not migration.is_there:
                await self._running.pop(name).stop()

    def _endpoints(self, collection: Collection, model: ModelVersion) -> tuple[ModelVersion, ModelVersion]:
        """From where to where. Raises ConflictError, NotOfferedError."""
        config, name = collection.config, collection.name
        if collection.other is not None:
            raise ConflictError(
                f"collection `{name}` has two generations already",
                hint="`--back` takes the one before, `--drop` ends the one that does not answer",
            )
        if config.vectors is None or config.named or config.sparse or config.vectors.multivector_config is not None:
            raise NotOfferedError(
                f"collection `{name}`: only one of one plain vector without a name is embedded anew",
                hint="make another collection for the other model, and write the points there",
            )
        if len(config.models) != 1:
            raise ConflictError(
                f"collection `{name}` holds embeddings of {listed(config.models)}, must be those of one model",
                hint=f"`collections.{name}.model` in the site file says whose they are",
            )
        (source,) = config.models
        if source.is_same(model):
            raise ConflictError(f"collection `{name}` holds embeddings of `{model}` already")
        return source, self._bindings.in_its_place(name, model)

    async def _check_sources(self, collection: Collection, source: Source) -> None:
        if lacking := await collection.count(source.lacking()):
            raise ConflictError(
                f"collection `{collection.name}`: {lacking} points keep nothing at `{source}` to embed anew",
                hint="write it to their payloads first, or make another collection",
            )

    async def _config(self, collection: Collection, model: ModelVersion, embeds: Embedding) -> CollectionConfig:
        """Of the new generation: as the old one, with vectors of the new model's size."""
        config, size = collection.config, embeds.size
        assert config.vectors is not None
        if size < 1:
            records, _ = await collection.scroll(limit=1)
            if not records:
                raise ConflictError(
                    f"collection `{collection.name}` is empty, and only a vector of `{model}` tells how large they are"
                )
            size = len(await embeds(records[0].payload)) // 4
        vectors = msgspec.structs.replace(config.vectors, size=size)
        return msgspec.structs.replace(config, vectors=vectors, models=(model,))
