"""Points that leave one shard for another: what a holder remembers of them for a while.

A write that moves a point brings it to its new shard first and then takes it from the old one. A search that looked at
the new shard before that, and at the old one after it, would find it nowhere: so a holder tells with every answer how
long ago a point left, and who asked looks again if that was after the search began. No clocks are compared.

Two writes to one point may go to different shards at once. Each has a version; a holder does nothing of the earlier one
that the later one has done away with. So one of the two remains, the same everywhere.
"""

from collections import OrderedDict
from collections.abc import Sequence

from littoral.clock import Clock
from littoral.vectors import frames
from littoral.vectors.records import PointId

__all__ = ["Moves", "Version", "VersionClock", "is_versioned"]

KEPT_S = 60.0
"""Longer than a write may be on its way."""

KEPT_COUNT_MAX = 1 << 16

Version = tuple[int, str]
"""Microseconds of the writer's wall clock, never the same twice, and the writer's name."""


class VersionClock:
    """Of one node."""

    def __init__(self, clock: Clock, node: str) -> None:
        self._clock = clock
        self._node = node
        self._last = 0

    def next(self) -> Version:
        self._last = max(self._last + 1, int(self._clock.wall() * 1e6))
        return self._last, self._node


def is_versioned(request: frames.Request) -> bool:
    """Whether it may be one of several that move points."""
    return isinstance(request, frames.Upsert) or (isinstance(request, frames.Delete) and request.ids is not None)


class Moves:
    """Of one shard on one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left_at: float | None = None
        self._versions: OrderedDict[PointId, tuple[Version, float]] = OrderedDict()

    def left(self) -> None:
        """A point that was here is not any more."""
        self._left_at = self._clock.monotonic()

    def left_s(self) -> float | None:
        """How long ago that was; None where it does not matter any more."""
        since_s = None if self._left_at is None else self._clock.monotonic() - self._left_at
        return None if since_s is None or since_s > KEPT_S else since_s

    def latest(self, ids: Sequence[PointId], version: Version) -> list[int]:
        """Rows of the ids that no later write has been here for; from now on this one counts for them."""
        now = self._clock.monotonic()
        rows = [
            row for row, point in enumerate(ids) if (known := self._versions.get(point)) is None or known[0] < version
        ]
        for row in rows:
            self._versions[ids[row]] = (version, now)
            self._versions.move_to_end(ids[row])
        while self._versions and (len(self._versions) > KEPT_COUNT_MAX or self._oldest() < now - KEPT_S):
            self._versions.popitem(last=False)
        return rows

    def _oldest(self) -> float:
        return next(iter(self._versions.values()))[1]
