"""When a shard host builds its search graph, and who is told: around `Rebuild`, as the host's loop needs it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from littoral.errors import LittoralError
from littoral.vectors.connection import Connection
from littoral.vectors.frames import Pack, UpdateVectors, Upsert, Write
from littoral.vectors.rebuild import Rebuild
from littoral.vectors.shard import Shard

__all__ = ["Building", "Job"]

LOOK_S = 0.05
QUIET_S = 0.5
HURRY = 4


class Job(NamedTuple):
    """A request that is being answered. arrived: when its last byte came."""

    client: Connection
    request: Any
    size_bytes: int
    arrived: float


class Building:
    """Work on a graph comes in two parts, copying and exchanging, which are writes to everybody else.

    It begins when somebody asks, or when `point_count` points were written and half a second is quiet, or when four
    times as many were. `asked`: jobs that wait for it; those that come while it runs get the same graph.
    """

    def __init__(self, shard: Shard, point_count: int) -> None:
        self._rebuild = Rebuild(shard)
        self._point_count = point_count
        self._unbuilt_count = _unbuilt(shard) if point_count else 0
        self._last_write = 0.0
        self.asked: list[Job] = []
        self._served: list[Job] = []

    def note(self, request: Write, size_bytes: int, now: float) -> None:
        """A write that is done. A graph for which too many were missed is given up, and begun again later."""
        if isinstance(request, Pack):
            return
        if isinstance(request, Upsert | UpdateVectors):
            self._unbuilt_count += len(request.points.ids)
        self._last_write = now
        try:
            self._rebuild.note(request, size_bytes)
        except LittoralError:
            self._rebuild.stop()
            self.asked, self._served = [*self._served, *self.asked], []

    def has_work(self, now: float) -> bool:
        """Whether `next_steps` gives something."""
        return self._rebuild.has_ended if self._rebuild.is_running else bool(self.asked) or self._is_due(now)

    def look_again(self, now: float) -> float | None:
        """When the host should look whether there is work; None if only a request can bring some."""
        if self._rebuild.is_running:
            return now + LOOK_S
        if self._point_count and self._unbuilt_count >= self._point_count:
            return self._last_write + QUIET_S
        return None

    def _is_due(self, now: float) -> bool:
        if not self._point_count or self._unbuilt_count < self._point_count:
            return False
        return now - self._last_write >= QUIET_S or self._unbuilt_count >= HURRY * self._point_count

    def next_steps(self, now: float) -> Iterator[None] | None:
        """The part that is to be done now, if any."""
        if not self.has_work(now):
            return None
        if self._rebuild.is_running:
            return self._rebuild.finish_steps()
        self._served, self.asked = self.asked, []
        self._unbuilt_count = 0
        return self._rebuild.begin_steps()

    def ended(self, error: LittoralError | None) -> list[Job]:
        """A part was done, or failed. Those who are to be told now."""
        if error is not None:
            self._rebuild.stop()
        if self._rebuild.is_running:
            return []
        served, self._served = self._served, []
        return served

    def stop(self) -> list[Job]:
        """Gives up. Those who are to be told."""
        self._rebuild.stop()
        waiting, self._served, self.asked = [*self._served, *self.asked], [], []
        return waiting


def _unbuilt(shard: Shard) -> int:
    info = shard.info()
    return max(0, info.points_count - info.indexed_vectors_count)
