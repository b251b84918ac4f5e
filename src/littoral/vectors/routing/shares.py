"""Where the true top k of a query lies: how much of it has been found, and how much each other shard is likely to hold.

Final distance ρ: where the hits so far and the points that the other shards are expected to have within ρ add up to k.
What lies within it is the expected answer; the shards' parts of it are their shares.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.certificate import can_improve
from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.estimate import expected_within
from littoral.vectors.routing.likelihood import ShareModel, features
from littoral.vectors.routing.table import Sight, SummaryTable

__all__ = ["Outlook", "outlook"]

BELOW, AMONG, BEYOND = 8, 10, 8
"""Distances that are tried: below the nearest hit, among the hits, and beyond the last where there are fewer than k."""


class Outlook(NamedTuple):
    """is_open: bool[q, s], the shard has not answered and may hold what is missing. shares: float64[q, s], of the true
    top k, 0 where a shard is not open. found: float64[q], the share that has been found, 1 where none is open.
    """

    is_open: npt.NDArray[np.bool_]
    shares: Floats
    found: Floats

    def row(self, at: int) -> "Outlook":
        """Of one query."""
        return Outlook(self.is_open[at : at + 1], self.shares[at : at + 1], self.found[at : at + 1])


def outlook(
    table: SummaryTable,
    sight: Sight,
    has_answered: npt.NDArray[np.bool_],
    hits: Floats,
    *,
    limits: Floats,
    selectivity: float = 1.0,
    model: ShareModel | None = None,
) -> Outlook:
    """has_answered: bool[q, s]. hits: float64[q, k], distances found so far, ascending, +inf where there are fewer.

    limits: float64[q], of a threshold, else +inf. selectivity: the share of points that a filter lets through.
    model: in the place of the moments' shares; not for Dot.
    """
    is_open = can_improve(table, sight, np.minimum(hits[:, -1], limits)) & ~has_answered
    radii = _radii(table, sight, is_open, hits, limits)
    expected = expected_within(table, sight, radii) * selectivity * is_open[:, None]
    inside, parts = _at_k(hits, radii, expected)
    total = inside + parts.sum(axis=1)
    some = np.maximum(total, 1e-9)
    is_unknown = is_open & ~table.is_known
    shares = np.where(is_unknown, 1.0, parts / some[:, None])
    found = np.where(total > 0, inside / some, 0.0)
    if model is not None and table.distance != "Dot":
        told = features(sight.nearest, sight.bounds, has_answered, hits, shares, found)
        shares = np.where(is_open & table.is_known, model.shares(told), shares)
        found = np.maximum(1 - shares.sum(axis=1), 0.0)
    found = np.where(is_unknown.any(axis=1), 0.0, found)
    return Outlook(is_open, shares, np.where(is_open.any(axis=1), found, 1.0))


def _radii(table: SummaryTable, sight: Sight, is_open: npt.NDArray[np.bool_], hits: Floats, limits: Floats) -> Floats:
    """float64[q, r], ascending."""
    k = hits.shape[1]
    bounds = np.where(is_open & np.isfinite(sight.bounds), sight.bounds, np.inf).min(axis=1)
    tops = sight.means + 3 * sight.deviations
    tops = tops if table.distance == "Dot" else np.sqrt(tops)
    farthest = np.minimum(tops.max(axis=1, initial=0.0), limits)
    least = np.where(np.isfinite(bounds), np.minimum(bounds, farthest), 0.0)
    first = np.where(np.isfinite(hits[:, 0]), hits[:, 0], farthest)
    below = _steps(np.minimum(least, first), first, BELOW)
    rows = np.unique(np.linspace(0, k - 1, min(k, AMONG)).round().astype(int))
    last = np.where(np.isfinite(hits), hits, -np.inf).max(axis=1)
    last = np.where(np.isfinite(last), last, first)
    end = np.where(np.isfinite(hits[:, -1]), last, np.maximum(last, farthest))
    among = np.where(np.isfinite(hits[:, rows]), hits[:, rows], last[:, None])
    parts = [below, among] if np.isfinite(hits[:, -1]).all() else [below, among, _steps(last, end, BEYOND)]
    return np.concatenate(parts, axis=1)


def _steps(low: Floats, high: Floats, count: int) -> Floats:
    parts = np.arange(1, count + 1) / count
    return low[:, None] + (high - low)[:, None] * parts[None]


def _at_k(hits: Floats, radii: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Hits and expected points of each shard within ρ: float64[q] and float64[q, s]."""
    k, rows = hits.shape[1], np.arange(len(hits))
    inside = (hits[:, None, :] <= radii[:, :, None]).sum(axis=2).astype(np.float64)
    totals = inside + expected.sum(axis=2)
    is_enough = totals >= k
    at = np.where(is_enough.any(axis=1), is_enough.argmax(axis=1), radii.shape[1] - 1)
    before = np.maximum(at - 1, 0)
    low, high = totals[rows, before], totals[rows, at]
    part = np.clip(np.where(high > low, (k - low) / np.maximum(high - low, 1e-12), 1.0), 0.0, 1.0)
    found = inside[rows, before] + part * (inside[rows, at] - inside[rows, before])
    parts = expected[rows, before] + part[:, None] * (expected[rows, at] - expected[rows, before])
    return found, parts
