"""A row of the table of metrics, and the rows about what tells the numbers: traces, log, process."""

from typing import Literal, NamedTuple

__all__ = ["OF_AUDIT", "OF_FALLBACK", "OF_ITSELF", "OF_TRACES", "OF_UPDATES", "MetricSpec"]


class MetricSpec(NamedTuple):
    """kind: counter and histogram are written as things happen, the others are read at each scrape."""

    name: str
    kind: Literal["counter", "histogram", "gauge", "read_counter", "read_histogram"]
    labels: tuple[str, ...]
    sentence: str


OF_UPDATES = (
    MetricSpec("littoral_update_deployment", "gauge", (), "The fleet's deployment that serves; 0 before the first"),
    MetricSpec("littoral_update_told", "gauge", (), "The newest that this node has begun"),
    MetricSpec("littoral_update_state", "gauge", ("state",), "1 for the state in which that one is"),
    MetricSpec("littoral_update_state_seconds", "gauge", (), "Since it came into that state"),
    MetricSpec(
        "littoral_update_heard_seconds", "gauge", (), "Since the orchestrator answered; 0 before the first time"
    ),
    MetricSpec(
        "littoral_update_bytes_total", "read_counter", ("kind",), "Of artifacts: `fetched`, or `reused` as they were"
    ),
    MetricSpec(
        "littoral_update_refused_total", "read_counter", ("reason",), "Metadata and files that were not taken, by error"
    ),
    MetricSpec(
        "littoral_update_ended_total",
        "read_counter",
        ("state", "gate"),
        "Deployments by how they ended: `settled`, `refused`, `rolled_back`, and the gate",
    ),
    MetricSpec(
        "littoral_update_mirrored_total",
        "read_counter",
        ("kind",),
        "Requests that a new version got as well: `compared`, or `dropped` for want of time",
    ),
    MetricSpec("littoral_update_reports_bytes", "gauge", (), "Of reports that wait for the orchestrator"),
    MetricSpec("littoral_update_reports_age_seconds", "gauge", (), "Of the oldest of them"),
    MetricSpec(
        "littoral_update_reports_dropped_total", "read_counter", ("reason",), "Reports beyond the bound: `bytes`, `age`"
    ),
)

OF_FALLBACK = (
    MetricSpec(
        "littoral_fallback_steps_total",
        "read_counter",
        ("outcome",),
        "Steps asked of the orchestrator: `answered`; refused as `denied`, `unknown`, `large`, `often`, `busy`, "
        "`wrong`; `failed`; `left` by who asked",
    ),
    MetricSpec(
        "littoral_fallback_bytes_total", "read_counter", ("direction",), "Of their frames: `sent`, and `received`"
    ),
    MetricSpec("littoral_fallback_duration_seconds", "read_histogram", (), "Of those that were answered"),
)

OF_TRACES = (
    MetricSpec("littoral_trace_spans_total", "read_counter", (), "Spans that were recorded"),
    MetricSpec("littoral_trace_spans_exported_total", "read_counter", (), "Of these, those that the collector took"),
    MetricSpec(
        "littoral_trace_spans_dropped_total",
        "read_counter",
        ("reason",),
        "Spans lost: no room to wait (`full`), or not taken by the collector (`refused`)",
    ),
    MetricSpec("littoral_trace_spans_waiting", "gauge", (), "Spans that wait to be sent"),
    MetricSpec("littoral_trace_export_failures_total", "read_counter", (), "Attempts to send spans that failed"),
)

