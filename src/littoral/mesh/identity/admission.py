"""Who may speak here, by the roster: around any transport, which has proven the names, and no more than the names.

A revoked node's certificate is good for TLS until it ends. So its name is refused at every request and message, from
the moment on when this node has the roster that says so.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

from littoral.errors import ForbiddenError, PeerError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.roster import ROSTER
from littoral.mesh.trust.chain import Reason, Refusal
from littoral.telemetry import Reading
from littoral.transport import Handler, OnLiveness, OnMessage, Reply, Transport

__all__ = ["Admission", "GuardedTransport"]


class Admission:
    """Counts whom it refuses; names are as the transport has proven them."""

    def __init__(self, identity: Identity) -> None:
        self._identity = self.identity = identity

    @property
    def refused(self) -> Mapping[str, int]:
        """How often, by reason: every reason is there."""
        return {reason.value: self._identity.refused[reason] for reason in Reason}

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for reason, count in self.refused.items():
            yield Reading("littoral_mesh_refused_total", (reason,), count)

    def roster_word(self) -> tuple[int, str] | None:
        """Number and writer of the roster; None while there is none."""
        roster = self._identity.roster()
        return None if roster is None else (self._identity.documents.numbers()[ROSTER], roster.writer)

    def refusal(self, name: str) -> Refusal | None:
        """Why this name may not speak; None: it may. Not counted."""
        if (roster := self._identity.roster()) is None:
            return Refusal(
                Reason.UNKNOWN, f"node `{name}`: this node has no roster yet", "it is pulled from the others"
            )
        return roster.refusal_of_name(name)

    def admits(self, name: str) -> bool:
        """Counted when not."""
        if (refusal := self.refusal(name)) is not None:
            self.count(refusal)
        return refusal is None

    def check(self, name: str) -> None:
        """Raises ForbiddenError for one that may not speak, and counts it."""
        if (refusal := self.refusal(name)) is not None:
            self.count(refusal)
            raise ForbiddenError(refusal.message, hint=refusal.hint)

    def count(self, refusal: Refusal) -> None:
        """A refusal that was found elsewhere, such as in a proof."""
        self._identity.count_refusal(refusal)


class GuardedTransport:
    """A transport on which nobody is heard whom the roster does not have; none of them is asked either."""

    def __init__(self, transport: Transport, admission: Admission) -> None:
        self._transport = transport
        self._admission = admission
        self.name = transport.name
        self.body_bytes_max = transport.body_bytes_max
        self.traffic = transport.traffic
        self.identity = admission.identity

    async def serve(self, service: str, handler: Handler) -> None:
        async def guarded(caller: str, body: bytes) -> bytes:
            self._admission.check(caller)
            return await handler(caller, body)

        await self._transport.serve(service, guarded)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        if (refusal := self._admission.refusal(peer)) is not None:
            raise PeerError(refusal.message, hint=refusal.hint)
        return await self._transport.request(peer, service, body, deadline_s=deadline_s)

    async def fan_out(
        self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float
    ) -> AsyncIterator[Reply]:
        asked = []
        for peer in peers:
            if (refusal := self._admission.refusal(peer)) is None:
                asked.append(peer)
            else:
                yield Reply(peer, None, PeerError(refusal.message, hint=refusal.hint))
        async for reply in self._transport.fan_out(asked, service, body, deadline_s=deadline_s):
            yield reply

    async def publish(self, topic: str, body: bytes) -> None:
        await self._transport.publish(topic, body)

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        def guarded(sender: str, topic: str, body: bytes) -> None:
            if self._admission.admits(sender):
                on_message(sender, topic, body)

        await self._transport.subscribe(topic, guarded)

    def alive(self) -> frozenset[str]:
        return frozenset(name for name in self._transport.alive() if self._admission.refusal(name) is None)

    def watch(self, on_liveness: OnLiveness) -> None:
        def guarded(name: str, is_here: bool) -> None:
            if not is_here or self._admission.refusal(name) is None:
                on_liveness(name, is_here)

        self._transport.watch(guarded)

    async def close(self) -> None:
        await self._transport.close()

    def roster_word(self) -> tuple[int, str] | None:
        """Number and writer of the roster that it goes by; None while there is none."""
        return self._admission.roster_word()

    def readings(self) -> Iterator[Reading]:
        """For a scrape: whom it refused, and what the transport below counts, if it does."""
        yield from self._admission.readings()
        if (traffic := getattr(self._transport, "traffic", None)) is not None:
            yield from traffic.readings(len(self.alive()))
