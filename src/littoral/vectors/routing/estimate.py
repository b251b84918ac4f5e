"""How many of a shard's points lie within a distance of the query, from the moments of its balls.

The squared distance of a ball's points to q has the mean ‖q − c‖² + tr S and the variance
Var‖x − c‖² + 4 (q − c)ᵀS(q − c) (cf. Optimist, arXiv 2405.12207), where S is tr S / d in every direction: variances
by dimension were measured to tell no more, and take the room of as many balls again. It is taken as a scaled χ² with
these two, whose cube root is nearly normal (Wilson and Hilferty, 1931), so that nothing lies below 0. For Dot the
product itself is taken as normal.
"""

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.table import Sight, SummaryTable

__all__ = ["expected_within", "normal_share"]

TINY = 1e-30
NUMBERS_AT_ONCE = 1 << 17
"""So that they stay in the core's cache."""
NARROWEST = 1e-6
"""Of the numbers themselves: a deviation below it counts as this, so that float32 holds what is divided by it."""

Singles = npt.NDArray[np.float32]


def normal_share(deviations: Singles) -> Singles:
    """Φ, within 1.4e−4 (Bowling et al., 2009: a logistic of a cubic)."""
    clipped = np.clip(deviations, -8, 8)
    return np.asarray(1 / (1 + np.exp(-clipped * (1.5976 + 0.07056 * clipped * clipped))), np.float32)


def expected_within(table: SummaryTable, sight: Sight, radii: Floats) -> Floats:
    """float64[q, r, s]: expected points of each shard within each of the distances radii float64[q, r].

    None where the bound rules them out, and none of shards that nothing is known of.
    """
    step = max(1, NUMBERS_AT_ONCE // max(1, radii.shape[1] * len(table.counts)))
    parts = [slice(at, at + step) for at in range(0, len(radii), step)]
    found = [_expected(table, sight.rows(part), radii[part]) for part in parts]
    return np.concatenate(found) if found else np.zeros((*radii.shape, len(table.shards)))


def _expected(table: SummaryTable, sight: Sight, radii: Floats) -> Floats:
    if table.distance == "Dot":
        scores = _deviations(radii, sight.means, sight.deviations)
    else:
        means = np.maximum(sight.means, TINY)
        spread = (sight.deviations / means) ** 2 / 9
        # (X/m)^⅓ ~ Normal(1 − v/9m², v/9m²)
        middles, widths = (1 - spread) * np.cbrt(means), np.sqrt(spread) * np.cbrt(means)
        scores = _deviations(np.cbrt(np.maximum(radii, 0.0) ** 2), middles, widths)
    expected = table.by_shard(normal_share(scores) * table.counts.astype(np.float32))
    return np.where(sight.bounds[:, None] > radii[:, :, None], 0.0, expected)


def _deviations(radii: Floats, means: Floats, deviations: Floats) -> Singles:
    """float32[q, r, b], by which each radius lies above each mean: an estimate, for which float32 will do."""
    least = TINY + NARROWEST * (np.abs(means) + np.abs(radii).max(axis=1, keepdims=True))
    deviations = np.maximum(deviations, least)
    slopes = (1 / deviations).astype(np.float32)[:, None]
    return radii.astype(np.float32)[:, :, None] * slopes - (means / deviations).astype(np.float32)[:, None]
