"""What the mesh needs of a network. Its implementations pass one contract suite (tests/contract/transport)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

from littoral.errors import LittoralError
from littoral.transport.traffic import Traffic

__all__ = ["Handler", "OnLiveness", "OnMessage", "Reply", "Transport"]

Handler = Callable[[str, bytes], Awaitable[bytes]]
"""Answers one request: the caller's proven name, and the body. A LittoralError is told to the caller as it is."""

OnMessage = Callable[[str, str, bytes], None]
"""Takes one message: the sender's proven name, the topic, the body. Called in the event loop; must not wait."""

OnLiveness = Callable[[str, bool], None]
"""Told that a node came (true) or went (false). Called in the event loop; must not wait."""


class Reply(NamedTuple):
    """What one peer answered. Exactly one of body and error is there."""

    peer: str
    body: bytes | None
    error: LittoralError | None


class Transport(Protocol):
    """One node's end of the mesh, for one event loop.

    Names of nodes, services and topics are of `[a-z0-9-]`, topics of several such parts between slashes. A name is
    proven: nobody speaks under one that is not their certificate's. Bodies are bounded (`body_bytes_max`, else
    TooLargeError).
    """

    name: str
    body_bytes_max: int
    traffic: Traffic

    async def serve(self, service: str, handler: Handler) -> None:
        """From now on requests for `service` go to `handler`, many at a time. Raises ConflictError for a second."""
        ...

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        """Raises PeerError where the peer is dead, away, denies, or does not answer in time: never an empty answer.

        A LittoralError that the peer's handler raised is raised here as one of the same class.
        """
        ...

    def fan_out(self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float) -> AsyncIterator[Reply]:
        """Asks all at once; one reply for each peer, in the order in which they come, the last within the deadline."""
        ...

    async def publish(self, topic: str, body: bytes) -> None:
        """To all who listen now, at most once, in order. Under this node's own name."""
        ...

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        """Messages of every node on `topic`, this node's own left out."""
        ...

    def alive(self) -> frozenset[str]:
        """Who is here, as far as this node knows, itself included. A hint: the roster says who should be."""
        ...

    def watch(self, on_liveness: OnLiveness) -> None:
        """Told of every change from now on, and at once of those who are here."""
        ...

    async def close(self) -> None:
        """Leaves; what waits ends with PeerError. Bounded in time."""
        ...
