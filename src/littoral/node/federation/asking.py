"""Asks the nodes that hold shards, this one included, and says whose answer is missing."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
from littoral.node.federation.links import Links
from littoral.node.federation.local_shards import LocalShards, Terms
from littoral.node.federation.merging import WHOLE, merge
from littoral.node.federation.messages import READ, WRITE, Ask, Part, PartTold, decode_told, encode
from littoral.node.federation.moves import Version
from littoral.node.federation.placing import strategy_of
from littoral.node.federation.residency import View
from littoral.node.federation.splitting import Parts
from littoral.transport import Transport
from littoral.vectors import frames
from littoral.vectors.records import CollectionConfig

__all__ = ["Asking", "Counts", "Gathered", "Target"]


HOLDERS_S = 3.0
"""A write waits so long for holders beyond those it needs: one that froze is known to be away by then."""


@dataclass
class Counts:
    """Since the start. again: asks of another replica, beside one that was slow."""

    reads: int = 0
    writes: int = 0
    remote_asks: int = 0
    failures: int = 0
    again: int = 0
    incomplete: int = 0
    refused: int = 0
    failures_by_peer: dict[str, int] = field(default_factory=dict)

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

    def viewed(self, view: View) -> "Target":
        """For reads of what this view shows."""
        return self if view.spread is self.spread else self._replace(spread=view.spread, withheld=view.withheld)


class Gathered(NamedTuple):
    """told: answers, each with the shards it is for. missing: nodes that hold what nobody answered for; lost: those
    shards.
    """

    told: list[tuple[list[int], frames.Answer]]
    asked: frozenset[str]
    answered: frozenset[str]
    missing: list[str]
    lost: list[int]

    @property
    def answers(self) -> list[frames.Answer]:
        return [answer for _, answer in self.told]


class Asking:
    """One of a node. peer_s: how long an answer waits for other nodes at most."""

    def __init__(self, transport: Transport, local: LocalShards, links: Links, clock: Clock, *, peer_s: float) -> None:
        self.counts = Counts()
        self.links = links
        self._transport = transport
        self._local = local
        self._clock = clock
        self._peer_s = peer_s
        self._left_at: dict[str, float] = {}

    def alive(self) -> frozenset[str]:
        """Who may be asked."""
        return self._transport.alive() | {self.here}

    @property
    def here(self) -> str:
        return self._transport.name

    async def read(
        self,
        target: Target,
        request: frames.Read,
        deadline_s: float,
        *,
        shards: Iterable[int] | None = None,
        apart: bool = False,
    ) -> Gathered:
        """The answers of all shards that can be had in time. Raises RequestError as soon as one shard does.

        apart: one answer a shard, not one a node.
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
        asks = _Asks(self, target, request, deadline_s, apart=apart)
        try:
            while not coverage.is_done:
                nodes = coverage.next_asks()
                self.counts.again += len(nodes) if asks.running else 0
                asks.start(nodes)
                if not asks.running or asks.is_over:
                    break
                for node, shards_asked, parts in await asks.next(coverage.slow):
                    told += _taken(coverage, node, parts, request)
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
        )

    def has_left_since(self, name: str, at: float) -> bool:
        """Whether a point may have left a shard of this collection since then, as far as answers have told."""
        return self._left_at.get(name, -math.inf) >= at

    def _note_left(self, name: str, told: Sequence[PartTold]) -> None:
        ago_s = min((one.left_s for one in told if one.left_s is not None), default=None)
        if ago_s is not None:
            self._left_at[name] = max(self._left_at.get(name, -math.inf), self._clock.monotonic() - ago_s)

    async def write(
        self, target: Target, parts: Parts, deadline_s: float, version: Version | None = None
    ) -> frames.Written:
        """Points go to one holder of each shard, which ships them to the others; all else goes to every holder.
        version: where points may move.

        Raises RequestError where a shard does, UnavailableError where no holder of a shard took it, or fewer than
        `holders` have it in time: it may have happened on some, and can be repeated.
        """
        self.counts.writes += 1
        give_up = self._clock.monotonic() + deadline_s
        tried: dict[int, set[str]] = {shard: set() for shard in parts}
        written: list[frames.Answer] = []
        left = {shard for shard, requests in parts.items() if requests}
        while left:
            by_node = self._writers(target, parts, left, tried, is_here_first=version is None)
            left_s = max(0.001, give_up - self._clock.monotonic())
            asks = (self.ask(node, target, some, left_s, version) for node, some in by_node.items())
            told = await asyncio.gather(*asks)
            for some in told:
                _raise_request_errors(some)
                written += [answer for one in some for _, answer in one.answers]
            left -= _done(told)
            if self._clock.monotonic() >= give_up:
                raise self._refused(target, left, told)
        merged = merge(next(request for requests in parts.values() for request in requests), written, target.config)
        assert isinstance(merged, frames.Written)
        return merged

    def _writers(
        self, target: Target, parts: Parts, left: set[int], tried: dict[int, set[str]], *, is_here_first: bool
    ) -> dict[str, list[Part]]:
        """Raises UnavailableError where nobody is left for a shard. Writes with a version meet at the same holder."""
        alive = self.alive()
        by_node: dict[str, list[Part]] = {}
        for shard in sorted(left):
            nodes = [node for node in target.spread.places[shard] if node in alive and node not in tried[shard]]
            if not nodes:
                raise self._refused(target, left, [])
            if is_here_first:
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

    def terms(
        self,
        target: Target,
        shards: Iterable[int],
        deadline_s: float,
        holders: int,
        version: Version | None = None,
    ) -> Terms:
        """For requests to shards of this node."""
        alive = self.alive()
        here = {shard: len(alive.intersection(target.spread.places[shard])) for shard in shards}
        has_copies = strategy_of(target.spread).has_copies
        return Terms(deadline_s, here, holders, max(self._peer_s, HOLDERS_S), has_copies, version)

    async def ask(
        self,
        node: str,
        target: Target,
        parts: Sequence[Part],
        deadline_s: float,
        version: Version | None = None,
    ) -> list[PartTold]:
        """What one node says. One that does not answer has failed at every shard."""
        try:
            if node == self.here:
                shards = {shard for part in parts for shard in part.shards}
                terms = self.terms(target, shards, deadline_s, target.holders, version)
                told = await self._local.answer(target.name, parts, target.config, terms)
            else:
                told = await self._ask_peer(node, target, parts, deadline_s, version)
            self._note_left(target.name, told)
            return told
        except LittoralError as error:
            self.counts.failed(node)
            return [_failed(part, error) for part in parts]

    async def _ask_peer(
        self, node: str, target: Target, parts: Sequence[Part], deadline_s: float, version: Version | None
    ) -> list[PartTold]:
        self.counts.remote_asks += 1
        service = WRITE
        if isinstance(parts[0].request, frames.Read):
            service, deadline_s = READ, min(deadline_s, self._peer_s)
        ask = Ask(target.name, target.map_number, target.spread.model, deadline_s, list(parts), target.holders, version)
        with self.links.timed(node):
            body = await self._transport.request(node, service, encode(ask), deadline_s=deadline_s)
        told = decode_told(body, node).parts
        if len(told) != len(parts):
            raise PeerError(f"peer `{node}`: answered {len(told)} parts, asked for {len(parts)}")
        return told

    @property
    def clock(self) -> Clock:
        return self._clock


