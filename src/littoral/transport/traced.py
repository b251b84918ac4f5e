"""A transport whose requests are spans: on the side that asks, and on the side that answers."""

from collections.abc import AsyncIterator, Iterable

from littoral.telemetry import Kind, Spans, current_trace, recorded_trace, root_span, span
from littoral.transport.fan_out import replies
from littoral.transport.interface import Handler, Reply, Transport
from littoral.transport.layer import Layer

__all__ = ["TracedTransport"]


class TracedTransport(Layer):
    """One node's end of the mesh, as the one below. spans: of this node."""

    def __init__(self, transport: Transport, spans: Spans) -> None:
        super().__init__(transport)
        self._spans = spans

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
