"""Peers that are linked and yet not here: what a link that was made anew at one end only leaves behind.

After a cut of one way, one end gives its peer up while the other still hears it. When that first end links again in
time, the second takes the link for one more of a peer that it knows, and tells it none of what it told before: that it
is here, and what it answers. Zenoh 1.10 does not find that out, ever. Links that are all made anew do.
"""

from collections.abc import Collection

__all__ = ["HalfLinks"]

PATIENCE_LEASES = 2
"""Longer than anything that mends itself takes."""

REST_S = 30.0
"""Between two times that all links are made anew."""


class HalfLinks:
    """Of one node, from its links' last beginning on. lease_s: after which a silent peer is given up."""

    def __init__(self, lease_s: float, now_s: float) -> None:
        self._patience_s = PATIENCE_LEASES * lease_s
        self._rest_until_s = now_s
        self._seen: set[str] = set()
        self._since_s: dict[str, float] = {}

    def begin(self) -> None:
        """Links are made anew. Who was never here since is not missed: it may not let this node in."""
        self._seen.clear()
        self._since_s.clear()

    def suspects(self, alive: Collection[str]) -> bool:
        """Whether links must be looked at: somebody who was here is not."""
        self._seen.update(alive)
        return not self._seen.issubset(alive)

    def is_broken(self, linked: Collection[str], alive: Collection[str], now_s: float) -> bool:
        """Whether only new links can mend what is seen; then it is time for them."""
        half = self._seen.intersection(linked).difference(alive)
        self._since_s = {name: self._since_s.get(name, now_s) for name in half}
        is_due = any(now_s - since_s >= self._patience_s for since_s in self._since_s.values())
        if not is_due or now_s < self._rest_until_s:
            return False
        self._rest_until_s = now_s + REST_S
        return True
