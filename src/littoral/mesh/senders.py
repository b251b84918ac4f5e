"""What may wait for a peer that takes nothing is done by threads, one at a time for each peer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from littoral.mesh.zenoh_session import SMALL_BYTES_MAX

__all__ = ["Senders"]

THREAD_COUNT = 8

P = ParamSpec("P")
T = TypeVar("T")


class Senders:
    """For one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREAD_COUNT, thread_name_prefix="littoral-mesh")
        self._turns: dict[str, asyncio.Lock] = {}

    async def send(self, peer: str, body_bytes: int, call: Callable[[], T]) -> T:
        """What `call` gives: called here for a small body, which never waits, else in a thread when it is its turn."""
        if body_bytes <= SMALL_BYTES_MAX:
            return call()
        async with self._turns.setdefault(peer, asyncio.Lock()):
            return await self.run(call)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread, now."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    def stop(self) -> None:
        """Does not wait for those that wait."""
        self._threads.shutdown(wait=False)
