"""Promises between nodes that end by themselves: nothing that contradicts what was told is acknowledged before.

Who asks counts from before it asked, who promises from when it answered: the promise never ends before the belief in
it. Pure; clocks need to run alike, not to agree.
"""

from collections.abc import Iterable, Mapping

from littoral.clock import Clock

__all__ = ["LEASE_S", "RENEW_S", "Beliefs", "Grants"]

LEASE_S = 3.0
RENEW_S = 1.0

What = tuple[str, int]
"""A shard: collection and number."""


class Grants:
    """What this node has promised, to whom, until when.

    is_first_life: nobody holds a promise of this node's from before it started.
    """

    def __init__(self, clock: Clock, *, is_first_life: bool) -> None:
        self._clock = clock
        self._former_until_s = clock.monotonic() + (0.0 if is_first_life else LEASE_S)
        self._granted: dict[What, dict[str, tuple[float, int]]] = {}

    def grant(self, what: What, peer: str, *, epoch: int = 0, for_s: float = LEASE_S) -> None:
        """epoch: of what was told."""
        self._granted.setdefault(what, {})[peer] = (self._clock.monotonic() + for_s, epoch)

    def revoke(self, what: What, peer: str, *, before: int) -> None:
        """It believes nothing any more that has a lower epoch."""
        held = self._granted.get(what, {})
        if peer in held and held[peer][1] < before:
            del held[peer]

    def holders(self, what: What, everyone: Iterable[str], *, before: int | None = None) -> Mapping[str, float]:
        """Who may believe what this node told, with an epoch below that, and until when.

        everyone: may do so from this node's last life.
        """
        now_s = self._clock.monotonic()
        found = dict.fromkeys(everyone, self._former_until_s) if now_s < self._former_until_s else {}
        for peer, (until_s, epoch) in self._granted.get(what, {}).items():
            if before is None or epoch < before:
                found[peer] = max(until_s, found.get(peer, 0.0))
        return {peer: until_s for peer, until_s in found.items() if until_s > now_s}


class Beliefs:
    """What this node may believe of its own replicas: that they lack no write which another holder acknowledged."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: dict[tuple[What, str], float] = {}

    def believe(self, what: What, lessor: str, until_s: float) -> None:
        """Until then."""
        self._until_s[what, lessor] = until_s

    def left_s(self, what: What, lessors: Iterable[str]) -> float:
        """For how long all of them have promised; `LEASE_S` where there is nobody to promise anything."""
        now_s = self._clock.monotonic()
        return max(0.0, min((self._until_s.get((what, one), 0.0) - now_s for one in lessors), default=LEASE_S))
