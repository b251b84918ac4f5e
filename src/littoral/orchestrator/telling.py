"""Who has been told what: the newest deployment that the director has signed for a node, and who waits for the next."""

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Telling"]


class Telling:
    """For one event loop. listeners: called with node and deployment."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str, int], None]] = []
        self._published: dict[str, int] = {}
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def published(self, node: str) -> int:
        """0: nothing yet."""
        return self._published.get(node, 0)

    def publish(self, node: str, deployment: int) -> None:
        """Its metadata is there: whoever waits hears of it."""
        if deployment <= self.published(node):
            return
        self._published[node] = deployment
        for listener in self.listeners:
            listener(node, deployment)
        for waiter in self._waiting.pop(node, ()):
            if not waiter.done():
                waiter.set_result(None)

    def forget(self, node: str) -> None:
        self._published.pop(node, None)

    async def beyond(self, node: str, deployment: int) -> None:
        """Returns when there is one beyond that."""
        while self.published(node) <= deployment:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[node].add(waiter)
            try:
                await waiter
            finally:
                waiting = self._waiting.get(node)
                if waiting is not None:
                    waiting.discard(waiter)
                    if not waiting:
                        del self._waiting[node]
