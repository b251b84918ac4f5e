"""A router that translates addresses between two nodes, and forgets now and then which it gave."""

import asyncio
from collections.abc import Callable
from typing import Literal

Told = Callable[[bytes, tuple[str, int]], None]


class UdpRelay:
    """For one client, in one event loop: `async with`. port: its client sends to it. mute: ways that lose all.

    delay_s: that everything takes longer, either way.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._client: tuple[str, int] | None = None
        self._near: asyncio.DatagramTransport | None = None
        self._far: asyncio.DatagramTransport | None = None
        self.port = 0
        self.mute: set[Literal["there", "back"]] = set()
        self.delay_s = 0.0

    async def __aenter__(self) -> "UdpRelay":
        self._near = await _opened(self._from_client)
        self.port = self._near.get_extra_info("sockname")[1]
        await self.rebind()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in (self._near, self._far):
            if one is not None:
                one.close()

    async def rebind(self) -> int:
        """From now on the target sees the client at another port, which is given."""
        before, self._far = self._far, await _opened(self._from_target)
        if before is not None:
            before.close()
        port: int = self._far.get_extra_info("sockname")[1]
        return port

    def _from_client(self, data: bytes, place: tuple[str, int]) -> None:
        self._client = place
        if self._far is not None and "there" not in self.mute:
            self._pass_on(self._far, data, self._target)

    def _from_target(self, data: bytes, _place: tuple[str, int]) -> None:
        if self._near is not None and self._client is not None and "back" not in self.mute:
            self._pass_on(self._near, data, self._client)

    def _pass_on(self, over: asyncio.DatagramTransport, data: bytes, place: tuple[str, int]) -> None:
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, over.sendto, data, place)
        else:
            over.sendto(data, place)


class _Received(asyncio.DatagramProtocol):
    def __init__(self, told: Told) -> None:
        self._told = told

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._told(data, addr)


async def _opened(told: Told) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Received(told), local_addr=("127.0.0.1", 0))
    return transport
