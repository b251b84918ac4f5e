"""Which shards provably cannot change an answer, by the triangle inequality (Dot: by Cauchy and Schwarz).

A shard's points lie in balls. Where the query is farther from every ball than its k-th hit, all points of the shard are
farther; the hits are then the true ones among all points that the summary and the shards that answered stand for. What
float32 rounding in the store could decide is not certified. A filter only takes points away: it changes nothing here.
"""

import numpy as np
import numpy.typing as npt

from littoral.vectors.routing.distances import Floats, score_slack
from littoral.vectors.routing.table import Sight, SummaryTable

__all__ = ["can_improve"]


def can_improve(table: SummaryTable, sight: Sight, limits: Floats) -> npt.NDArray[np.bool_]:
    """bool[q, s]. limits: float64[q], the distance that a point must beat: the k-th hit's, or the threshold's where
    that is less; +inf where there are fewer hits.
    """
    bounds, products = sight.bounds, sight.lengths * table.longest
    at_most = limits + score_slack(limits, table.size, products, table.distance)
    at_least = bounds - score_slack(bounds, table.size, products[:, None], table.distance)
    # An empty shard's bound is +inf: it holds nothing, whatever the limit.
    return ~((at_least > at_most[:, None]) | np.isposinf(bounds))
