"""A transport that measures its links: round trips of an empty request, and bytes and failures of all others."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, LittoralError, PeerError
from littoral.telemetry import Endured, Reading
from littoral.transport.interface import Handler, Reply, Transport
from littoral.transport.layer import Layer

__all__ = ["PING", "LinkState", "MeasuredTransport"]

PING = "ping"
PERIOD_S = 2.0
PING_S = 1.0
PINGS_MAX, PINGS_MIN = 32, 4
PINGS_OF_SITE = 2048
"""Of all nodes together in one period: in a large site each measures fewer links at a time."""

LINKS_OF_SMALL_SITE = PINGS_OF_SITE // PINGS_MAX
"""Beyond it a link is measured when its turn comes, not when a peer does."""

REST_S = 0.25
"""Between two rounds, however many nodes come."""

ROUND_COUNT_MAX = 32
LINK_COUNT_MAX = 512


class LinkState(NamedTuple):
    """This node's link to one peer. is_up: the peer is here, and answered when it was asked last.

    round_trip_s: median of the latest; None before the first. Bytes and counts are since the start.
    """

    is_up: bool
    round_trip_s: float | None
    bytes_per_s: float
    sent_bytes: int
    received_bytes: int
    asked_count: int
    failed_count: int


@dataclass
class _Link:
    sent_bytes: int = 0
    received_bytes: int = 0
    asked_count: int = 0
    failed_count: int = 0
    answers: bool = True
    rounds_s: deque[float] = field(default_factory=lambda: deque(maxlen=ROUND_COUNT_MAX))
    bytes_before: int = 0
    before_s: float | None = None
    bytes_per_s: float = 0.0

    @property
    def all_bytes(self) -> int:
        return self.sent_bytes + self.received_bytes

    def count_rate(self, now_s: float) -> None:
        if self.before_s is not None and now_s > self.before_s:
            self.bytes_per_s = (self.all_bytes - self.bytes_before) / (now_s - self.before_s)
        self.bytes_before, self.before_s = self.all_bytes, now_s


class MeasuredTransport(Layer):
    """One node's end of the mesh, as the one below. `open` it, then `run` it as a task."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        super().__init__(transport)
        self._clock = clock
        self._links: dict[str, _Link] = {}
        self._turn = 0
        self._named: tuple[Set[str], list[str]] = (frozenset(), [])
        self._came = asyncio.Event()
        self._endured = Endured()

    async def open(self) -> None:
        """Answers others' measurements."""

        async def pong(_caller: str, _body: bytes) -> bytes:
            return b""

        await self._transport.serve(PING, pong)
        self._transport.watch(self._seen)

    def _seen(self, _peer: str, is_here: bool) -> None:
        if is_here and len(self._links) < LINKS_OF_SMALL_SITE:
            self._came.set()

    async def run(self, peers: Callable[[], Set[str]]) -> None:
        """Until it is cancelled; a round at once when somebody comes. peers: those whose links are measured."""
        while True:
            self._came.clear()
            with self._endured.round("mesh: links"):
                await self.measure(self._in_order(peers()))
            await asyncio.sleep(REST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S - REST_S):
                    await self._came.wait()

    def _in_order(self, peers: Set[str]) -> list[str]:
        if peers != self._named[0]:
            self._named = (peers, sorted(peers))
        return self._named[1]

    async def measure(self, peers: list[str]) -> None:
        """One round; of many peers some, the next ones in the next round."""
        here = self._transport.alive()
        asked = [peer for peer in peers if peer in here and peer != self.name]
        first = self._turn % len(asked) if asked else 0
        most = max(PINGS_MIN, min(PINGS_MAX, PINGS_OF_SITE // (1 + len(peers))))
        turn = (asked[first : first + most] + asked[:first])[:most]
        self._turn = first + len(turn)
        await asyncio.gather(*map(self._ping, turn))
        now_s = self._clock.monotonic()
        for link in self._links.values():
            link.count_rate(now_s)

    async def _ping(self, peer: str) -> None:
        if (link := self._link(peer)) is None:
            return
        began_s = self._clock.monotonic()
        try:
            await self._transport.request(peer, PING, b"", deadline_s=PING_S)
        except LittoralError as error:
            link.answers = not isinstance(error, PeerError)
            link.failed_count += 1
            return
        link.answers = True
        link.rounds_s.append(self._clock.monotonic() - began_s)

    def states(self) -> dict[str, LinkState]:
        """By peer that was met since the start."""
        here = self._transport.alive()
        return {peer: _state(link, is_here=peer in here) for peer, link in self._links.items()}

    async def serve(self, service: str, handler: Handler) -> None:
        """As the transport below. Raises ConflictError for the service of the measurements too."""
        if service == PING:
            raise ConflictError(f"service `{PING}` is taken")

        async def counted(caller: str, body: bytes) -> bytes:
            link = self._link(caller)
            if link is not None:
                link.received_bytes += len(body)
            answer = await handler(caller, body)
            if link is not None:
                link.sent_bytes += len(answer)
            return answer

        await self._transport.serve(service, counted)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        link = self._asked(peer, body)
        try:
            answer = await self._transport.request(peer, service, body, deadline_s=deadline_s)
        except PeerError:
            if link is not None:
                link.failed_count += 1
            raise
        if link is not None:
            link.received_bytes += len(answer)
        return answer

    async def fan_out(
        self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float
    ) -> AsyncIterator[Reply]:
        links = {peer: self._asked(peer, body) for peer in dict.fromkeys(peers)}
        async for reply in self._transport.fan_out(links, service, body, deadline_s=deadline_s):
            if (link := links.get(reply.peer)) is not None:
                link.received_bytes += len(reply.body or b"")
                link.failed_count += isinstance(reply.error, PeerError)
            yield reply

    def _asked(self, peer: str, body: bytes) -> _Link | None:
        if (link := self._link(peer)) is not None:
            link.asked_count += 1
            link.sent_bytes += len(body)
        return link

    def _link(self, peer: str) -> _Link | None:
        """None beyond the bound."""
        if (found := self._links.get(peer)) is None and len(self._links) < LINK_COUNT_MAX:
            found = self._links[peer] = _Link()
        return found

    def readings(self) -> Iterator[Reading]:
        """For a scrape: the links, and what the transport below counts, if it does."""
        below: Iterable[Reading] = getattr(self._transport, "readings", tuple)()
        return chain(below, chain.from_iterable(_readings(peer, state) for peer, state in self.states().items()))


def _state(link: _Link, *, is_here: bool) -> LinkState:
    return LinkState(
        is_up=is_here and link.answers,
        round_trip_s=median(link.rounds_s) if link.rounds_s else None,
        bytes_per_s=link.bytes_per_s,
        sent_bytes=link.sent_bytes,
        received_bytes=link.received_bytes,
        asked_count=link.asked_count,
        failed_count=link.failed_count,
    )


def _readings(peer: str, state: LinkState) -> Iterator[Reading]:
    yield Reading("littoral_mesh_link_up", (peer,), state.is_up)
    if state.round_trip_s is not None:
        yield Reading("littoral_mesh_round_trip_seconds", (peer,), state.round_trip_s)
    yield Reading("littoral_mesh_link_sent_bytes_total", (peer,), state.sent_bytes)
    yield Reading("littoral_mesh_link_received_bytes_total", (peer,), state.received_bytes)
    yield Reading("littoral_mesh_link_failures_total", (peer,), state.failed_count)
