"""How many of a shard's points lie within a distance of the query, from the moments of its balls.

The squared distance of a ball's points to q has the mean ‖q − c‖² + tr S and the variance
Var‖x − c‖² + 4 (q − c)ᵀS(q − c) (cf. Optimist, arXiv 2405.12207). It is taken as a scaled χ² with these two, whose
cube root is nearly normal (Wilson and Hilferty, 1931), so that nothing lies below 0. For Dot the product itself is
taken as normal.
"""

import numpy as np

from littoral.vectors.routing.distances import Floats
from littoral.vectors.routing.table import Sight, SummaryTable

__all__ = ["expected_within", "normal_share"]

TINY = 1e-30


def normal_share(deviations: Floats) -> Floats:
    """Φ, within 1.4e−4 (Bowling et al., 2009: a logistic of a cubic)."""
    clipped = np.clip(deviations, -8.0, 8.0)
    shares: Floats = 1 / (1 + np.exp(-clipped * (1.5976 + 0.07056 * clipped * clipped)))
    return shares


def expected_within(table: SummaryTable, sight: Sight, radii: Floats) -> Floats:
    """float64[q, r, s]: expected points of each shard within each of the distances radii float64[q, r].

    None where the bound rules them out; all of an unknown shard's points are taken for possible, as no number.
    """
    means, deviations = sight.means[:, None], np.maximum(sight.deviations[:, None], TINY)
    reach = radii[:, :, None]
    if table.distance == "Dot":
        shares = normal_share((reach - means) / deviations)
    else:
        means = np.maximum(means, TINY)
        spread = (deviations / means) ** 2 / 9
        # (X/m)^⅓ ~ Normal(1 − v/9m², v/9m²)
        roots = np.cbrt(np.maximum(reach, 0.0) ** 2 / means)
        shares = normal_share((roots - (1 - spread)) / np.sqrt(np.maximum(spread, TINY)))
    expected = table.by_shard(shares * table.counts[None, None])
    return np.where(sight.bounds[:, None] > reach, 0.0, expected)
