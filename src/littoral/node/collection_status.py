"""How the collections of a node are doing, asked all at once."""

import asyncio

from littoral.errors import LittoralError
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import ShardInfo

__all__ = ["collection_states"]


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
