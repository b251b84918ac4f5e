"""The table that says where traces of requests go."""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.errors import SettingError
from littoral.tables.problems import Place

__all__ = ["RequestTraces", "check_traces"]

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class RequestTraces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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


def check_traces(table: RequestTraces, place: Place) -> None:
    """What can be known from the file alone. Raises SettingError naming the key."""
    if table.endpoint is None:
        return
    from littoral.telemetry.exporting import parse_endpoint

    try:
        parse_endpoint(table.endpoint)
    except SettingError as error:
        raise SettingError(f"{place / 'endpoint'}: {error.message}", hint=error.hint) from error
