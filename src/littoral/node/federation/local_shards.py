"""The shards that lie on this node: a hidden collection each, so a process of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.errors import LittoralError, UnavailableError
from littoral.node.federation.copies import MARK, for_shard, marked, without_marks
from littoral.node.federation.merging import WHOLE, merge
from littoral.node.federation.messages import Part, PartTold
from littoral.node.federation.moves import Moves, Version
from littoral.node.federation.replicas import Replicas, Watched
from littoral.node.federation.splitting import some_points
from littoral.node.federation.summaries import Summaries
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig

__all__ = ["LocalShards", "Terms", "part_name"]


def part_name(collection: str, shard: int) -> str:
    """Of the hidden collection."""
    return f"{collection}.{shard}"


class Terms(NamedTuple):
    """here: holders of a shard that are here. least: of them, that must have a write. wait_s: for those beyond that.
    has_copies: whether points lie in several shards. version: of a write that may move points.
    """

    deadline_s: float
    here: dict[int, int]
    least: int
    wait_s: float
    has_copies: bool = False
    version: Version | None = None


class LocalShards:
    """For one event loop. tell_stale: tells other nodes that summaries of a shard prove nothing before an epoch."""

    def __init__(
        self,
        collections: Collections,
        summaries: Summaries,
        replicas: Replicas,
        tell_stale: Callable[[str, int, int], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._collections = collections
        self._summaries = summaries
        self._replicas = replicas
        self._tell_stale = tell_stale
        self._clock = clock
        self._shards: dict[str, Collection] = {}
        self._moves: dict[str, Moves] = {}

    async def ensure(
        self,
        collection: str,
        shard: int,
        config: CollectionConfig,
        nodes: Sequence[str],
        *,
        has_copies: bool = False,
    ) -> bool:
        """Makes it if it is not there; whether it did. nodes: that hold it. Raises what `create_part` raises."""
        name = part_name(collection, shard)
        if name in self._collections.damaged:
            raise self._collections.damaged[name]
        part = self._collections.part(name)
        is_new = part is None
        if part is None:
            part = await self._collections.create_part(name, config)
        if name not in self._shards:
            self._moves[name] = moves = Moves(self._clock)
            watched = Watched(part, partial(self._wrote, collection, shard, config), moves.left)
            self._shards[name] = Collection(name, config, watched)
            if has_copies:
                await part.create_index(MARK, "bool")
        if len(nodes) > 1:
            await self._replicas.keep(name, self._shards[name], nodes, part.life)
        return is_new

    async def _wrote(
        self,
        collection: str,
        shard: int,
        config: CollectionConfig,
        request: frames.Upsert | frames.UpdateVectors,
        epoch: int,
    ) -> None:
        stale = self._summaries.wrote(collection, shard, request.points, config, epoch)
        if stale is not None:
            await self._tell_stale(collection, shard, stale)

    async def answer(
        self, collection: str, parts: Sequence[Part], config: CollectionConfig, terms: Terms
    ) -> list[PartTold]:
        """Reads of several shards are merged here: what goes over the network is as large as one shard's answer."""
        return list(await asyncio.gather(*(self._part(collection, part, config, terms) for part in parts)))

    async def _part(self, collection: str, part: Part, config: CollectionConfig, terms: Terms) -> PartTold:
        asks = (self._one(collection, shard, part.request, terms) for shard in part.shards)
        found = list(zip(part.shards, await asyncio.gather(*asks), strict=True))
        failures = [(shard, frames.failure(0, one)) for shard, one in found if isinstance(one, LittoralError)]
        answers = [([shard], one) for shard, one in found if not isinstance(one, LittoralError)]
        if len(answers) > 1 and isinstance(part.request, WHOLE):
            shards = [shard for one, _ in answers for shard in one]
            answers = [(shards, merge(part.request, [one for _, one in answers], config))]
        return PartTold(answers, failures, self._left_s(collection, part))

    def _left_s(self, collection: str, part: Part) -> float | None:
        if not isinstance(part.request, frames.Read):
            return None
        moves = (self._moves.get(part_name(collection, shard)) for shard in part.shards)
        return min((left_s for one in moves if one is not None and (left_s := one.left_s()) is not None), default=None)

    async def _one(
        self, collection: str, shard: int, request: frames.Request, terms: Terms
    ) -> frames.Answer | LittoralError:
        name = part_name(collection, shard)
        if (found := self._shards.get(name)) is None:
            return self._collections.damaged.get(name) or UnavailableError(f"shard `{name}` is not on this node")
        try:
            if not terms.has_copies:
                return await self._asked(name, found, shard, request, terms)
            for one in for_shard(request):
                answer = await self._asked(name, found, shard, one, terms)
            copies: frames.Answer | None = None
            if isinstance(request, frames.Info):
                copies = await found.ask(frames.Count(call=0, filter=marked()), deadline_s=terms.deadline_s)
            return without_marks(answer, copies.count if isinstance(copies, frames.Counted) else 0)
        except LittoralError as error:
            return error

    async def _asked(
        self, name: str, found: Collection, shard: int, request: frames.Request, terms: Terms
    ) -> frames.Answer:
        if terms.version is not None:
            latest = self._latest(name, request, found.config, terms.version)
            if latest is None:
                return frames.Written(call=0, epoch=0, changed=False)
            request = latest
        if isinstance(request, frames.PointWrite) and name in self._replicas:
            return await self._replicas.write(
                name,
                request,
                terms.deadline_s,
                here=terms.here.get(shard, 1),
                least=terms.least,
                wait_s=terms.wait_s,
            )
        return await found.ask(request, deadline_s=terms.deadline_s)

    def _latest(
        self, name: str, request: frames.Request, config: CollectionConfig, version: Version
    ) -> frames.Request | None:
        """Without points that a later write was here for; None if that is all of them."""
        match request:
            case frames.Upsert(points=points):
                rows = self._moves[name].latest(points.ids, version)
                some: frames.Request = msgspec.structs.replace(request, points=some_points(points, rows, config))
            case frames.Delete(ids=list() as ids):
                rows = self._moves[name].latest(ids, version)
                some = msgspec.structs.replace(request, ids=[ids[row] for row in rows])
            case _:
                return request
        return some if rows else None
