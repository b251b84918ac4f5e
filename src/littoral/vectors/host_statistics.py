"""What a shard host counts about itself; a node turns it into metrics."""

from bisect import bisect_left

from littoral.vectors.frames import BUCKETS_S, Request, Statistics, Upsert, Write

__all__ = ["HostStatistics"]


class HostStatistics:
    """Counters since the start."""

    def __init__(self, now: float) -> None:
        self.counted = Statistics()
        self._started = now

    def arrived(self, request: Request) -> None:
        kind = _kind(request)
        self.counted.request_count[kind] = self.counted.request_count.get(kind, 0) + 1

    def answered(self, request: Request, took_s: float) -> None:
        """took_s: from the last byte of the request to the answer."""
        kind = _kind(request)
        if (buckets := self.counted.service_count.get(kind)) is None:
            buckets = self.counted.service_count[kind] = [0] * (len(BUCKETS_S) + 1)
        buckets[bisect_left(BUCKETS_S, took_s)] += 1
        self.counted.service_s[kind] = self.counted.service_s.get(kind, 0.0) + took_s

    def written(self, request: Write) -> None:
        if isinstance(request, Upsert):
            self.counted.point_count += len(request.points.ids)

    def flushed(self, took_s: float, acknowledged_count: int) -> None:
        self.counted.flush_count += 1
        self.counted.flush_s += took_s
        self.counted.flush_acknowledged_max = max(self.counted.flush_acknowledged_max, acknowledged_count)

    def searched(self, query_count: int) -> None:
        self.counted.query_batch_max = max(self.counted.query_batch_max, query_count)

    def snapshot(self, now: float) -> Statistics:
        """The counters themselves: to be encoded before anything else happens."""
        self.counted.uptime_s = now - self._started
        return self.counted


def _kind(request: Request) -> str:
    return type(request).__name__.lower()
