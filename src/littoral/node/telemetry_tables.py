"""The table `telemetry` of a site file: where traces go, and what the log says how."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.errors import SettingError
from littoral.node.site_problems import Place

__all__ = ["LogsTable", "TelemetryTable", "TracesTable", "check_telemetry"]

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of the tables: an unknown key is an error."""


class TracesTable(_Table, frozen=True):
    """Traces of requests, to a collector (extra `littoral[otel]`)."""

    endpoint: Annotated[
        _Text | None, Meta(description="Of the collector: `http://HOST:4318`, OTLP over HTTP; default: no traces")
    ] = None
    ratio: Annotated[
        float, Meta(ge=0, le=1, description="Of requests whose caller says nothing, those that are recorded")
    ] = 0.01
    ca: Annotated[_Text | None, Meta(description="Certificates that are trusted; default: the machine's")] = None
    headers_env: Annotated[
        dict[_Header, _Text], Meta(max_length=8, description="Headers, and the environment variables that hold them")
    ] = {}
    queue_max: Annotated[int, Meta(ge=64, le=1 << 20, description="Spans that wait; more are dropped, and counted")] = (
        8192
    )
    timeout_s: Annotated[float, Meta(ge=0.1, le=60, description="For an answer of the collector")] = 5.0
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
    if table.traces.endpoint is None:
        return
    from littoral.telemetry.exporting import parse_endpoint

    try:
        parse_endpoint(table.traces.endpoint)
    except SettingError as error:
        raise SettingError(f"{place / 'traces' / 'endpoint'}: {error.message}", hint=error.hint) from error
