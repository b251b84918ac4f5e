"""From the table of traces to spans that are recorded, and an exporter that sends them."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from littoral import __version__
from littoral.errors import SettingError, SetupError
from littoral.settings import from_environment
from littoral.tables.problems import Place
from littoral.tables.traces import RequestTraces
from littoral.telemetry import Spans
from littoral.telemetry.exporting import Exporter, parse_endpoint

__all__ = ["Traces", "open_traces"]


class Traces(NamedTuple):
    """Of one node or orchestrator."""

    spans: Spans
    exporter: Exporter


@contextlib.contextmanager
def open_traces(
    table: RequestTraces, place: Place, path_of: Callable[[str], Path], resource: Mapping[str, str]
) -> Iterator[Traces | None]:
    """None without an endpoint. place: of the table. resource: whose spans these are.

    Raises SetupError without the extra, SettingError for a header without its variable.
    """
    if table.endpoint is None:
        yield None
        return
    if find_spec("opentelemetry.proto") is None:
        raise SetupError(f"{place} needs an extra", hint='pip install "littoral[otel]"')
    from littoral.telemetry.otlp import encoded

    spans = Spans(table.ratio, queue_max=table.queue_max)
    ca = None if table.ca is None else str(path_of(table.ca))
    exporter = Exporter(
        spans,
        parse_endpoint(table.endpoint, ca),
        partial(encoded, resource={"service.version": __version__} | dict(resource), version=__version__),
        headers=_headers(table, place),
        timeout_s=table.timeout_s,
    )
    exporter.start()
    try:
        yield Traces(spans, exporter)
    finally:
        exporter.stop()


def _headers(table: RequestTraces, place: Place) -> Mapping[str, str]:
    found = {name: from_environment(variable) for name, variable in table.headers_env.items()}
    for name, value in found.items():
        if value is None:
            raise SettingError(
                f"{place / 'headers_env' / name}: environment variable `{table.headers_env[name]}` is not set"
            )
    return {name.lower(): value for name, value in found.items() if value is not None}
