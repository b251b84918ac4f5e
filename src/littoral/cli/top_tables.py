"""What `littoral top` shows: sections of rows, the same for the terminal and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from littoral.cli.top_samples import Look

__all__ = ["Row", "Section", "headline", "sections"]

Row = dict[str, Any]


class Section(NamedTuple):
    """rows: values by column; a rate is None before the second look."""

    title: str
    rows: list[Row]


def headline(node: Mapping[str, Any], look: Look) -> Row:
    """The node as a whole."""
    return {
        "node": node["name"],
        "version": node["version"],
        "ready": node["ready"],
        "uptime_s": node["uptime_s"],
        "requests_per_s": look.total_rate("littoral_http_requests_total"),
        "failures_per_s": _failed(look),
        "busy": look.value("littoral_http_requests_busy"),
        "cpu_cores": look.rate("process_cpu_seconds_total"),
        "memory_bytes": look.value("process_resident_memory_bytes"),
        "open_files": look.value("process_open_fds"),
    }


def sections(look: Look, pipelines: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Those that have something in them."""
    found = [
        Section("pipelines", list(_pipelines(look, pipelines))),
        Section("models and agents", list(_pools(look))),
        Section("collections", list(_collections(look))),
        Section("tenants", list(_tenants(look))),
        Section("caches", list(_caches(look))),
        Section("mqtt", list(_routes(look))),
        Section("nodes", list(_peers(look))),
    ]
    return [section for section in found if section.rows]


def _failed(look: Look) -> float | None:
    statuses = look.now.get("littoral_http_requests_total", {})
    rates = [look.rate("littoral_http_requests_total", *labels) for labels in statuses if labels[-1] >= "500"]
    return None if look.before is None else sum(rate or 0.0 for rate in rates)


def _pipelines(look: Look, told: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for pipeline in told:
        name = pipeline["name"]
        yield {
            "name": name,
            "per_s": look.rate("littoral_pipeline_requests_total", name),
            "failed_per_s": look.rate("littoral_pipeline_failures_total", name),
            "refused_per_s": look.rate("littoral_pipeline_refused_total", name),
            "busy": look.value("littoral_pipeline_busy", name),
            "limit": look.value("littoral_pipeline_limit", name),
            "p50_ms": pipeline["p50_ms"],
            "p95_ms": pipeline["p95_ms"],
        }


def _pools(look: Look) -> Iterator[Row]:
    for kind, name in look.series("littoral_pool_instances"):
        runs = look.rate("littoral_pool_runs_total", kind, name)
        yield {
            "name": name,
            "kind": kind,
            "per_s": runs,
            "failed_per_s": look.rate("littoral_pool_failures_total", kind, name),
            "busy": look.value("littoral_pool_busy", kind, name),
            "instances": look.value("littoral_pool_instances", kind, name),
            "waiting": look.value("littoral_pool_waiting", kind, name),
            "run_ms": _mean_ms(look.rate("littoral_pool_work_seconds_total", kind, name), runs),
            "wait_ms": _mean_ms(look.rate("littoral_pool_wait_seconds_total", kind, name), runs),
            "quarantined": bool(look.value("littoral_pool_quarantined", kind, name)),
        }


def _collections(look: Look) -> Iterator[Row]:
    for name in look.names("littoral_collection_answers"):
        yield {
            "name": name,
            "answers": bool(look.value("littoral_collection_answers", name)),
            "points": look.value("littoral_collection_points", name),
            "indexed": look.value("littoral_collection_indexed_vectors", name),
        }


def _tenants(look: Look) -> Iterator[Row]:
    refused = "littoral_tenant_refused_total"
    for name in look.names("littoral_tenant_requests_total"):
        over = [look.rate(refused, *labels) for labels in look.series(refused) if name in labels]
        yield {
            "name": name,
            "per_s": look.rate("littoral_tenant_requests_total", name),
            "refused_per_s": None if look.before is None else sum(one or 0.0 for one in over),
            "busy": look.value("littoral_tenant_inferences_busy", name),
            "waiting": look.value("littoral_tenant_inferences_waiting", name),
            "points": look.value("littoral_tenant_points", name),
            "bytes": look.value("littoral_tenant_disk_bytes", name),
        }


def _caches(look: Look) -> Iterator[Row]:
    for name in look.names("littoral_cache_hits_total"):
        hits, misses = look.rate("littoral_cache_hits_total", name), look.rate("littoral_cache_misses_total", name)
        asked = None if hits is None or misses is None else hits + misses
        yield {
            "name": name,
            "asked_per_s": asked,
            "hit_share": hits / asked if asked and hits is not None else None,
            "entries": look.value("littoral_cache_entries", name),
            "bytes": look.value("littoral_cache_bytes", name),
            "evicted_per_s": look.rate("littoral_cache_evictions_total", name),
        }


def _routes(look: Look) -> Iterator[Row]:
    dropped = "littoral_mqtt_dropped_total"
    for name in look.names("littoral_mqtt_messages_total"):
        losses = [look.rate(dropped, *labels) for labels in look.series(dropped) if labels[0] == name]
        yield {
            "name": name,
            "connected": bool(look.value("littoral_mqtt_connected", name)),
            "per_s": look.rate("littoral_mqtt_messages_total", name),
            "answered_per_s": look.rate("littoral_mqtt_answered_total", name),
            "dropped_per_s": None if look.before is None else sum(loss or 0.0 for loss in losses),
            "waiting": look.value("littoral_mqtt_waiting", name),
            "oldest_s": look.value("littoral_mqtt_oldest_seconds", name),
        }


def _peers(look: Look) -> Iterator[Row]:
    for name in look.names("littoral_mesh_link_up"):
        seconds = look.value("littoral_mesh_round_trip_seconds", name)
        yield {
            "name": name,
            "up": bool(look.value("littoral_mesh_link_up", name)),
            "round_trip_ms": None if seconds is None else seconds * 1000,
            "sent_bytes_per_s": look.rate("littoral_mesh_link_sent_bytes_total", name),
            "received_bytes_per_s": look.rate("littoral_mesh_link_received_bytes_total", name),
            "failed_per_s": look.rate("littoral_mesh_link_failures_total", name),
        }


def _mean_ms(seconds: float | None, runs: float | None) -> float | None:
    return seconds / runs * 1000 if seconds is not None and runs else None
