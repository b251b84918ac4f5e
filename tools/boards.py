#!/usr/bin/env python3
"""Writes the Grafana boards, deploy/grafana/*.json, from the tables below. Every run writes the same bytes."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from board_panels import Panel, quantile, rate, share
from fleet_board import FLEET
from gateway_board import GATEWAY

FOLDER = Path(__file__).resolve().parent.parent / "deploy/grafana"
SOURCE = {"type": "prometheus", "uid": "${source}"}
AT = 'instance=~"$instance"'
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


BOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "node": (
        "Littoral: node",
        (
            Panel("Ready", "bool", (("littoral_node_ready{AT}", "{{instance}}"),)),
            Panel("Requests", "reqps", ((rate("littoral_http_requests_total", "route"), "{{route}}"),)),
            Panel(
                "Failed (5xx)",
                "reqps",
                ((rate("littoral_http_requests_total", "route", ',status=~"5.."'), "{{route}}"),),
            ),
            Panel(
                "p99 of requests",
                "s",
                ((quantile(0.99, "littoral_http_request_duration_seconds", "route"), "{{route}}"),),
            ),
            Panel("Being answered", "short", (("littoral_http_requests_busy{AT}", "{{instance}}"),)),
            Panel("Processor", "cores", ((rate("process_cpu_seconds_total", "instance"), "{{instance}}"),)),
            Panel(
                "Memory",
                "bytes",
                (
                    ("process_resident_memory_bytes{AT}", "{{instance}}"),
                    ("littoral_instances_memory_bytes{AT}", "models and agents, {{instance}}"),
                ),
            ),
            Panel(
                "Open files and connections",
                "short",
                (("process_open_fds{AT}", "{{instance}}"), ("process_max_fds{AT}", "most, {{instance}}")),
            ),
            Panel("Threads", "short", (("littoral_process_threads{AT}", "{{instance}}"),)),
            Panel(
                "Lines of the log",
                "cps",
                (
                    (rate("littoral_log_lines_total", "level"), "{{level}}"),
                    (rate("littoral_log_lines_suppressed_total"), "suppressed"),
                    (rate("littoral_log_lines_dropped_total"), "dropped"),
                ),
            ),
            Panel(
                "Spans",
                "cps",
                (
                    (rate("littoral_trace_spans_total"), "recorded"),
                    (rate("littoral_trace_spans_exported_total"), "exported"),
                    (rate("littoral_trace_spans_dropped_total", "reason"), "dropped: {{reason}}"),
                ),
            ),
            Panel(
                "Version",
                "short",
                (("littoral_build_info{AT}", "{{instance}}: {{version}}, Python {{python}}, {{machine}}"),),
            ),
        ),
    ),
    "pipelines": (
        "Littoral: pipelines, models, agents",
        (
            Panel("Requests", "reqps", ((rate("littoral_pipeline_requests_total", "pipeline"), "{{pipeline}}"),)),
            Panel(
                "Failed, refused",
                "reqps",
                (
                    (rate("littoral_pipeline_failures_total", "pipeline"), "failed, {{pipeline}}"),
                    (rate("littoral_pipeline_refused_total", "pipeline"), "refused, {{pipeline}}"),
                ),
            ),
            Panel(
                "At a time",
                "short",
                (
                    ("littoral_pipeline_busy{AT}", "{{pipeline}}"),
                    ("littoral_pipeline_limit{AT}", "limit, {{pipeline}}"),
                ),
            ),
            Panel(
                "p50 of steps",
                "s",
                (
                    (
                        quantile(0.5, "littoral_pipeline_stage_duration_seconds", "pipeline, stage"),
                        "{{pipeline}} {{stage}}",
                    ),
                ),
            ),
            Panel(
                "p99 of steps",
                "s",
                (
                    (
                        quantile(0.99, "littoral_pipeline_stage_duration_seconds", "pipeline, stage"),
                        "{{pipeline}} {{stage}}",
                    ),
                ),
            ),
            Panel(
                "Wasm: processors at work in agents",
                "cores",
                ((rate("littoral_pool_work_seconds_total", "name", ',kind="agent"'), "{{name}}"),),
            ),
            Panel(
                "Wasm: processors at work in models",
                "cores",
                ((rate("littoral_pool_work_seconds_total", "name", ',kind="model"'), "{{name}}"),),
            ),
            Panel(
                "Mean time of a run",
                "s",
                (
                    (
                        share(
                            rate("littoral_pool_work_seconds_total", "kind, name"),
                            rate("littoral_pool_runs_total", "kind, name"),
                        ),
                        "{{name}}",
                    ),
                ),
            ),
            Panel(
                "Mean wait for a run",
                "s",
                (
                    (
                        share(
                            rate("littoral_pool_wait_seconds_total", "kind, name"),
                            rate("littoral_pool_runs_total", "kind, name"),
                        ),
                        "{{name}}",
                    ),
                ),
            ),
            Panel(
                "Waiting calls",
                "short",
                (
                    ("littoral_pool_waiting{AT}", "{{name}}"),
                    ("littoral_batch_waiting{AT}", "for a batch, {{name}}{{model}}"),
                ),
            ),
            Panel(
                "Failures of runs",
                "cps",
                (
                    (rate("littoral_pool_failures_total", "kind, name"), "{{name}}"),
                    (rate("littoral_agent_ends_total", "agent, reason"), "{{agent}}: {{reason}}"),
                ),
            ),
            Panel("In quarantine", "bool", (("littoral_pool_quarantined{AT}", "{{name}}"),)),
            Panel("Memory of agents", "bytes", (("littoral_agent_memory_bytes{AT}", "{{agent}}"),)),
            Panel(
                "Requests in a shared run",
                "short",
                (
                    (
                        share(
                            rate("littoral_batch_requests_total", "model"), rate("littoral_batch_runs_total", "model")
                        ),
                        "{{model}}",
                    ),
                ),
            ),
            Panel("Version that serves", "short", (("littoral_model_version{AT}", "{{model}}"),)),
            Panel(
                "MQTT: messages",
                "cps",
                (
                    (rate("littoral_mqtt_messages_total", "route"), "came, {{route}}"),
                    (rate("littoral_mqtt_answered_total", "route"), "answered, {{route}}"),
                ),
            ),
            Panel(
                "MQTT: dropped",
                "cps",
                ((rate("littoral_mqtt_dropped_total", "route, reason"), "{{route}}: {{reason}}"),),
            ),
            Panel("MQTT: the oldest that waits", "s", (("littoral_mqtt_oldest_seconds{AT}", "{{route}}"),)),
            Panel("Tenants: requests", "reqps", ((rate("littoral_tenant_requests_total", "tenant"), "{{tenant}}"),)),
            Panel(
                "Tenants: over a quota",
                "reqps",
                ((rate("littoral_tenant_refused_total", "tenant, quota"), "{{tenant}}: {{quota}}"),),
            ),
            Panel(
                "Tenants: inferences",
                "short",
                (
                    ("littoral_tenant_inferences_busy{AT}", "busy, {{tenant}}"),
                    ("littoral_tenant_inferences_waiting{AT}", "waiting, {{tenant}}"),
                ),
            ),
            Panel("Tenants: points", "short", (("littoral_tenant_points{AT}", "{{tenant}}"),)),
            Panel("Tenants: disk", "bytes", (("littoral_tenant_disk_bytes{AT}", "{{tenant}}"),)),
            Panel("Tenants: caches", "bytes", (("littoral_tenant_cache_bytes{AT}", "{{tenant}}"),)),
        ),
    ),
    "collections": (
        "Littoral: collections, caches",
        (
            Panel(
                "Shards: requests",
                "reqps",
                (
                    (
                        rate("littoral_shard_request_duration_seconds_count", "collection, request"),
                        "{{collection}} {{request}}",
                    ),
                ),
            ),
            Panel(
                "Shards: p50",
                "s",
                (
                    (
                        quantile(0.5, "littoral_shard_request_duration_seconds", "collection, request"),
                        "{{collection}} {{request}}",
                    ),
                ),
            ),
            Panel(
                "Shards: p99",
                "s",
                (
                    (
                        quantile(0.99, "littoral_shard_request_duration_seconds", "collection, request"),
                        "{{collection}} {{request}}",
                    ),
                ),
            ),
            Panel("Answers", "bool", (("littoral_collection_answers{AT}", "{{collection}}"),)),
            Panel("Points", "short", (("littoral_collection_points{AT}", "{{collection}}"),)),
            Panel("Vectors in an index", "short", (("littoral_collection_indexed_vectors{AT}", "{{collection}}"),)),
            Panel(
                "Caches: share of hits",
                "percentunit",
                (
                    (
                        share(
                            rate("littoral_cache_hits_total", "cache"),
                            f"({rate('littoral_cache_hits_total', 'cache')}"
                            f" + {rate('littoral_cache_misses_total', 'cache')})",
                        ),
                        "{{cache}}",
                    ),
                ),
            ),
            Panel("Caches: size", "bytes", (("littoral_cache_bytes{AT}", "{{cache}}"),)),
            Panel("Caches: evicted", "cps", ((rate("littoral_cache_evictions_total", "cache"), "{{cache}}"),)),
            Panel(
                "Migration: points done",
                "percentunit",
                ((share("littoral_migration_points_done{AT}", "littoral_migration_points{AT}"), "{{collection}}"),),
            ),
            Panel(
                "Migration: points behind, refused",
                "short",
                (
                    ("littoral_migration_points_behind{AT}", "behind, {{collection}}"),
                    ("littoral_migration_points_refused{AT}", "refused, {{collection}}"),
                ),
            ),
        ),
    ),
    "gateway": ("Littoral: gateway", GATEWAY),
    "mesh": (
        "Littoral: mesh",
        (
            Panel(
                "Nodes",
                "short",
                (
                    ("littoral_mesh_members{AT}", "of the site, told by {{instance}}"),
                    ("littoral_mesh_members_here{AT}", "here, told by {{instance}}"),
                ),
            ),
            Panel(
                "Shards short of replicas, lost",
                "short",
                (("littoral_mesh_shards_short{AT}", "short"), ("littoral_mesh_shards_lost{AT}", "lost")),
            ),
            Panel("What is wrong", "short", (("littoral_mesh_problems{AT}", "{{weight}}, told by {{instance}}"),)),
            Panel("Round trip", "s", (("littoral_mesh_round_trip_seconds{AT}", "{{instance}} to {{peer}}"),)),
            Panel("Links", "bool", (("littoral_mesh_link_up{AT}", "{{instance}} to {{peer}}"),)),
            Panel(
                "Bytes between nodes",
                "Bps",
                (
                    (rate("littoral_mesh_link_sent_bytes_total", "peer"), "to {{peer}}"),
                    (rate("littoral_mesh_link_received_bytes_total", "peer"), "from {{peer}}"),
                ),
            ),
            Panel(
                "Requests without an answer",
                "cps",
                ((rate("littoral_mesh_link_failures_total", "instance, peer"), "{{instance}} to {{peer}}"),),
            ),
            Panel("Replicas: behind", "s", (("littoral_replica_lag_seconds{AT}", "{{shard}} at {{peer}}"),)),
            Panel(
                "Replicas: repaired points",
                "cps",
                ((rate("littoral_replica_repaired_total", "shard, peer"), "{{shard}} from {{peer}}"),),
            ),
            Panel(
                "Searches by what they say of themselves",
                "reqps",
                ((rate("littoral_federated_searches_total", "worth"), "{{worth}}"),),
            ),
            Panel(
                "Answers with a shard missing",
                "cps",
                ((rate("littoral_federated_incomplete_total", "instance"), "{{instance}}"),),
            ),
            Panel(
                "Moving: left, bytes a second",
                "short",
                (
                    ("littoral_mesh_moving_left{AT}", "points left, {{collection}}"),
                    (rate("littoral_mesh_moved_bytes_total"), "bytes/s"),
                ),
            ),
            Panel("Steps by who did them", "cps", ((rate("littoral_placed_steps_total", "node"), "{{node}}"),)),
            Panel("Steps refused", "cps", ((rate("littoral_placed_refused_total", "reason"), "{{reason}}"),)),
            Panel(
                "Refused connections and requests",
                "cps",
                ((rate("littoral_mesh_refused_total", "reason"), "{{reason}}"),),
            ),
        ),
    ),
}


def board(
    name: str, title: str, panels: tuple[Panel, ...], label: str = "Node", metric: str = "littoral_node_ready"
) -> dict[str, Any]:
    """As Grafana 10 and later read it. label, metric: of the instances that may be chosen."""
    return {
        "uid": f"littoral-{name}",
        "title": title,
        "tags": ["littoral"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "instance",
                    "label": label,
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": f"label_values({metric}, instance)", "refId": "nodes"},
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels, 1)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number - 1, COLUMNS)
    return {
        "id": number,
        "title": panel.title,
        "type": "timeseries",
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": SOURCE,
                "expr": expression.replace("AT", AT),
                "legendFormat": legend,
            }
            for i, (expression, legend) in enumerate(panel.expressions)
        ],
    }


def texts() -> dict[str, str]:
    """By file name."""
    return {f"{name}.json": _text(board(name, title, panels)) for name, (title, panels) in BOARDS.items()} | {
        "fleet.json": _text(board("fleet", "Littoral: fleet", FLEET, "Orchestrator", "littoral_fleet_nodes_online"))
    }


def _text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
