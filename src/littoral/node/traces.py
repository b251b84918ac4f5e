"""From the table `telemetry.traces` to spans that are recorded, and an exporter that sends them."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from littoral import __version__
from littoral.errors import SettingError, SetupError
from littoral.node.site import Site
from littoral.node.telemetry_tables import TracesTable
from littoral.settings import from_environment
from littoral.telemetry import Spans
from littoral.telemetry.exporting import Exporter, parse_endpoint

__all__ = ["Traces", "open_traces"]


class Traces(NamedTuple):
    """Of one node."""

    spans: Spans
    exporter: Exporter


@contextlib.contextmanager
def open_traces(site: Site) -> Iterator[Traces | None]:
    """None without an endpoint. Raises SetupError without the extra, SettingError for a header without its variable."""
    table = site.telemetry.traces
    if table.endpoint is None:
        yield None
        return
    if find_spec("opentelemetry.proto") is None:
        raise SetupError(f"{site.file}: `telemetry.traces` needs an extra", hint='pip install "littoral[otel]"')
    from littoral.telemetry.otlp import encoded

    resource = {"service.name": "littoral", "service.version": __version__, "service.instance.id": site.node.name}
    if site.mesh is not None:
        resource["service.namespace"] = site.mesh.site
    spans = Spans(table.ratio, queue_max=table.queue_max)
    ca = None if table.ca is None else str(site.path_of(table.ca))
    exporter = Exporter(
        spans,
        parse_endpoint(table.endpoint, ca),
        partial(encoded, resource=resource, version=__version__),
        headers=_headers(site, table),
        timeout_s=table.timeout_s,
    )
    exporter.start()
    try:
        yield Traces(spans, exporter)
    finally:
        exporter.stop()


def _headers(site: Site, table: TracesTable) -> Mapping[str, str]:
    found = {name: from_environment(variable) for name, variable in table.headers_env.items()}
    for name, value in found.items():
        if value is None:
            raise SettingError(
                f"{site.file}: `telemetry.traces.headers_env.{name}`: environment variable"
                f" `{table.headers_env[name]}` is not set"
            )
    return {name.lower(): value for name, value in found.items() if value is not None}
