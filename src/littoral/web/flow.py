"""Back-pressure of one connection: reading that is held, and writing that waits for the other side."""

import asyncio

from littoral.errors import PeerError

__all__ = ["Flow", "News"]

UNSENT_BYTES_MAX = 256 << 10


class Flow:
    """Reading goes on while nobody holds it; `drain` returns while little is unsent."""

    def __init__(self, transport: asyncio.Transport, stalled_s: float) -> None:
        transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        self._transport = transport
        self._stalled_s = stalled_s
        self._holders: set[str] = set()
        self._drained: asyncio.Future[None] | None = None
        self._unsent_bytes = 0
        self._moved_at = 0.0
        self._is_lost = False

    def hold(self, who: str, is_held: bool) -> None:
        """who: holds reading, or no longer does. Twice is fine."""
        if is_held == (who in self._holders):
            return
        was_held = bool(self._holders)
        (self._holders.add if is_held else self._holders.discard)(who)
        if bool(self._holders) != was_held and not self._is_lost and not self._transport.is_closing():
            (self._transport.pause_reading if is_held else self._transport.resume_reading)()

    @property
    def is_paused(self) -> bool:
        """Whether much is unsent."""
        return self._drained is not None

    def paused(self, now: float) -> None:
        """Of writing, by the transport."""
        self._drained = asyncio.get_running_loop().create_future()
        self._unsent_bytes, self._moved_at = self._transport.get_write_buffer_size(), now

    def resumed(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def lost(self) -> None:
        self._is_lost = True
        self.resumed()

    async def drain(self) -> None:
        """Raises PeerError when the other side is gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)
        if self._is_lost or self._transport.is_closing():
            raise PeerError("caller is gone")

    def is_stalled(self, now: float) -> bool:
        """Whether nothing was taken for too long. To be asked now and then."""
        if self._drained is None:
            return False
        size = self._transport.get_write_buffer_size()
        if size < self._unsent_bytes:
            self._moved_at = now
        self._unsent_bytes = size
        return now - self._moved_at > self._stalled_s


class News:
    """For one that waits until it is told that something has changed."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def tell(self) -> None:
        """Twice is fine, and so is nobody who waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
