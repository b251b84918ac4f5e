"""Lines of the log about requests: by their route, never by their path, which may hold what is nobody's business."""

import logging
from typing import Literal

from littoral.clock import Clock
from littoral.telemetry import Limit
from littoral.web import Seen

__all__ = ["RequestLog", "RequestsTold"]

PER_S = 10.0

RequestsTold = Literal["none", "failed", "all"]

_log = logging.getLogger("littoral.requests")


class RequestLog:
    """told: which have a line. What is over the rate costs no more than to see that."""

    def __init__(self, told: RequestsTold, clock: Clock, *, per_s: float = PER_S) -> None:
        self._from_status = {"none": 1000, "failed": 500, "all": 0}[told]
        self._limit = Limit(per_s, clock)

    def answered(self, seen: Seen) -> None:
        """After each request."""
        if seen.status < self._from_status:
            return
        level = logging.WARNING if seen.status >= 500 else logging.INFO
        if (suppressed := self._limit.take((seen.route, level))) is None:
            return
        method, ms = seen.method[:20], seen.seconds * 1000
        _log.log(level, "%s %s: %d in %.1f ms", method, seen.route, seen.status, ms, extra={"suppressed": suppressed})
