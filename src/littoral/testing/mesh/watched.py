"""A node's end of the mesh, through which everything is looked at that it sends, and that is let in."""

from collections.abc import AsyncIterator, Callable, Iterable

from littoral.transport import Handler, OnMessage, Reply, Transport
from littoral.transport.layer import Layer

__all__ = ["Heard", "Saw", "WatchedTransport"]

Saw = Callable[[str, str, str, bytes], None]
"""Told of each body that goes to another node: from whom, to whom, of which service or topic."""

Heard = Callable[[str, str, str], None]
"""Told of each that is let in: of whom, to whom, of which service or topic."""


class WatchedTransport(Layer):
    """Around any transport, and as it in everything else."""

    def __init__(self, transport: Transport, saw: Saw, heard: Heard) -> None:
        super().__init__(transport)
        self._saw = saw
        self._heard = heard

    async def serve(self, service: str, handler: Handler) -> None:
        async def watched(caller: str, body: bytes) -> bytes:
            self._heard(caller, self.name, service)
            answer = await handler(caller, body)
            self._saw(self.name, caller, service, answer)
            return answer

        await self._transport.serve(service, watched)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        self._saw(self.name, peer, service, body)
        return await self._transport.request(peer, service, body, deadline_s=deadline_s)

    async def fan_out(
        self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float
    ) -> AsyncIterator[Reply]:
        asked = list(peers)
        for peer in asked:
            self._saw(self.name, peer, service, body)
        async for reply in self._transport.fan_out(asked, service, body, deadline_s=deadline_s):
            yield reply

    async def publish(self, topic: str, body: bytes) -> None:
        for peer in self._transport.alive() - {self.name}:
            self._saw(self.name, peer, topic, body)
        await self._transport.publish(topic, body)

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        def watched(sender: str, topic: str, body: bytes) -> None:
            self._heard(sender, self.name, topic)
            on_message(sender, topic, body)

        await self._transport.subscribe(topic, watched)
