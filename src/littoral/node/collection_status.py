"""How the collections of a node are doing, asked all at once."""

import asyncio

from littoral.errors import LittoralError
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import ShardInfo

__all__ = ["KnownStates", "collection_states"]

SHORT_S = 0.01
COLLECTION_S = 1.0

States = list[tuple[Collection, ShardInfo | LittoralError]]


class KnownStates:
    """As `collection_states`, for who asks again and again: one that is busy is told as it was when it answered."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self._asking: asyncio.Task[States] | None = None
        self._known: States | None = None

    async def read(self) -> States:
        """After ten milliseconds those of the time before, as long as these are not the first."""
        if self._asking is None:
            self._asking = asyncio.create_task(collection_states(self._collections, COLLECTION_S))
        asking = self._asking
        await asyncio.wait([asking], timeout=None if self._known is None else SHORT_S)
        if asking.done():
            self._known, self._asking = asking.result(), None
        return self._known or []


async def collection_states(
    collections: Collections, deadline_s: float
) -> list[tuple[Collection, ShardInfo | LittoralError]]:
    """Each with its counts, or with why it did not answer; without the damaged ones."""
    found = [collections.get(name) for name in collections.names()]
    return list(zip(found, await asyncio.gather(*(_state(one, deadline_s) for one in found)), strict=True))


async def _state(collection: Collection, deadline_s: float) -> ShardInfo | LittoralError:
    try:
        return await collection.info(deadline_s=deadline_s)
    except LittoralError as error:
        return error
