"""A row of the table of metrics, and the rows about what tells the numbers: traces, log, process."""

from typing import Literal, NamedTuple

__all__ = ["OF_ITSELF", "MetricSpec"]


class MetricSpec(NamedTuple):
    """kind: counter and histogram are written as things happen, the others are read at each scrape."""

    name: str
    kind: Literal["counter", "histogram", "gauge", "read_counter", "read_histogram"]
    labels: tuple[str, ...]
    sentence: str


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
    MetricSpec("littoral_log_lines_total", "read_counter", ("level",), "Lines of the log"),
    MetricSpec("littoral_log_lines_suppressed_total", "read_counter", (), "Lines that came too often to be told"),
    MetricSpec("littoral_log_lines_dropped_total", "read_counter", (), "Lines that were not written: nobody took them"),
)
