"""A map bounded in bytes: what was not asked for the longest leaves first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ENTRY_BYTES", "ByteLru", "CacheStatistics"]

ENTRY_BYTES = 200
"""What an entry takes beside its value: key, node, objects."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


@dataclass(frozen=True)
class CacheStatistics:
    """entries, bytes: now. The others since the start; evicted = left for want of room."""

    entries: int
    bytes: int
    hits: int
    misses: int
    evicted: int


class ByteLru(Generic[_K, _V]):
    """bytes_max: of all values and `ENTRY_BYTES` each; 0 = nothing is kept. left: told of each entry that leaves.

    For one thread.
    """

    def __init__(self, bytes_max: int, *, left: Callable[[_K, _V], object] | None = None) -> None:
        self._bytes_max = bytes_max
        self._left = left
        self._entries: OrderedDict[_K, tuple[_V, int]] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: _K) -> _V | None:
        """The value, which is now the latest asked for."""
        if (found := self._entries.get(key)) is None:
            self._misses += 1
            return None
        self._hits += 1
        self._entries.move_to_end(key)
        return found[0]

    def keep(self, key: _K, value: _V, size_bytes: int) -> bool:
        """size_bytes: of the value. False where it alone is over a quarter of all that may be kept."""
        size = size_bytes + ENTRY_BYTES
        if 4 * size > self._bytes_max:
            return False
        self.drop(key)
        while self._bytes + size > self._bytes_max:
            self._evicted += 1
            self.drop(next(iter(self._entries)))
        self._entries[key] = value, size
        self._bytes += size
        return True

    def limit(self, bytes_max: int) -> None:
        """From now on; what was not asked for the longest leaves until the rest fits."""
        self._bytes_max = bytes_max
        while self._bytes > bytes_max:
            self._evicted += 1
            self.drop(next(iter(self._entries)))

    def drop(self, key: _K) -> None:
        """Forgets an entry; one that is not there is no error."""
        if (found := self._entries.pop(key, None)) is None:
            return
        value, size = found
        self._bytes -= size
        if self._left is not None:
            self._left(key, value)

    def clear(self) -> None:
        """Forgets every entry."""
        while self._entries:
            self.drop(next(iter(self._entries)))

    @property
    def bytes_max(self) -> int:
        return self._bytes_max

    def items(self) -> Iterator[tuple[_K, _V]]:
        """Those asked for the longest ago first."""
        return ((key, value) for key, (value, _) in self._entries.items())

    def statistics(self) -> CacheStatistics:
        return CacheStatistics(len(self._entries), self._bytes, self._hits, self._misses, self._evicted)
