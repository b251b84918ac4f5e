"""The shards that lie on this node: a hidden collection each, so a process of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import LittoralError, RequestError, UnavailableError
from littoral.node.federation.copies import MARK, for_shard, marked, without_marks
from littoral.node.federation.indexes import PayloadIndexes
from littoral.node.federation.loads import Loads
from littoral.node.federation.merging import WHOLE, merge
from littoral.node.federation.messages import Part, PartTold
from littoral.node.federation.moves import Leaving
from littoral.node.federation.replicas import Replicas, Watched
from littoral.node.federation.summaries import Summaries
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.collection_folders import is_part
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.stamps import ANY, At, LateError

__all__ = ["LocalShards", "Terms", "part_name"]


_log = logging.getLogger("littoral.mesh.shards")


def part_name(collection: str, shard: int) -> str:
    """Of the hidden collection."""
    return f"{collection}.{shard}"


class Terms(NamedTuple):
    """here: holders of a shard that are here. least: of them, that must have a write. wait_s: for those beyond that.
    has_copies: whether points lie in several shards. at: of a write.
    """

    deadline_s: float
    here: dict[int, int]
    least: int
    wait_s: float
    has_copies: bool = False
    at: At = ANY

    @classmethod
    def of_read(cls, deadline_s: float, *, has_copies: bool) -> "Terms":
        """Nobody else has to have anything."""
        return cls(deadline_s, {}, 1, 0.0, has_copies)


AfterWrite = Callable[[str, int, int, float], Awaitable[None]]
"""Told of a write that is on the disk here: collection, shard, its hybrid time, and how long may be waited."""


class LocalShards:
    """For one event loop. tell_stale: tells other nodes that summaries of a shard prove nothing before an epoch."""

    def __init__(
        self,
        collections: Collections,
        summaries: Summaries,
        replicas: Replicas,
        tell_stale: Callable[[str, int, int], Awaitable[None]],
        clock: Clock,
        complete_s: Callable[[str, int], float],
    ) -> None:
        """complete_s: for how long a shard here is known to have every write that was acknowledged."""
        self._collections = collections
        self._summaries = summaries
        self._replicas = replicas
        self._tell_stale = tell_stale
        self._complete_s = complete_s
        self._shards: dict[str, Collection] = {}
        self._watched: dict[str, Watched] = {}
        self._leaving = Leaving(clock)
        self._refused: dict[str, CollectionConfig] = {}
        self.loads = Loads(clock)
        self.after_write: AfterWrite | None = None
        self.indexes: PayloadIndexes | None = None
        """Where it is noted which payload indexes there are to be."""

    async def ensure(
        self,
        collection: str,
        shard: int,
        config: CollectionConfig,
        nodes: Sequence[str],
        *,
        has_copies: bool = False,
        has_options: bool = False,
    ) -> bool:
        """Makes it if it is not there; whether it did. nodes: that hold it. has_options: a request may have changed
        those that it was made with. Raises what `create_part` raises.
        """
        name = part_name(collection, shard)
        if name in self._collections.damaged:
            raise self._collections.damaged[name]
        part = self._collections.part(name)
        is_new = part is None
        if part is None:
            part = await self._collections.create_part(name, config)
        elif has_options:
            await self._take_options(part, config)
        if name not in self._shards:
            if has_copies:
                await part.create_index(MARK, "bool")
            watched = Watched(part, partial(self._wrote, collection, shard, config), partial(self._leaving.left, name))
            self._watched[name] = watched
            self._shards[name] = Collection(name, config, watched)
        await self._replicas.keep(name, self._shards[name], nodes, part.life)
        return is_new

    async def try_options(self, collection: str, config: CollectionConfig) -> None:
        """On a shard that lies here, if one does. Raises InputError where the store refuses them: it is as before."""
        for name, shard in self.all_here():
            if name == collection and (part := self._collections.part(part_name(name, shard))) is not None:
                await self._collections.configure_part(part.name, part.config.with_options_of(config))
                return

    async def _take_options(self, part: Collection, config: CollectionConfig) -> None:
        """What the store refuses is told once, and nothing else waits for it."""
        if (wanted := part.config.with_options_of(config)) in (part.config, self._refused.get(part.name)):
            return
        try:
            await self._collections.configure_part(part.name, wanted)
            self._refused.pop(part.name, None)
        except RequestError as error:
            self._refused[part.name] = wanted
            _log.warning("shard `%s`: its options stay as they were: %s", part.name, error)

    async def open_left(self, collection: str, shard: int) -> None:
        """Of a shard that has no place here any more: for whoever hands its points over, not for callers."""
        name = part_name(collection, shard)
        if (part := self._collections.part(name)) is not None:
            await self._replicas.keep(name, part, [], part.life)

    async def exchanged(self, collection: str, shard: int) -> None:
        """Its points were exchanged as a whole: `ensure` opens it anew, nothing that was known of them holds."""
        name = part_name(collection, shard)
        self.close_to_callers(collection, shard)
        self._summaries.exchanged(collection, shard)
        await self._replicas.let_go(name)
        if (part := self._collections.part(name)) is not None:
            await self._tell_stale(collection, shard, (await part.info()).epoch)

    def all_here(self) -> list[tuple[str, int]]:
        """Collections and numbers of shards of which something lies here, the damaged ones too."""
        damaged = (name for name in self._collections.damaged if is_part(name))
        parts = (name.rpartition(".") for name in {*self._collections.parts(), *damaged, *self._replicas.kept()})
        return sorted((name, int(number)) for name, _, number in parts if number.isdigit())

    async def let_go(self, collection: str, shard: int) -> None:
        """It is gone from the disk, now and after a crash; nobody may be asking for it any more."""
        name = part_name(collection, shard)
        self.close_to_callers(collection, shard)
        await self._replicas.let_go(name)
        if self._collections.part(name) is not None or name in self._collections.damaged:
            await self._collections.delete_part(name)
        await self._replicas.remove_journal(name)
        self._summaries.exchanged(collection, shard)

    def close_to_callers(self, collection: str, shard: int) -> None:
        """What is asked of it from now on is refused."""
        self._shards.pop(part_name(collection, shard), None)
        self._watched.pop(part_name(collection, shard), None)
        self.loads.forget(part_name(collection, shard))

    def written(self, collection: str, shards: Iterable[int]) -> tuple[object, ...]:
        """Another whenever one of these shards was written to that lie here, by whomever."""
        found = ((shard, self._watched.get(part_name(collection, shard))) for shard in shards)
        return tuple((shard, watched.written) for shard, watched in found if watched is not None)

    async def _wrote(
        self,
        collection: str,
        shard: int,
        config: CollectionConfig,
        request: frames.Upsert | frames.UpdateVectors | frames.ChangePayload,
        epoch: int,
    ) -> None:
        if isinstance(request, frames.ChangePayload):
            stale = self._summaries.changed(collection, shard, request.change, config, epoch)
        else:
            stale = self._summaries.wrote(collection, shard, request.points, config, epoch)
        if stale is not None:
            await self._tell_stale(collection, shard, stale)

    async def answer(
        self, collection: str, parts: Sequence[Part], config: CollectionConfig, terms: Terms
    ) -> list[PartTold]:
        """Reads of several shards are merged here: what goes over the network is as large as one shard's answer."""
        if len(parts) == 1:
            return [await self._part(collection, parts[0], config, terms)]
        return list(await asyncio.gather(*(self._part(collection, part, config, terms) for part in parts)))

    async def _part(self, collection: str, part: Part, config: CollectionConfig, terms: Terms) -> PartTold:
        behind = []
        if isinstance(part.request, frames.Search | frames.Group):
            behind = [shard for shard in part.shards if not self._complete_s(collection, shard)]
        if len(part.shards) == 1:
            found = [(part.shards[0], await self._one(collection, part.shards[0], part.request, terms))]
        else:
            asks = [self._one(collection, shard, part.request, terms) for shard in part.shards]
            found = list(zip(part.shards, await asyncio.gather(*asks), strict=True))
        late = {shard: one.time for shard, one in found if isinstance(one, LateError)}
        failures = [
            (shard, frames.failure(0, one))
            for shard, one in found
            if isinstance(one, LittoralError) and shard not in late
        ]
        answers = [([shard], one) for shard, one in found if not isinstance(one, LittoralError)]
        if isinstance(part.request, WHOLE):
            answers = _merged(part.request, answers, behind, config)
        names = [part_name(collection, shard) for shard in part.shards if _may_miss(part.request)]
        return PartTold(answers, failures, late, behind, self._leaving.ago_s(names))

    async def _one(
        self, collection: str, shard: int, request: frames.Request, terms: Terms
    ) -> frames.Answer | LittoralError:
        name = part_name(collection, shard)
        if (found := self._shards.get(name)) is None:
            return self._collections.damaged.get(name) or UnavailableError(f"shard `{name}` is not on this node")
        try:
            if not terms.has_copies:
                return await self._asked(name, found, shard, request, terms)
            answer = await self._asked(name, found, shard, for_shard(request), terms)
            copies: frames.Answer | None = None
            if isinstance(request, frames.Info):
                copies = await found.ask(frames.Count(call=0, filter=marked()), deadline_s=terms.deadline_s)
            return without_marks(answer, copies.count if isinstance(copies, frames.Counted) else 0)
        except LittoralError as error:
            return error

    async def _asked(
        self, name: str, found: Collection, shard: int, request: frames.Request, terms: Terms
    ) -> frames.Answer:
        if isinstance(request, frames.CreateIndex | frames.DeleteIndex) and self.indexes is not None:
            return await self._indexed(self.indexes, name.rpartition(".")[0], found, request, terms)
        if not isinstance(request, frames.PointWrite):
            began_s = self.loads.now()
            answer = await found.ask(request, deadline_s=terms.deadline_s)
            if isinstance(request, frames.Search | frames.Group):
                self.loads.searched(name, began_s)
            return answer
        began_s = self.loads.now()
        stamp = await self._replicas.write(
            name,
            request,
            terms.deadline_s,
            here=terms.here.get(shard, 1),
            least=terms.least,
            wait_s=terms.wait_s,
            at=terms.at,
        )
        if self.after_write is not None:
            left_s = terms.deadline_s - (self.loads.now() - began_s)
            await self.after_write(name.rpartition(".")[0], shard, stamp.time, left_s)
        return frames.Written(call=0, epoch=stamp.number)

    async def _indexed(
        self,
        indexes: PayloadIndexes,
        collection: str,
        found: Collection,
        request: frames.CreateIndex | frames.DeleteIndex,
        terms: Terms,
    ) -> frames.Answer:
        async with indexes.changing(found.name):
            indexes.check(collection, request.field, terms.at.time)
            answer = await found.ask(request, deadline_s=terms.deadline_s)
            await indexes.note(collection, request, terms.at.time)
        return answer


def _may_miss(request: frames.Request) -> bool:
    """Whether it may find a point nowhere that goes from one shard to another meanwhile."""
    if isinstance(request, frames.Read):
        return True
    match request:
        case frames.ChangePayload(change=change):
            return change.ids is None
        case frames.Delete(ids=None) | frames.DeleteVectors(ids=None):
            return True
    return False


def _merged(
    request: frames.Read,
    answers: list[tuple[list[int], frames.Answer]],
    behind: Sequence[int],
    config: CollectionConfig,
) -> list[tuple[list[int], frames.Answer]]:
    """As one, but for shards that lack writes: who asks can leave these out where another replica answers as well."""
    whole = [(shards, answer) for shards, answer in answers if shards[0] not in behind]
    if len(whole) < 2:
        return answers
    merged = merge(request, [answer for _, answer in whole], config)
    rest = [(shards, answer) for shards, answer in answers if shards[0] in behind]
    return [([shard for shards, _ in whole for shard in shards], merged), *rest]
