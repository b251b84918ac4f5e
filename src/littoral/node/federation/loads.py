"""How busy the shards of a node are with searches, of late."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from littoral.clock import Clock

__all__ = ["Load", "Loads"]

MEMORY_S = 60.0
"""What is older counts for less than e⁻¹."""


class Load(NamedTuple):
    """searches: a second. busy_ms: of search, a second."""

    searches: float
    busy_ms: float


class Loads:
    """Of one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, float, float]] = {}
        self.heard: Callable[[float], None] = lambda _began_s: None
        """Told of every search, whatever the shard."""

    def now(self) -> float:
        """Seconds, for `searched`."""
        return self._clock.monotonic()

    def searched(self, name: str, began_s: float) -> None:
        """This shard has answered a search that began then."""
        now_s = self._clock.monotonic()
        count, busy_s = self._faded(name, now_s)
        self._known[name] = (now_s, count + 1, busy_s + now_s - began_s)
        self.heard(began_s)

    def _faded(self, name: str, now_s: float) -> tuple[float, float]:
        at_s, count, busy_s = self._known.get(name, (now_s, 0.0, 0.0))
        kept = math.exp((at_s - now_s) / MEMORY_S)
        return count * kept, busy_s * kept

    def of(self, name: str) -> Load:
        """As it is now."""
        count, busy_s = self._faded(name, self._clock.monotonic())
        return Load(count / MEMORY_S, 1000 * busy_s / MEMORY_S)

    def told(self, shards: Iterable[tuple[str, int]]) -> dict[str, dict[int, tuple[float, float]]]:
        """By collection and shard, of those that are searched."""
        found: dict[str, dict[int, tuple[float, float]]] = {}
        for name, shard in shards:
            load = self.of(f"{name}.{shard}")
            if load.busy_ms:
                found.setdefault(name, {})[shard] = (round(load.searches, 3), round(load.busy_ms, 3))
        return found

    def forget(self, name: str) -> None:
        """The shard is gone."""
        self._known.pop(name, None)
