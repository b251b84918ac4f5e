"""Collections on their way to another model, as the mesh sees it: two layouts of one collection, each with its model.

Points go from one to the other as in any change of layout, with the versions that they have, embedded anew by the node
that hands them over. Who embeds is the node's (`Embedders`), since models and pipelines are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from littoral.errors import ConflictError, InputError, LittoralError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.copies import is_copy, without_mark
from littoral.vectors.model_version import are_same, heard_by_vector, heard_over_the_mesh
from littoral.vectors.records import CollectionConfig, Payload, PointId
from littoral.vectors.replication.entries import Change, State, key_of

__all__ = ["Embed", "Embedders", "Made", "NoEmbedders", "config_of", "made_anew", "not_known_yet", "strange"]

EMBEDDED_AT_ONCE = 4

Embed = Callable[[Payload | None], Awaitable[bytes]]
"""The vector of a point, float32, by one model. Raises InputError where what was embedded cannot be had."""


class Embedders(Protocol):
    """What the node does for collections that go to another model."""

    def unready(self, name: str, spread: Spread) -> str:
        """Why this node does not go by this spread yet; empty = it does. What is to be opened for that is begun."""
        ...

    def embed(self, name: str, model: str) -> Embed:
        """Raises UnavailableError where the model is not open here."""
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

    def embed(self, name: str, model: str) -> Embed:
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
    find: Callable[[], Embed],
    opened: Callable[[PointId, Payload | None], Payload | None] = _as_it_lies,
) -> Made:
    """Copies are left out: the other layout has its own. Raises what says nothing of a point: UnavailableError.

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
                vector = await embed(opened(change.id, payload))
            except UnavailableError:
                raise
            except LittoralError as error:
                refused[key_of(change.id)] = error.message
                return None
        return State(state.time, state.origin, state.number, Change(change.id, vector, payload))

    own = [state for state in states if state.change.vectors is None or not is_copy(state.change.payload)]
    tried = sum(state.change.vectors is not None for state in own)
    if not tried:
        return Made(own, {}, 0)
    embed = find()
    found = await asyncio.gather(*(made(state) for state in own))
    return Made([state for state in found if state is not None], refused, tried)


def not_known_yet(states: Sequence[State], known: Mapping[int, Mapping[bytes, int]]) -> list[State]:
    """Those whose state is not known to any shard that was asked, or beside which one still has an older one.

    known: times by shard and key, as `moving.messages.Offered` tells them.
    """

    def is_wanted(state: State) -> bool:
        times = [of.get(key_of(state.change.id), 0) for of in known.values()]
        return max(map(abs, times), default=0) < state.time or any(0 < time < state.time for time in times)

    return [state for state in states if is_wanted(state)]


def config_of(config: CollectionConfig, spread: Spread) -> CollectionConfig:
    """Of a collection, by the layout in which a spread is read. Raises InputError for one without a plain vector."""
    config = holding(config, spread.model)
    if spread.size and config.vectors is None:
        raise InputError("only a collection with a plain vector without a name goes from one model to another")
    if spread.size and config.vectors is not None and config.vectors.size != spread.size:
        config = msgspec.structs.replace(config, vectors=msgspec.structs.replace(config.vectors, size=spread.size))
    return config


def holding(config: CollectionConfig, told: str) -> CollectionConfig:
    """Of the models that nodes tell each other; as it is where they tell none."""
    models, named = heard_over_the_mesh(told), heard_by_vector(told)
    if not models and not named:
        return config
    return msgspec.structs.replace(config, models=models, named_models=named)


def is_of(config: CollectionConfig, told: str) -> bool:
    """Whether what was made with this may meet vectors of the models that are told; true where it is not known."""
    goal = msgspec.structs.replace(config, models=heard_over_the_mesh(told), named_models=heard_by_vector(told))
    return all(are_same(config.models_of(vector), goal.models_of(vector)) for vector in config.dense)


def strange(name: str, holds: str, given: str) -> ConflictError:
    """What is raised where embeddings of two models would meet."""
    return ConflictError(
        f"collection `{name}` holds embeddings of model `{holds}`, {given}",
        hint="two models never mix in a collection: set `spread.model`, or make another collection",
    )
