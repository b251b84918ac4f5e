"""After each start, beside requests: values of encrypted fields go over to the newest key, others to plain."""

import asyncio
import itertools
from collections.abc import Callable

from littoral.errors import LittoralError, UnavailableError
from littoral.vectors.collections import Collections
from littoral.vectors.encrypted.shard import Renewed, SealedShard

__all__ = ["renew_values"]

REQUEST_S = 10.0
PAUSE_S = 5.0


async def renew_values(collections: Collections, say: Callable[[str], None]) -> None:
    """Returns when nothing is sealed by a former key, nor plain from before its field was encrypted, nor sealed from
    when it was.
    """
    for name, shards in itertools.groupby(collections.sealed_shards(), key=lambda one: one[0]):
        own = [shard for _, shard in shards]
        if all([await _is_renewed(name, shard, say) for shard in own]):
            await _settle(name, own[0], say)


async def _is_renewed(name: str, shard: SealedShard, say: Callable[[str], None]) -> bool:
    """Whether all of its values lie as they are to lie."""
    try:
        done = await _renewed(shard)
    except LittoralError as error:
        say(f"collection `{name}`: encrypted values could not be looked at: {error}")
        return False
    if done.lost:
        say(f"collection `{name}`: {done.lost} of {done.points} points have values that no key opens")
    if done.values:
        how = "written plain, or sealed anew" if shard.fields.opening else "sealed anew"
        say(f"collection `{name}`: {done.values} values were {how} by the newest key")
    return not done.lost


async def _settle(name: str, shard: SealedShard, say: Callable[[str], None]) -> None:
    try:
        await asyncio.to_thread(shard.fields.settled)
    except OSError as error:
        say(f"collection `{name}`: what lies sealed could not be written down: {error}")
        return
    for field in shard.fields.opening:
        say(f"collection `{name}`: `{field}` lies plain now; what marks it so goes after the next start")
    for field in shard.fields.cleared:
        say(f"collection `{name}`: `{field}` is a field as any other from the next start on")


async def _renewed(shard: SealedShard) -> Renewed:
    """While its host is away it is asked again."""
    while True:
        try:
            return await shard.renew(REQUEST_S)
        except UnavailableError:
            await asyncio.sleep(PAUSE_S)
