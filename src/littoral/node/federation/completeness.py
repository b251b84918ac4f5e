"""Whether a replica here has every write to its shard that was acknowledged anywhere, and may say so.

Each holder asks every other one for a lease, and gets with it what the other has. Once that is here too, the replica is
complete until the lease ends: the other acknowledges no write meanwhile that this node has not, or waits for the end.
Where every holder must have each write there is nothing to ask for, once a replica that was made, or made anew, has
got what the others had before.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError
from littoral.node.federation.leases import LEASE_S, RENEW_S, Beliefs
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.messages import decoded, encode
from littoral.node.federation.replicas import Replicas
from littoral.telemetry import Endured
from littoral.transport import Transport

__all__ = ["LEASES", "Completeness", "Holding"]

LEASES = "federated-leases"
SHARD_COUNT_MAX = 4096

_asked = msgspec.msgpack.Decoder(list[tuple[str, int]])
_told = msgspec.msgpack.Decoder(list[dict[str, int] | None])


class Holding(NamedTuple):
    """A shard of this node. nodes: that hold it. least: of them, that must have a write before it is acknowledged.

    may_pass: whether others may go on to another layout without this node, and acknowledge writes by that.
    """

    collection: str
    shard: int
    nodes: Sequence[str]
    least: int
    may_pass: bool = False

    @property
    def what(self) -> tuple[str, int]:
        return self.collection, self.shard


class Completeness:
    """holding: a shard of this node; None where it is none. members: names of the nodes of the site."""

    def __init__(
        self,
        transport: Transport,
        replicas: Replicas,
        holding: Callable[[str, int], Holding | None],
        members: Callable[[], Mapping[str, str]],
        clock: Clock,
        map_s: Callable[[], float] = lambda: LEASE_S,
    ) -> None:
        """map_s: for how long the map of this node is the newest."""
        self._transport = transport
        self._map_s = map_s
        self._replicas = replicas
        self._holding = holding
        self._members = members
        self._clock = clock
        self._beliefs = Beliefs(clock)
        self._endured = Endured()

    async def open(self) -> None:
        """From now on other holders are promised what they ask for."""
        await self._transport.serve(LEASES, self._grant)

    def left_s(self, collection: str, shard: int) -> float:
        """For how long this node's replica is known to be complete; 0 where it is not."""
        if (holding := self._holding(collection, shard)) is None:
            return 0.0
        left_s = self._beliefs.left_s(holding.what, self._lessors(holding))
        return min(left_s, self._map_s()) if holding.may_pass else left_s

    def _lessors(self, holding: Holding) -> list[str]:
        if holding.least >= len(holding.nodes) and self._replicas.is_whole(part_name(*holding.what)):
            return []
        return self._others(holding)

    def _others(self, holding: Holding) -> list[str]:
        return [node for node in holding.nodes if node != self._transport.name]

    async def renew(self, holdings: Iterable[Holding]) -> None:
        """Asks every other holder of these shards, once. Returns when all have answered, or the lease would be over."""
        by_peer: dict[str, list[Holding]] = {}
        for holding in holdings:
            for peer in self._lessors(holding):
                by_peer.setdefault(peer, []).append(holding)
        here = self._transport.alive()
        asks: list[Awaitable[None]] = [self._ask(peer, some) for peer, some in by_peer.items() if peer in here]
        await asyncio.gather(*asks)

    async def keep(self, holdings: Callable[[], Iterable[Holding]]) -> None:
        """Goes on renewing."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    with self._endured.round("mesh: leases"):
                        await self.renew(holdings())
                    await asyncio.Event().wait()

    async def _ask(self, peer: str, holdings: Sequence[Holding]) -> None:
        asked_s = self._clock.monotonic()
        with contextlib.suppress(LittoralError):
            body = encode([holding.what for holding in holdings])
            told = await self._transport.request(peer, LEASES, body, deadline_s=RENEW_S)
            vectors = decoded(_told, told, f"leases of `{peer}`")
            waits = (
                self._believe(holding, peer, vector, asked_s)
                for holding, vector in zip(holdings, vectors, strict=False)
                if vector is not None
            )
            await asyncio.gather(*waits)

    async def _believe(self, holding: Holding, peer: str, vector: Mapping[str, int], asked_s: float) -> None:
        left_s = asked_s + LEASE_S - self._clock.monotonic()
        if await self._replicas.reached(part_name(*holding.what), vector, left_s):
            self._beliefs.believe(holding.what, peer, asked_s + LEASE_S)
            if self._beliefs.left_s(holding.what, self._others(holding)) > 0:
                await self._replicas.become_whole(part_name(*holding.what))

    async def _grant(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        asked = decoded(_asked, body, f"request of `{caller}` for leases")[:SHARD_COUNT_MAX]
        return encode([self._promised(caller, collection, shard) for collection, shard in asked])

    def _promised(self, caller: str, collection: str, shard: int) -> Mapping[str, int] | None:
        """What is here; None where nothing can be promised."""
        holding = self._holding(collection, shard)
        if holding is None or caller not in holding.nodes:
            return None
        return self._replicas.promise(part_name(collection, shard), caller)
