"""How values are spread over fixed buckets: one series of a histogram."""

from bisect import bisect_left

__all__ = ["BUCKETS_S", "Spread"]

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Spread:
    """counts: of values up to each of `BUCKETS_S`, and of those beyond."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """In seconds."""
        self.counts[bisect_left(BUCKETS_S, value)] += 1
        self.sum += value
