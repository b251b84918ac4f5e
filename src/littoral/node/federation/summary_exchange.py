"""Summaries of shards on their way between nodes: made of what lies here, pulled from whom holds the rest."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.leases import RENEW_S, Grants
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
from littoral.telemetry import Endured
from littoral.transport import Transport
from littoral.vectors.collections import Collections

__all__ = ["SummaryExchange"]

PULL_S = 2.0
TELL_S = 0.5
AGAIN_S = 0.1
SOON_S = 0.25
"""Between two pulls, however often something changes."""

IDLE_S = 1.5
IDLE_PULLS_PER_S = 25.0
"""So many nodes ask a holder in a second for what they do not search, however many there are."""


class SummaryExchange:
    """members: names of the nodes of the site. known_to: what a member may read. complete_s: for how long a shard here
    is known to lack no write.
    """

    def __init__(
        self,
        summaries: Summaries,
        collections: Collections,
        transport: Transport,
        links: Links,
        members: Callable[[], Mapping[str, str]],
        known_to: Callable[[str], Mapping[str, Spread]],
        *,
        clock: Clock,
        grants: Grants,
        complete_s: Callable[[str, int], float],
    ) -> None:
        self._summaries = summaries
        self._collections = collections
        self._transport = transport
        self._links = links
        self._members = members
        self._known_to = known_to
        self._clock = clock
        self._grants = grants
        self._complete_s = complete_s
        self._wanted = asyncio.Event()
        self._busy: set[str] = set()
        self._pulls: dict[asyncio.Task[None], None] = {}
        self._all_at_s = 0.0
        self._endured = Endured()

    async def open(self) -> None:
        """From now on peers are told what is known here, and tell when that has changed."""
        await self._transport.serve(SUMMARIES, self._tell)
        await self._transport.serve(STALE, self._take_stale)

    async def sum_up(self, shards: Iterable[tuple[str, int]]) -> None:
        """Summaries of this node's shards, where they have changed."""
        for name, shard in shards:
            if (part := self._collections.part(part_name(name, shard))) is not None:
                with contextlib.suppress(UnavailableError):
                    await self._summaries.refresh(name, shard, part, partial(self.tell_stale, name, shard))

    async def keep(self) -> None:
        """Goes on pulling, until it is cancelled: each time, what is here already is proven anew."""
        try:
            await self._keep()
        finally:
            for pull in self._pulls:
                pull.cancel()

    async def _keep(self) -> None:
        while True:
            with self._endured.round("mesh: summaries of others"):
                if some := self._due():
                    pull = asyncio.create_task(self._pull_once(some), name="littoral-summaries")
                    self._pulls[pull] = None
                    pull.add_done_callback(self._pulls.pop)
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._wanted.wait()
                    await asyncio.sleep(SOON_S)

    async def _pull_once(self, spreads: Mapping[str, Spread]) -> None:
        with self._endured.round("mesh: summaries of others"):
            await self.pull(spreads)

    def _due(self) -> Mapping[str, Spread]:
        """What is searched here; from time to time, or in a small site when something has changed, the rest too."""
        now_s, spreads = self._clock.monotonic(), self._known_to(self._transport.name)
        every_s = max(IDLE_S, len(self._members()) / IDLE_PULLS_PER_S)
        if now_s >= self._all_at_s or (self._wanted.is_set() and every_s == IDLE_S):
            self._all_at_s = now_s + every_s
            return spreads
        return {name: spread for name, spread in spreads.items() if self._summaries.is_used(name)}

    def want(self) -> None:
        """Something may be known elsewhere that is not known here."""
        self._wanted.set()

    async def pull(self, spreads: Mapping[str, Spread]) -> None:
        """Of every shard that is not here, from the nearest of those that hold it, and that is not being asked."""
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
        asks = {peer: wanted for peer, wanted in asks.items() if peer not in self._busy}
        self._busy |= asks.keys()
        try:
            await asyncio.gather(*(self._pull_from_holder(peer, wanted) for peer, wanted in asks.items()))
        finally:
            self._busy -= asks.keys()

    async def _pull_from_holder(self, peer: str, wanted: list[Wanted]) -> None:
        asked_s = self._clock.monotonic()
        with contextlib.suppress(LittoralError):
            body = await self._transport.request(peer, SUMMARIES, encode(wanted), deadline_s=PULL_S)
            for name, vouched in decode_summaries(body, peer).items():
                self._summaries.take(name, vouched, peer, asked_s)

    async def tell_stale(self, collection: str, shard: int, epoch: int) -> None:
        """Returns when nobody believes a summary of this shard from before that epoch."""
        others = self._members().keys() - {self._transport.name}
        believers = self._grants.holders((collection, shard), others, before=epoch)
        what = (collection, shard)
        told = (self._withdraw(peer, what, epoch, until_s) for peer, until_s in sorted(believers.items()))
        await asyncio.gather(*told)

    async def _withdraw(self, peer: str, what: tuple[str, int], epoch: int, until_s: float) -> None:
        body = encode(Stale(what[0], {what[1]: epoch}))
        while (left_s := until_s - self._clock.monotonic()) > 0:
            try:
                await self._transport.request(peer, STALE, body, deadline_s=min(left_s, TELL_S))
            except LittoralError:
                await asyncio.sleep(min(left_s, AGAIN_S))
            else:
                self._grants.revoke(what, peer, before=epoch)
                return

    async def _take_stale(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        stale = decode_stale(body, caller)
        for shard, epoch in stale.shards.items():
            self._summaries.stale(stale.collection, shard, caller, epoch)
        self.want()
        return b""

    async def _tell(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        known, told = self._known_to(caller), {}
        for one in decode_wanted(body, caller):
            if (spread := known.get(one.collection)) is None or one.model != spread.model:
                continue
            one.shards = {shard: epoch for shard, epoch in one.shards.items() if shard in spread.places}
            vouched = told[one.collection] = self._summaries.vouched(one, partial(self._complete_s, one.collection))
            for shard, (epoch, for_s) in vouched.shards.items():
                self._grants.grant((one.collection, shard), caller, epoch=epoch, for_s=for_s)
        return encode(told)

    def _check(self, caller: str) -> None:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
