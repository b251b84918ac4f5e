"""What clients of a simulated site were promised, and what may therefore be found of each point."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from littoral.vectors.records import PointId

__all__ = ["Attempt", "Ledger"]


@dataclass
class Attempt:
    """One write to one point. vector: None for a deletion. ended_s: None while it is not known how it went.

    is_void: through a node that was revoked, when all others knew; it counts nowhere.
    """

    vector: bytes | None
    began_s: float
    ended_s: float | None = None
    is_acknowledged: bool = False
    is_void: bool = False


@dataclass
class Ledger:
    """By point, its writes: each has one writer, who begins none before the last has ended.

    is_by_vector: where vectors decide where a point lies, a write that failed half-way may have removed it.
    is_by_clock: clocks were set, so that of two writes the earlier may have the later time.
    """

    is_by_vector: bool = False
    is_by_clock: bool = False
    of: dict[int, list[Attempt]] = field(default_factory=dict)
    acknowledged_count: int = 0
    refused_count: int = 0

    def begin(self, point: int, vector: bytes | None, now_s: float) -> Attempt:
        """A write is sent."""
        attempt = Attempt(vector, now_s)
        self.of.setdefault(point, []).append(attempt)
        return attempt

    def _counting(self, point: int) -> list[Attempt]:
        return [one for one in self.of.get(point, []) if not one.is_void]

    def allowed(self, point: int) -> set[bytes | None]:
        """What may be found once everything has been shipped: what was acknowledged last, or begun after it."""
        attempts = self._counting(point)
        last = max((at for at, one in enumerate(attempts) if one.is_acknowledged), default=-1)
        if self.is_by_clock:
            last = min(last, next((at for at, one in enumerate(attempts) if one.is_acknowledged), -1))
        found = {one.vector for one in attempts[max(0, last) :]}
        may_be_gone = last < 0 or (self.is_by_vector and len(attempts) - 1 > last)
        return found | {None} if may_be_gone else found

    def is_settled(self, point: PointId) -> bool:
        """Whether its last write was acknowledged, and no clock was set."""
        attempts = self._counting(point) if isinstance(point, int) else []
        return not self.is_by_clock and bool(attempts) and attempts[-1].is_acknowledged

    def attempted(self, point: int) -> set[bytes | None]:
        """All that was ever written to it."""
        return {one.vector for one in self._counting(point)}

    def sure(self, from_s: float) -> Iterator[tuple[int, bytes]]:
        """Points that are there since then for certain, whatever is read."""
        if self.is_by_clock:
            return
        for point in self.of:
            last = next(iter(reversed(self._counting(point))), None)
            if last is None:
                continue
            if last.is_acknowledged and last.vector is not None and last.ended_s is not None and last.ended_s < from_s:
                yield point, last.vector


def apart(vector: bytes, query: npt.NDArray[np.float32]) -> float:
    """Euclid's distance."""
    return float(np.sqrt(((np.frombuffer(vector, "<f4").astype(np.float64) - query) ** 2).sum()))
