"""What is known of one entry's answer at a similarity, from the few pairs that were judged."""

import math

__all__ = ["wilson_at_most"]


def wilson_at_most(wrong: int, count: int, z: float) -> float:
    """The one-sided upper bound of Wilson for a share, at the normal quantile z; 1 where nothing was counted."""
    if count == 0:
        return 1.0
    share, weight = wrong / count, z * z / count
    middle = share + weight / 2
    return min(1.0, (middle + z * math.sqrt(share * (1 - share) / count + weight / (4 * count))) / (1 + weight))
