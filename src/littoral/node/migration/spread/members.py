"""One node's part where spread collections go to another model: models opened, pipelines exchanged, points embedded.

What a node goes by follows from the shard map. When another model's layout is made, the node opens that model; when the
collection is read by it, the node exchanges the collection and every pipeline that feeds it, in one turn of the event
loop, and only then tells that it goes by that map.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from littoral.errors import ConflictError, LittoralError, NotFoundError, NotOfferedError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.declared_models import resolved
from littoral.node.federation.federation import Federation
from littoral.node.federation.generations import Embed
from littoral.node.federation.residency import pinned_to
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.migration.bindings import Bindings, Parts
from littoral.node.migration.failing import Failing
from littoral.node.migration.spread.guards import Write, guarded, made_anew
from littoral.node.migration.spread.messages import Cannot
from littoral.node.migration.spread.progress import OPENING
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion, heard_over_the_mesh
from littoral.vectors.records import CollectionConfig, Payload
from littoral.vectors.replication.entries import id_of

__all__ = ["Members"]

REFUSED_MAX = 100
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
FLOAT_BYTES = 4


@dataclass
class _Known:
    """Of a collection. embeds: by model. why: it does not go by the map yet; again_s: of the clock, to be tried again.
    refused: points that cannot be embedded, by key. has_left: a shard of another model that has no place any more.
    """

    embeds: dict[str, Embed] = field(default_factory=dict)
    models: list[ModelVersion] = field(default_factory=list)
    why: str = ""
    again_s: float = 0.0
    pause_s: float = PAUSE_FIRST_S
    failing: Failing | None = None
    refused: dict[bytes, str] = field(default_factory=dict)
    goes_by: Spread | None = None
    has_left: bool = False

    def needed(self, spread: Spread) -> set[str]:
        """Models that points are embedded by."""
        return {one.model for one in spread.both} if spread.to_another_model or self.has_left else set()

    task: asyncio.Task[None] | None = None


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
        needed = known.needed(spread)
        if not needed and not known.embeds and self._current(name).model == spread.model:
            return True
        before = known.goes_by
        is_same = before is not None and _what(before) == _what(spread)
        return is_same and needed <= known.embeds.keys() and self._current(name).model == spread.model

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
        models = {told: self.version(name, told) for told in {*known.needed(spread), spread.model}}
        await self._bindings.open_versions(models.values())
        if self._current(name).model != spread.model:
            await self._exchange(name, spread.model, models[spread.model])
        known.embeds = {told: self._bindings.embedding(name, models[told]) for told in known.needed(spread)}
        before, known.models = known.models, list(models.values())
        self._pair(name, spread, models)
        known.goes_by = spread
        if gone := [one for one in before if not any(one.is_same(other) for other in known.models)]:
            await self._bindings.close_unheld(gone)

    def version(self, name: str, told: str) -> ModelVersion:
        """Of this node, what the others call so. Raises NotFoundError, ConflictError."""
        heard = heard_over_the_mesh(told)
        if len(heard) != 1:
            raise ConflictError(
                f"collection `{name}` holds embeddings of `{told}`, must be those of one model",
                hint=f"`collections.{name}.model` in the site file says whose they are",
            )
        found = resolved(self._parts.site, heard[0])
        if found is None:
            raise NotFoundError(
                f"collection `{name}`: model `{heard[0]}` is not there",
                hint=f"put its file below the folder of model `{heard[0].name}`, as on the other nodes",
            )
        return self._bindings.in_its_place(name, found)

    async def _exchange(self, name: str, told: str, model: ModelVersion) -> None:
        """The name means another generation, and pipelines feed that one."""
        parts, before = self._parts, self._current(name)
        async with parts.repository.turn:
            following = self._generation(name, told, model)
            bound = self._bindings.bound(name, following.config)
            parts.collections.stand_in(following)
            following.other, before.other = before, following
            before.instead = self._made_anew(name)
            for pipeline, served in bound.items():
                parts.pipelines[pipeline].take(served)
        parts.say(f"collection `{name}`: `{model}` answers")

    def _generation(self, name: str, told: str, model: ModelVersion) -> SpreadCollection:
        made = self._federation.stand_ins.generation(name, told)
        made.config = msgspec.structs.replace(made.config, models=(model,))
        made.is_strict = self._current(name).is_strict
        return made

    def _pair(self, name: str, spread: Spread, models: Mapping[str, ModelVersion]) -> None:
        """What is written goes to both; who means the other one is answered by it once it was the one that answers."""
        current, change = self._current(name), spread.change
        current.config = msgspec.structs.replace(current.config, models=(models[spread.model],))
        if change is None or change.other.generation is None:
            current.other = current.instead = None
            return
        told = change.other.generation.model
        other = current.other
        if not isinstance(other, SpreadCollection) or other.model != told:
            other = self._generation(name, told, models[told])
        current.instead = guarded(current, other, self._bindings.source(name))
        other.instead = self._made_anew(name)
        current.other = other if change.is_flipped else None

    def _made_anew(self, name: str) -> Write:
        """What is written by who embedded by the model before."""

        async def embed(payload: Payload | None) -> bytes:
            return await self.embed(name, self._current(name).model)(payload)

        return made_anew(name, lambda: self._current(name), embed, self._bindings.source(name))

    def embed(self, name: str, model: str) -> Embed:
        """As `Embedders.embed`."""
        known = self._known.setdefault(name, _Known())
        if (found := known.embeds.get(model)) is not None:
            return found
        known.has_left |= model == self._current(name).model
        raise UnavailableError(
            f"collection `{name}`: no point is embedded by `{model}` here: {known.why or OPENING}", hint="try again"
        )

    def unseen(self, name: str, told: str) -> Collection:
        """The generation of this model, to look at. Raises as `version`."""
        return self._generation(name, told, self.version(name, told))

    async def can(self, name: str, told: str) -> Cannot:
        """Whether this node could embed the collection by that model."""
        try:
            async with self._opening:
                model = self.version(name, told)
                await self._bindings.open_versions([model])
                try:
                    return Cannot(size=await self._size(name, model))
                finally:
                    await self._bindings.close_unheld([model])
        except (LittoralError, OSError) as error:
            return Cannot(str(error))

    async def _size(self, name: str, model: ModelVersion) -> int:
        """Of its vectors; 0 where only a vector tells, and there is none. Raises where pipelines do not fit."""
        embeds, current = self._bindings.embedding(name, model), self._current(name)
        size = max(0, embeds.size)
        if not size and (records := (await current.scroll(limit=1))[0]):
            size = len(await embeds(records[0].payload)) // FLOAT_BYTES
        if size:
            self._bindings.bound(name, _config(current.config, model, size))
        return size

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


def _config(config: CollectionConfig, model: ModelVersion, size: int) -> CollectionConfig:
    if config.vectors is None:
        raise NotOfferedError("only a collection with a plain vector without a name goes to another model")
    return msgspec.structs.replace(config, vectors=msgspec.structs.replace(config.vectors, size=size), models=(model,))
