"""The shards that lie on this node: a hidden collection each, so a process of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from littoral.errors import LittoralError, UnavailableError
from littoral.node.federation.merging import WHOLE, merge
from littoral.node.federation.messages import Part, PartTold
from littoral.node.federation.summaries import Summaries
from littoral.vectors import frames
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig

__all__ = ["LocalShards", "part_name"]


def part_name(collection: str, shard: int) -> str:
    """Of the hidden collection."""
    return f"{collection}.{shard}"


class LocalShards:
    """For one event loop."""

    def __init__(
        self,
        collections: Collections,
        summaries: Summaries,
        tell_stale: Callable[[str, list[int]], Awaitable[None]],
    ) -> None:
        """tell_stale: tells the other nodes that summaries of these shards prove nothing any more."""
        self._tell_stale = tell_stale
        self._collections = collections
        self._summaries = summaries

    async def ensure(self, collection: str, shard: int, config: CollectionConfig) -> bool:
        """Makes it if it is not there; whether it did. Raises what `Collections.create_part` raises."""
        name = part_name(collection, shard)
        if name in self._collections.damaged:
            raise self._collections.damaged[name]
        if self._collections.part(name) is not None:
            return False
        await self._collections.create_part(name, config)
        return True

    async def answer(
        self, collection: str, parts: Sequence[Part], config: CollectionConfig, deadline_s: float
    ) -> list[PartTold]:
        """Reads of several shards are merged here: what goes over the network is as large as one shard's answer."""
        return list(await asyncio.gather(*(self._part(collection, part, config, deadline_s) for part in parts)))

    async def _part(self, collection: str, part: Part, config: CollectionConfig, deadline_s: float) -> PartTold:
        asks = (self._one(part_name(collection, shard), part.request, deadline_s) for shard in part.shards)
        found = list(zip(part.shards, await asyncio.gather(*asks), strict=True))
        failures = [(shard, frames.failure(0, one)) for shard, one in found if isinstance(one, LittoralError)]
        answers = [([shard], one) for shard, one in found if not isinstance(one, LittoralError)]
        if isinstance(part.request, frames.Upsert | frames.UpdateVectors):
            points = part.request.points
            if stale := [shard for shard in part.shards if self._summaries.wrote(collection, shard, points, config)]:
                await self._tell_stale(collection, stale)
        if len(answers) > 1 and isinstance(part.request, WHOLE):
            shards = [shard for one, _ in answers for shard in one]
            answers = [(shards, merge(part.request, [one for _, one in answers], config))]
        return PartTold(answers, failures)

    async def _one(self, name: str, request: frames.Request, deadline_s: float) -> frames.Answer | LittoralError:
        if (part := self._collections.part(name)) is None:
            return self._collections.damaged.get(name) or UnavailableError(f"shard `{name}` is not on this node")
        try:
            return await part.ask(request, deadline_s=deadline_s)
        except LittoralError as error:
            return error