class _Asks:
    """The requests of one read that are on their way."""

    def __init__(self, asking: Asking, target: Target, request: frames.Read, deadline_s: float, *, apart: bool) -> None:
        self._asking = asking
        self._target = target
        self._request = request
        self._apart = apart
        self._end = asking.clock.monotonic() + deadline_s
        self.running: dict[asyncio.Task[list[PartTold]], tuple[str, list[int], float]] = {}

    def start(self, asks: Mapping[str, list[int]]) -> None:
        now = self._asking.clock.monotonic()
        for node, shards in asks.items():
            groups = [[shard] for shard in shards] if self._apart else [shards]
            parts = [Part(group, self._request) for group in groups]
            task = asyncio.create_task(
                self._asking.ask(node, self._target, parts, max(0.001, self._end - now)), name=f"littoral-ask-{node}"
            )
            self.running[task] = (node, shards, now + self._asking.links.hedge_s(node))

    async def next(self, slow: Callable[[str], None]) -> list[tuple[str, list[int], list[PartTold]]]:
        """Who has answered; nobody, where one of them is slow and another may be asked instead."""
        now = self._asking.clock.monotonic()
        due = min((at for _, _, at in self.running.values() if at > now), default=self._end)
        done, _ = await asyncio.wait(
            self.running, timeout=max(0.0, min(due, self._end) - now), return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            self._mark_slow(slow)
        return [(node, shards, task.result()) for task in done for node, shards, _ in [self.running.pop(task)]]

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


def _taken(
    coverage: Coverage, node: str, parts: Sequence[PartTold], request: frames.Read
) -> list[tuple[list[int], frames.Answer]]:
    """Raises RequestError. A sum that counts a shard another answer has counted is not taken."""
    _raise_request_errors(parts)
    taken: list[tuple[list[int], frames.Answer]] = []
    for shards, answer in (one for part in parts for one in part.answers):
        fresh = coverage.answer(node, shards)
        if fresh == set(shards) or (fresh and isinstance(request, WHOLE)):
            taken.append((shards, answer))
    return taken


def _done(told: Sequence[Sequence[PartTold]]) -> set[int]:
    """Shards of which one node has done all that was asked of it."""
    done: set[int] = set()
    for some in told:
        failed = {shard for one in some for shard, _ in one.failures}
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
