"""Two looks at the numbers of a node, and what happened in between."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from littoral.errors import PeerError

__all__ = ["Look", "Samples", "parse_samples"]

SAMPLES_MAX = 100_000
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = Mapping[str, Mapping[tuple[str, ...], float]]
"""By name, and by the values of the labels in their order."""


def parse_samples(text: str) -> Samples:
    """Of Prometheus' text format. Raises PeerError for another."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for count, line in enumerate(line for line in text.splitlines() if line and not line.startswith("#")):
        said = _SAMPLE.fullmatch(line)
        try:
            if said is None or count >= SAMPLES_MAX:
                raise ValueError(line)
            labels = tuple(value for _, value in _LABEL.findall(said[2] or ""))
            found.setdefault(said[1], {})[labels] = float(said[3])
        except ValueError as error:
            raise PeerError(f"`/metrics`: line {count + 1} of the samples is none: `{line[:80]}`") from error
    return found


class Look(NamedTuple):
    """before: None at the first look. seconds: between the two."""

    now: Samples
    before: Samples | None
    seconds: float

    def names(self, metric: str, at: int = 0) -> list[str]:
        """Values of one of its labels, sorted."""
        return sorted({labels[at] for labels in self.now.get(metric, {}) if len(labels) > at})

    def series(self, metric: str) -> Iterator[tuple[str, ...]]:
        return iter(sorted(self.now.get(metric, {})))

    def value(self, metric: str, *labels: str) -> float | None:
        return self.now.get(metric, {}).get(labels)

    def rate(self, metric: str, *labels: str) -> float | None:
        """A second; None before the second look. What was not there counts as nothing, and what began anew from it."""
        if self.before is None or self.seconds <= 0:
            return None
        now, before = (samples.get(metric, {}).get(labels, 0.0) for samples in (self.now, self.before))
        return (now - before if now >= before else now) / self.seconds

    def total_rate(self, metric: str) -> float | None:
        """Of all its series."""
        rates = [self.rate(metric, *labels) for labels in self.now.get(metric, {})]
        return None if self.before is None else sum(rate or 0.0 for rate in rates)
