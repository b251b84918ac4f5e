"""Collections on their way to another model, as the mesh sees it: two layouts of one collection, each with its model.

Points go from one to the other as in any change of layout, with the versions that they have, embedded anew by the node
that hands them over. Who embeds is the node's (`Embedders`), since models and pipelines are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from littoral.errors import ConflictError, InputError, LittoralError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.copies import is_copy, without_mark
from littoral.vectors.model_version import are_same, heard_by_vector, heard_over_the_mesh
from littoral.vectors.records import CollectionConfig, Payload, PointId, PointVectors
from littoral.vectors.replication.entries import Change, State, key_of

__all__ = [
    "Embed",
    "Embedders",
    "Made",
    "NoEmbedders",
    "anew",
    "config_of",
    "going",
    "made_anew",
    "not_known_yet",
    "strange",
]

EMBEDDED_AT_ONCE = 4

Embed = Callable[[Payload | None], Awaitable[bytes]]
"""The vector of a point, float32, by one model. Raises InputError where what was embedded cannot be had."""


class Embedders(Protocol):
    """What the node does for collections that go to another model."""

    def unready(self, name: str, spread: Spread) -> str:
        """Why this node does not go by this spread yet; empty = it does. What is to be opened for that is begun."""
        ...

    def embeds(self, name: str, model: str, vectors: Collection[str]) -> Mapping[str, Embed]:
        """By vector, what makes these by the models that are told. Raises UnavailableError where one is not open."""
        ...

    def following(self, spreads: Mapping[str, Spread]) -> dict[str, Spread]:
        """As the writer of the map: of these next steps those that may be taken, with what is kept until when."""
        ...

    def over(self) -> dict[str, Spread]:
        """As the writer of the map: without the layouts whose time is over."""
        ...

    def refused(self, name: str, points: Mapping[bytes, str], told: Sequence[bytes]) -> None:
        """Points that cannot be embedded, with the reason, and those that were."""
        ...

    async def rest(self, name: str, count: int, began_s: float) -> None:
        """So many points were embedded in the background since then."""
        ...

    def stuck(self) -> dict[str, str]:
        """By collection, what keeps it from being embedded anew."""
        ...


class NoEmbedders:
    """Of a node that has no models, or has not opened them yet."""

    def unready(self, _name: str, spread: Spread) -> str:
        return "its models are not open yet" if spread.to_another_model else ""

    def embeds(self, name: str, model: str, _vectors: Collection[str]) -> Mapping[str, Embed]:
        raise UnavailableError(f"collection `{name}`: model `{model}` is not open here yet", hint="try again")

    def following(self, spreads: Mapping[str, Spread]) -> dict[str, Spread]:
        return {name: spread for name, spread in spreads.items() if not spread.to_another_model}

    def over(self) -> dict[str, Spread]:
        return {}

    def refused(self, _name: str, _points: Mapping[bytes, str], _told: Sequence[bytes]) -> None:
        return

    async def rest(self, _name: str, _count: int, _began_s: float) -> None:
        return

    def stuck(self) -> dict[str, str]:
        return {}


def _as_it_lies(_point: PointId, payload: Payload | None) -> Payload | None:
    return payload


class Made(NamedTuple):
    """states: with vectors of the other model. refused: of those that cannot be embedded, why, by key."""

    states: list[State]
    refused: dict[bytes, str]
    tried: int


async def made_anew(
    states: Sequence[State],
    find: Callable[[], Mapping[str, Embed]],
    opened: Callable[[PointId, Payload | None], Payload | None] = _as_it_lies,
) -> Made:
    """Copies are left out: the other layout has its own. Raises what says nothing of a point: UnavailableError.

    find: by vector, what embeds those that are embedded anew; others, and points that lack them, stay as they are.
    opened: a payload as it is embedded; what is handed over stays as it lies.
    """
    at_once = asyncio.Semaphore(EMBEDDED_AT_ONCE)
    refused: dict[bytes, str] = {}

    async def made(state: State) -> State | None:
        change = state.change
        if change.vectors is None:
            return state
        async with at_once:
            try:
                payload = without_mark(change.payload)
                vectors = await _embedded(change.vectors, embeds, opened(change.id, payload))
            except UnavailableError:
                raise
            except LittoralError as error:
                refused[key_of(change.id)] = error.message
                return None
        return State(state.time, state.origin, state.number, Change(change.id, vectors, payload))

    own = [state for state in states if state.change.vectors is None or not is_copy(state.change.payload)]
    tried = sum(state.change.vectors is not None for state in own)
    if not tried:
        return Made(own, {}, 0)
    embeds = find()
    found = await asyncio.gather(*(made(state) for state in own))
    return Made([state for state in found if state is not None], refused, tried)


async def _embedded(vectors: PointVectors, embeds: Mapping[str, Embed], payload: Payload | None) -> PointVectors:
    if not isinstance(vectors, dict):
        return await embeds[""](payload)
    return {**vectors, **{name: await embed(payload) for name, embed in embeds.items() if name in vectors}}


def not_known_yet(states: Sequence[State], known: Mapping[int, Mapping[bytes, int]]) -> list[State]:
    """Those whose state is not known to any shard that was asked, or beside which one still has an older one.

    known: times by shard and key, as `moving.messages.Offered` tells them.
    """

    def is_wanted(state: State) -> bool:
        times = [of.get(key_of(state.change.id), 0) for of in known.values()]
        return max(map(abs, times), default=0) < state.time or any(0 < time < state.time for time in times)

    return [state for state in states if is_wanted(state)]


def config_of(config: CollectionConfig, spread: Spread) -> CollectionConfig:
    """Of a collection, by the layout in which a spread is read. Raises InputError for sizes of unknown vectors."""
    config = holding(config, spread.model)
    sizes = {**({"": spread.size} if spread.size else {}), **spread.sizes}
    if unknown := sorted(sizes.keys() - config.dense.keys()):
        raise InputError(
            f"shard map has a size of vector `{unknown[0]}`, the collection has none of this name",
            hint="the site files of all nodes must name the same vectors",
        )
    return config.with_sizes(sizes)


def holding(config: CollectionConfig, told: str) -> CollectionConfig:
    """Of the models that nodes tell each other; as it is where they tell none."""
    models, named = heard_over_the_mesh(told), heard_by_vector(told)
    if not models and not named:
        return config
    return msgspec.structs.replace(config, models=models, named_models=named)


def is_of(config: CollectionConfig, told: str) -> bool:
    """Whether what was made with this may meet vectors of the models that are told; true where it is not known."""
    return not anew(config, told)


def anew(config: CollectionConfig, told: str) -> list[str]:
    """Names of the vectors that are to be embedded anew to be of the models that are told."""
    goal = msgspec.structs.replace(config, models=heard_over_the_mesh(told), named_models=heard_by_vector(told))
    return [name for name in config.dense if not are_same(config.models_of(name), goal.models_of(name))]


def going(spread: Spread, config: CollectionConfig) -> list[str]:
    """Names of the vectors in which the two layouts of a spread are of different models. config: of the collection."""
    if spread.change is None or spread.change.other.generation is None:
        return []
    return anew(holding(config, spread.model), spread.change.other.generation.model)


def strange(name: str, holds: str, given: str) -> ConflictError:
    """What is raised where embeddings of two models would meet."""
    return ConflictError(
        f"collection `{name}` holds embeddings of model `{holds}`, {given}",
        hint="two models never mix in a collection: set `spread.model`, or make another collection",
    )
