"""Which searches share a calibration: those that take the same ways, and for which a level can be found together.

A class is a collection, its strategy and epoch, the vector that is searched, a size of k, the keys that a filter
mentions, whether there is a threshold, whether shards search exactly, and a target. Their number is bounded: filters by
keys that come when there are many kinds of them share a class, and a target is rounded up to a percent.
"""

import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from littoral.vectors.filters import CLAUSES, Condition, Filter, MinShould
from littoral.vectors.queries import SearchQuery
from littoral.vectors.routing.audit import Audit
from littoral.vectors.routing.levels import ALL, Calibration, class_of

__all__ = ["Classes", "Kind", "keys_of"]

KEYS_COUNT_MAX = 8
"""Of a filter; one with more is of the class of all others."""

FILTER_KINDS_MAX = 16
CLASS_COUNT_MAX = 256
SHARE_SAMPLES = 16
"""So many filtered searches are measured before a class calibrates: what share of the points they let through."""

OTHERS = "others"


class Kind:
    """One class. share: of the points that its filters let through, as far as is known."""

    def __init__(self, target: float, *, is_filtered: bool) -> None:
        empty = Calibration(target=target, form="high", level=ALL, count=0, recall=1.0, below=0.0)
        self.audit = Audit(empty)
        self._shares: list[float] = []
        self._is_filtered = is_filtered

    @property
    def share(self) -> float:
        """1 without a filter. The same from the first calibrated search on, so that ways stay comparable."""
        return float(np.mean(self._shares)) if self._shares else 1.0

    @property
    def wants_share(self) -> bool:
        """Whether more searches are to be measured before any is learned from."""
        return self._is_filtered and len(self._shares) < SHARE_SAMPLES

    def measured(self, share: float) -> None:
        """Of one search's filter."""
        if self.wants_share:
            self._shares.append(min(1.0, max(share, 1e-6)))


class Name(NamedTuple):
    """As in the statistics, its parts joined by slashes."""

    collection: str
    strategy: str
    k: int
    filter: str
    kind: str
    epoch: int
    target: float
    vector: str = ""

    @property
    def told(self) -> str:
        return "/".join(map(str, self if self.vector else self[:-1]))


class Classes:
    """Of one node."""

    def __init__(self) -> None:
        self._kinds: dict[Name, Kind] = {}
        self._filters: dict[str, set[str]] = {}

    def of(self, collection: str, strategy: str, epoch: int, query: SearchQuery, target: float) -> Kind | None:
        """None where no level may be learned: for a target of 1, and beyond the bound."""
        target = math.ceil(target * 100 - 1e-9) / 100
        if target >= 1:
            return None
        size = class_of(collection, strategy, query.limit + query.offset).k
        kind = ("exact" if query.params.exact else "graph") + (
            "+threshold" if query.score_threshold is not None else ""
        )
        matching = self._filter_class(collection, query.filter)
        name = Name(collection, strategy, size, matching, kind, epoch, target, query.using)
        if (found := self._kinds.get(name)) is None:
            self._forget_others(collection, epoch)
            if len(self._kinds) >= CLASS_COUNT_MAX:
                return None
            found = self._kinds[name] = Kind(target, is_filtered=query.filter is not None)
        return found

    def items(self) -> Iterator[tuple[Name, Kind]]:
        yield from self._kinds.items()

    def _forget_others(self, collection: str, epoch: int) -> None:
        """A collection that lies elsewhere now has learned nothing yet."""
        for name in [name for name in self._kinds if name.collection == collection and name.epoch != epoch]:
            del self._kinds[name]

    def _filter_class(self, collection: str, matching: Filter | None) -> str:
        if matching is None:
            return "none"
        keys = keys_of(matching)
        known = self._filters.setdefault(collection, set())
        name = "+".join(sorted(keys))
        if len(keys) > KEYS_COUNT_MAX or (name not in known and len(known) >= FILTER_KINDS_MAX):
            return OTHERS
        known.add(name)
        return name or OTHERS


def keys_of(matching: Filter) -> frozenset[str]:
    """Payload keys that it mentions, and the names of tests that are of no key."""
    return frozenset(map(str, _keys(matching)))


def _keys(part: Filter | Condition | MinShould) -> Iterator[Hashable]:
    if isinstance(part, MinShould):
        for one in part.conditions:
            yield from _keys(one)
        return
    if isinstance(part, Condition):
        if part.key is not None:
            yield part.key
        if part.nested is not None:
            yield part.nested.key
        for test in ("has_id", "has_vector", "is_empty", "is_null"):
            value = getattr(part, test)
            if value is not None:
                yield getattr(value, "key", test)
    for clause in CLAUSES:
        found = getattr(part, clause)
        for one in found if isinstance(found, list) else [found]:
            if isinstance(one, msgspec.Struct):
                assert isinstance(one, Filter | Condition | MinShould)
                yield from _keys(one)
