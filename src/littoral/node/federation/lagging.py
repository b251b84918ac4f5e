"""Which replicas have said of late that they lack writes: asking them again for the sake of these is in vain."""

from littoral.clock import Clock
from littoral.node.federation.leases import RENEW_S

__all__ = ["Lagging"]

COUNT_MAX = 4096


class Lagging:
    """Of other nodes' replicas and this one's, until leases are renewed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: dict[tuple[str, int, str], float] = {}

    def said(self, collection: str, shard: int, node: str) -> None:
        """It may lack writes."""
        if len(self._until_s) >= COUNT_MAX:
            self._until_s.clear()
        self._until_s[collection, shard, node] = self._clock.monotonic() + RENEW_S

    def has_said(self, collection: str, shard: int, node: str) -> bool:
        until_s = self._until_s.get((collection, shard, node))
        return until_s is not None and self._clock.monotonic() < until_s
