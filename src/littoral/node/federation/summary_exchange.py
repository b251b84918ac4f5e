"""Summaries of shards on their way between nodes: made of what lies here, pulled from whom holds the rest."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from littoral.errors import ForbiddenError, InputError, PeerError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.links import Links
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.summaries import (
    STALE,
    SUMMARIES,
    Stale,
    Summaries,
    Wanted,
    decode_stale,
    decode_summaries,
    decode_wanted,
    encode,
)
from littoral.transport import Transport
from littoral.vectors.collections import Collections

__all__ = ["SummaryExchange"]

PULL_S = 2.0


class SummaryExchange:
    """members: names of the nodes of the site. known_to: what a member may read. changed: told when something is to be
    pulled.
    """

    def __init__(
        self,
        summaries: Summaries,
        collections: Collections,
        transport: Transport,
        links: Links,
        members: Callable[[], Mapping[str, str]],
        known_to: Callable[[str], Mapping[str, Spread]],
        changed: Callable[[], None],
    ) -> None:
        self._summaries = summaries
        self._collections = collections
        self._transport = transport
        self._links = links
        self._members = members
        self._known_to = known_to
        self._changed = changed

    async def open(self) -> None:
        """From now on peers are told what is known here, and tell when that has changed."""
        await self._transport.serve(SUMMARIES, self._tell)
        await self._transport.subscribe(STALE, self._take_stale)

    async def sum_up(self, shards: Iterable[tuple[str, int]]) -> None:
        """Summaries of this node's shards, where they have changed."""
        for name, shard in shards:
            if (part := self._collections.part(part_name(name, shard))) is not None:
                with contextlib.suppress(UnavailableError):
                    await self._summaries.refresh(name, shard, part, partial(self.tell_stale, name, shard))

    async def pull(self, spreads: Mapping[str, Spread], *, is_lacking_only: bool = False) -> None:
        """Of every shard that is not here, from the nearest of those that hold it; or of those without one alone."""
        here = self._transport.name
        alive = self._transport.alive() & self._members().keys() - {here}
        asks: dict[str, list[Wanted]] = {}
        for name, spread in spreads.items():
            by_peer: dict[str, list[int]] = {}
            for shard, nodes in spread.places.items():
                if here not in nodes and (some := alive.intersection(nodes)):
                    nearest = min(some, key=lambda node: (self._links.median_s(node), node))
                    by_peer.setdefault(nearest, []).append(shard)
            for peer, shards in by_peer.items():
                asks.setdefault(peer, []).append(self._summaries.wanted(name, shards, peer, spread.model))
        if is_lacking_only:
            asks = {peer: wanted for peer, wanted in asks.items() if any(0 in one.shards.values() for one in wanted)}
        await asyncio.gather(*(self._pull_from_holder(peer, wanted) for peer, wanted in asks.items()))

    async def _pull_from_holder(self, peer: str, wanted: list[Wanted]) -> None:
        with contextlib.suppress(PeerError, InputError):
            body = await self._transport.request(peer, SUMMARIES, encode(wanted), deadline_s=PULL_S)
            for name, summaries in decode_summaries(body, peer).items():
                self._summaries.take(name, summaries, peer)

    async def tell_stale(self, collection: str, shard: int, epoch: int) -> None:
        """Summaries of this shard prove nothing before that epoch."""
        await self._transport.publish(STALE, encode(Stale(collection, {shard: epoch})))

    def _take_stale(self, sender: str, _topic: str, body: bytes) -> None:
        with contextlib.suppress(InputError):
            stale = decode_stale(body, sender)
            for shard, epoch in stale.shards.items():
                self._summaries.stale(stale.collection, shard, sender, epoch)
            self._changed()

    async def _tell(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        known = self._known_to(caller)
        wanted = [one for one in decode_wanted(body, caller) if one.collection in known]
        wanted = [one for one in wanted if one.model == known[one.collection].model]
        for one in wanted:
            places = known[one.collection].places
            one.shards = {shard: epoch for shard, epoch in one.shards.items() if shard in places}
        return encode({one.collection: self._summaries.newer(one) for one in wanted})
