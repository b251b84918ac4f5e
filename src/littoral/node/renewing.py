"""Values of encrypted fields go over to the newest key, beside requests, after every start."""

import asyncio
from collections.abc import Callable

from littoral.errors import LittoralError, UnavailableError
from littoral.vectors.collections import Collections
from littoral.vectors.encrypted.shard import Renewed, SealedShard

__all__ = ["renew_values"]

REQUEST_S = 10.0
PAUSE_S = 5.0


async def renew_values(collections: Collections, say: Callable[[str], None]) -> None:
    """Returns when nothing is sealed by a former key, nor plain from before its field was encrypted."""
    for name, shard in collections.sealed_shards():
        try:
            done = await _renewed(shard)
        except LittoralError as error:
            say(f"collection `{name}`: encrypted values could not be looked at: {error}")
            continue
        if done.lost:
            say(f"collection `{name}`: {done.lost} of {done.points} points have values that no key opens")
        if done.values:
            say(f"collection `{name}`: {done.values} values were sealed anew by the newest key")


async def _renewed(shard: SealedShard) -> Renewed:
    """While its host is away it is asked again."""
    while True:
        try:
            return await shard.renew(REQUEST_S)
        except UnavailableError:
            await asyncio.sleep(PAUSE_S)
