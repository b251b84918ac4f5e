"""What a node sees of its own requests: statistics for the page, events for who listens, metrics for Prometheus."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from littoral.node.collection_status import KnownStates
from littoral.node.node import Node
from littoral.node.readings import read_node
from littoral.node.request_log import RequestLog, RequestsTold
from littoral.node.request_statistics import RequestStatistics
from littoral.telemetry import Metrics, Reading, Trace, incoming_trace
from littoral.web import DROPS, RELAY_DROPS, Events, Relay, Seen, Server

__all__ = ["Observed", "Outcome"]


@dataclass
class Outcome:
    """Filled by who runs the pipeline; stays empty if it fails."""

    stages_ms: Mapping[str, float] = field(default_factory=dict)


class Observed:
    """One of a node. For one event loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.events = Events()
        self._states = KnownStates(node.collections)
        self.readings: list[Reading] = []
        self.sources: list[Callable[[], Iterable[Reading]]] = []
        """Further parts of the node that have numbers to tell at a scrape."""
        self.metrics = Metrics(lambda: self.readings)
        self._requests = RequestLog(node.requests_told, node.clock)
        self.statistics = defaultdict(RequestStatistics, {name: RequestStatistics() for name in node.pipelines})

    def served_by(self, server: Server, grpc: Relay | None = None) -> None:
        """Whose connections are told of, too. grpc: the port of that, where there is one."""
        self._tell_dropped("littoral_http_connections_dropped_total", DROPS, server.dropped)
        if grpc is not None:
            self._tell_dropped("littoral_grpc_connections_dropped_total", RELAY_DROPS, grpc.dropped)

    def _tell_dropped(self, name: str, reasons: Iterable[str], dropped: Mapping[str, int]) -> None:
        self.sources.append(lambda: [Reading(name, (reason,), dropped.get(reason, 0)) for reason in reasons])

    def traced(self, parent: str | None, state: str | None, request: str | None) -> Trace:
        """What comes in over another way than HTTP, recorded if its sender or the ratio says so."""
        trace = incoming_trace(parent, state, request)
        return trace if self._node.traces is None else self._node.traces.spans.incoming(trace)

    @contextlib.contextmanager
    def pipeline(self, name: str) -> Iterator[Outcome]:
        """Around one run of a pipeline that is there."""
        began = self._node.clock.monotonic()
        outcome = Outcome()
        try:
            yield outcome
        except BaseException:
            self._ran(name, began, outcome, is_ok=False)
            raise
        self._ran(name, began, outcome, is_ok=True)

    def tell_requests(self, told: RequestsTold) -> None:
        """Which requests have a line in the log from now on."""
        self._requests = RequestLog(told, self._node.clock)

    def answered(self, seen: Seen) -> None:
        """After each request of HTTP."""
        self.metrics.count("littoral_http_requests_total", _method(seen.method), seen.route, str(seen.status))
        self.metrics.observe("littoral_http_request_duration_seconds", seen.route, value=seen.seconds)
        self._requests.answered(seen)

    async def read(self, busy_count: int) -> bytes:
        """The text for a scraper."""
        self.readings = await read_node(self._node, self._states, self.events, busy_count)
        self.readings += [reading for source in self.sources for reading in source()]
        return self.metrics.text()

    def _ran(self, name: str, began: float, outcome: Outcome, *, is_ok: bool) -> None:
        total_ms = (self._node.clock.monotonic() - began) * 1000
        self.metrics.count("littoral_pipeline_requests_total", name)
        if is_ok:
            self.statistics[name].succeeded(total_ms, outcome.stages_ms)
            for stage, stage_ms in outcome.stages_ms.items():
                self.metrics.observe("littoral_pipeline_stage_duration_seconds", name, stage, value=stage_ms / 1000)
        else:
            self.statistics[name].failed()
            self.metrics.count("littoral_pipeline_failures_total", name)
        told = {"pipeline": name, "at": self._node.clock.wall(), "total_ms": total_ms}
        self.events.tell("request", told | {"stages": outcome.stages_ms, "ok": is_ok})


def _method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
