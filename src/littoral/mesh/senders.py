"""Sends what may have to wait for a peer that takes nothing, without holding up the event loop or the other peers.

A send waits when the queue to that peer is full. So what is small, or not very large, is sent on the spot while what
was sent so to that peer, since it was last heard of, fits in its queue (there is one for either); all else is sent by
threads, one at a time for each peer.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from littoral.mesh.zenoh_session import SMALL_BYTES_MAX

__all__ = ["Senders"]

THREAD_COUNT = 8
UNHEARD_BYTES_MAX = 256 << 10
"""Half of the queue."""
MIDDLE_BYTES_MAX = 256 << 10
UNHEARD_MIDDLE_BYTES_MAX = 512 << 10
"""Half of the other queue."""

P = ParamSpec("P")
T = TypeVar("T")


class Senders:
    """For one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREAD_COUNT, thread_name_prefix="littoral-mesh")
        self._turns: dict[str, asyncio.Lock] = {}
        self._unheard_bytes: dict[str, int] = {}
        self._unheard_middle_bytes: dict[str, int] = {}

    def takes_now(self, peer: str, body_bytes: int) -> bool:
        """Whether so many bytes may be sent to that peer on the spot; then they count as sent."""
        unheard_bytes = self._unheard_bytes.get(peer, 0) + body_bytes
        if body_bytes <= SMALL_BYTES_MAX and unheard_bytes <= UNHEARD_BYTES_MAX:
            self._unheard_bytes[peer] = unheard_bytes
            return True
        middle_bytes = self._unheard_middle_bytes.get(peer, 0) + body_bytes
        is_middle = SMALL_BYTES_MAX < body_bytes <= MIDDLE_BYTES_MAX
        turn = self._turns.get(peer)
        if is_middle and middle_bytes <= UNHEARD_MIDDLE_BYTES_MAX and not (turn is not None and turn.locked()):
            self._unheard_middle_bytes[peer] = middle_bytes
            return True
        return False

    async def send_behind(self, peer: str, call: Callable[[], T]) -> T:
        """What `call` gives, which sends what may not be sent on the spot: after all else that waits for that peer."""
        async with self._turns.setdefault(peer, asyncio.Lock()):
            return await self.run(call)

    def heard(self, peer: str) -> None:
        """It sent something, so it takes what it is sent."""
        self._unheard_bytes.pop(peer, None)
        self._unheard_middle_bytes.pop(peer, None)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread, now."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    def stop(self) -> None:
        """Does not wait for those that wait."""
        self._threads.shutdown(wait=False)
