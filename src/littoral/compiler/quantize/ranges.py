"""From which number to which a value is held in bytes."""

from collections.abc import Callable

import numpy as np

from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.observe import Seen
from littoral.tensors import Array

__all__ = ["CHOICES", "HIGHEST", "WIDE", "chosen", "error_of", "scheme_for", "widened"]

HIGHEST = 127
WIDE = 255
PERCENTILES = (99.99, 99.9, 99.5)
BINS = 2048
SMALLEST = 1e-30
"""Of a range that can be parted in float32."""
GAIN_MIN = 0.05  # of the error: less does not pay for values that are cut off
Bounds = tuple[float, float]


def scheme_for(bounds: Bounds, highest: int = HIGHEST) -> Scheme:
    """0..highest over the range, with a byte that stands for 0 exactly."""
    low, high = bounds
    scale = np.float32(max((high - low) / highest, 1e-20))
    return Scheme("uint8", float(scale), int(np.rint(-low / scale)), 0, highest)


def widened(scheme: Scheme, seen: Seen) -> Scheme:
    """All 256 bytes over the range: that of the feeds if the scheme's is about as large."""
    size = scheme.scale * scheme.high
    if size >= (1 - GAIN_MIN) * (seen.high - seen.low):
        return scheme_for((seen.low, seen.high), WIDE)
    low = -scheme.zero * scheme.scale
    return scheme_for((low, low + size), WIDE)


def _percentile(sample: Array, share: float) -> Bounds:
    tail = (100 - share) / 2 if sample.min() < 0 < sample.max() else 100 - share
    low, high = np.percentile(sample, (tail, 100 - tail))
    return min(float(low), 0.0), max(float(high), 0.0)


def _entropy(sample: Array, seen: Seen) -> Bounds:
    """The range whose bytes say most of the distribution: least Kullback-Leibler divergence of what they make of it."""
    if seen.high - seen.low < SMALLEST:
        return seen.low, seen.high
    counts, edges = np.histogram(sample, BINS, (seen.low, seen.high))
    zero = int(np.searchsorted(edges, 0.0))
    best, bounds = np.inf, (seen.low, seen.high)
    for width in np.linspace(0.3, 1, 29):
        start, stop = round(zero * (1 - width)), round(zero + (BINS - zero) * width)
        found = _divergence(counts, start, max(stop, start + 1))
        if found < best:
            best, bounds = found, (min(float(edges[start]), 0.0), max(float(edges[max(stop, start + 1)]), 0.0))
    return bounds


def _divergence(counts: Array, start: int, stop: int) -> float:
    inside = counts[start:stop].astype(np.float64)
    held = inside.copy()
    held[0] += counts[:start].sum()
    held[-1] += counts[stop:].sum()
    levels = np.arange(len(inside)) * (HIGHEST + 1) // len(inside)
    filled = np.bincount(levels, inside > 0)
    even = np.bincount(levels, inside) / np.maximum(filled, 1)
    made = np.where(inside > 0, even[levels], 0)
    p, q = held / max(held.sum(), 1), made / max(made.sum(), 1)
    both = (p > 0) & (q > 0)
    lost = p[(p > 0) & (q == 0)].sum()
    return float((p[both] * np.log(p[both] / q[both])).sum() + 30 * lost)


CHOICES: dict[str, Callable[[Array, Seen], list[Bounds]]] = {
    "minmax": lambda _, seen: [(seen.low, seen.high)],
    "percentile": lambda sample, _: [_percentile(sample, share) for share in PERCENTILES],
    "entropy": lambda sample, seen: [_entropy(sample, seen)],
}


def chosen(seen: Seen, ranges: str, weight: Array | None = None) -> tuple[str, Scheme]:
    """The range that was asked for, or the one with the least error, and its name.

    weight: of the square error of each channel in what reads the value.
    """
    sample = seen.sample()
    best: tuple[float, str, Scheme] | None = None
    for name, candidates in CHOICES.items():
        if ranges not in ("auto", name):
            continue
        for bounds in candidates(sample, seen):
            scheme = scheme_for(bounds)
            error = error_of(sample, scheme, weight)
            if best is None or error < best[0] * (1 - GAIN_MIN):
                best = (error, name, scheme)
    assert best is not None
    return best[1], best[2]


def error_of(sample: Array, scheme: Scheme, weight: Array | None = None) -> float:
    """Mean square over the rows, summed over channels. weight: of each."""
    whole = np.clip(np.rint(sample / np.float32(scheme.scale)) + scheme.zero, scheme.low, scheme.high)
    off = (whole - scheme.zero) * np.float32(scheme.scale) - sample
    squares = (off.astype(np.float64) ** 2).mean(0)
    return float((squares if weight is None else squares * weight).sum())
