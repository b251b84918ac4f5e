"""Points that leave one shard for another: what a holder remembers, so that no search finds them nowhere.

A write that moves a point brings it to its new shard first and then takes it from the old one. A search that looked at
the new shard before that, and at the old one after it, would find it in neither. So a holder tells with every answer
how long ago a point left, and who asked looks again if that was after the search began. No clocks are compared.
"""

import math
from collections.abc import Iterable

from littoral.clock import Clock

__all__ = ["Departures", "Leaving"]

KEPT_S = 60.0
"""Longer than a search may take."""


class Leaving:
    """Of the shards on one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: dict[str, float] = {}

    def left(self, name: str) -> None:
        """A point that was in this shard is not any more."""
        self._at[name] = self._clock.monotonic()

    def ago_s(self, names: Iterable[str]) -> float | None:
        """How long ago one left one of these; None where it does not matter any more."""
        latest = max((self._at.get(name, -math.inf) for name in names), default=-math.inf)
        ago_s = self._clock.monotonic() - latest
        return ago_s if ago_s <= KEPT_S else None


class Departures:
    """As this node has heard of them, from itself and from others. Late by what an answer takes, and never early."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: dict[str, float] = {}

    def heard(self, collection: str, ago_s: float) -> None:
        """With an answer that came just now."""
        at = self._clock.monotonic() - ago_s
        self._latest[collection] = max(at, self._latest.get(collection, -math.inf))

    def is_since(self, collection: str, began: float) -> bool:
        """Whether a point may have left a shard of the collection since then."""
        return self._latest.get(collection, -math.inf) >= began
