"""What a node tells in numbers: a table of metrics, what counts them, and the text that a scraper reads.

Label values come from what the node was configured with (routes, pipelines, steps, models, agents, collections), never
from a request; a series beyond `SERIES_COUNT_MAX` of one metric is counted under `other`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from littoral.telemetry.exposition import Exposition
from littoral.telemetry.gateway_metrics import OF_GATEWAY
from littoral.telemetry.metric_spec import OF_AUDIT, OF_FALLBACK, OF_ITSELF, OF_UPDATES, MetricSpec
from littoral.telemetry.spread import Spread

__all__ = ["METRICS", "TEXT_TYPE", "MetricSpec", "Metrics", "Reading"]

SERIES_COUNT_MAX = 512
OTHER = "other"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS = {
    spec.name: spec
    for spec in (
        MetricSpec(
            "littoral_http_requests_total",
            "counter",
            ("method", "route", "status"),
            "Requests answered",
        ),
        MetricSpec(
            "littoral_http_request_duration_seconds",
            "histogram",
            ("route",),
            "From a request's headers to its answer",
        ),
        MetricSpec("littoral_http_requests_busy", "gauge", (), "Requests being answered"),
        MetricSpec(
            "littoral_http_connections_dropped_total",
            "read_counter",
            ("reason",),
            "Connections that were ended for want of room, or did not finish their TLS handshake",
        ),
        MetricSpec(
            "littoral_grpc_connections_dropped_total",
            "read_counter",
            ("reason",),
            "Of gRPC: those ended for want of room, said nothing, or did not finish their TLS handshake",
        ),
        MetricSpec("littoral_pipeline_requests_total", "counter", ("pipeline",), "Requests to a pipeline"),
        MetricSpec("littoral_pipeline_failures_total", "counter", ("pipeline",), "Of these, those that failed"),
        MetricSpec(
            "littoral_pipeline_stage_duration_seconds",
            "histogram",
            ("pipeline", "stage"),
            "Time of one step, waiting for an instance included",
        ),
        MetricSpec(
            "littoral_model_version", "gauge", ("model",), "The version that serves, 0 while the model is unloaded"
        ),
        MetricSpec(
            "littoral_model_requests_total",
            "read_counter",
            ("model",),
            "Requests to a model by the Open Inference Protocol",
        ),
        MetricSpec("littoral_model_failures_total", "read_counter", ("model",), "Of these, those that failed"),
        MetricSpec(
            "littoral_model_queue_seconds_total",
            "read_counter",
            ("model",),
            "Time that those that succeeded waited for an instance",
        ),
        MetricSpec(
            "littoral_model_compute_seconds_total", "read_counter", ("model",), "Time that the model ran for them"
        ),
        MetricSpec("littoral_model_sequences", "gauge", ("model",), "Sequences that are open"),
        MetricSpec(
            "littoral_model_sequences_expired_total",
            "read_counter",
            ("model",),
            "Sequences that were forgotten after their pause",
        ),
        MetricSpec("littoral_model_swaps_total", "read_counter", ("model",), "Times that another version took over"),
        MetricSpec("littoral_model_refused_total", "read_counter", ("model",), "New versions that were refused"),
        MetricSpec("littoral_pool_instances", "gauge", ("kind", "name"), "Instances that are there"),
        MetricSpec("littoral_pool_busy", "gauge", ("kind", "name"), "Instances at work"),
        MetricSpec("littoral_pool_waiting", "gauge", ("kind", "name"), "Calls that wait for an instance"),
        MetricSpec("littoral_pool_runs_total", "read_counter", ("kind", "name"), "Calls that gave an answer"),
        MetricSpec("littoral_pool_failures_total", "read_counter", ("kind", "name"), "Calls that failed"),
        MetricSpec(
            "littoral_pool_refused_total", "read_counter", ("kind", "name"), "Calls refused because too many wait"
        ),
        MetricSpec("littoral_pool_timed_out_total", "read_counter", ("kind", "name"), "Calls that waited for too long"),
        MetricSpec(
            "littoral_pool_work_seconds_total",
            "read_counter",
            ("kind", "name"),
            "Time of calls that gave an answer",
        ),
        MetricSpec(
            "littoral_pool_wait_seconds_total", "read_counter", ("kind", "name"), "Time that calls waited to be served"
        ),
        MetricSpec("littoral_pool_quarantined", "gauge", ("kind", "name"), "1 while it is in quarantine, else 0"),
        MetricSpec("littoral_pool_quarantines_total", "read_counter", ("kind", "name"), "Times it went there"),
        MetricSpec("littoral_instances_memory_bytes", "gauge", (), "Memory set aside for models and agents"),
        MetricSpec("littoral_batch_runs_total", "read_counter", ("model",), "Runs of requests that met"),
        MetricSpec("littoral_batch_requests_total", "read_counter", ("model",), "Requests that shared a run"),
        MetricSpec("littoral_batch_size_max", "gauge", ("model",), "Most requests in one run so far"),
        MetricSpec("littoral_batch_waiting", "gauge", ("model",), "Requests that wait for a run"),
        MetricSpec(
            "littoral_batch_gap_seconds", "gauge", ("model",), "Mean distance of requests that meet, 0 if none does"
        ),
        MetricSpec("littoral_batch_refused_total", "read_counter", ("model",), "Requests refused: too many wait"),
        MetricSpec("littoral_pipeline_busy", "gauge", ("pipeline",), "Requests being answered"),
        MetricSpec("littoral_pipeline_limit", "gauge", ("pipeline",), "Most requests at a time, as it is now"),
        MetricSpec("littoral_pipeline_refused_total", "read_counter", ("pipeline",), "Requests beyond that"),
        MetricSpec("littoral_collection_points", "gauge", ("collection",), "Points of a collection that answers"),
        MetricSpec("littoral_collection_answers", "gauge", ("collection",), "1 if the collection answers, else 0"),
        MetricSpec(
            "littoral_cache_hits_total",
            "read_counter",
            ("cache",),
            "Answers from a cache: `embedding`, `exact` (the same search), `near` (a search with proof)",
        ),
        MetricSpec(
            "littoral_cache_misses_total",
            "read_counter",
            ("cache",),
            "Times that it had none; `near`: that no list proved an answer",
        ),
        MetricSpec("littoral_cache_evictions_total", "read_counter", ("cache",), "Entries that left for want of room"),
        MetricSpec("littoral_cache_entries", "gauge", ("cache",), "Entries that are there"),
        MetricSpec("littoral_cache_bytes", "gauge", ("cache",), "Their bytes"),
        MetricSpec(
            "littoral_cache_near_share",
            "gauge",
            (),
            "Of the searches that lists were tried for, the share they answered",
        ),
        MetricSpec("littoral_cache_fills_total", "read_counter", (), "Lists made for near searches"),
        MetricSpec(
            "littoral_cache_fills_dropped_total", "read_counter", (), "Lists not made: too many waited, or failed"
        ),
        MetricSpec(
            "littoral_migration_points", "gauge", ("collection",), "Points of a collection on its way to another model"
        ),
        MetricSpec(
            "littoral_migration_points_done", "gauge", ("collection",), "Of them, compared with the other generation"
        ),
        MetricSpec(
            "littoral_migration_points_behind",
            "gauge",
            ("collection",),
            "Points written that the other has not yet",
        ),
        MetricSpec("littoral_migration_points_refused", "gauge", ("collection",), "Points that cannot be embedded"),
        MetricSpec("littoral_migration_flipped", "gauge", ("collection",), "1 while the one before is kept"),
        MetricSpec("littoral_events_listeners", "gauge", (), "Listeners of `/api/events`"),
        MetricSpec("littoral_events_dropped_total", "read_counter", (), "Events that a slow listener lost"),
        MetricSpec("littoral_builds_total", "read_counter", ("outcome",), "Models made here: made, failed, cancelled"),
        MetricSpec(
            "littoral_agent_log_lines_dropped_total", "read_counter", ("agent",), "Log lines of an agent over its rate"
        ),
        MetricSpec("littoral_mqtt_connected", "gauge", ("route",), "1 while a route or `publisher` is connected"),
        MetricSpec("littoral_mqtt_connections_total", "read_counter", ("route",), "Connections that were opened"),
        MetricSpec("littoral_mqtt_connection_failures_total", "read_counter", ("route",), "Attempts that opened none"),
        MetricSpec("littoral_mqtt_messages_total", "read_counter", ("route",), "Messages that came"),
        MetricSpec(
            "littoral_mqtt_answered_total", "read_counter", ("route",), "Messages whose answer is published, or durable"
        ),
        MetricSpec(
            "littoral_mqtt_dropped_total", "read_counter", ("route", "reason"), "Messages without an answer, and why"
        ),
        MetricSpec(
            "littoral_mqtt_again_total", "read_counter", ("route",), "Messages that came again and were done already"
        ),
        MetricSpec("littoral_mqtt_retries_total", "read_counter", ("route",), "Runs repeated after a failure"),
        MetricSpec("littoral_mqtt_waiting", "gauge", ("route",), "Messages that wait"),
        MetricSpec("littoral_mqtt_waiting_bytes", "gauge", ("route",), "Bytes of these"),
        MetricSpec("littoral_mqtt_oldest_seconds", "gauge", ("route",), "For how long the oldest waits"),
        MetricSpec("littoral_mqtt_busy", "gauge", ("route",), "Messages that are being worked on"),
        MetricSpec("littoral_mesh_members", "gauge", (), "Nodes of the site, this one among them"),
        MetricSpec("littoral_mesh_members_here", "gauge", (), "Of these, those that are reached"),
        MetricSpec("littoral_mesh_map_number", "gauge", (), "Number of the shard map that the node goes by"),
        MetricSpec("littoral_mesh_moving_left", "gauge", ("collection",), "Points of this node to be handed over"),
        MetricSpec("littoral_mesh_moved_points_total", "read_counter", (), "Points handed over to other shards"),
        MetricSpec("littoral_mesh_homed_points_total", "read_counter", (), "Points brought where their vector says"),
        MetricSpec("littoral_mesh_moved_bytes_total", "read_counter", (), "Bytes of these"),
        MetricSpec("littoral_mesh_link_seconds", "gauge", ("peer",), "Median time of the latest answers of a peer"),
        MetricSpec("littoral_mesh_members_by_state", "gauge", ("state",), "Nodes that are here, frozen, missing, left"),
        MetricSpec("littoral_mesh_shards_short", "gauge", (), "Shards with fewer replicas here than they should have"),
        MetricSpec("littoral_mesh_shards_lost", "gauge", (), "Of these, those with none"),
        MetricSpec("littoral_mesh_problems", "gauge", ("weight",), "What this node finds wrong with the site"),
        MetricSpec("littoral_mesh_link_up", "gauge", ("peer",), "1 if a peer is here and answered when asked last"),
        MetricSpec("littoral_mesh_round_trip_seconds", "gauge", ("peer",), "Median of the latest empty requests"),
        MetricSpec(
            "littoral_mesh_link_sent_bytes_total", "read_counter", ("peer",), "Of requests and answers to a peer"
        ),
        MetricSpec(
            "littoral_mesh_link_received_bytes_total", "read_counter", ("peer",), "Of requests and answers from a peer"
        ),
        MetricSpec("littoral_mesh_link_failures_total", "read_counter", ("peer",), "Requests without an answer"),
        MetricSpec("littoral_replica_lag_entries", "gauge", ("shard", "peer"), "Writes that a peer's replica lacks"),
        MetricSpec(
            "littoral_replica_lag_seconds",
            "gauge",
            ("shard", "peer"),
            "Since a peer's replica lacked nothing; 0 if so now",
        ),
        MetricSpec(
            "littoral_replica_repaired_total",
            "read_counter",
            ("shard", "peer"),
            "Points taken over from a peer because digests differed",
        ),
        MetricSpec(
            "littoral_replica_snapshot_bytes_total",
            "read_counter",
            ("shard",),
            "Fetched of peers' snapshots, for replicas that lacked nearly everything",
        ),
        MetricSpec("littoral_replica_log_bytes", "gauge", ("shard",), "Log kept for replicas that lack some of it"),
        MetricSpec(
            "littoral_replica_refused_total",
            "read_counter",
            ("shard",),
            "Changes of the log that the shard did not take",
        ),
        MetricSpec("littoral_federated_reads_total", "read_counter", (), "Reads of collections that are spread"),
        MetricSpec("littoral_federated_writes_total", "read_counter", (), "Writes to them"),
        MetricSpec("littoral_federated_asks_total", "read_counter", (), "Requests to other nodes for these"),
        MetricSpec(
            "littoral_federated_searches_total", "read_counter", ("worth",), "Searches, by what they say of themselves"
        ),
        MetricSpec("littoral_federated_audited_total", "read_counter", (), "Searches asked of every shard, to learn"),
        MetricSpec("littoral_federated_alarms_total", "read_counter", (), "Calibrations that were given up"),
        MetricSpec("littoral_federated_failures_total", "read_counter", ("peer",), "Of these, those without an answer"),
        MetricSpec(
            "littoral_federated_again_total", "read_counter", (), "Another replica asked beside one that was slow"
        ),
        MetricSpec(
            "littoral_federated_incomplete_total", "read_counter", (), "Reads and writes that a shard was missing from"
        ),
        MetricSpec(
            "littoral_federated_behind_total",
            "read_counter",
            (),
            "Holders that a write has not reached yet",
        ),
        MetricSpec("littoral_federated_refused_total", "read_counter", (), "Requests of strangers or of another model"),
        MetricSpec("littoral_placed_steps_total", "read_counter", ("node",), "Steps that may move, by who did them"),
        MetricSpec("littoral_placed_failures_total", "read_counter", ("node",), "Times that a node did not do a step"),
        MetricSpec(
            "littoral_placed_again_total", "read_counter", (), "Steps asked of a further node: one failed, or was slow"
        ),
        MetricSpec("littoral_placed_tries_total", "read_counter", (), "Steps that a second node did too, to learn"),
        MetricSpec("littoral_placed_spilled_total", "read_counter", (), "Steps that the orchestrator's node did"),
        MetricSpec("littoral_placed_served_total", "read_counter", ("node",), "Steps done here for other nodes"),
        MetricSpec(
            "littoral_placed_refused_total", "read_counter", ("reason",), "Steps of other nodes not done, and why"
        ),
        MetricSpec("littoral_placed_busy", "gauge", (), "Steps of other nodes under way here"),
        MetricSpec("littoral_placed_watts", "gauge", (), "What the node draws, counted or estimated"),
        *OF_FALLBACK,
        MetricSpec("littoral_streams_open", "gauge", (), "Streams that are there"),
        MetricSpec("littoral_streams_frames_total", "read_counter", (), "Frames that came over streams"),
        MetricSpec("littoral_streams_failures_total", "read_counter", (), "Of these, those that failed"),
        MetricSpec("littoral_streams_refused_total", "read_counter", (), "Streams refused because there were too many"),
        MetricSpec(
            "littoral_mesh_nodes_alive",
            "gauge",
            (),
            "Nodes of the site that are here as far as this one knows, itself included",
        ),
        MetricSpec("littoral_mesh_asked_total", "read_counter", (), "Requests to other nodes"),
        MetricSpec(
            "littoral_mesh_unanswered_total",
            "read_counter",
            (),
            "Of these, those without an answer: the peer away, denied, too slow",
        ),
        MetricSpec("littoral_mesh_served_total", "read_counter", (), "Requests of other nodes that were answered"),
        MetricSpec("littoral_mesh_failed_total", "read_counter", (), "Requests of other nodes that failed"),
        MetricSpec(
            "littoral_mesh_refused_total",
            "read_counter",
            ("reason",),
            "Requests and connections of other nodes that were refused, and why",
        ),
        MetricSpec(
            "littoral_access_refused_total",
            "read_counter",
            ("reason",),
            "Requests that were refused for want of a token, and why",
        ),
        MetricSpec("littoral_mesh_busy", "gauge", (), "Requests of other nodes that are being answered"),
        MetricSpec("littoral_mesh_busy_bytes", "gauge", (), "Bytes of these"),
        MetricSpec(
            "littoral_mesh_relinked_total",
            "read_counter",
            (),
            "Times all links were made anew: one was whole at one end only",
        ),
        MetricSpec("littoral_mesh_published_total", "read_counter", (), "Messages to other nodes"),
        MetricSpec("littoral_mesh_received_total", "read_counter", (), "Messages of other nodes"),
        MetricSpec(
            "littoral_mesh_dropped_total",
            "read_counter",
            ("reason",),
            "Messages of other nodes that were dropped, and why",
        ),
        MetricSpec(
            "littoral_mesh_lost_total",
            "read_counter",
            ("what",),
            "Requests, and answers, that were lost with a link that was replaced, and sent again",
        ),
        MetricSpec(
            "littoral_mesh_rounds_failed_total",
            "read_counter",
            ("loop",),
            "Rounds of what goes on all the time that failed, and were tried again",
        ),
        MetricSpec("littoral_node_ready", "gauge", (), "1 while the node is ready, else 0"),
        MetricSpec("littoral_node_uptime_seconds", "gauge", (), "Since the node was opened"),
        *OF_ITSELF,
        *OF_AUDIT,
        *OF_UPDATES,
        *OF_GATEWAY,
    )
}


class Reading(NamedTuple):
    """A value at a scrape, of a metric that is read. labels: values in the order of the table."""

    name: str
    labels: tuple[str, ...]
    value: float | Spread


class Metrics:
    """read: asked at each `text`. table: by name; a node's where none is given. For one thread."""

    def __init__(self, read: Callable[[], Iterable[Reading]], table: Mapping[str, MetricSpec] = METRICS) -> None:
        self._read = read
        self._table = table
        self._exposition = Exposition()
        self._counts: dict[str, dict[tuple[str, ...], float]] = {n: {} for n in _named(table, "counter")}
        self._spreads: dict[str, dict[tuple[str, ...], Spread]] = {n: {} for n in _named(table, "histogram")}

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Adds to a counter of the table."""
        known = self._counts[name]
        if labels not in known and len(known) >= SERIES_COUNT_MAX:
            labels = (OTHER,) * len(labels)
        known[labels] = known.get(labels, 0) + by

    def observe(self, name: str, *labels: str, value: float) -> None:
        """A value for a histogram of the table, in its unit."""
        known = self._spreads[name]
        if (spread := known.get(labels)) is None:
            if len(known) >= SERIES_COUNT_MAX:
                labels = (OTHER,) * len(labels)
            spread = known.setdefault(labels, Spread())
        spread.observe(value)

    def text(self) -> bytes:
        """Prometheus' text format, version 0.0.4: what is counted here, and of the rest what is there."""
        series: dict[str, dict[tuple[str, ...], float | Spread]] = {**self._counts, **self._spreads}  # type: ignore[dict-item]
        for name, labels, value in self._read():
            series.setdefault(name, {})[labels] = value
        lines: list[str] = []
        for name, spec in self._table.items():
            if (found := series.get(name)) is not None:
                lines += self._exposition.family(spec, found.items())
        return "".join(lines).encode()


def _named(table: Mapping[str, MetricSpec], kind: str) -> list[str]:
    return [name for name, spec in table.items() if spec.kind == kind]
