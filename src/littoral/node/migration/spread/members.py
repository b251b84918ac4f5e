"""One node's part where spread collections go to another model: models opened, pipelines exchanged, points embedded.

What a node goes by follows from the shard map. When another model's layout is made, the node opens that model; when the
collection is read by it, the node exchanges the collection and every pipeline that feeds it, in one turn of the event
loop, and only then tells that it goes by that map.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from littoral.errors import ConflictError, LittoralError, NotFoundError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.declared_models import resolved
from littoral.node.federation.federation import Federation
from littoral.node.federation.generations import Embed, anew, going, holding
from littoral.node.federation.residency import pinned_to
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.migration.bindings import Bindings, Parts, called
from littoral.node.migration.embedding import Embedding
from littoral.node.migration.failing import Failing
from littoral.node.migration.sources import Source
from littoral.node.migration.spread.guards import Write, guarded, made_anew
from littoral.node.migration.spread.messages import Cannot
from littoral.node.migration.spread.progress import OPENING
from littoral.node.site_collections import heard_here
from littoral.vectors.collection import Collection as Vectors
from littoral.vectors.filters import Condition, Filter
from littoral.vectors.model_version import ModelVersion, listed
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.entries import id_of

__all__ = ["Members"]

REFUSED_MAX = 100
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
FLOAT_BYTES = 4


@dataclass
class _Known:
    """Of a collection. embeds: by model, and vector. why: it does not go by the map yet; again_s: of the clock, to be
    tried again. refused: points that cannot be embedded, by key. left: vectors of which a shard that has no place any
    more has those of another model.
    """

    embeds: dict[str, Mapping[str, Embed]] = field(default_factory=dict)
    models: list[ModelVersion] = field(default_factory=list)
    why: str = ""
    again_s: float = 0.0
    pause_s: float = PAUSE_FIRST_S
    failing: Failing | None = None
    refused: dict[bytes, str] = field(default_factory=dict)
    goes_by: Spread | None = None
    left: set[str] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    def needed(self, spread: Spread, config: CollectionConfig) -> dict[str, set[str]]:
        """Models that points are embedded by, and the vectors of each. config: of the collection, by any models."""
        vectors = {*going(spread, config), *self.left}
        return {one.model: vectors for one in spread.both} if vectors else {}

    def has(self, needed: Mapping[str, set[str]]) -> bool:
        """Whether all of that is open."""
        return all(vectors <= self.embeds.get(told, {}).keys() for told, vectors in needed.items())


class Members:
    """For one event loop."""

    def __init__(self, parts: Parts, bindings: Bindings, federation: Federation) -> None:
        self._parts = parts
        self._bindings = bindings
        self._federation = federation
        self._known: dict[str, _Known] = {}
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """What is being opened is given up."""
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def unready(self, name: str, spread: Spread) -> str:
        """As `Embedders.unready`."""
        known = self._known.setdefault(name, _Known())
        if self._is_ready(name, spread, known):
            known.why = ""
            return ""
        is_running = known.task is not None and not known.task.done()
        if not is_running and self._parts.clock.monotonic() >= known.again_s:
            known.task = asyncio.create_task(self._follow(name, spread, known), name=f"littoral-model-of-{name}")
        return known.why or OPENING

    def _is_ready(self, name: str, spread: Spread, known: _Known) -> bool:
        table = self._parts.site.collections.get(name)
        if table is None or table.migrate is None:
            return True
        needed = known.needed(spread, self._current(name).config)
        if not needed and not known.embeds and self._current(name).model == spread.model:
            return True
        before = known.goes_by
        is_same = before is not None and _what(before) == _what(spread)
        return is_same and known.has(needed) and self._current(name).model == spread.model

    def _current(self, name: str) -> SpreadCollection:
        found = self._parts.collections.get(name)
        assert isinstance(found, SpreadCollection)
        return found

    async def _follow(self, name: str, spread: Spread, known: _Known) -> None:
        try:
            async with self._opening:
                await self._go_by(name, spread, known)
            known.pause_s, known.again_s, known.why = PAUSE_FIRST_S, 0.0, ""
            known.failing = None
        except (LittoralError, OSError) as error:
            if (why := str(error)) != known.why:
                self._parts.say(f"collection `{name}`: {why}")
            known.failing = known.failing or Failing(self._parts.clock)
            known.why = why if known.failing.is_stuck(error) else ""
            known.again_s = self._parts.clock.monotonic() + known.pause_s
            known.pause_s = min(2 * known.pause_s, PAUSE_MAX_S)
        self._federation.wake()

    async def _go_by(self, name: str, spread: Spread, known: _Known) -> None:
        current = self._current(name)
        needed = known.needed(spread, current.config)
        used = {told: set(vectors) for told, vectors in needed.items()}
        used.setdefault(spread.model, set()).update(anew(current.config, spread.model))
        models = [
            model for told, vectors in used.items() for model in self.versions(name, current.config, told, vectors)
        ]
        await self._bindings.open_versions(models)
        if current.model != spread.model:
            await self._exchange(name, spread.model)
        known.embeds = {told: self.embedding(name, told, vectors) for told, vectors in needed.items()}
        before, known.models = known.models, models
        self._pair(name, spread)
        known.goes_by = spread
        if gone := [one for one in before if not any(one.is_same(other) for other in known.models)]:
            await self._bindings.close_unheld(gone)

    def versions(self, name: str, config: CollectionConfig, told: str, vectors: Collection[str]) -> list[ModelVersion]:
        """Of this node, what the others call so, of each of these vectors. Raises NotFoundError, ConflictError."""
        heard = holding(config, told)
        return [self.version(name, heard, vector) for vector in sorted(vectors)]

    def version(self, name: str, heard: CollectionConfig, vector: str) -> ModelVersion:
        """Of one vector, as `versions`. heard: with the models as nodes tell them."""
        models = heard.models_of(vector)
        if len(models) != 1:
            raise ConflictError(
                f"collection `{name}`: {called(vector)} holds embeddings of {listed(models)}, must be of one model",
                hint=f"`model` in `collections.{name}` of the site file says whose they are",
            )
        found = resolved(self._parts.site, models[0])
        if found is None:
            raise NotFoundError(
                f"collection `{name}`: model `{models[0]}` is not there",
                hint=f"put its file below the folder of model `{models[0].name}`, as on the other nodes",
            )
        return self._bindings.in_its_place(name, found, vector)

    def as_here(self, name: str, config: CollectionConfig) -> CollectionConfig:
        """With the models that nodes tell each other as this node has them, where it has them."""
        return heard_here(self._parts.site, self._parts.site.collections[name], config)

    def embedding(self, name: str, told: str, vectors: Collection[str]) -> Mapping[str, Embedding]:
        """What embeds these vectors by the models that are told, which are open. Raises ConflictError."""
        config = self.as_here(name, holding(self._current(name).config, told))
        return self._bindings.embeddings(name, config, vectors)

    async def _exchange(self, name: str, told: str) -> None:
        """The name means another generation, and pipelines feed that one."""
        parts, before = self._parts, self._current(name)
        vectors = anew(before.config, told)
        async with parts.repository.turn:
            following = self._generation(name, told)
            bound = self._bindings.bound(name, following.config)
            parts.collections.stand_in(following)
            following.other, before.other = before, following
            before.instead = self._made_anew(name, vectors)
            for pipeline, served in bound.items():
                parts.pipelines[pipeline].take(served)
        parts.say(f"collection `{name}`: {listed(following.config.all_models)} answers")

    def _generation(self, name: str, told: str) -> SpreadCollection:
        made = self._federation.stand_ins.generation(name, told)
        made.config = self.as_here(name, made.config)
        made.is_strict = self._current(name).is_strict
        return made

    def _pair(self, name: str, spread: Spread) -> None:
        """What is written goes to both; who means the other one is answered by it once it was the one that answers."""
        current, change = self._current(name), spread.change
        current.config = self.as_here(name, current.config)
        if change is None or change.other.generation is None:
            current.other = current.instead = None
            return
        told = change.other.generation.model
        other = current.other
        if not isinstance(other, SpreadCollection) or other.model != told:
            other = self._generation(name, told)
        vectors = going(spread, current.config)
        current.instead = guarded(current, other, self._sources(name, vectors))
        other.instead = self._made_anew(name, vectors)
        current.other = other if change.is_flipped else None

    def _sources(self, name: str, vectors: Iterable[str]) -> dict[str, Source]:
        return {vector: self._bindings.source(name, vector) for vector in vectors}

    def _made_anew(self, name: str, vectors: Collection[str]) -> Write:
        """What is written by who embedded by the models before."""

        def embeds() -> Mapping[str, Embed]:
            return self.embeds(name, self._current(name).model, vectors)

        return made_anew(name, lambda: self._current(name), embeds, self._sources(name, vectors))

    def embeds(self, name: str, model: str, vectors: Collection[str]) -> Mapping[str, Embed]:
        """As `Embedders.embeds`."""
        known = self._known.setdefault(name, _Known())
        found = known.embeds.get(model, {})
        if found.keys() >= set(vectors):
            return {vector: found[vector] for vector in vectors}
        if model == self._current(name).model:
            known.left |= set(vectors)
        raise UnavailableError(
            f"collection `{name}`: no point is embedded by `{model}` here: {known.why or OPENING}", hint="try again"
        )

    def unseen(self, name: str, told: str) -> Vectors:
        """The generation of this model, to look at. Raises as `version`."""
        made = self._generation(name, told)
        self.versions(name, made.config, told, anew(self._current(name).config, told))
        return made

    async def can(self, name: str, told: str) -> Cannot:
        """Whether this node could embed the collection by these models."""
        try:
            async with self._opening:
                config = self._current(name).config
                vectors = anew(config, told)
                models = self.versions(name, config, told, vectors)
                await self._bindings.open_versions(models)
                try:
                    sizes = await self._sizes(name, told, vectors)
                    return Cannot(size=sizes.pop("", 0), sizes=sizes)
                finally:
                    await self._bindings.close_unheld(models)
        except (LittoralError, OSError) as error:
            return Cannot(str(error))

    async def _sizes(self, name: str, told: str, vectors: Sequence[str]) -> dict[str, int]:
        """By vector; 0 where only a vector tells, and there is none. Raises where pipelines do not fit."""
        embeds, current = self.embedding(name, told, vectors), self._current(name)
        sizes = {vector: await self._size(current, vector, embed) for vector, embed in embeds.items()}
        if all(sizes.values()):
            goal = self.as_here(name, holding(current.config, told))
            self._bindings.bound(name, goal.with_sizes(sizes))
        return sizes

    async def _size(self, current: SpreadCollection, vector: str, embed: Embedding) -> int:
        if embed.size > 0:
            return embed.size
        having = None if current.config.is_single else Filter(must=[Condition(has_vector=vector)])
        records, _ = await current.scroll(limit=1, matching=having)
        return len(await embed(records[0].payload)) // FLOAT_BYTES if records else 0

    def refused(self, name: str, points: Mapping[bytes, str], told: Sequence[bytes]) -> None:
        """As `Embedders.refused`."""
        refused = self._known.setdefault(name, _Known()).refused
        for key in told:
            refused.pop(key, None)
        for key, why in points.items():
            if len(refused) < REFUSED_MAX or key in refused:
                refused[key] = why

    def stuck(self) -> dict[str, str]:
        """As `Embedders.stuck`."""
        found: dict[str, str] = {}
        for name, known in self._known.items():
            if known.refused:
                key, why = next(iter(known.refused.items()))
                spread = self._federation.map.spreads.get(name)
                if spread is not None and pinned_to(spread):
                    why = "why is not told, since regions are pinned: the reason may name what is in its payload"
                found[name] = f"{len(known.refused)} points cannot be embedded, such as `{id_of(key)}`: {why}"
        return found

    async def rest(self, name: str, count: int, began_s: float) -> None:
        """As `Embedders.rest`."""
        if not count:
            return
        with contextlib.suppress(ConflictError):
            wait_s = count / self._bindings.table(name).points_per_s - (self._parts.clock.monotonic() - began_s)
            await asyncio.sleep(max(0.0, wait_s))


def _what(spread: Spread) -> tuple[object, ...]:
    """What a node has to do with it follows from this."""
    change = spread.change
    return {one.model for one in spread.both}, spread.model, change is not None and change.is_flipped
