"""When a new version goes back by itself. Pure: figures of it and of the version before, in; a verdict, out.

Both versions run the same mirrored requests one after the other in the same thread, so that what else the machine does
touches both. A quantile of few values is their largest one, which is chance: the tail counts by itself from
`TAIL_COUNT` pairs on. Before that it counts only with the middle, and a middle beyond the bound counts by itself.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from littoral.updates.wire import Gates

__all__ = ["GATES", "Figures", "Told", "Verdict", "drift_of", "judge"]

KEPT_MAX = 2048
ERRORS_MIN = 3
PAIRS_MIN = 20
TAIL_COUNT = 400

GATES = ("errors", "p99", "drift", "memory", "selftest", "hook", "crash", "load", "verify")
"""Names, as reports and metrics have them."""


class Verdict(NamedTuple):
    """gate: which one tripped. why: in one line, with both values."""

    gate: str
    why: str


class Told(NamedTuple):
    """For people: of what was seen so far."""

    requests: int
    failures: int
    p99_ratio: float | None
    drift_p99: float | None


@dataclass
class Figures:
    """Of one changed model. pairs: seconds of the version before and of the new one, by request. served, failed: real
    requests after the flip. memory_mb: of one instance of the new version."""

    mirrored: int = 0
    failed: int = 0
    served: int = 0
    served_failed: int = 0
    pairs: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    drifts: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    memory_mb: float = 0.0

    def pair(self, before_s: float, after_s: float, drift: float | None) -> None:
        """drift: None where outputs say nothing of it."""
        self.mirrored += 1
        self.pairs.append((before_s, after_s))
        if drift is not None:
            self.drifts.append(drift)

    def failure(self) -> None:
        """A mirrored request that the new version failed, and the one before did not."""
        self.mirrored += 1
        self.failed += 1

    def told(self) -> Told:
        ratio = _ratio(self.pairs, 0.99) if self.pairs else None
        worst = _quantile(self.drifts, 0.99) if self.drifts else None
        return Told(self.mirrored + self.served, self.failed + self.served_failed, ratio, worst)


def judge(gates: Gates, figures: Figures) -> Verdict | None:
    """The first gate that trips, or None."""
    return _memory(gates, figures) or _errors(gates, figures) or _drift(gates, figures) or _p99(gates, figures)


def drift_of(dot: float, one: float, other: float) -> float:
    """1 − cosine, from the sums of products and squares."""
    if not all(map(math.isfinite, (dot, one, other))):
        return 1.0
    if one == 0.0 or other == 0.0:
        return 0.0 if one == other else 1.0
    return max(0.0, 1.0 - dot / math.sqrt(one * other))


def _memory(gates: Gates, figures: Figures) -> Verdict | None:
    most = gates.memory_mb_max
    if most is None or figures.memory_mb <= most:
        return None
    return Verdict("memory", f"an instance takes {figures.memory_mb:.0f} MiB, at most {most}")


def _errors(gates: Gates, figures: Figures) -> Verdict | None:
    for failed, of, where in (
        (figures.failed, figures.mirrored, "mirrored requests"),
        (figures.served_failed, figures.served, "requests"),
    ):
        if failed >= ERRORS_MIN and failed > gates.errors_max * of:
            return Verdict("errors", f"{failed} of {of} {where} failed, at most {gates.errors_max:.1%}")
    return None


def _drift(gates: Gates, figures: Figures) -> Verdict | None:
    if len(figures.drifts) < ERRORS_MIN:
        return None
    worst = _quantile(figures.drifts, 0.99)
    if worst <= gates.drift_max:
        return None
    return Verdict("drift", f"1 − cosine of outputs is {worst:.3g} at the 99th percentile, at most {gates.drift_max:g}")


def _p99(gates: Gates, figures: Figures) -> Verdict | None:
    count = len(figures.pairs)
    if count < PAIRS_MIN:
        return None
    tail, middle = _ratio(figures.pairs, 0.99), _ratio(figures.pairs, 0.5)
    if count < TAIL_COUNT and middle > gates.p99_ratio_max:
        return Verdict("p99", f"median is {middle:.2f} × that of the version before, at most {gates.p99_ratio_max:g}")
    is_slower = middle > 1 + (gates.p99_ratio_max - 1) / 2
    if tail <= gates.p99_ratio_max or not (is_slower or count >= TAIL_COUNT):
        return None
    return Verdict("p99", f"p99 is {tail:.2f} × that of the version before, at most {gates.p99_ratio_max:g}")


def _ratio(pairs: Iterable[tuple[float, float]], share: float) -> float:
    before, after = zip(*pairs, strict=True)
    return _quantile(after, share) / max(_quantile(before, share), 1e-9)


def _quantile(values: Iterable[float], share: float) -> float:
    found = sorted(values)
    return found[min(len(found) - 1, math.ceil(share * len(found)) - 1 if share < 1 else len(found) - 1)]
