"""Prometheus' text format 0.0.4, written as often as a scraper asks: what a series is called is put together once.

Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from littoral.telemetry.metric_spec import MetricSpec
from littoral.telemetry.spread import BUCKETS_S, Spread

__all__ = ["Exposition"]

NAMES_MAX = 32_768
BOUNDS = (*map(str, BUCKETS_S), "+Inf")
_KINDS = {"read_counter": "counter", "read_histogram": "histogram"}
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Labels = tuple[str, ...]


class Exposition:
    """For one thread."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, Labels], str] = {}
        self._buckets: dict[tuple[str, Labels], tuple[str, ...]] = {}

    def family(self, spec: MetricSpec, series: Iterable[tuple[Labels, float | Spread]]) -> Iterator[str]:
        """Lines of one metric, each with its end."""
        sentence = spec.sentence.translate({ord("\\"): r"\\", ord("\n"): r"\n"})
        yield f"# HELP {spec.name} {sentence}\n# TYPE {spec.name} {_KINDS.get(spec.kind, spec.kind)}\n"
        for labels, value in series:
            if isinstance(value, Spread):
                yield from self._spread(spec, labels, value)
            else:
                yield f"{self._name(spec, labels)}{_number(value)}\n"

    def _name(self, spec: MetricSpec, labels: Labels) -> str:
        if (known := self._names.get((spec.name, labels))) is None:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            known = self._names[spec.name, labels] = f"{spec.name}{_told(spec.labels, labels)} "
        return known

    def _spread(self, spec: MetricSpec, labels: Labels, spread: Spread) -> Iterator[str]:
        if (known := self._buckets.get((spec.name, labels))) is None:
            if len(self._buckets) >= NAMES_MAX // len(BOUNDS):
                self._buckets.clear()
            known = self._buckets[spec.name, labels] = _bucket_names(spec, labels)
        *buckets, total, count = known
        values = list(accumulate(spread.counts))
        for name, value in zip(buckets, values, strict=True):
            yield f"{name}{_number(value)}\n"
        yield f"{count}{_number(values[-1])}\n{total}{_number(spread.sum)}\n"


def _bucket_names(spec: MetricSpec, labels: Labels) -> tuple[str, ...]:
    names = (*spec.labels, "le")
    buckets = [f"{spec.name}_bucket{_told(names, (*labels, bound))} " for bound in BOUNDS]
    told = _told(spec.labels, labels)
    return (*buckets, f"{spec.name}_sum{told} ", f"{spec.name}_count{told} ")


def _told(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{value.translate(_ESCAPED)}"' for name, value in sorted(zip(names, values, strict=True)))
    return f"{{{','.join(pairs)}}}"


def _number(value: float) -> str:
    """As Prometheus' own client for Python writes it: `1.0`."""
    value = float(value)
    if value != value:
        return "NaN"
    return repr(value) if abs(value) != float("inf") else "+Inf" if value > 0 else "-Inf"
