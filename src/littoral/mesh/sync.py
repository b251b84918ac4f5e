"""Replicas of shards on this node and their peers: answers their questions, and keeps a link to each.

Only a node that has a replica of a shard, as the shard map says, gets anything of it.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, ForbiddenError, InputError, NotFoundError
from littoral.mesh.replica_link import BATCH_BYTES, Lag, ReplicaLink, ShippingTimes
from littoral.mesh.replica_log import ReplicaLog, Seeds
from littoral.mesh.replica_messages import (
    DIGESTS,
    KEY_COUNT_MAX,
    NODE_COUNT_MAX,
    PULL,
    PUSH,
    STATES,
    VERSIONS,
    AskDigests,
    AskStates,
    AskVersions,
    Digests,
    Pull,
    Pulled,
    Push,
    Pushed,
    decode,
    encode,
)
from littoral.telemetry import Reading
from littoral.transport import Transport

__all__ = ["Copies", "Lag", "ReplicaLog", "ShippingTimes", "Sync"]

DEFAULT_TIMES = ShippingTimes()


class Copies(NamedTuple):
    """Which nodes have a write on their disks, this one first, and which are not known to."""

    have: list[str]
    missing: list[str]


class _Shared:
    """One log, and the way to each peer."""

    def __init__(self, log: ReplicaLog) -> None:
        self.log = log
        self.links: dict[str, ReplicaLink] = {}
        self.moved = asyncio.Event()

    def learned(self) -> None:
        """Wakes who waits for copies; what all have need not be kept."""
        self.stirred()
        vectors = [link.vector for link in self.links.values()]
        if vectors and all(vector is not None for vector in vectors):
            known = (vector for vector in vectors if vector is not None)
            common = dict(self.log.vector)
            for vector in known:
                common = {origin: min(number, vector.get(origin, 0)) for origin, number in common.items()}
            self.log.known_to_all(common)

    def stirred(self) -> None:
        """Who waits for copies looks again."""
        self.moved.set()
        self.moved = asyncio.Event()

    def news(self) -> None:
        for link in self.links.values():
            link.news()


class Sync:
    """For one event loop. rng: spreads the times at which nodes ask."""

    def __init__(
        self, transport: Transport, *, clock: Clock, rng: Random, times: ShippingTimes = DEFAULT_TIMES
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._times = times
        self._shards: dict[str, _Shared] = {}
        self.seeds: Seeds | None = None
        """Where replicas that lack nearly everything get it from at once."""

    async def start(self) -> None:
        """Answers from now on, and hears who comes."""
        for service, answer in (
            (PULL, self._pull),
            (PUSH, self._push),
            (DIGESTS, self._digests),
            (VERSIONS, self._versions),
            (STATES, self._states),
        ):
            await self._transport.serve(service, answer)
        self._transport.watch(self._came)

    async def close(self) -> None:
        """Links end; logs stay as they are."""
        await asyncio.gather(*(self.remove(name) for name in list(self._shards)))

    def add(self, log: ReplicaLog, peers: Iterable[str]) -> None:
        """Keeps this replica and those of the peers alike from now on. Raises ConflictError for one that is there."""
        if log.name in self._shards:
            raise ConflictError(f"a replica of `{log.name}` is there already")
        shared = self._shards[log.name] = _Shared(log)
        log.watch(shared.news)
        self._link(shared, peers)

    async def set_peers(self, shard: str, peers: Iterable[str]) -> None:
        """The shard map has changed. Raises NotFoundError."""
        shared, wanted = self._of(shard), set(peers)
        gone = [shared.links.pop(peer) for peer in list(shared.links) if peer not in wanted]
        await asyncio.gather(*(link.close() for link in gone))
        self._link(shared, wanted - shared.links.keys())
        shared.learned()

    def _link(self, shared: _Shared, peers: Iterable[str]) -> None:
        for peer in peers:
            if peer == self._transport.name:
                continue
            link = ReplicaLink(
                shared.log,
                peer,
                self._transport,
                clock=self._clock,
                rng=self._rng,
                times=self._times,
                learned=shared.learned,
                seeds=self.seeds,
            )
            shared.links[peer] = link
            link.start()

    async def remove(self, shard: str) -> None:
        """This node has no replica of it any more."""
        if (shared := self._shards.pop(shard, None)) is not None:
            await asyncio.gather(*(link.close() for link in shared.links.values()))

    def has(self, shard: str, peer: str, vector: Mapping[str, int]) -> bool:
        """Whether this peer's replica is known to have everything up to there."""
        shared = self._shards.get(shard)
        link = None if shared is None else shared.links.get(peer)
        theirs = {} if link is None or link.vector is None else link.vector
        return all(theirs.get(origin, 0) >= number for origin, number in vector.items())

    def lags(self) -> list[Lag]:
        """Of each peer's replica of each shard."""
        return [link.lag() for shared in self._shards.values() for link in shared.links.values()]

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for shared in self._shards.values():
            for link in shared.links.values():
                lag, labels = link.lag(), (shared.log.name, link.peer)
                yield Reading("littoral_replica_lag_entries", labels, lag.entry_count)
                yield Reading("littoral_replica_lag_seconds", labels, lag.since_s)
                yield Reading("littoral_replica_repaired_total", labels, link.repaired_count)

    async def copies(
        self, shard: str, origin: str, number: int, *, count: int, deadline_s: float, least: int | None = None
    ) -> Copies:
        """Waits until `count` nodes, this one included, have that write on their disks; at most for the deadline.

        least: so many are enough where the others are away, or go meanwhile, or lack what no log has. Says who has it
        then, be they enough or not. Raises InputError if there are not so many replicas.
        """
        shared = self._of(shard)
        if count > 1 + len(shared.links):
            raise InputError(f"shard `{shard}` has {1 + len(shared.links)} replicas, asked for are {count}")
        give_up = self._clock.monotonic() + deadline_s
        while True:
            moved = shared.moved
            found = self._who_has(shared, origin, number)
            left_s = give_up - self._clock.monotonic()
            if len(found.have) >= count or left_s <= 0:
                return found
            is_least = least is not None and len(found.have) >= least
            if is_least and not self._may_come(shared, found.missing):
                return found
            try:
                async with asyncio.timeout(left_s):
                    await moved.wait()
            except TimeoutError:
                return self._who_has(shared, origin, number)

    def _may_come(self, shared: _Shared, missing: Iterable[str]) -> bool:
        alive = self._transport.alive()
        return any(peer in alive and not shared.links[peer].is_gapped for peer in missing)

    def _who_has(self, shared: _Shared, origin: str, number: int) -> Copies:
        have = {peer for peer, link in shared.links.items() if (link.vector or {}).get(origin, 0) >= number}
        own = [self._transport.name] if shared.log.vector.get(origin, 0) >= number else []
        return Copies(own + sorted(have), sorted(shared.links.keys() - have))

    def _came(self, peer: str, is_here: bool) -> None:
        for shared in self._shards.values():
            if (link := shared.links.get(peer)) is None:
                continue
            if is_here:
                link.came()
            else:
                shared.stirred()

    def _of(self, shard: str) -> _Shared:
        if (found := self._shards.get(shard)) is None:
            raise NotFoundError(f"node `{self._transport.name}` has no replica of `{shard[:80]}`")
        return found

    def _for(self, shard: str, peer: str) -> tuple[ReplicaLog, ReplicaLink]:
        """Raises NotFoundError, ForbiddenError for a node that has no replica of it."""
        shared = self._of(shard)
        if (link := shared.links.get(peer)) is None:
            raise ForbiddenError(f"node `{peer}` has no replica of `{shard}`, as node `{self._transport.name}` knows")
        return shared.log, link

    async def _pull(self, peer: str, body: bytes) -> bytes:
        asked = decode(body, Pull)
        log, link = self._for(asked.shard, peer)
        if asked.settled is not None:
            link.heard(asked.settled)
        vector = dict(await log.settled())
        entries, is_gapped = await log.entries_after(asked.vector, _bounded(asked.bytes_max))
        return encode(Pulled(entries, is_gapped, vector))

    async def _push(self, peer: str, body: bytes) -> bytes:
        told = decode(body, Push)
        log, _ = self._for(told.shard, peer)
        await log.take_entries(told.entries)
        return encode(Pushed(dict(await log.settled())))

    async def _digests(self, peer: str, body: bytes) -> bytes:
        asked = decode(body, AskDigests)
        log, _ = self._for(asked.shard, peer)
        vector, floor = dict(log.vector), dict(log.floor)
        return encode(Digests(await log.digests(_some(asked.nodes)), vector, floor))

    async def _versions(self, peer: str, body: bytes) -> bytes:
        asked = decode(body, AskVersions)
        log, _ = self._for(asked.shard, peer)
        return await log.versions(_some(asked.nodes))

    async def _states(self, peer: str, body: bytes) -> bytes:
        asked = decode(body, AskStates)
        log, _ = self._for(asked.shard, peer)
        return await log.states(asked.keys[:KEY_COUNT_MAX], _bounded(asked.bytes_max))


def _some(nodes: list[int]) -> list[int]:
    if len(nodes) > NODE_COUNT_MAX:
        raise InputError(f"{len(nodes)} nodes of digests, at most {NODE_COUNT_MAX}")
    return nodes


def _bounded(bytes_max: int) -> int:
    return max(1, min(bytes_max, BATCH_BYTES))
