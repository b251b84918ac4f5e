"""How long the latest requests of each pipeline took, as a whole and by step: what the page shows."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["Quantiles", "RequestStatistics"]

ROW_COUNT_MAX = 512
STAGE_COUNT_MAX = 64


class Quantiles(NamedTuple):
    """Milliseconds; None before the first request."""

    p50_ms: float | None
    p95_ms: float | None


class _Row(NamedTuple):
    total_ms: float
    stages_ms: Mapping[str, float]


class RequestStatistics:
    """Of one pipeline. requests, failures: since the start; quantiles: of the latest 512 that did not fail."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self._rows: deque[_Row] = deque(maxlen=ROW_COUNT_MAX)

    def succeeded(self, total_ms: float, stages_ms: Mapping[str, float]) -> None:
        self.requests += 1
        self._rows.append(_Row(total_ms, dict(stages_ms)))

    def failed(self) -> None:
        self.requests += 1
        self.failures += 1

    def total(self) -> Quantiles:
        return _quantiles(row.total_ms for row in self._rows)

    def stages(self) -> dict[str, Quantiles]:
        """By step, in the order of the steps."""
        names = list(dict.fromkeys(name for row in self._rows for name in row.stages_ms))[:STAGE_COUNT_MAX]
        return {name: _quantiles(r.stages_ms[name] for r in self._rows if name in r.stages_ms) for name in names}


def _quantiles(times_ms: Iterable[float]) -> Quantiles:
    """Nearest rank: a time that was really measured."""
    ordered = sorted(times_ms)
    if not ordered:
        return Quantiles(None, None)
    return Quantiles(*(ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95)))