OF_ITSELF = (
    MetricSpec(
        "littoral_build_info", "gauge", ("version", "python", "machine", "system"), "1; what runs is in its labels"
    ),
    MetricSpec("process_start_time_seconds", "gauge", (), "Unix time at which the node was opened"),
    MetricSpec("process_cpu_seconds_total", "read_counter", (), "Processor time of the node's process"),
    MetricSpec("process_max_fds", "gauge", (), "Most files and connections that it may have open"),
    MetricSpec("process_virtual_memory_bytes", "gauge", (), "Address space of the node's process"),
    MetricSpec("process_resident_memory_bytes", "gauge", (), "Of this, in memory"),
    MetricSpec("process_open_fds", "gauge", (), "Files and connections that it has open"),
    MetricSpec("littoral_process_threads", "gauge", (), "Its threads"),
    MetricSpec("littoral_agent_memory_bytes", "gauge", ("agent",), "Memory of the agent's first instance"),
    MetricSpec(
        "littoral_agent_ends_total",
        "read_counter",
        ("agent", "reason"),
        "Instances that a call cost: `trap`, `deadline`, `memory`",
    ),
    MetricSpec(
        "littoral_shard_request_duration_seconds",
        "read_histogram",
        ("collection", "request"),
        "From a request to a shard host of this node to its answer",
    ),
    MetricSpec("littoral_collection_indexed_vectors", "gauge", ("collection",), "Of its vectors, those in an index"),
    MetricSpec(
        "littoral_tenant_requests_total", "read_counter", ("tenant",), "Requests of a tenant that were within its quota"
    ),
    MetricSpec(
        "littoral_tenant_refused_total",
        "read_counter",
        ("tenant", "quota"),
        "Its requests that were over a quota, and which",
    ),
    MetricSpec("littoral_tenant_inferences_total", "read_counter", ("tenant",), "Its runs of models and pipelines"),
    MetricSpec("littoral_tenant_inferences_busy", "gauge", ("tenant",), "Of these, those that are under way"),
    MetricSpec(
        "littoral_tenant_inferences_waiting", "gauge", ("tenant",), "Its requests that wait for one of these to end"
    ),
    MetricSpec("littoral_tenant_points", "gauge", ("tenant",), "Points of all its collections, at most"),
    MetricSpec(
        "littoral_tenant_disk_bytes", "gauge", ("tenant",), "Disk of all its collections, as it was last looked at"
    ),
    MetricSpec("littoral_tenant_cache_bytes", "gauge", ("tenant",), "Memory of its caches"),
    *OF_TRACES,
    MetricSpec("littoral_log_lines_total", "read_counter", ("level",), "Lines of the log"),
    MetricSpec("littoral_log_lines_suppressed_total", "read_counter", (), "Lines that came too often to be told"),
    MetricSpec("littoral_log_lines_dropped_total", "read_counter", (), "Lines that were not written: nobody took them"),
)

OF_AUDIT = (
    MetricSpec("littoral_audit_log_entries", "gauge", (), "Entries of the audit log, in its last checkpoint"),
    MetricSpec("littoral_audit_queue_entries", "gauge", (), "Entries that wait to be written"),
    MetricSpec("littoral_audit_entries_total", "read_counter", (), "Entries that were written"),
    MetricSpec("littoral_audit_skipped_total", "read_counter", (), "Queries left out, as the site file's shares say"),
    MetricSpec(
        "littoral_audit_dropped_total",
        "read_counter",
        ("reason",),
        "Entries lost: no room to wait (`full`), the disk takes nothing (`disk`), over 65,535 bytes (`long`)",
    ),
    MetricSpec("littoral_audit_batches_total", "read_counter", (), "Batches written, each with its checkpoint"),
    MetricSpec("littoral_audit_batch_seconds_total", "read_counter", (), "Time that writing them took"),
    MetricSpec("littoral_audit_failures_total", "read_counter", (), "Batches that could not be written at once"),
    MetricSpec("littoral_audit_pruned_total", "read_counter", (), "Entries that are no longer kept, hashes apart"),
    MetricSpec("littoral_audit_takes_entries", "gauge", (), "0 while the log cannot be written"),
    MetricSpec("littoral_audit_witness_signed_total", "read_counter", (), "Checkpoints of others cosigned here"),
    MetricSpec(
        "littoral_audit_witness_refused_total",
        "read_counter",
        ("reason",),
        "Not cosigned: another history (`fork`), another key (`key`), too many logs (`full`); `size` is asked again",
    ),
    MetricSpec("littoral_audit_cosigned_total", "read_counter", (), "Cosignatures that others gave this log"),
    MetricSpec(
        "littoral_audit_cosign_failures_total",
        "read_counter",
        ("reason",),
        "Others that were asked and did not answer (`unanswered`), or said that the log contradicts itself (`refused`)",
    ),
    MetricSpec(
        "littoral_audit_uncosigned_seconds",
        "gauge",
        (),
        "How long at most there have been entries that no witness has seen; 0 while there are none",
    ),
)
