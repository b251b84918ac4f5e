"""From other threads to an event loop: what arrived, in order, bounded in number and bytes."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Inbox"]

COUNT_MAX = 1024

T = TypeVar("T")


class Inbox(Generic[T]):
    """take: called in the loop for each item, and after them `miss` with how many had no room."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[T], None],
        miss: Callable[[int], None],
        *,
        bytes_max: int,
        count_max: int = COUNT_MAX,
    ) -> None:
        self._loop = loop
        self._take = take
        self._miss = miss
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._items: list[T] = []
        self._bytes = 0
        self._missed = 0
        self._lock = threading.Lock()

    def put(self, item: T, size_bytes: int) -> bool:
        """From any thread. False: there is no room for it. Any one item has room while nothing else waits."""
        with self._lock:
            is_full = len(self._items) >= self._count_max or self._bytes + size_bytes > self._bytes_max
            if self._items and is_full:
                self._missed += 1
                return False
            self._items.append(item)
            self._bytes += size_bytes
            is_first = len(self._items) == 1
        if is_first:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._empty)
        return True

    def _empty(self) -> None:
        with self._lock:
            items, self._items = self._items, []
            missed, self._missed = self._missed, 0
            self._bytes = 0
        for item in items:
            self._take(item)
        if missed:
            self._miss(missed)
