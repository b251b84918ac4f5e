"""What one author may add in an hour: entries, observations, labels."""

from collections import OrderedDict

from littoral.clock import Clock

__all__ = ["HourlyLimit"]

HOUR_S = 3600.0
AUTHORS_MAX = 10_000


class HourlyLimit:
    """A bucket for each author of each tenant that fills up again in an hour. For one event loop.

    Of more than `authors_max` authors the one who took longest ago is forgotten; whoever is forgotten has at most a
    full bucket again, so the number of tokens in use bounds what all take together.
    """

    def __init__(self, per_hour: int, clock: Clock, authors_max: int = AUTHORS_MAX) -> None:
        self._per_hour = per_hour
        self._clock = clock
        self._authors_max = authors_max
        self._left: OrderedDict[tuple[str, bytes], tuple[float, float]] = OrderedDict()
        self.refused = 0

    @property
    def wait_s(self) -> float:
        """Until there is one more."""
        return HOUR_S / max(self._per_hour, 1)

    def take(self, tenant: str, author: bytes) -> bool:
        """Whether there was one left."""
        now_s = self._clock.monotonic()
        left, then_s = self._left.pop((tenant, author), (float(self._per_hour), now_s))
        left = min(left + (now_s - then_s) * self._per_hour / HOUR_S, float(self._per_hour))
        is_left = left >= 1
        self._left[tenant, author] = (left - is_left, now_s)
        if len(self._left) > self._authors_max:
            self._left.popitem(last=False)
        self.refused += not is_left
        return is_left
