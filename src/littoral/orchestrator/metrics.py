"""What an orchestrator tells a scraper: of itself, and of its nodes what they reported, each with its name."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from littoral.audit.witness import Witness
from littoral.orchestrator.acts import Acts
from littoral.orchestrator.conductor import Conductor
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.inference import Inference
from littoral.orchestrator.mqtt_signal import MqttSignal
from littoral.orchestrator.node_api import NodeSide
from littoral.orchestrator.pacing import FLEET, Pacer
from littoral.steps.tally import OUTCOMES
from littoral.tables.tracing import Traces
from littoral.telemetry import TEXT_TYPE, Metrics, MetricSpec, Reading
from littoral.telemetry.metric_spec import OF_TRACES
from littoral.updates.wire import STATES
from littoral.web import Answer, Protocol, Request, Route, Seen

__all__ = ["FLEET_METRICS", "Observed", "federated", "metrics_protocol"]

_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}\n]*)\})?")

FLEET_METRICS = {
    spec.name: spec
    for spec in (
        *OF_TRACES,
        MetricSpec(
            "littoral_fleet_http_requests_total",
            "counter",
            ("method", "route", "status"),
            "Requests answered",
        ),
        MetricSpec(
            "littoral_fleet_http_request_duration_seconds", "histogram", ("route",), "From a request to its answer"
        ),
        MetricSpec("littoral_fleet_nodes", "gauge", ("state",), "Nodes by the state of their newest deployment"),
        MetricSpec("littoral_fleet_nodes_online", "gauge", (), "Nodes that were heard of lately"),
        MetricSpec("littoral_fleet_nodes_untold", "gauge", (), "Nodes that could not be told what they are to run"),
        MetricSpec("littoral_fleet_checkins_total", "read_counter", (), "Check-ins of nodes"),
        MetricSpec("littoral_fleet_signals_waiting", "gauge", (), "Nodes that wait for a signal"),
        MetricSpec(
            "littoral_fleet_refused_total",
            "read_counter",
            ("reason",),
            "Requests of nodes refused: `token`, `guessing`, `signals`",
        ),
        MetricSpec("littoral_fleet_rollouts", "gauge", ("state",), "Rollouts"),
        MetricSpec("littoral_fleet_artifacts", "gauge", ("state",), "Artifacts"),
        MetricSpec("littoral_fleet_reports_dropped_total", "read_counter", ("bound",), "Reports that nodes threw away"),
        MetricSpec("littoral_fleet_downloads", "gauge", (), "Downloads of nodes under way"),
        MetricSpec("littoral_fleet_download_bytes_total", "read_counter", (), "Bytes of artifacts sent to nodes"),
        MetricSpec("littoral_fleet_metadata_bytes_total", "read_counter", (), "Bytes of metadata sent to nodes"),
        MetricSpec(
            "littoral_fleet_metadata_refused_total",
            "read_counter",
            (),
            "Answers of metadata that too many others were under way for",
        ),
        MetricSpec(
            "littoral_fleet_download_wait_seconds_total",
            "read_counter",
            (),
            "Time that downloads and metadata waited",
        ),
        MetricSpec(
            "littoral_fleet_downloads_refused_total", "read_counter", (), "Downloads that too many others were open for"
        ),
        MetricSpec(
            "littoral_fleet_download_bytes_per_second_max",
            "gauge",
            (),
            "Cap over all nodes, where there is one",
        ),
        MetricSpec("littoral_fleet_write_failures_total", "read_counter", (), "Batches of check-ins not written"),
        MetricSpec("littoral_fleet_failures_total", "read_counter", (), "Turns of rollouts that were tried again"),
        MetricSpec("littoral_fleet_audit_entries", "gauge", (), "Entries of the audit log"),
        MetricSpec("littoral_fleet_mqtt_connected", "gauge", (), "1 while the broker of signals is there"),
        MetricSpec("littoral_fleet_mqtt_signals_total", "read_counter", (), "Signals that the broker took"),
        MetricSpec("littoral_fleet_mqtt_signals_waiting", "gauge", (), "Nodes whose signal the broker has not taken"),
        MetricSpec("littoral_fleet_cosigned_total", "read_counter", (), "Checkpoints of nodes cosigned"),
        MetricSpec(
            "littoral_fleet_cosigning_refused_total", "read_counter", ("reason",), "Checkpoints of nodes not cosigned"
        ),
        MetricSpec("littoral_fleet_events_dropped_total", "read_counter", (), "Events that a slow listener lost"),
        MetricSpec(
            "littoral_fleet_steps_total",
            "read_counter",
            ("outcome",),
            "Steps that nodes of sites asked for: `answered`; refused as `large`, `often`, `busy`, `unknown`, `wrong`, "
            "`denied`; `failed`; `left` by who asked",
        ),
        MetricSpec(
            "littoral_fleet_steps_bytes_total",
            "read_counter",
            ("direction",),
            "Of their frames: `received`, `sent`",
        ),
        MetricSpec("littoral_fleet_steps_duration_seconds", "read_histogram", (), "Of those that were answered"),
        MetricSpec("littoral_fleet_steps_busy", "gauge", (), "Steps under way"),
        MetricSpec("littoral_fleet_inference_up", "gauge", ("node",), "1 for a node of the data centre that answers"),
        MetricSpec(
            "littoral_fleet_inference_steps_total",
            "read_counter",
            ("node", "outcome"),
            "Steps sent to nodes of the data centre, outcomes as above",
        ),
        MetricSpec(
            "littoral_fleet_inference_bytes_total",
            "read_counter",
            ("node", "direction"),
            "Of frames, `sent` to nodes of the data centre and `received` from them",
        ),
        MetricSpec("littoral_fleet_steps_busy_max", "gauge", (), "Steps that may be under way"),
        MetricSpec(
            "littoral_fleet_inference_file_wrong",
            "gauge",
            (),
            "1 while the file cannot be followed; what it said before counts",
        ),
    )
}


class Observed:
    """Of one orchestrator."""

    def __init__(
        self,
        fleet: Fleet,
        side: NodeSide,
        conductor: Conductor,
        acts: Acts,
        witness: Witness,
        pacer: Pacer,
        mqtt: MqttSignal | None = None,
        inference: Inference | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._fleet = fleet
        self._side = side
        self._conductor = conductor
        self._acts = acts
        self._witness = witness
        self._pacer = pacer
        self._mqtt = mqtt
        self._inference = inference
        self._traces = traces
        self.metrics = Metrics(self._readings, FLEET_METRICS)

    def answered(self, seen: Seen) -> None:
        """After each request of HTTP."""
        self.metrics.count("littoral_fleet_http_requests_total", seen.method[:8], seen.route, str(seen.status))
        self.metrics.observe("littoral_fleet_http_request_duration_seconds", seen.route, value=seen.seconds)

    def _readings(self) -> Iterator[Reading]:
        fleet, side = self._fleet, self._side
        states = Counter(found.state if (found := fleet.checkin_of(name)) else "idle" for name in fleet.nodes)
        yield from (Reading("littoral_fleet_nodes", (state,), states[state]) for state in STATES)
        yield Reading("littoral_fleet_nodes_online", (), sum(fleet.is_online(name) for name in fleet.nodes))
        yield Reading("littoral_fleet_nodes_untold", (), len(self._conductor.untold))
        yield Reading("littoral_fleet_checkins_total", (), fleet.checkin_count)
        yield Reading("littoral_fleet_signals_waiting", (), side.waiting_count)
        for reason in ("token", "guessing", "signals"):
            yield Reading("littoral_fleet_refused_total", (reason,), side.refused[reason])
        for name, rows in (("rollouts", fleet.rollouts), ("artifacts", fleet.artifacts)):
            counts = Counter(row.state for row in rows.values())
            yield from (Reading(f"littoral_fleet_{name}", (state,), count) for state, count in counts.items())
        dropped: Counter[str] = Counter()
        for report in fleet.reports.values():
            dropped.update(report.dropped)
        yield from (Reading("littoral_fleet_reports_dropped_total", (bound,), n) for bound, n in dropped.items())
        traffic = self._pacer.traffic(FLEET)
        yield Reading("littoral_fleet_downloads", (), traffic.downloads)
        yield Reading("littoral_fleet_download_bytes_total", (), traffic.sent_bytes)
        yield Reading("littoral_fleet_metadata_bytes_total", (), traffic.metadata_bytes)
        yield Reading("littoral_fleet_metadata_refused_total", (), self._pacer.refused_metadata)
        yield Reading("littoral_fleet_download_wait_seconds_total", (), traffic.waited_s)
        yield Reading("littoral_fleet_downloads_refused_total", (), self._pacer.refused)
        if traffic.bytes_per_s_max is not None:
            yield Reading("littoral_fleet_download_bytes_per_second_max", (), traffic.bytes_per_s_max)
        yield Reading("littoral_fleet_write_failures_total", (), fleet.write_failures)
        yield Reading("littoral_fleet_failures_total", (), self._conductor.failures)
        yield Reading("littoral_fleet_audit_entries", (), self._acts.recorder.size)
        if self._mqtt is not None:
            yield Reading("littoral_fleet_mqtt_connected", (), self._mqtt.is_open)
            yield Reading("littoral_fleet_mqtt_signals_total", (), self._mqtt.sent)
            yield Reading("littoral_fleet_mqtt_signals_waiting", (), self._mqtt.waiting_count)
        yield Reading("littoral_fleet_cosigned_total", (), self._witness.signed)
        for reason, count in self._witness.refused.items():
            yield Reading("littoral_fleet_cosigning_refused_total", (reason,), count)
        yield Reading("littoral_fleet_events_dropped_total", (), fleet.events.dropped_count)
        if self._inference is not None:
            yield from _of_inference(self._inference)
        if self._traces is not None:
            yield from self._traces.exporter.readings()


def _of_inference(found: Inference) -> Iterator[Reading]:
    for outcome in OUTCOMES:
        yield Reading("littoral_fleet_steps_total", (outcome,), found.tally.outcomes[outcome])
    for direction in ("received", "sent"):
        yield Reading("littoral_fleet_steps_bytes_total", (direction,), found.tally.bytes[direction])
    yield Reading("littoral_fleet_steps_duration_seconds", (), found.tally.spread)
    yield Reading("littoral_fleet_steps_busy", (), found.tally.busy)
    for name, worker in found.workers.items():
        yield Reading("littoral_fleet_inference_up", (name,), worker.answers)
        for outcome, count in worker.tally.outcomes.items():
            yield Reading("littoral_fleet_inference_steps_total", (name, outcome), count)
        for direction in ("sent", "received"):
            yield Reading("littoral_fleet_inference_bytes_total", (name, direction), worker.tally.bytes[direction])
    yield Reading("littoral_fleet_steps_busy_max", (), found.step_count_max)
    yield Reading("littoral_fleet_inference_file_wrong", (), bool(found.problem))


def metrics_protocol(fleet: Fleet, metrics: Callable[[], bytes]) -> Protocol:
    async def own(_: Request) -> Answer:
        return Answer(metrics(), media_type=TEXT_TYPE)

    async def federate(request: Request) -> Answer:
        group = request.query.get("group")
        names = fleet.nodes if group is None else [node.name for node in fleet.nodes_in(fleet.group(group).name)]
        return Answer("".join(federated(fleet, names)).encode(), media_type=TEXT_TYPE)

    routes = (Route("GET", "/metrics", own), Route("GET", "/federate", federate))
    return Protocol((), routes)


def federated(fleet: Fleet, names: Iterable[str]) -> Iterator[str]:
    """Lines of Prometheus' text format: numbers of the nodes' last reports, with `node`, `group` and when they were
    taken; of one metric together. What is no name of a metric is left out.
    """
    lines: dict[str, list[str]] = {}
    for name in names:
        report = fleet.reports.get(name)
        if report is None or name not in fleet.nodes:
            continue
        group = fleet.group_of(fleet.nodes[name])
        own = f'node="{name}",group="{group.name if group else ""}"'
        for series, value in report.metrics.items():
            if (found := _SERIES.fullmatch(series)) is not None:
                labels = f"{own},{found[2]}" if found[2] else own
                line = f"{found[1]}{{{labels}}} {value!r} {int(report.at_s * 1000)}\n"
                lines.setdefault(found[1], []).append(line)
    for metric, found_lines in sorted(lines.items()):
        yield f"# TYPE {metric} untyped\n"
        yield from found_lines
