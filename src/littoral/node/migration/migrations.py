"""The migrations of a node: begun by request or by its site file, and taken up again at its start.

A flip exchanges the generations and the pipelines that feed the collection in one turn of the event loop.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

import msgspec

from littoral.errors import ConflictError, LittoralError, NotFoundError, NotOfferedError
from littoral.node.declared_models import declared_config, parse_wanted, read_version
from littoral.node.federation.federation import Federation
from littoral.node.migration.bindings import Bindings, Parts, called
from littoral.node.migration.embedding import Embedding
from littoral.node.migration.lasting import Lasting
from littoral.node.migration.migration import Embeddings, Migration, Progress, Told
from littoral.node.migration.pair import Pair, Side
from littoral.node.migration.sources import Source
from littoral.node.migration.spread.migrations import SpreadMigrations
from littoral.node.site_collections import declared
from littoral.vectors.collection import Collection
from littoral.vectors.filters import Condition, Filter
from littoral.vectors.indexes import parse_schema
from littoral.vectors.model_version import ModelVersion, listed
from littoral.vectors.records import CollectionConfig

__all__ = ["Migrations"]

FOLDER = "migrations"
"""Below the node's data."""

FLOAT_BYTES = 4

Wish = Mapping[str, ModelVersion]
"""By vector, the model that it is to be of."""


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
                elif wanted := self._wanted(name):
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

    async def start(self, name: str, to: str | Mapping[str, str]) -> None:
        """to: `MODEL@VERSION` of the site file, of the vector without a name or the only one that is embedded anew; or
        of several, by vector. Raises NotFoundError, ConflictError, NotOfferedError, SettingError.
        """
        async with self._starting:
            await self._forget_deleted()
            own = self._own_name(name)
            wanted = {self._meant(own): to} if isinstance(to, str) else to
            wish = {
                vector: await asyncio.to_thread(read_version, self._parts.site, parse_wanted(text, self._parts.site))
                for vector, text in wanted.items()
            }
            if own in self._spread:
                await self._spread.start(own, wish)
                return
            if own in self._running:
                progress = self._running[own].progress
                if progress.other.are_same(wish) and progress.state != "flipped":
                    return
            await self._begin(own, wish)

    def _meant(self, name: str) -> str:
        """The vector that is embedded anew where none is named. Raises ConflictError."""
        if self._parts.collections.get(name).config.vectors is not None:
            return ""
        table = self._parts.site.collections.get(name)
        ways = {} if table is None or table.migrate is None else table.migrate.ways
        if len(ways) > 1:
            known = ", ".join(f"`{vector}`" for vector in ways)
            raise ConflictError(
                f"collection `{name}` has several vectors that can be embedded anew: {known}",
                hint="name one: `VECTOR=MODEL@VERSION`",
            )
        return next(iter(ways), "")

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

    def _wanted(self, name: str) -> Wish:
        """What the site file wants of vectors that are of something else."""
        table, file = self._parts.site.collections[name], self._parts.collections.file_of(self._own_name(name))
        if table.migrate is None or declared(table) == file.declared:
            return {}
        config, said = declared_config(self._parts.site, table), table.declared_models
        found: dict[str, ModelVersion] = {}
        for vector in table.migrate.ways:
            holds, wanted = file.config.models_of(vector), config.models_of(vector)
            if not holds or len(wanted) != 1 or any(wanted[0].is_same(one) for one in holds):
                continue
            has_number = "@" in "".join(said.get(vector) or said.get(None) or [])
            if has_number or all(one.name != wanted[0].name for one in holds):  # without one, any version is meant
                found[vector] = wanted[0]
        return found

    async def _begin(self, name: str, wish: Wish) -> Migration:
        collection = self._parts.collections.get(name)
        self._bindings.table(name)
        sources, targets = self._endpoints(collection, wish)
        for vector in targets:
            await self._check_sources(collection, self._bindings.source(name, vector))
        await self._bindings.open_versions((*sources.values(), *targets.values()))
        wanted = collection.config.with_models({vector: (model,) for vector, model in targets.items()})
        config = await self._sized(collection, wanted, self._bindings.embeddings(name, wanted, targets))
        self._bindings.bound(name, config)  # what does not fit is refused now
        other = await self._parts.collections.begin_generation(name, config)
        for field, index in (await collection.info()).payload_schema.items():
            await other.create_index(field, parse_schema(index.params or index.data_type))
        self._parts.say(f"collection `{name}`: is embedded anew by {_told(targets)}")
        return self._run(name, 0.0)

    async def _resume(self, name: str) -> None:
        name = self._own_name(name)
        file = self._parts.collections.file_of(name)
        assert file.other is not None
        models = _going(file.config, file.other.config)
        await self._bindings.open_versions(model for pair in models.values() for model in pair)
        self._run(name, file.other.flipped_at)
        self._parts.say(f"collection `{name}`: its migration goes on")

    def _run(self, name: str, kept_since: float) -> Migration:
        parts, table = self._parts, self._bindings.table(name)
        collection = parts.collections.get(name)
        other = parts.collections.generations.other_of(name)
        models = _going(collection.config, other.config)
        current = Side(collection, self._bindings.embeddings(name, collection.config, models))
        following = Side(other, self._bindings.embeddings(name, other.config, models))
        pair = Pair(current, following, {vector: self._bindings.source(name, vector) for vector in models})
        migration = Migration(
            pair,
            Progress(_side(models, 0), _side(models, 1)),
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
        await self._bindings.close_unheld(other.config.all_models)
        if self._running.get(name) is ended:
            self._running.pop(name, None)
        self._parts.say(f"collection `{name}`: embeddings of {listed(other.config.all_models)} are dropped")

    async def _forget_deleted(self) -> None:
        for name, migration in list(self._running.items()):
            if not migration.is_there:
                await self._running.pop(name).stop()

    def _endpoints(self, collection: Collection, wish: Wish) -> tuple[Wish, Wish]:
        """From where to where, by vector. Raises ConflictError, NotOfferedError."""
        config, name = collection.config, collection.name
        if collection.other is not None:
            raise ConflictError(
                f"collection `{name}` has two generations already",
                hint="`--back` takes the one before, `--drop` ends the one that does not answer",
            )
        if not wish:
            raise ConflictError(f"collection `{name}`: no vector is named that is to be embedded anew")
        for vector in wish:
            if (params := config.dense.get(vector)) is None or params.multivector_config is not None:
                raise NotOfferedError(
                    f"collection `{name}`: only plain vectors are embedded anew, {called(vector)} is none",
                    hint="make another collection for the other model, and write the points there",
                )
        sources = {vector: self._held(name, config, vector) for vector in wish}
        for vector, model in wish.items():
            if sources[vector].is_same(model):
                of = f"collection `{name}`, {called(vector)}," if vector else f"collection `{name}`"
                raise ConflictError(f"{of} holds embeddings of `{model}` already")
        return sources, {vector: self._bindings.in_its_place(name, model, vector) for vector, model in wish.items()}

    def _held(self, name: str, config: CollectionConfig, vector: str) -> ModelVersion:
        """The one model of a vector. Raises ConflictError."""
        if len(models := config.models_of(vector)) != 1:
            key = f"named.{vector}.model" if vector else "model"
            raise ConflictError(
                f"collection `{name}`: {called(vector)} holds embeddings of {listed(models)}, must be of one model",
                hint=f"`collections.{name}.{key}` in the site file says whose they are",
            )
        return models[0]

    async def _check_sources(self, collection: Collection, source: Source) -> None:
        if lacking := await collection.count(source.lacking(among_others=not collection.config.is_single)):
            raise ConflictError(
                f"collection `{collection.name}`: {lacking} points keep nothing at `{source}` to embed anew",
                hint="write it to their payloads first, or make another collection",
            )

    async def _sized(
        self, collection: Collection, config: CollectionConfig, embeds: Mapping[str, Embedding]
    ) -> CollectionConfig:
        """Of the new generation: with vectors of the sizes that the new models give."""
        for vector, embed in embeds.items():
            size = embed.size
            if size < 1:
                having = None if config.is_single else Filter(must=[Condition(has_vector=vector)])
                records, _ = await collection.scroll(limit=1, matching=having)
                if not records:
                    raise ConflictError(
                        f"collection `{collection.name}` has no point with {called(vector)}, and only a vector of "
                        f"{listed(config.models_of(vector))} tells how large they are"
                    )
                size = len(await embed(records[0].payload)) // FLOAT_BYTES
            params = msgspec.structs.replace(config.dense[vector], size=size)
            if vector:
                config = msgspec.structs.replace(config, named={**config.named, vector: params})
            else:
                config = msgspec.structs.replace(config, vectors=params)
        return config


def _going(config: CollectionConfig, other: CollectionConfig) -> dict[str, tuple[ModelVersion, ModelVersion]]:
    """By vector that is embedded anew, its models in both generations."""
    both = {vector: (config.models_of(vector), other.models_of(vector)) for vector in config.dense}
    return {vector: (ours[0], new[0]) for vector, (ours, new) in both.items() if ours and new and ours != new}


def _side(models: Mapping[str, tuple[ModelVersion, ModelVersion]], at: int) -> Embeddings:
    return Embeddings({vector: pair[at] for vector, pair in models.items()})


def _told(models: Wish) -> str:
    return ", ".join(f"`{model}`" + (f" for `{vector}`" if vector else "") for vector, model in models.items())
