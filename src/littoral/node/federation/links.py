"""How long peers take to answer, as this node sees it."""

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping

from littoral.clock import Clock

__all__ = ["Links"]

ROUND_COUNT_MAX = 128
FIRST_S = 0.05
HEDGE_FACTOR = 3.0
HEDGE_MIN_S = 0.02


class Links:
    """Of one node. Only answers count: a peer that is away says nothing about its link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rounds_s: dict[str, deque[float]] = {}

    @contextlib.contextmanager
    def timed(self, peer: str) -> Iterator[None]:
        """Around one request that is answered; one that raises does not count."""
        began = self._clock.monotonic()
        yield
        self._rounds_s.setdefault(peer, deque(maxlen=ROUND_COUNT_MAX)).append(self._clock.monotonic() - began)

    def median_s(self, peer: str) -> float:
        """A guess before the first answer."""
        return _quantile(self._rounds_s.get(peer), 0.5)

    def hedge_s(self, peer: str) -> float:
        """After so long another replica is asked beside this peer."""
        return max(HEDGE_MIN_S, HEDGE_FACTOR * _quantile(self._rounds_s.get(peer), 0.95))

    def medians_ms(self) -> Mapping[str, float]:
        """By peer that has answered."""
        return {peer: round(_quantile(rounds, 0.5) * 1000, 3) for peer, rounds in self._rounds_s.items()}


def _quantile(rounds_s: deque[float] | None, share: float) -> float:
    if not rounds_s:
        return FIRST_S
    ordered = sorted(rounds_s)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
