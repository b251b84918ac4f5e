"""What a transport on top of another hands on as it is."""

from littoral.transport.interface import OnLiveness, OnMessage, Transport

__all__ = ["Layer"]


class Layer:
    """One node's end of the mesh, as the one below; serving and asking are left to whoever derives from it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.name = transport.name
        self.body_bytes_max = transport.body_bytes_max
        self.traffic = transport.traffic

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
