"""Asks the nodes that hold shards, this one included, and says whose answer is missing."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from littoral.clock import Clock
from littoral.errors import (
    ConflictError,
    InputError,
    LittoralError,
    NotOfferedError,
    PeerError,
    TooLargeError,
    UnavailableError,
)
from littoral.mesh.shard_map import Spread
from littoral.node.federation.coverage import Coverage, Peers
from littoral.node.federation.generations import config_of
from littoral.node.federation.lagging import Lagging
from littoral.node.federation.links import Links
from littoral.node.federation.local_shards import LocalShards, Terms
from littoral.node.federation.merging import merge
from littoral.node.federation.messages import READ, WRITE, Ask, Part, PartTold, decode_told, encode
from littoral.node.federation.moves import Departures
from littoral.node.federation.patience import Patience
from littoral.node.federation.placing import may_have_copies
from littoral.node.federation.residency import View
from littoral.node.federation.splitting import Parts
from littoral.node.federation.taking import Taking, check_told, is_way_lost, raise_request_errors
from littoral.node.federation.under_way import Asks
from littoral.transport import Transport
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.hybrid_clock import HybridClock
from littoral.vectors.replication.stamps import ANY, APART, At, LateError

__all__ = ["HOLDERS_S", "Asking", "Counts", "Gathered", "Target"]


OF_SHARDS = 0.9
"""Of what a peer is given: so long it waits for its own shards, and tells in time what the others have answered."""

HOLDERS_S = 3.0
"""A write waits so long for holders beyond those it needs: one that froze is known to be away by then."""


@dataclass
class Counts:
    """Since the start. again: asks of another replica, beside one that was slow. certified, estimated, uncertain:
    searches, by what their answer could say of itself.
    """

    reads: int = 0
    writes: int = 0
    remote_asks: int = 0
    failures: int = 0
    again: int = 0
    incomplete: int = 0
    refused: int = 0
    certified: int = 0
    estimated: int = 0
    uncertain: int = 0
    failures_by_peer: dict[str, int] = field(default_factory=dict)

    def told(self, said: Mapping[str, Any]) -> None:
        """Of one search."""
        if said["certified"]:
            self.certified += 1
        elif said["expected_recall"] is not None:
            self.estimated += 1
        else:
            self.uncertain += 1

    def failed(self, peer: str) -> None:
        self.failures += 1
        self.failures_by_peer[peer] = self.failures_by_peer.get(peer, 0) + 1


class Target(NamedTuple):
    """The collection that is asked, as this node sees it now. recall: that its searches are to have. holders: of
    each shard, that must have a write. region: of this node. regions: of all nodes. withheld: regions of which shards
    are left out of `spread`. is_confined: to nodes of its region.
    """

    name: str
    config: CollectionConfig
    spread: Spread
    map_number: int
    recall: float = 1.0
    holders: int = 1
    region: str = ""
    regions: Mapping[str, str] = {}
    withheld: Sequence[str] = ()
    is_confined: bool = False

    def of(self, model: str) -> "Target | None":
        """By the layout that holds embeddings of this model; None where there is none."""
        if (spread := self.spread.of_model(model)) is None:
            return None
        return self if spread is self.spread else self._replace(spread=spread, config=config_of(self.config, spread))

    def viewed(self, view: View) -> "Target":
        """For reads of what this view shows."""
        return self if view.spread is self.spread else self._replace(spread=view.spread, withheld=view.withheld)


class Gathered(NamedTuple):
    """told: answers, each with the shards it is for. missing: nodes that hold what nobody answered for; lost: those
    shards. behind: shards whose answer may lack writes that were acknowledged.
    """

    told: list[tuple[list[int], frames.Answer]]
    asked: frozenset[str]
    answered: frozenset[str]
    missing: list[str]
    lost: list[int]
    behind: frozenset[int]

    @property
    def answers(self) -> list[frames.Answer]:
        return [answer for _, answer in self.told]


class Asking:
    """One of a node. peer_s: how long an answer waits for other nodes at most."""

    def __init__(self, transport: Transport, local: LocalShards, links: Links, clock: Clock, *, peer_s: float) -> None:
        self.counts = Counts()
        self.links = links
        self.heard: Callable[[str, int], None] = lambda _peer, _map_number: None
        """Told which map a peer goes by that has answered."""
        self.departures = Departures(clock)
        self._lagging = Lagging(clock)
        self._written: Counter[str] = Counter()
        """By collection, writes through this node: that have begun, and that have ended in whatever way."""
        self._times = HybridClock()
        self._transport = transport
        self._local = local
        self._clock = clock
        self._peer_s = peer_s

    def alive(self) -> frozenset[str]:
        """Who may be asked."""
        return self._transport.alive() | {self.here}

    @property
    def here(self) -> str:
        return self._transport.name

    def patience(self) -> Patience:
        """For one request: how long its answer waits for other nodes."""
        return Patience(self._clock, self._peer_s)

    async def read(
        self,
        target: Target,
        request: frames.Read,
        deadline_s: float,
        *,
        shards: Iterable[int] | None = None,
        apart: bool = False,
        patience: Patience | None = None,
    ) -> Gathered:
        """The answers of all shards that can be had in time. Raises RequestError as soon as one shard does.

        apart: one answer a shard, not one a node. patience: of the request that this is a part of.
        """
        self.counts.reads += 1
        asks = Asks(
            lambda node, parts, left_s: self.ask(node, target, parts, left_s),
            request,
            deadline_s,
            here=self.here,
            alive=self.alive,
            links=self.links,
            clock=self._clock,
            patience=patience or self.patience(),
            apart=apart,
        )
        peers = Peers(
            asks.alive, self.links.median_s, self.links.is_silent, partial(self._lagging.has_said, target.name)
        )
        wanted = target.spread.shards if shards is None else shards
        coverage = Coverage(target.spread.places, wanted, here=self.here, peers=peers)
        taking = Taking(coverage, request)
        try:
            while True:
                nodes = coverage.next_asks()
                self.counts.again += len(nodes) if asks.running else 0
                asks.start(nodes)
                if coverage.is_done or not asks.running or asks.is_over:
                    break
                for node, shards_asked, parts in await asks.next(coverage.slow):
                    taking.take(node, parts)
                    coverage.done(node, shards_asked, may_repeat=is_way_lost(parts))
        finally:
            asks.cancel()
        if lost := coverage.open_shards():
            self.counts.incomplete += 1
        return Gathered(
            taking.told,
            frozenset(coverage.asked),
            frozenset(coverage.answered),
            coverage.missing(),
            lost,
            taking.behind,
        )

    async def write(self, target: Target, parts: Parts, deadline_s: float, *, at: At | None = None) -> frames.Written:
        """Points go to one holder of each shard, which ships them to the others; all else goes to every holder.

        at: time of the write; without, one that is later than all there is in each shard. Raises LateError where it is
        not, RequestError where a shard does, UnavailableError where no holder of a shard took it, or fewer than
        `holders` have it in time: it may have happened on some, and can be repeated.
        """
        self.counts.writes += 1
        self._written[target.name] += 1
        try:
            return await self._write(target, parts, deadline_s, at)
        finally:
            self._written[target.name] += 1

    def written(self, target: Target) -> tuple[object, ...]:
        """Another whenever something was written through this node, or to a shard here."""
        return self._written[target.name], self._local.written(target.name, target.spread.all_places)

    async def _write(self, target: Target, parts: Parts, deadline_s: float, at: At | None) -> frames.Written:
        give_up = self._clock.monotonic() + deadline_s
        tried: dict[int, set[str]] = {shard: set() for shard in parts}
        written: list[frames.Answer] = []
        left = {shard for shard, requests in parts.items() if requests}
        while left:
            by_node = self._writers(target, parts, left, tried)
            left_s, own_at = max(0.001, give_up - self._clock.monotonic()), at or self.new_time()
            told = await asyncio.gather(
                *(self.ask(node, target, some, left_s, at=own_at) for node, some in by_node.items())
            )
            for some in told:
                raise_request_errors(some)
                written += [answer for one in some for _, answer in one.answers]
            left = left - _done(told)
            for shard in self._saw_late(told, at):
                tried[shard] = set()
            if left and self._clock.monotonic() >= give_up:
                raise self._refused(target, left, told)
        merged = merge(next(request for requests in parts.values() for request in requests), written, target.config)
        assert isinstance(merged, frames.Written)
        return merged

    def new_time(self) -> At:
        """Of a write. The time before it is nobody's: for points that leave a shard by it (`leaving`)."""
        self._times.saw(self._times.last + APART)
        self._times.tick(self._clock.wall())
        return At(self._times.tick(self._clock.wall()))

    def new_times(self, after: int, count: int) -> list[int]:
        """One later than the other, and all later than what was seen."""
        self._times.saw(max(1, after))
        return [self._times.tick(self._clock.wall()) for _ in range(count)]

    def _saw_late(self, told: Sequence[Sequence[PartTold]], at: At | None) -> list[int]:
        """Shards where something later was. Raises LateError where another time is not ours to choose."""
        late = {shard: known for some in told for one in some for shard, known in one.late.items()}
        if late:
            self._times.saw(max(late.values()))
            if at is not None:
                raise LateError(max(late.values()))
        return list(late)

    def _writers(
        self, target: Target, parts: Parts, left: set[int], tried: dict[int, set[str]]
    ) -> dict[str, list[Part]]:
        """Raises UnavailableError where nobody is left for a shard."""
        alive = self.alive()
        by_node: dict[str, list[Part]] = {}
        for shard in sorted(left):
            nodes = [node for node in target.spread.places[shard] if node in alive and node not in tried[shard]]
            if not nodes:
                raise self._refused(target, left, [])
            nodes.sort(key=lambda node: node != self.here)
            if isinstance(parts[shard][0], frames.PointWrite):
                nodes = nodes[:1]
            for node in nodes:
                tried[shard].add(node)
                by_node.setdefault(node, []).extend(Part([shard], request) for request in parts[shard])
        return by_node

    def need_writers(self, target: Target, shards: set[int]) -> None:
        """Before anything is written. Raises UnavailableError where nobody who is here holds one of them."""
        alive = self.alive()
        if dark := {shard for shard in shards if not alive.intersection(target.spread.places[shard])}:
            raise self._refused(target, dark, [])

    def _refused(self, target: Target, left: set[int], told: Sequence[Sequence[PartTold]]) -> UnavailableError:
        self.counts.incomplete += 1
        nodes = sorted({f"`{node}`" for shard in left for node in target.spread.places[shard]})
        why = next((f": {failure.message}" for some in told for one in some for _, failure in one.failures), "")
        return UnavailableError(
            f"collection `{target.name}`: shards {_listed(sorted(left))} are held by {', '.join(nodes)}, "
            f"which did not take the write{why}",
            hint="try again; the write may have happened on some nodes, and can be repeated",
        )

    def terms(self, target: Target, shards: Iterable[int], deadline_s: float, holders: int, at: At) -> Terms:
        """For requests to shards of this node."""
        alive, places = self.alive(), target.spread.all_places
        here = {shard: len(alive.intersection(places.get(shard, ()))) for shard in shards}
        has_copies = may_have_copies(target.spread)
        return Terms(deadline_s, here, holders, max(self._peer_s, HOLDERS_S), has_copies, at)

    async def ask(
        self, node: str, target: Target, parts: Sequence[Part], deadline_s: float, *, at: At = ANY
    ) -> list[PartTold]:
        """What one node says. One that does not answer has failed at every shard."""
        try:
            if node == self.here:
                terms = self._terms_of(target, parts, deadline_s, at)
                told = await self._local.answer(target.name, parts, target.config, terms)
            else:
                told = await self._ask_peer(node, target, parts, deadline_s, at)
            self._heard(target.name, node, told)
            return told
        except LittoralError as error:
            self.counts.failed(node)
            if isinstance(error, PeerError):
                self.links.was_silent(node)
            return [_failed(part, error) for part in parts]

    def _heard(self, collection: str, node: str, told: Sequence[PartTold]) -> None:
        for one in told:
            if one.left_s is not None:
                self.departures.heard(collection, one.left_s)
            for shard in one.behind:
                self._lagging.said(collection, shard, node)

    def _terms_of(self, target: Target, parts: Sequence[Part], deadline_s: float, at: At) -> Terms:
        if isinstance(parts[0].request, frames.Read):
            return Terms.of_read(deadline_s, has_copies=may_have_copies(target.spread))
        shards = {shard for part in parts for shard in part.shards}
        return self.terms(target, shards, deadline_s, target.holders, at)

    async def _ask_peer(
        self, node: str, target: Target, parts: Sequence[Part], deadline_s: float, at: At
    ) -> list[PartTold]:
        self.counts.remote_asks += 1
        service, own_s = WRITE, deadline_s
        if isinstance(parts[0].request, frames.Read):
            service, deadline_s = READ, min(deadline_s, self._peer_s)
            own_s = deadline_s * OF_SHARDS
        ask = Ask(
            target.name,
            target.map_number,
            target.spread.model,
            own_s,
            list(parts),
            target.holders,
            at.time,
            at.is_told,
            at.seen,
            at.may_stray,
            at.apart,
        )
        began_s = self._clock.monotonic()
        body = await self._transport.request(node, service, encode(ask), deadline_s=deadline_s)
        self.links.took(node, began_s)
        try:
            answer = decode_told(body, node)
        except InputError as error:
            raise PeerError(f"peer `{node}`: {error.message}") from error
        self.heard(node, answer.map_number)
        if answer.has_moved:
            raise UnavailableError(f"node `{node}` goes by shard map {answer.map_number}, which has other shards")
        check_told(node, parts, answer.parts)
        return answer.parts

    @property
    def clock(self) -> Clock:
        return self._clock


def _done(told: Sequence[Sequence[PartTold]]) -> set[int]:
    """Shards of which one node has done all that was asked of it."""
    done: set[int] = set()
    for some in told:
        failed = {shard for one in some for shard, _ in one.failures} | {shard for one in some for shard in one.late}
        done |= {shard for one in some for shards, _ in one.answers for shard in shards} - failed
    return done


def _failed(part: Part, error: LittoralError) -> PartTold:
    """What the request itself is at fault for stays so; whatever else keeps a peer from answering makes it missing."""
    is_kept = isinstance(error, ConflictError | InputError | NotOfferedError | TooLargeError | PeerError)
    told = error if is_kept else UnavailableError(error.message, hint=error.hint)
    return PartTold([], [(shard, frames.failure(0, told)) for shard in part.shards])


def _listed(shards: Sequence[int]) -> str:
    return ", ".join(map(str, shards))
