"""Calls that wait, bounded in number: the urgent first, then those whose deadline is near, then by age.

So in the calls of each tenant; between tenants it goes in turn (`Turns`), however many one of them has waiting.
"""

import bisect
from collections import Counter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from littoral.runtime.call import Call
from littoral.runtime.turns import Turns, greediest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

__all__ = ["WaitingCalls"]

_T = TypeVar("_T")


class _Entry(NamedTuple):
    order: tuple[int, float]
    number: int
    asked: "Future[Any]"
    tenant: str


class WaitingCalls(Generic[_T]):
    """Not for several threads at once: its owner has a lock."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._entries: list[_Entry] = []
        self._number = 0
        self._turns = Turns()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> "Iterator[Future[_T]]":
        return (entry.asked for entry in self._entries)

    def ahead_of(self, call: Call) -> int:
        """How many would be served before this call, if it came now."""
        before = bisect.bisect_right(self._entries, call.order(), key=lambda entry: entry.order)
        counts = self._counts()
        if counts.keys() <= {call.tenant}:
            return before
        own = sum(entry.tenant == call.tenant for entry in self._entries[:before])
        return self._turns.ahead_of(call.tenant, own, counts)

    def add(self, asked: "Future[_T]", call: Call) -> "Future[_T] | None":
        """Lets it wait. What had to go for it, if any: the last in line of the tenant that has most waiting, which may
        be the newcomer itself.
        """
        self._number += 1
        entry = _Entry(call.order(), self._number, asked, call.tenant)
        bisect.insort(self._entries, entry, key=lambda found: found[:2])
        if len(self._entries) <= self._count_max:
            return None
        most = greediest(self._counts())
        last = max(at for at, found in enumerate(self._entries) if found.tenant == most)
        return self._entries.pop(last).asked

    def pop(self) -> "Future[_T]":
        """The next in line."""
        entry = self._turns.lined_up(self._entries, lambda found: found.tenant)[0]
        self._turns.served(entry.tenant)
        self._entries.remove(entry)
        return entry.asked

    def remove(self, asked: "Future[_T]") -> None:
        """As if it had never come; it may be gone already."""
        self._entries = [entry for entry in self._entries if entry.asked is not asked]

    def clear(self) -> "list[Future[_T]]":
        """All that waited."""
        gone = list(self)
        self._entries = []
        return gone

    def _counts(self) -> Counter[str]:
        return Counter(entry.tenant for entry in self._entries)
