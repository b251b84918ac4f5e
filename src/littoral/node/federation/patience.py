"""How long one answer waits for other nodes in all, whoever is asked after whom: from when the first one is asked."""

import math

from littoral.clock import Clock

__all__ = ["Patience"]


class Patience:
    """Of one request, with all its rounds. What this node's own shards take is not counted."""

    def __init__(self, clock: Clock, peer_s: float) -> None:
        self._clock = clock
        self._peer_s = peer_s
        self.end_s = math.inf
        """Of the clock."""

    def begin(self) -> None:
        """Another node is asked."""
        if self.end_s == math.inf:
            self.end_s = self._clock.monotonic() + self._peer_s

    @property
    def is_over(self) -> bool:
        return self._clock.monotonic() >= self.end_s
