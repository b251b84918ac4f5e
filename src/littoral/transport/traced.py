"""A transport whose requests are spans: on the side that asks, and on the side that answers."""

from collections.abc import AsyncIterator, Iterable

from littoral.telemetry import Kind, Spans, current_trace, recorded_trace, root_span, span
from littoral.transport.fan_out import replies
from littoral.transport.interface import Handler, OnLiveness, OnMessage, Reply, Transport

__all__ = ["TracedTransport"]


class TracedTransport:
    """One node's end of the mesh, as the one below. spans: of this node."""

    def __init__(self, transport: Transport, spans: Spans) -> None:
        self._transport = transport
        self._spans = spans
        self.name = transport.name
        self.body_bytes_max = transport.body_bytes_max
        self.traffic = transport.traffic

    async def serve(self, service: str, handler: Handler) -> None:
        async def traced(caller: str, body: bytes) -> bytes:
            if (asked := current_trace()) is None:
                return await handler(caller, body)
            trace = self._spans.incoming(asked)
            with root_span(trace, f"answer {service}", Kind.SERVER, {"rpc.service": service, "littoral.peer": caller}):
                return await handler(caller, body)

        await self._transport.serve(service, traced)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        if recorded_trace() is None:
            return await self._transport.request(peer, service, body, deadline_s=deadline_s)
        with span(f"ask {service}", Kind.CLIENT, {"rpc.service": service, "littoral.peer": peer}):
            return await self._transport.request(peer, service, body, deadline_s=deadline_s)

    def fan_out(self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float) -> AsyncIterator[Reply]:
        if recorded_trace() is None:
            return self._transport.fan_out(peers, service, body, deadline_s=deadline_s)
        return replies(peers, lambda peer: self.request(peer, service, body, deadline_s=deadline_s))

    async def publish(self, topic: str, body: bytes) -> None:
        await self._transport.publish(topic, body)

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        await self._transport.subscribe(topic, on_message)

    def alive(self) -> frozenset[str]:
        return self._transport.alive()

    def watch(self, on_liveness: OnLiveness) -> None:
        self._transport.watch(on_liveness)

    async def close(self) -> None:
        await self._transport.close()
