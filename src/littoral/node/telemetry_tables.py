"""The table `telemetry` of a site file: where traces go, and what the log says how."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.node.site_problems import Place
from littoral.tables.traces import RequestTraces, check_traces

__all__ = ["LogsTable", "TelemetryTable", "TracesTable", "check_telemetry"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of the tables: an unknown key is an error."""


class TracesTable(RequestTraces, frozen=True):
    """Traces of requests, to a collector (extra `littoral[otel]`)."""

    layers: Annotated[
        bool, Meta(description="Recorded requests tell of each layer of models built with `--layers`")
    ] = False


class LogsTable(_Table, frozen=True):
    """Lines of the log."""

    level: Annotated[Literal["error", "warning", "info", "debug"], Meta(description="The least that is told")] = "info"
    format: Annotated[
        Literal["auto", "json", "text"], Meta(description="`auto`: text on a terminal, else JSON, a line each")
    ] = "auto"
    requests: Annotated[
        Literal["none", "failed", "all"], Meta(description="A line for each request, or for those with status 5xx")
    ] = "failed"
    lines_per_s: Annotated[
        float, Meta(gt=0, le=10_000, description="Of one message, however its values differ; more are counted")
    ] = 10.0
    keep: Annotated[int, Meta(ge=0, le=65_536, description="Lines that `/api/logs` has")] = 2048


class TelemetryTable(_Table, frozen=True):
    """What a node tells of itself."""

    traces: Annotated[TracesTable, Meta(description="Where traces go")] = TracesTable()
    logs: Annotated[LogsTable, Meta(description="The log")] = LogsTable()


def check_telemetry(table: TelemetryTable, place: Place) -> None:
    """What can be known from the file alone. Raises SettingError naming the key."""
    check_traces(table.traces, place / "traces")
