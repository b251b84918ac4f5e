"""Asks the nodes that hold shards, this one included, and says whose answer is missing."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from littoral.clock import Clock
from littoral.errors import (
    ConflictError,
    InputError,
    LittoralError,
    NotOfferedError,
    PeerError,
    RequestError,
    TooLargeError,
    UnavailableError,
)
from littoral.mesh.shard_map import Spread
from littoral.node.federation.coverage import Coverage
from littoral.node.federation.generations import config_of
from littoral.node.federation.links import Links
from littoral.node.federation.local_shards import LocalShards, Terms
from littoral.node.federation.merging import WHOLE, merge
from littoral.node.federation.messages import READ, WRITE, Ask, Part, PartTold, decode_told, encode
from littoral.node.federation.moves import Departures
from littoral.node.federation.placing import may_have_copies
from littoral.node.federation.residency import View
from littoral.node.federation.splitting import Parts
from littoral.transport import Transport
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.hybrid_clock import HybridClock
from littoral.vectors.replication.journal import LateError
from littoral.vectors.replication.replica import ANY, At

__all__ = ["HOLDERS_S", "Asking", "Counts", "Gathered", "Target"]


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

    def peers_until(self) -> float:
        """Of the clock: how long an answer that begins now waits for other nodes."""
        return self._clock.monotonic() + self._peer_s

    async def read(
        self,
        target: Target,
        request: frames.Read,
        deadline_s: float,
        *,
        shards: Iterable[int] | None = None,
        apart: bool = False,
        peers_until: float | None = None,
    ) -> Gathered:
        """The answers of all shards that can be had in time. Raises RequestError as soon as one shard does.

        apart: one answer a shard, not one a node. peers_until: of the clock, how long other nodes are waited for in
        all, whoever is asked after whom; default: `peer_s` from now.
        """
        self.counts.reads += 1
        places = target.spread.places
        coverage = Coverage(
            places,
            target.spread.shards if shards is None else shards,
            here=self.here,
            alive=self.alive(),
            cost=self.links.median_s,
        )
        told: list[tuple[list[int], frames.Answer]] = []
        asks = _Asks(self, target, request, deadline_s, apart=apart, peers_until=peers_until)
        behind: set[int] = set()
        try:
            while not coverage.is_done:
                nodes = coverage.next_asks()
                self.counts.again += len(nodes) if asks.running else 0
                asks.start(nodes)
                if not asks.running or asks.is_over:
                    break
                for node, shards_asked, parts in await asks.next(coverage.slow):
                    told += _taken(coverage, node, parts, request, behind)
                    coverage.done(node, shards_asked)
        finally:
            asks.cancel()
        if not coverage.is_done:
            self.counts.incomplete += 1
        return Gathered(
            told,
            frozenset(coverage.asked),
            frozenset(coverage.answered),
            coverage.missing(),
            coverage.open_shards(),
            frozenset(behind),
        )

    async def write(self, target: Target, parts: Parts, deadline_s: float, *, at: At | None = None) -> frames.Written:
        """Points go to one holder of each shard, which ships them to the others; all else goes to every holder.

        at: time of the write; without, one that is later than all there is in each shard. Raises LateError where it is
        not, RequestError where a shard does, UnavailableError where no holder of a shard took it, or fewer than
        `holders` have it in time: it may have happened on some, and can be repeated.
        """
        self.counts.writes += 1
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
                _raise_request_errors(some)
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
        self._times.tick(self._clock.wall())
        return At(self._times.tick(self._clock.wall()))

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
            self.departures.heard(target.name, (one.left_s for one in told))
            return told
        except LittoralError as error:
            self.counts.failed(node)
            return [_failed(part, error) for part in parts]

    def _terms_of(self, target: Target, parts: Sequence[Part], deadline_s: float, at: At) -> Terms:
        if isinstance(parts[0].request, frames.Read):
            return Terms.of_read(deadline_s, has_copies=may_have_copies(target.spread))
        shards = {shard for part in parts for shard in part.shards}
        return self.terms(target, shards, deadline_s, target.holders, at)

    async def _ask_peer(
        self, node: str, target: Target, parts: Sequence[Part], deadline_s: float, at: At
    ) -> list[PartTold]:
        self.counts.remote_asks += 1
        service = WRITE
        if isinstance(parts[0].request, frames.Read):
            service, deadline_s = READ, min(deadline_s, self._peer_s)
        ask = Ask(
            target.name,
            target.map_number,
            target.spread.model,
            deadline_s,
            list(parts),
            target.holders,
            at.time,
            at.is_told,
        )
        began_s = self._clock.monotonic()
        body = await self._transport.request(node, service, encode(ask), deadline_s=deadline_s)
        self.links.took(node, began_s)
        answer = decode_told(body, node)
        self.heard(node, answer.map_number)
        if answer.has_moved:
            raise UnavailableError(f"node `{node}` goes by shard map {answer.map_number}, which has other shards")
        told = answer.parts
        if len(told) != len(parts):
            raise PeerError(f"peer `{node}`: answered {len(told)} parts, asked for {len(parts)}")
        return told

    @property
    def clock(self) -> Clock:
        return self._clock


class _Asks:
    """The requests of one read that are on their way."""

    def __init__(
        self,
        asking: Asking,
        target: Target,
        request: frames.Read,
        deadline_s: float,
        *,
        apart: bool,
        peers_until: float | None,
    ) -> None:
        self._asking = asking
        self._target = target
        self._request = request
        self._apart = apart
        self._end = asking.clock.monotonic() + deadline_s
        self._peers_end = min(self._end, asking.peers_until() if peers_until is None else peers_until)
        self._ended: list[asyncio.Task[list[PartTold]]] = []
        self._moved: asyncio.Future[None] | None = None
        self.running: dict[asyncio.Task[list[PartTold]], tuple[str, list[int], float]] = {}

    def start(self, asks: Mapping[str, list[int]]) -> None:
        now = self._asking.clock.monotonic()
        for node, shards in asks.items():
            end = self._end if node == self._asking.here else self._peers_end
            if now >= end:
                continue
            groups = [[shard] for shard in shards] if self._apart else [shards]
            parts = [Part(group, self._request) for group in groups]
            task = asyncio.create_task(
                self._asking.ask(node, self._target, parts, end - now), name=f"littoral-ask-{node}"
            )
            self.running[task] = (node, shards, now + self._asking.links.hedge_s(node))
            task.add_done_callback(self._note)

    async def next(self, slow: Callable[[str], None]) -> list[tuple[str, list[int], list[PartTold]]]:
        """Who has answered; nobody, where one of them is slow and another may be asked instead."""
        if not self._ended:
            await self._move()
        done, self._ended = self._ended, []
        if not done:
            self._mark_slow(slow)
        return [(node, shards, task.result()) for task in done for node, shards, _ in [self.running.pop(task)]]

    async def _move(self) -> None:
        """Until one has ended, or is slow, or the time is over. `asyncio.wait` does this too, at thrice the price."""
        now = self._asking.clock.monotonic()
        due = min((at for _, _, at in self.running.values() if at > now), default=self._end)
        loop = asyncio.get_running_loop()
        moved = self._moved = loop.create_future()
        timer = loop.call_later(max(0.0, min(due, self._end) - now), _settle, moved)
        try:
            await moved
        finally:
            timer.cancel()
            self._moved = None

    def _note(self, task: asyncio.Task[list[PartTold]]) -> None:
        if not task.cancelled():
            self._ended.append(task)
        if self._moved is not None:
            _settle(self._moved)

    def _mark_slow(self, slow: Callable[[str], None]) -> None:
        now = self._asking.clock.monotonic()
        for node, _, at in self.running.values():
            if at <= now:
                slow(node)

    @property
    def is_over(self) -> bool:
        return self._asking.clock.monotonic() >= self._end

    def cancel(self) -> None:
        for task in self.running:
            task.cancel()


def _settle(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)


def _taken(
    coverage: Coverage, node: str, parts: Sequence[PartTold], request: frames.Read, behind: set[int]
) -> list[tuple[list[int], frames.Answer]]:
    """Raises RequestError. A sum that counts a shard another answer has counted is not taken."""
    _raise_request_errors(parts)
    taken: list[tuple[list[int], frames.Answer]] = []
    short = {shard for part in parts for shard in part.behind}
    for shards, answer in (one for part in parts for one in part.answers):
        fresh = coverage.answer(node, shards)
        behind |= fresh & short
        if fresh == set(shards) or (fresh and isinstance(request, WHOLE)):
            taken.append((shards, answer))
    return taken


def _done(told: Sequence[Sequence[PartTold]]) -> set[int]:
    """Shards of which one node has done all that was asked of it."""
    done: set[int] = set()
    for some in told:
        failed = {shard for one in some for shard, _ in one.failures} | {shard for one in some for shard in one.late}
        done |= {shard for one in some for shards, _ in one.answers for shard in shards} - failed
    return done


def _raise_request_errors(told: Sequence[PartTold]) -> None:
    for _, failure in (found for one in told for found in one.failures):
        if isinstance(error := frames.error_of(failure), RequestError):
            raise error


def _failed(part: Part, error: LittoralError) -> PartTold:
    """What the request itself is at fault for stays so; whatever else keeps a peer from answering makes it missing."""
    is_at_fault = isinstance(error, ConflictError | InputError | NotOfferedError | TooLargeError)
    told = error if is_at_fault else UnavailableError(error.message, hint=error.hint)
    return PartTold([], [(shard, frames.failure(0, told)) for shard in part.shards])


def _listed(shards: Sequence[int]) -> str:
    return ", ".join(map(str, shards))
