"""Whose turn it is where calls of several tenants wait: each tenant in its own order, tenants in turn.

A call costs an instance for one run, whoever asks, so one call each is an equal share (deficit round robin with one
quantum). Who has waited in vain longest goes first, so that somebody who comes now and then is never behind the queue
of somebody who always comes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

__all__ = ["Turns", "greediest"]

_T = TypeVar("_T")


class Turns:
    """Not for several threads at once. Tenants are those of a site file, so their number is bounded."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._number = 0

    def served(self, tenant: str) -> None:
        """One of its calls is done now."""
        self._number += 1
        self._served[tenant] = self._number

    def lined_up(self, waiting: Sequence[_T], tenant_of: Callable[[_T], str]) -> list[_T]:
        """In the order in which they are to be served. waiting: of each tenant in its own order."""
        counts: Counter[str] = Counter()
        places: list[tuple[int, int]] = []
        for one in waiting:
            tenant = tenant_of(one)
            places.append((counts[tenant], self._served.get(tenant, 0)))
            counts[tenant] += 1
        if len(counts) < 2:
            return list(waiting)
        return [one for _, one in sorted(zip(places, waiting, strict=True), key=lambda found: found[0])]

    def ahead_of(self, tenant: str, own_count: int, counts: Mapping[str, int]) -> int:
        """How many go before a call that has `own_count` of its tenant before it. counts: that wait, by tenant."""
        mine = self._served.get(tenant, 0)
        others = ((count, self._served.get(other, 0)) for other, count in counts.items() if other != tenant)
        return own_count + sum(min(count, own_count + (served <= mine)) for count, served in others)


def greediest(counts: Mapping[str, int]) -> str:
    """The tenant with the most calls that wait."""
    return max(counts, key=lambda tenant: counts[tenant])
