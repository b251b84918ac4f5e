"""The collection in which a gateway's answers lie: made where there is none, and made anew for another embedder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from littoral.answers.carrying import carry
from littoral.answers.points import collection_config, names_of
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.clock import Clock
from littoral.errors import LittoralError, SettingError
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion, listed

__all__ = ["NO_EMBEDDER", "AnswersEmbedder", "open_store"]

Say = Callable[[str], None]


class AnswersEmbedder(NamedTuple):
    """size: numbers of a vector. models: whose they are; none: nobody knows. embed: a question's vector, float32."""

    size: int
    models: tuple[ModelVersion, ...]
    embed: Callable[[str], Awaitable[Any]]


async def _nowhere(_question: str) -> list[float]:
    return [1.0]


NO_EMBEDDER = AnswersEmbedder(1, (), _nowhere)
"""Answers are found by their request alone: all lie in one place."""


@contextlib.asynccontextmanager
async def open_store(
    collections: Collections,
    folder: Path,
    name: str,
    embedder: AnswersEmbedder,
    bounds: StoreBounds,
    clock: Clock,
    say: Say,
) -> AsyncIterator[AnswerStore]:
    """The store over the collection of this name until the block ends. folder: for what is
    remembered beside it.

    Where the collection holds vectors of another embedder, another one is begun, into which its entries go beside
    requests, each embedded anew; until then those that have not come are unknown, and what was learned of entries is
    forgotten. One that is spread over nodes is never exchanged: that is a SettingError. Raises what making one raises.
    """
    points, former = await _found(collections, name, embedder, say)
    store = await AnswerStore.open(points, folder, bounds, clock)
    carrying: asyncio.Task[None] | None = None
    try:
        if former is not None:
            say(
                f"collection `{former.name}`: holds embeddings of {listed(former.config.models)}, "
                f"its entries are embedded anew for `{points.name}`; what was learned of them is forgotten"
            )
            carrying = asyncio.create_task(_carry(collections, former, store, embedder, clock, say))
        yield store
    finally:
        if carrying is not None:
            carrying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await carrying
        await store.close()


async def _found(
    collections: Collections, name: str, embedder: AnswersEmbedder, say: Say
) -> tuple[Collection, Collection | None]:
    """That which is used, and that whose entries are to come into it."""
    for damaged in filter(collections.damaged.get, names_of(name)):
        raise collections.damaged[damaged]
    there = [collections.get(one) for one in names_of(name) if one in collections]
    fitting = [one for one in there if _fits(one, embedder)]
    if not fitting and there and _is_spread(collections, there[0]):
        raise SettingError(
            f"collection `{name}` holds vectors of another size or embedder than `gateway.embedder`",
            hint="collections that are spread are not exchanged: name another in `gateway.cache.collection`",
        )
    if not fitting:
        former = await _only(collections, there)
        free = next(one for one in names_of(name) if one not in collections)
        made = await collections.create(free, collection_config(embedder.size, embedder.models))
        say(f"collection `{free}`: made for answers of the gateway, {embedder.size} × Cosine")
        return made, former
    used = fitting[0]
    if not _is_spread(collections, used):
        await collections.claim(used.name, embedder.models)
    return used, next((one for one in there if one is not used), None)


async def _only(collections: Collections, there: list[Collection]) -> Collection | None:
    """Where two are left by changes that came one after the other, the one with more entries; the other goes."""
    if len(there) < len(names_of("")):
        return there[0] if there else None
    fewer, more = sorted([(await one.count(), one.name) for one in there])
    await collections.delete(fewer[1])
    return collections.get(more[1])


def _fits(collection: Collection, embedder: AnswersEmbedder) -> bool:
    params = collection.config.vectors
    if params is None or params.size != embedder.size or params.distance != "Cosine":
        return False
    return all(collection.holds(model) for model in embedder.models)


def _is_spread(collections: Collections, collection: Collection) -> bool:
    return collections.part(collection.name) is not collection


async def _carry(
    collections: Collections,
    former: Collection,
    store: AnswerStore,
    embedder: AnswersEmbedder,
    clock: Clock,
    say: Say,
) -> None:
    try:
        carried = await carry(former, store, embedder.embed, clock)
        await collections.delete(former.name)
    except LittoralError as error:
        say(f"collection `{former.name}`: its entries are embedded anew at the next start: {error}")
        return
    say(f"collection `{former.name}`: {carried.kept} entries embedded anew, {carried.left} left out; it is deleted")
