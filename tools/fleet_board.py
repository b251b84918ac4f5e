"""The board of a fleet, of what its orchestrator tells."""

from board_panels import Panel, quantile, rate

__all__ = ["FLEET"]

FLEET: tuple[Panel, ...] = (
    Panel(
        "Nodes",
        "short",
        (
            ("sum(littoral_fleet_nodes{AT})", "all"),
            ("sum(littoral_fleet_nodes_online{AT})", "online"),
            ("sum(littoral_fleet_nodes_untold{AT})", "could not be told"),
        ),
    ),
    Panel("Nodes by state", "short", (("sum by (state) (littoral_fleet_nodes{AT})", "{{state}}"),)),
    Panel("Check-ins", "cps", ((rate("littoral_fleet_checkins_total"), "a second"),)),
    Panel("Rollouts", "short", (("sum by (state) (littoral_fleet_rollouts{AT})", "{{state}}"),)),
    Panel("Artifacts", "short", (("sum by (state) (littoral_fleet_artifacts{AT})", "{{state}}"),)),
    Panel(
        "Sent to nodes",
        "Bps",
        (
            (rate("littoral_fleet_download_bytes_total"), "sent"),
            ("sum(littoral_fleet_download_bytes_per_second_max{AT})", "cap over all nodes"),
        ),
    ),
    Panel(
        "Downloads",
        "short",
        (
            ("sum(littoral_fleet_downloads{AT})", "under way"),
            (rate("littoral_fleet_download_wait_seconds_total"), "that wait for their turn"),
            (rate("littoral_fleet_downloads_refused_total"), "refused a second"),
        ),
    ),
    Panel("Wait for a signal", "short", (("sum(littoral_fleet_signals_waiting{AT})", "nodes"),)),
    Panel("Refused", "reqps", ((rate("littoral_fleet_refused_total", "reason"), "{{reason}}"),)),
    Panel("Requests", "reqps", ((rate("littoral_fleet_http_requests_total", "route"), "{{route}}"),)),
    Panel(
        "Failed (5xx)", "reqps", ((rate("littoral_fleet_http_requests_total", "route", ',status=~"5.."'), "{{route}}"),)
    ),
    Panel(
        "p99 of requests",
        "s",
        ((quantile(0.99, "littoral_fleet_http_request_duration_seconds", "route"), "{{route}}"),),
    ),
    Panel(
        "Tried again",
        "cps",
        (
            (rate("littoral_fleet_failures_total"), "turns of rollouts"),
            (rate("littoral_fleet_write_failures_total"), "batches of check-ins"),
        ),
    ),
    Panel(
        "Lost",
        "cps",
        (
            (rate("littoral_fleet_reports_dropped_total", "bound"), "reports: {{bound}}"),
            (rate("littoral_fleet_events_dropped_total"), "events of slow listeners"),
        ),
    ),
    Panel(
        "Audit",
        "short",
        (
            ("sum(littoral_fleet_audit_entries{AT})", "entries"),
            ("sum(littoral_fleet_cosigned_total{AT})", "checkpoints of nodes cosigned"),
            ("sum by (reason) (littoral_fleet_cosigning_refused_total{AT})", "not cosigned: {{reason}}"),
        ),
    ),
    Panel(
        "Broker of signals",
        "short",
        (
            ("littoral_fleet_mqtt_connected{AT}", "connected, {{instance}}"),
            ("littoral_fleet_mqtt_signals_waiting{AT}", "signals it has not taken, {{instance}}"),
        ),
    ),
    Panel("Steps for sites", "reqps", ((rate("littoral_fleet_steps_total", "outcome"), "{{outcome}}"),)),
    Panel(
        "Nodes of the data centre",
        "short",
        (
            ("littoral_fleet_inference_up{AT}", "{{node}} answers"),
            ("sum(littoral_fleet_steps_busy{AT})", "steps under way"),
            ("sum(littoral_fleet_steps_busy_max{AT})", "steps that may be"),
        ),
    ),
    Panel(
        "Steps by node of the data centre",
        "reqps",
        ((rate("littoral_fleet_inference_steps_total", "node, outcome"), "{{node}} {{outcome}}"),),
    ),
    Panel(
        "Frames of the data centre",
        "Bps",
        ((rate("littoral_fleet_inference_bytes_total", "node, direction"), "{{node}} {{direction}}"),),
    ),
    Panel("File of the data centre", "short", (("littoral_fleet_inference_file_wrong{AT}", "wrong, {{instance}}"),)),
)
