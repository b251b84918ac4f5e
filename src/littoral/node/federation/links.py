"""How long peers take to answer, as this node sees it."""

from collections import deque
from collections.abc import Mapping

from littoral.clock import Clock

__all__ = ["Links"]

ROUND_COUNT_MAX = 128
FIRST_S = 0.05
HEDGE_FACTOR = 3.0
HEDGE_MIN_S = 0.02
SILENT_S = 2.0
"""As long as a node that died may still seem to be here."""

REFRESH_COUNT = 8
"""Quantiles are taken anew after so many rounds: they are asked for with every search."""


class Links:
    """Of one node. Only answers count: a peer that is away says nothing about its link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, _Link] = {}
        self._silent_until_s: dict[str, float] = {}

    def was_silent(self, peer: str) -> None:
        """It left somebody waiting, or there was no way to it."""
        self._silent_until_s[peer] = self._clock.monotonic() + SILENT_S

    def is_silent(self, peer: str) -> bool:
        """Of late, and has not answered since."""
        return self._clock.monotonic() < self._silent_until_s.get(peer, 0.0)

    def took(self, peer: str, began_s: float) -> None:
        """It has answered what was asked at this time."""
        self._silent_until_s.pop(peer, None)
        if (link := self._links.get(peer)) is None:
            link = self._links[peer] = _Link()
        link.add(self._clock.monotonic() - began_s)

    def median_s(self, peer: str) -> float:
        """A guess before the first answer."""
        return link.median_s if (link := self._links.get(peer)) is not None else FIRST_S

    def hedge_s(self, peer: str) -> float:
        """After so long another replica is asked beside this peer."""
        high_s = link.high_s if (link := self._links.get(peer)) is not None else FIRST_S
        return max(HEDGE_MIN_S, HEDGE_FACTOR * high_s)

    def medians_ms(self) -> Mapping[str, float]:
        """By peer that has answered."""
        return {peer: round(link.median_s * 1000, 3) for peer, link in self._links.items()}


class _Link:
    def __init__(self) -> None:
        self._rounds_s: deque[float] = deque(maxlen=ROUND_COUNT_MAX)
        self._fresh_count = 0
        self.median_s = self.high_s = FIRST_S

    def add(self, round_s: float) -> None:
        self._rounds_s.append(round_s)
        self._fresh_count += 1
        if self._fresh_count >= min(REFRESH_COUNT, len(self._rounds_s)):
            self._fresh_count = 0
            ordered = sorted(self._rounds_s)
            self.median_s = ordered[len(ordered) // 2]
            self.high_s = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
